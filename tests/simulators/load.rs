//! The simulators must not be what a load test measures.

use std::time::Instant;

use e2e::sim::{AutoRep, Customer, Say, What};
use futures::{StreamExt as _, future::join_all};
use serde_json::json;

use crate::help::{NUMBER, World, id, until};

const CONVERSATIONS: u32 = 200;
const MESSAGES: u32 = 5;

/// Per message: webhook, forward to Salesforce, the rep's answer on a stream, a send, three statuses.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_conversations_go_round() {
    let world = World::start().await;
    let (whatsapp, salesforce) = (&world.sim.whatsapp, &world.sim.salesforce);
    whatsapp.configure(json!({ "number_limit": false, "pair_limit": false })).unwrap();
    salesforce.configure(json!({ "token_limit": false, "message_limit": false })).unwrap();
    salesforce.set_auto_rep(Some(AutoRep { accept_after_ms: 1, reply_after_ms: 1, ..AutoRep::default() }));
    let world = &world;
    let open = join_all((0..CONVERSATIONS).map(async |n| {
        let token = world.token(&format!("u{n}")).await;
        let stream = world.stream(&token, "0").await.bytes_stream();
        assert_eq!(world.create(&token, &id(n)).await.0, 201);
        (n, token, stream)
    }))
    .await;
    let began = Instant::now();
    let round_trips = open.into_iter().map(async |(n, token, mut stream)| {
        let phone = format!("1555{n:07}");
        let who = Customer::phone(&phone, "Load");
        let mut seen = String::new();
        for m in 0..MESSAGES {
            whatsapp.say(Say::text(NUMBER, &who, "x")).unwrap();
            assert_eq!(world.say(&token, &id(n), &id(1_000 + n * 100 + m), "x").await.0, 202);
            while !seen.contains(&format!("[{}] {}", m + 1, id(n))) {
                seen.push_str(std::str::from_utf8(&stream.next().await.unwrap().unwrap()).unwrap());
            }
            let body = json!({
                "messaging_product": "whatsapp", "to": phone, "type": "text", "text": { "body": "answer" },
            });
            assert_eq!(world.send(&body).await.0, 200);
        }
    });
    join_all(round_trips).await;
    let took = began.elapsed();
    until("every webhook", async || {
        if whatsapp.undelivered() > 0 {
            return None;
        }
        let read = whatsapp.phones().iter().flat_map(|p| &p.messages).filter(|m| m.tick == "read").count();
        (read == (CONVERSATIONS * MESSAGES) as usize).then_some(())
    })
    .await;
    // The last ticks were queued a moment ago.
    until("the last webhook", async || (whatsapp.undelivered() == 0).then_some(())).await;
    let record = world.sim.record.from(1, usize::MAX);
    let webhooks =
        record.iter().filter(|entry| matches!(entry.what, What::Webhook { status: 200, .. })).count();
    assert_eq!(webhooks, (CONVERSATIONS * MESSAGES * 4) as usize);
    let rate = f64::from(CONVERSATIONS * MESSAGES) / took.as_secs_f64();
    println!("{rate:.0} round trips a second, {} record entries", record.len());
}
