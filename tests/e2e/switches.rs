//! The whole loop, twice, at every position of every switch of `miaw-api.md` §12: what Salesforce
//! does there is not public, so Baton must not depend on it.

use std::collections::HashMap;

use e2e::sim::{Api, ControlClient, Customer, Fault, Flow, Rule, Say, Verb, Who};
use serde_json::{Value, json};
use xtask::stack::{NUMBER, Options, Stack};

use crate::{chat::Chat, until};

const AUDIENCE: &str = "https://acme.my.salesforce.com";

/// Positions other than the default; where a repetition is what shows the difference, answers to
/// that endpoint are lost.
fn positions() -> Vec<(&'static str, Value, Option<&'static str>)> {
    vec![
        ("1 tokens live for two minutes", json!({ "token_ttl_s": 120 }), None),
        ("2 refused identities are told, 401", json!({ "verify_failure": "401" }), None),
        ("2 refused identities are told, 400", json!({ "verify_failure": "400" }), None),
        ("3 an audience is asked for", json!({ "require_aud": AUDIENCE }), None),
        ("4 a continuation extends nothing", json!({ "continuation_extends": false }), None),
        ("5 a stream first", json!({ "require_sse_before_create": true }), None),
        ("6 a repeated conversation: 409", json!({ "dup_conversation": "409" }), Some("create")),
        ("6 a repeated conversation: 200", json!({ "dup_conversation": "200" }), Some("create")),
        ("6 a repeated conversation: 400", json!({ "dup_conversation": "400" }), Some("create")),
        (
            "7 a repeated message: no second entry",
            json!({ "dup_message": "202-idempotent" }),
            Some("message"),
        ),
        ("7 a repeated message: 400", json!({ "dup_message": "400" }), Some("message")),
        ("7 a repeated message: 409", json!({ "dup_message": "409" }), Some("message")),
        ("7 a repeated message: shown again", json!({ "dup_message": "duplicate" }), Some("message")),
        ("8 echoes have ids of their own", json!({ "echo_id": "new" }), Some("message")),
        ("9 payloads in the history are texts", json!({ "history_payload": "string" }), None),
        ("10 nothing is replayed", json!({ "replay": "none" }), None),
        ("10 the last two events are replayed", json!({ "replay": { "last": 2 } }), None),
        ("10 a minute is replayed", json!({ "replay": { "within_ms": 60_000 } }), None),
        ("10 Last-Event-Id is needed", json!({ "require_last_event_id": true }), None),
        ("11 one stream a user", json!({ "max_streams": 1 }), None),
        ("11 the newest stream wins", json!({ "second_stream": "kill_old" }), None),
        ("11 the oldest stream wins", json!({ "second_stream": "409" }), None),
        ("12 streams are cut when their token ends", json!({ "cut_at_exp": true, "token_ttl_s": 120 }), None),
        ("13 pings count", json!({ "ping_style": "counter", "ping_interval_ms": 200 }), None),
        ("13 pings have an id", json!({ "ping_style": "with_id", "ping_interval_ms": 200 }), None),
        ("14 texts of 4 KB", json!({ "max_text_bytes": 4_096 }), None),
        ("15 few file types, in MB", json!({ "file_types": ["png", "txt"], "max_file_in_mb": true }), None),
        ("16 closed: 404", json!({ "closed_send": 404 }), None),
        ("16 closed: 409", json!({ "closed_send": 409 }), None),
        ("17 limits with Retry-After", json!({ "retry_after_s": 1 }), None),
        ("18 attributes are checked", json!({ "strict_attributes": true, "flow": Flow::default() }), None),
        ("19 the flag opens another session", json!({ "flag_while_live": "new_session" }), None),
        ("19 the flag is refused while live", json!({ "flag_while_live": "400" }), None),
        ("20 events in any order", json!({ "shuffle": true }), None),
        ("22 three starts in half a minute", json!({ "create_limit": true }), None),
        ("23 texts are not split at URLs", json!({ "url_split": "off" }), None),
        ("23 the last piece keeps the id", json!({ "url_split": "last" }), None),
        ("23 no piece keeps the id", json!({ "url_split": "nowhere" }), Some("message")),
        ("24 the end needs the org", json!({ "delete_needs_org": true }), None),
        ("26 reps write when it is over", json!({ "late_agent_message": true }), None),
        ("events are cut anywhere", json!({ "split_bytes": 3, "wire_style": "crlf" }), None),
        ("each session has a pre-chat", json!({ "per_session_prechat": true }), None),
        ("echoes are late", json!({ "echo_delay_ms": 1_500 }), None),
    ]
}

#[tokio::test]
async fn the_loop_holds_at_every_position_of_every_switch() {
    let integration = json!({ "audience": AUDIENCE });
    let stack = Stack::start(Options { integration, replicas: 2, ..Options::default() }).await.unwrap();
    let control = &stack.control;
    let usual = serde_json::to_value(control.configure_salesforce(json!({})).await.unwrap()).unwrap();
    for (number, (position, changes, lost)) in positions().into_iter().enumerate() {
        control.configure_salesforce(changes.clone()).await.unwrap();
        println!("{position}");
        twice(control, number, lost).await;
        let back: HashMap<&String, &Value> =
            changes.as_object().unwrap().keys().map(|switch| (switch, &usual[switch])).collect();
        control.configure_salesforce(json!(back)).await.unwrap();
        control.clear_faults(Api::Salesforce).await.unwrap();
    }
    stack.stop().await.unwrap();
}

/// Two episodes of one customer, in one conversation; the stream is cut in each.
async fn twice(control: &ControlClient, number: usize, lost: Option<&str>) {
    let customer = Customer::phone(&format!("1555020{number:04}"), "Ana");
    if let Some(endpoint) = lost {
        let rule = Rule::new(endpoint, Fault::LoseAnswer).times(2);
        control.add_fault(Api::Salesforce, &rule).await.unwrap();
    }
    let mut conversation = None;
    for episode in 1..=2 {
        let chat = Chat::live(control, customer.clone()).await;
        assert_eq!(*conversation.get_or_insert(chat.conversation.clone()), chat.conversation, "the same");
        chat.rep_says(&format!("hello, {episode}")).await;
        chat.gets("the rep's words", |message| message.text.contains(&format!("hello, {episode}"))).await;
        let order = format!("my order {episode} at https://shop.example.com/{episode}");
        control.say(&Say::text(NUMBER, &customer, &order)).await.unwrap();
        chat.rep_reads(&format!("shop.example.com/{episode}")).await;
        control.cut_streams(&Who::conversation(&chat.conversation)).await.unwrap();
        chat.rep_says(&format!("it comes, {episode}")).await;
        chat.gets("what was said in the gap", |message| {
            message.text.contains(&format!("it comes, {episode}"))
        })
        .await;
        chat.rep(Verb::End).await;
        let ended = |texts: Vec<String>| texts.iter().filter(|text| text.contains("has ended")).count();
        until("the assistant's return", async || {
            (ended(texts(control, &customer).await) == episode).then_some(())
        })
        .await;
    }
    // Nothing came twice, either way.
    let texts = texts(control, &customer).await;
    for words in ["hello, 1", "it comes, 1", "hello, 2", "it comes, 2"] {
        assert_eq!(texts.iter().filter(|text| text.contains(words)).count(), 1, "{words}: {texts:#?}");
    }
    let view = control.conversation(conversation.as_deref().unwrap()).await.unwrap().unwrap();
    for episode in 1..=2 {
        let line = format!("my order {episode}");
        let times = view.texts("EndUser").iter().filter(|text| text.contains(&line)).count();
        assert_eq!(times, 1, "{line}: {:#?}", view.texts("EndUser"));
    }
    assert_eq!(view.sessions.len(), 2, "one session an episode");
}

async fn texts(control: &ControlClient, customer: &Customer) -> Vec<String> {
    let phone = control.phone(NUMBER, &customer.key()).await.unwrap().unwrap();
    phone.received().into_iter().map(str::to_owned).collect()
}
