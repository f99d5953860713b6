//! The supervision itself, on the smallest stack that does something.

use std::time::{Duration, Instant};

use e2e::sim::{Customer, Say};
use serde_json::Value;
use xtask::stack::{NUMBER, Options, Stack};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ingress_starts_takes_webhooks_survives_a_kill_and_stops() {
    let options = Options { services: vec!["ingress"], ..Options::default() };
    let mut stack = Stack::start(options).await.unwrap();
    stack.control.verify(NUMBER).await.unwrap();
    let dana = Customer::phone("15550100123", "Dana Okafor");

    stack.service("ingress", 0).kill().await.unwrap();
    stack.control.say(&Say::text(NUMBER, &dana, "Hello")).await.unwrap();
    assert_eq!(stack.control.undelivered().await.unwrap(), 1);
    stack.restart("ingress", 0).await.unwrap();
    stack.ready().await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while stack.control.undelivered().await.unwrap() > 0 {
        assert!(Instant::now() < deadline, "the webhook was not taken");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let log = tokio::process::Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["log", "--json", "--nats-url", &stack.nats.url()])
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(log.stdout).unwrap();
    let entries: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said: Vec<_> = entries.iter().filter(|entry| entry["kind"] == "wa").collect();
    let [said] = said.as_slice() else { panic!("{text}") };
    assert_eq!(said["entry"]["whatsapp_message"]["text"], "Hello");
    assert_eq!(said["entry"]["whatsapp_message"]["raw"]["type"], "text", "shown as the JSON it is");
    stack.stop().await.unwrap();
}
