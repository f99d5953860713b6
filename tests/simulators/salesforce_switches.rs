//! The switches of `miaw-api.md` §12, each in another position than its default. Those of streams are in
//! `streams_trouble.rs`.

use e2e::sim::{Flow, SalesforceConfig, Verb, What};
use serde_json::{Value, json};

use crate::help::{World, id, message, now};

const BY: &str = "?esDeveloperName=Phone_Bridge_Client";

/// A conversation of a verified user under these switches.
async fn world(changes: Value) -> (World, String, String) {
    let world = World::start().await;
    world.sim.salesforce.configure(changes).unwrap();
    let (token, c) = (world.token("u1").await, id(1));
    assert_eq!(world.create(&token, &c).await.0, 201);
    (world, token, c)
}

fn violations(world: &World) -> Vec<String> {
    let entries = world.sim.record.from(1, usize::MAX).into_iter();
    entries
        .filter_map(|entry| if let What::SfViolation { rule, .. } = entry.what { Some(rule) } else { None })
        .collect()
}

#[tokio::test]
async fn every_switch_can_be_set_at_the_start() {
    let config = SalesforceConfig::with(json!({ "replay": { "within_ms": 5 }, "second_stream": "kill_old" }));
    assert_eq!(serde_json::to_value(config.unwrap()).unwrap()["second_stream"], "kill_old");
    SalesforceConfig::with(json!({ "no_such_switch": 1 })).unwrap_err();
}

#[tokio::test]
async fn an_audience_is_checked_where_one_is_required() {
    let (world, ..) = world(json!({})).await;
    world.sim.salesforce.configure(json!({ "require_aud": "https://acme.my.salesforce.com" })).unwrap();
    let verified = async |aud: Option<&str>| {
        let mut claims = json!({ "iss": "https://bridge.example.com", "sub": "u1", "exp": now() + 300 });
        if let Some(aud) = aud {
            claims["aud"] = aud.into();
        }
        let identity = world.identity(json!({ "alg": "RS256", "kid": "key-1" }), claims);
        let (_, body) = world.exchange(&identity).await;
        body["context"]["endUser"]["subject"].as_str().unwrap().contains("/AUTH/")
    };
    assert!(verified(Some("https://acme.my.salesforce.com")).await);
    assert!(!verified(Some("other")).await);
    assert!(!verified(None).await);
}

#[tokio::test]
async fn a_continuation_may_end_with_what_it_continues() {
    let (world, token, c) = world(json!({ "continuation_extends": false, "token_ttl_s": 100 })).await;
    let salesforce = &world.sim.salesforce;
    salesforce.set_clock_offset_ms(60_000);
    let renew = async || {
        let (_, body) =
            world.call("GET", "/authorization/continuation-access-token", &token, &Value::Null).await;
        body["accessToken"].as_str().unwrap().to_owned()
    };
    let short = renew().await;
    salesforce.configure(json!({ "continuation_extends": true })).unwrap();
    let long = renew().await;
    salesforce.set_clock_offset_ms(120_000);
    assert_eq!(world.say(&short, &c, &id(100), "x").await.0, 401);
    assert_eq!(world.say(&long, &c, &id(100), "x").await.0, 202);
}

#[tokio::test]
async fn limits_move_with_the_clock_and_are_recorded() {
    let (world, token, c) = world(json!({
        "tokens_per_minute": 1, "renewals_per_minute": 2, "messages_per_minute": 1, "create_limit": true,
    }))
    .await;
    let renew =
        async || world.call("GET", "/authorization/continuation-access-token", &token, &Value::Null).await.0;
    assert_eq!(world.exchange("x").await.0, 429, "one was the world's own");
    assert_eq!([renew().await, renew().await, renew().await], [200, 200, 429]);
    assert_eq!(world.say(&token, &c, &id(100), "x").await.0, 202);
    assert_eq!(world.say(&token, &c, &id(101), "x").await.0, 429);
    assert_eq!(world.create(&token, &id(2)).await.0, 201);
    assert_eq!(world.create(&token, &id(3)).await.0, 201);
    assert_eq!(world.create(&token, &id(4)).await.0, 429);
    assert_eq!(
        violations(&world),
        ["tokens per minute", "renewals per minute", "messages per minute", "conversation starts"]
    );
    world.sim.salesforce.set_clock_offset_ms(61_000);
    assert_eq!(renew().await, 200);
    assert_eq!(world.say(&token, &c, &id(101), "x").await.0, 202);
    assert_eq!(world.create(&token, &id(4)).await.0, 201);
}

#[tokio::test]
async fn attributes_are_taken_by_parameters_or_dropped_or_refused() {
    let flow = Flow {
        fields: [("Channel__c".to_owned(), "Channel".to_owned())].into(),
        parameters: [("Customer_Name".to_owned(), 11), ("Phone_Number".to_owned(), 5)].into(),
        ..Flow::default()
    };
    let (world, token, c) = world(json!({ "flow": flow })).await;
    let salesforce = &world.sim.salesforce;
    let view = salesforce.conversation(&c).unwrap();
    assert_eq!(view.name, "Dana Okafor", "the phone was too long for its parameter");
    assert_eq!(view.session().unwrap().dropped_attributes, ["Phone_Number"]);
    salesforce.configure(json!({ "strict_attributes": true })).unwrap();
    assert_eq!(world.create(&token, &id(2)).await.0, 400);
    let say = async |attributes: Value| {
        let mut body = message(&id(fastrand::u32(100..)), "x");
        body["routingAttributes"] = attributes;
        world.call("POST", &format!("/conversation/{c}/message"), &token, &body).await.0
    };
    assert_eq!(say(json!({ "Channel": "WhatsApp", "Customer_Name": "Dana" })).await, 202);
    assert_eq!(say(json!({ "Chanel": "WhatsApp" })).await, 400);
    assert_eq!(say(json!({ "Customer_Name": "Dana Okafor 2" })).await, 400);
}

#[tokio::test]
async fn texts_have_a_length() {
    let (world, token, c) = world(json!({ "max_text_bytes": 5 })).await;
    assert_eq!(world.say(&token, &c, &id(100), "12345").await.0, 202);
    assert_eq!(world.say(&token, &c, &id(101), "123é5").await.0, 400, "bytes, not characters");
}

#[tokio::test]
async fn a_text_with_a_url_at_its_end_is_several_messages() {
    let (world, token, c) = world(json!({ "message_limit": false })).await;
    let salesforce = &world.sim.salesforce;
    for (n, (keeps, at)) in
        [("first", Some(0)), ("last", Some(1)), ("nowhere", None), ("off", Some(0))].into_iter().enumerate()
    {
        salesforce.configure(json!({ "url_split": keeps })).unwrap();
        let before = salesforce.conversation(&c).unwrap().texts("EndUser").len();
        let ours = id(100 + n as u32);
        assert_eq!(world.say(&token, &c, &ours, "See https://a.example").await.0, 202);
        let view = salesforce.conversation(&c).unwrap();
        let texts = view.texts("EndUser")[before..].to_vec();
        let pieces: &[&str] =
            if keeps == "off" { &["See https://a.example"] } else { &["See", "https://a.example"] };
        assert_eq!(texts, pieces, "{keeps}");
        let own: Vec<_> = view.entries.iter().filter(|entry| entry.role == "EndUser").skip(before).collect();
        assert_eq!(own.iter().position(|entry| entry.identifier == ours), at, "{keeps}");
        assert_eq!(world.say(&token, &c, &ours, "See https://a.example").await.0, 202);
        assert_eq!(
            salesforce.conversation(&c).unwrap().texts("EndUser").len(),
            before + pieces.len(),
            "a repeat"
        );
    }
}

#[tokio::test]
async fn deleting_may_need_the_org_id() {
    let (world, token, c) = world(json!({ "delete_needs_org": true })).await;
    let url = format!("{}/iamessage/api/v2/conversation/{c}/session{BY}", world.sim.addresses().salesforce);
    let delete = async |org: Option<&str>| {
        let request = world.http.delete(&url).bearer_auth(&token);
        let request = if let Some(org) = org { request.header("X-Org-Id", org) } else { request };
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(delete(None).await, 400);
    assert_eq!(delete(Some("00DRT0000004QhWAAU")).await, 400);
    assert_eq!(delete(Some("00DRT0000004QhW")).await, 204);
    assert_eq!(delete(Some("00DRT0000004QhW")).await, 417, "ended already");
}

#[tokio::test]
async fn closed_conversations_answer_as_set() {
    let (world, token, c) = world(json!({})).await;
    assert_eq!(world.call("DELETE", &format!("/conversation/{c}{BY}"), &token, &Value::Null).await.0, 204);
    for status in [400, 404, 409] {
        world.sim.salesforce.configure(json!({ "closed_send": status })).unwrap();
        assert_eq!(world.say(&token, &c, &id(100), "x").await.0, status);
    }
    let list = |query: &'static str| {
        let (world, token) = (&world, &token);
        async move { world.call("GET", &format!("/conversation/list{query}"), token, &Value::Null).await.1 }
    };
    assert_eq!(list("").await["conversations"], json!([]));
    let all = list("?inclClosedConvs=true").await;
    assert_eq!(
        (&all["closedConversationsFound"], &all["conversations"][0]["conversationId"]),
        (&1.into(), &c.into())
    );
}

#[tokio::test]
async fn the_flag_of_a_new_session_means_what_is_set() {
    let (world, token, c) = world(json!({})).await;
    let salesforce = &world.sim.salesforce;
    let flagged = async |n: u32| {
        let mut body = message(&id(n), "x");
        body["isNewMessagingSession"] = true.into();
        world.call("POST", &format!("/conversation/{c}/message"), &token, &body).await.0
    };
    let sessions = || salesforce.conversation(&c).unwrap().sessions.len();
    assert_eq!((flagged(100).await, sessions()), (202, 1));
    salesforce.configure(json!({ "flag_while_live": "new_session" })).unwrap();
    assert_eq!((flagged(101).await, sessions()), (202, 2));
    salesforce.configure(json!({ "flag_while_live": "400" })).unwrap();
    assert_eq!((flagged(102).await, sessions()), (400, 2));
    salesforce.rep(&c, Verb::End).unwrap();
    salesforce.configure(json!({ "per_session_prechat": true })).unwrap();
    assert_eq!(world.say(&token, &c, &id(103), "x").await.0, 417);
    assert_eq!((flagged(103).await, sessions()), (202, 3));
}

#[tokio::test]
async fn repeats_are_answered_as_set() {
    let (world, token, c) = world(json!({ "dup_message": "duplicate", "dup_conversation": "200" })).await;
    let salesforce = &world.sim.salesforce;
    assert_eq!(world.create(&token, &c).await.0, 200);
    for _ in 0..2 {
        assert_eq!(world.say(&token, &c, &id(100), "x").await.0, 202);
    }
    let view = salesforce.conversation(&c).unwrap();
    assert_eq!(view.texts("EndUser"), ["x", "x"]);
    salesforce
        .configure(json!({ "dup_message": "400", "dup_conversation": "400", "echo_id": "new" }))
        .unwrap();
    assert_eq!((world.create(&token, &c).await.0, world.say(&token, &c, &id(100), "x").await.0), (400, 400));
    let (_, body) = world.say(&token, &c, &id(101), "y").await;
    let entry = body["conversationEntries"][0]["id"].as_str().unwrap().to_owned();
    assert_ne!(entry, id(101));
    let view = salesforce.conversation(&c).unwrap();
    assert_eq!(view.entry(&entry).unwrap().payload["abstractMessage"]["id"], id(101));
}

#[tokio::test]
async fn a_rep_may_write_after_the_end_where_that_is_allowed() {
    let (world, _, c) = world(json!({})).await;
    let salesforce = &world.sim.salesforce;
    salesforce.rep(&c, Verb::Accept { rep: None }).unwrap();
    salesforce.rep(&c, Verb::End).unwrap();
    salesforce.rep(&c, Verb::Say { text: "late".into() }).unwrap_err();
    salesforce.configure(json!({ "late_agent_message": true })).unwrap();
    salesforce.rep(&c, Verb::Say { text: "late".into() }).unwrap();
    assert_eq!(salesforce.conversation(&c).unwrap().texts("Agent"), ["late"]);
}

#[tokio::test]
async fn the_console_acknowledges_by_itself_where_it_is_told_to() {
    let (world, token, c) = world(json!({ "rep_acknowledges": true })).await;
    world.say(&token, &c, &id(100), "early").await;
    world.sim.salesforce.rep(&c, Verb::Accept { rep: None }).unwrap();
    world.say(&token, &c, &id(101), "later").await;
    let acked: Vec<Value> = world
        .sim
        .salesforce
        .conversation(&c)
        .unwrap()
        .entries
        .iter()
        .filter(|entry| entry.entry_type == "DeliveryAcknowledgement")
        .map(|entry| entry.payload["acknowledgedConversationEntryIdentifier"].clone())
        .collect();
    assert_eq!(acked, [id(100), id(101)]);
}

#[tokio::test]
async fn a_transcript_is_a_pdf_where_it_is_allowed() {
    let (world, token, c) = world(json!({})).await;
    world.say(&token, &c, &id(100), "Hello (you)").await;
    let url =
        format!("{}/iamessage/api/v2/conversation/{c}/transcript{BY}", world.sim.addresses().salesforce);
    let get = async || world.http.get(&url).bearer_auth(&token).send().await.unwrap();
    assert_eq!(get().await.status(), 403);
    world.sim.salesforce.configure(json!({ "transcript": true })).unwrap();
    let pdf = get().await.text().await.unwrap();
    assert!(pdf.starts_with("%PDF-1.4") && pdf.contains("(Guest: Hello \\(you\\)) '"), "{pdf}");
}
