//! What docs/operations.md says about backup and restore, with the calls that `nats account backup` and
//! `restore` make: every stream saved while everything runs, all servers lost, all put back, and the
//! conversation goes on where it was.

use std::time::Duration;

use async_nats::Client;
use e2e::sim::{Customer, Say, Verb};
use futures::StreamExt as _;
use serde_json::{Value, json};
use xtask::stack::{NUMBER, Options, SERVICES, Stack};

use crate::until;

const PATIENCE: Duration = Duration::from_secs(20);
/// Names processes that are gone.
const LEFT_OUT: &str = "KV_BATON_MEMBERSHIP";

struct Saved {
    name: String,
    /// Configuration and state, as restoring asks for them.
    about: Value,
    chunks: Vec<bytes::Bytes>,
}

#[tokio::test]
async fn a_conversation_goes_on_after_everything_was_lost_and_restored() {
    let mut stack = Stack::start(Options::default()).await.unwrap();
    let customer = Customer::phone("15550100177", "Ana");
    stack.control.say(&Say::text(NUMBER, &customer, "I want to speak to a human")).await.unwrap();
    let conversation = until("a conversation", async || {
        stack.control.conversations().await.unwrap().pop().filter(|view| view.session().is_some())
    })
    .await
    .conversation;
    stack.control.rep(&conversation, &Verb::Accept { rep: None }).await.unwrap();
    let rep_says = async |stack: &Stack, text: &str| {
        stack.control.rep(&conversation, &Verb::Say { text: text.into() }).await.unwrap();
    };
    let on_phone = async |stack: &Stack, text: &str| {
        let phone = stack.control.phone(NUMBER, &customer.key()).await.unwrap().unwrap();
        phone.received().iter().filter(|received| **received == text).count()
    };
    let at_rep = async |stack: &Stack, text: &str| {
        let view = stack.control.conversation(&conversation).await.unwrap().unwrap();
        view.texts("EndUser").iter().filter(|seen| seen.contains(text)).count()
    };
    rep_says(&stack, "before").await;
    until("the answer", async || (on_phone(&stack, "before").await == 1).then_some(())).await;
    stack.control.say(&Say::text(NUMBER, &customer, "my order 7")).await.unwrap();
    until("the customer's words", async || (at_rep(&stack, "my order 7").await == 1).then_some(())).await;

    let saved = save(&async_nats::connect(stack.nats.url()).await.unwrap()).await;
    for name in ["CONVERSATIONS", "HISTORY", "KV_BATON_CHECKPOINTS"] {
        let stream = saved.iter().find(|saved| saved.name == name).expect(name);
        assert!(stream.about["state"]["messages"].as_u64() > Some(0), "{name}");
    }

    for name in SERVICES {
        stack.service(name, 0).kill().await.unwrap();
    }
    stack.nats.restart_empty().await.unwrap();
    stack.valkey.restart_empty().await.unwrap();
    let client = async_nats::connect(stack.nats.url()).await.unwrap();
    for stream in saved.iter().filter(|saved| saved.name != LEFT_OUT) {
        put_back(&client, stream).await;
    }
    for name in SERVICES {
        stack.restart(name, 0).await.unwrap();
    }
    stack.ready().await.unwrap();

    rep_says(&stack, "after").await;
    until("an answer after it", async || (on_phone(&stack, "after").await == 1).then_some(())).await;
    stack.control.say(&Say::text(NUMBER, &customer, "and order 8")).await.unwrap();
    until("the customer's words after it", async || (at_rep(&stack, "and order 8").await == 1).then_some(()))
        .await;
    // What was there before shows once, as it did.
    assert_eq!((on_phone(&stack, "before").await, at_rep(&stack, "my order 7").await), (1, 1));
    assert_eq!(stack.control.conversations().await.unwrap().len(), 1);
    stack.stop().await.unwrap();
}

async fn ask(client: &Client, subject: String, body: Value) -> Value {
    let answer = tokio::time::timeout(PATIENCE, client.request(subject, body.to_string().into()));
    let answer: Value = serde_json::from_slice(&answer.await.unwrap().unwrap().payload).unwrap();
    assert!(answer["error"].is_null(), "{answer}");
    answer
}

async fn save(client: &Client) -> Vec<Saved> {
    let names = ask(client, "$JS.API.STREAM.NAMES".into(), json!({})).await;
    let mut saved = Vec::new();
    for name in names["streams"].as_array().unwrap() {
        let name = name.as_str().unwrap().to_owned();
        let inbox = client.new_inbox();
        let mut arriving = client.subscribe(inbox.clone()).await.unwrap();
        let wanted = json!({ "deliver_subject": inbox, "no_consumers": true, "chunk_size": 64 * 1024 });
        let about = ask(client, format!("$JS.API.STREAM.SNAPSHOT.{name}"), wanted).await;
        let mut chunks = Vec::new();
        loop {
            let message = tokio::time::timeout(PATIENCE, arriving.next()).await.unwrap().unwrap();
            if message.payload.is_empty() {
                break;
            }
            // So many bytes may be unanswered before the broker waits.
            if let Some(reply) = message.reply {
                client.publish(reply, "".into()).await.unwrap();
            }
            chunks.push(message.payload);
        }
        let about = json!({ "config": about["config"], "state": about["state"] });
        saved.push(Saved { name, about, chunks });
    }
    saved
}

async fn put_back(client: &Client, saved: &Saved) {
    let started = ask(client, format!("$JS.API.STREAM.RESTORE.{}", saved.name), saved.about.clone()).await;
    let to = started["deliver_subject"].as_str().unwrap().to_owned();
    for chunk in &saved.chunks {
        let answer = tokio::time::timeout(PATIENCE, client.request(to.clone(), chunk.clone())).await;
        let answer = answer.unwrap().unwrap().payload;
        assert!(!String::from_utf8_lossy(&answer).contains("error"), "{}: {answer:?}", saved.name);
    }
    let last = tokio::time::timeout(PATIENCE, client.request(to, "".into())).await.unwrap().unwrap();
    let last: Value = serde_json::from_slice(&last.payload).unwrap();
    assert!(last["error"].is_null(), "{}: {last}", saved.name);
    assert_eq!(last["state"]["messages"], saved.about["state"]["messages"], "{}", saved.name);
}
