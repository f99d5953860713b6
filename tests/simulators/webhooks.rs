//! Webhooks: signature, retries, copies, batches, the handshake.

use e2e::sim::{RawWebhook, Say, What, wire};
use serde_json::json;

use crate::help::{NUMBER, SECRET, World, ana, number, until};

#[tokio::test]
async fn webhooks_are_signed_over_escaped_bytes() {
    let world = World::start().await;
    world.sim.whatsapp.say(Say::text(NUMBER, &ana(), "Olá, a/b €")).unwrap();
    until("delivery", async || (world.sim.whatsapp.undelivered() == 0).then_some(())).await;
    let got = world.endpoint.got.lock().unwrap();
    let (headers, body) = &got[0];
    assert_eq!(headers["x-hub-signature-256"], wire::sign(SECRET, body).as_str());
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert!(text.is_ascii() && text.contains("Ol\\u00e1, a\\/b \\u20ac"), "{text}");
}

#[tokio::test]
async fn a_message_looks_like_the_recorded_one() {
    let world = World::start().await;
    let mut who = ana();
    who.bsuid = Some("US.70131924466018321540".into());
    world.sim.whatsapp.say(Say::text(NUMBER, &who, "Hello, is my order 4711 on its way?")).unwrap();
    let mut body = until("webhook", async || world.endpoint.bodies().first().cloned()).await;
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/whatsapp/testdata/messages/text.json");
    let sample: serde_json::Value = serde_json::from_slice(&std::fs::read(sample).unwrap()).unwrap();
    for key in ["id", "timestamp"] {
        let path = format!("/entry/0/changes/0/value/messages/0/{key}");
        *body.pointer_mut(&path).unwrap() = sample.pointer(&path).unwrap().clone();
    }
    assert_eq!(body, sample);
}

#[tokio::test]
async fn a_webhook_comes_again_until_200() {
    let world = World::start().await;
    world.sim.whatsapp.configure(json!({ "retry_first_ms": 10 })).unwrap();
    *world.endpoint.status.lock().unwrap() = 503;
    let wamid = world.sim.whatsapp.say(Say::text(NUMBER, &ana(), "Hi")).unwrap();
    until("three attempts", async || (world.endpoint.bodies().len() >= 3).then_some(())).await;
    assert_eq!(world.sim.whatsapp.undelivered(), 1);
    *world.endpoint.status.lock().unwrap() = 200;
    until("delivery", async || (world.sim.whatsapp.undelivered() == 0).then_some(())).await;
    let record = world.sim.record.from(1, 1_000);
    let statuses: Vec<u16> = record
        .iter()
        .filter_map(|entry| match &entry.what {
            What::Webhook { ids, status, .. } if ids == std::slice::from_ref(&wamid) => Some(*status),
            _ => None,
        })
        .collect();
    assert!(
        statuses.len() >= 4 && statuses.iter().filter(|status| **status == 200).count() == 1,
        "{statuses:?}"
    );
}

#[tokio::test]
async fn five_copies_at_once_and_batches() {
    let world = World::start().await;
    world.sim.whatsapp.configure(json!({ "duplicates": 5 })).unwrap();
    world.sim.whatsapp.say(Say::text(NUMBER, &ana(), "Hi")).unwrap();
    until("five copies", async || (world.endpoint.bodies().len() == 5).then_some(())).await;
    world.endpoint.got.lock().unwrap().clear();
    world.sim.whatsapp.configure(json!({ "duplicates": 1, "batch": 20, "batch_wait_ms": 50 })).unwrap();
    for n in 0..20 {
        world.sim.whatsapp.say(Say::text(NUMBER, &ana(), &n.to_string())).unwrap();
    }
    until("delivery", async || (world.sim.whatsapp.undelivered() == 0).then_some(())).await;
    let bodies = world.endpoint.bodies();
    let changes: usize = bodies.iter().map(|b| b["entry"][0]["changes"].as_array().unwrap().len()).sum();
    assert_eq!(changes, 20);
    assert!(bodies.len() <= 3, "batched: {}", bodies.len());
}

#[tokio::test]
async fn any_recorded_value_can_be_posted() {
    let world = World::start().await;
    let raw =
        RawWebhook { number: NUMBER.into(), field: "account_update".into(), value: json!({ "event": "X" }) };
    world.sim.whatsapp.post_webhook(raw).unwrap();
    let body = until("webhook", async || world.endpoint.bodies().first().cloned()).await;
    assert_eq!(
        body["entry"][0]["changes"][0],
        json!({ "field": "account_update", "value": { "event": "X" } })
    );
}

#[tokio::test]
async fn the_handshake_tells_a_good_endpoint_from_a_bad_one() {
    let world = World::start().await;
    world.sim.whatsapp.verify(NUMBER).await.unwrap();
    let mut other = number(&world.endpoint.url);
    other.verify_token = "wrong".into();
    world.sim.whatsapp.set_number(other);
    world.sim.whatsapp.verify(NUMBER).await.unwrap_err();
}
