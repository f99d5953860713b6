//! Salesforce's hook: a second wake-up beside the event streams.

use std::time::{Duration, Instant};

use e2e::sim::Who;
use serde_json::json;
use xtask::stack::{Options, Stack, users};

use crate::chat::{Chat, ana};

const KEY: &str = "a hook key of thirty-two characters or more";

#[tokio::test]
async fn a_hook_brings_the_reps_answer_although_the_stream_stands_still() {
    let integration = json!({ "hook_keys": [KEY] });
    // With accounts: each service has the rights that this takes.
    let options = Options { integration, users: Some(users().unwrap()), replicas: 2, ..Options::default() };
    let mut stack = Stack::start(options).await.unwrap();
    let ingress = stack.service("ingress", 1).url();
    let chat = Chat::live(&stack.control, ana()).await;
    chat.rep_says("hello Ana").await;
    chat.gets("the rep's words", |message| message.text == "hello Ana").await;

    stack.control.stall_streams(&Who::everyone()).await.unwrap();
    let started = Instant::now();
    chat.rep_says("can you hear me?").await;
    let http = runtime::http_client(runtime::HttpTimeouts::default()).unwrap();
    let hook = async |key: &str, conversation: &str| {
        let body = json!({ "conversation": conversation }).to_string();
        let request = http.post(format!("{ingress}/hooks/salesforce/main")).bearer_auth(key).body(body);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(hook("a key that nobody gave out, made up by somebody", &chat.conversation).await, 401);
    assert_eq!(hook(KEY, "5f0c9d1e-3b7a-4c62-9e41-8a2d6b7f1c03").await, 404);
    assert_eq!(hook(KEY, &chat.conversation).await, 204);
    chat.gets("the rep's words", |message| message.text == "can you hear me?").await;
    assert!(started.elapsed() < Duration::from_secs(60), "before the watchdog");
    let log = std::fs::read_to_string(stack.nats.log()).unwrap();
    assert!(!log.contains("Violation"), "{log}");
    stack.stop().await.unwrap();
}
