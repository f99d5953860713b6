//! Single templates over the API: what is refused, and what is the same request. What comes of them is
//! tested on a whole stack (tests/e2e/outreach.rs).
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../campaigns/bench.rs"]
#[allow(clippy::allow_attributes, dead_code, reason = "the bench is shared: this uses a part of it")]
mod bench;
#[path = "../shared/mod.rs"]
mod shared;

use std::pin::pin;

use bench::{Bench, NUMBER};
use console::SignIn;
use domain::{
    ContactId, Seq,
    derive::uuid,
    session::{At, Context, Conversation, decide},
    settings::Policy,
};
use futures::StreamExt as _;
use proto::StoredDecision;
use reqwest::Method;
use serde_json::{Value, json};

fn body(changes: &[(&str, Value)]) -> Value {
    let mut body = json!({
        "number": NUMBER, "to": "+34 600 000 001",
        "template": { "name": "chairs", "language": "en_US", "body": ["Ana", "20%"] },
    });
    for (name, value) in changes {
        *body.pointer_mut(name).unwrap() = value.clone();
    }
    body
}

/// What handoff does with what is asked for.
fn handoff(bench: &Bench) {
    let (log, shutdown) = (bench.servers.log.clone(), bench.servers.shutdown.clone());
    bench.servers.tasks.spawn(async move {
        let mut facts = pin!(log.tail(vec!["conv.*.*.out.*".into()], 1).take_until(shutdown.cancelled()));
        while let Some(entry) = facts.next().await {
            let key = entry.address.unwrap().key;
            let fact = proto::convert::fact(proto::decode(entry.payload).unwrap()).unwrap().unwrap();
            let context = Context {
                key,
                contact: ContactId(uuid("contact", &[])),
                policy: &Policy::default(),
                assistant_on: true,
                has_team: true,
                routing: false,
                outreaches: &[],
            };
            let at = At { seq: entry.seq, time: entry.at };
            let decision = decide(Conversation::new(domain::PhoneNumberId::new(NUMBER)), at, &fact, &context);
            let stored = StoredDecision { answers: entry.seq, policy_version: 1, decision };
            log.append_decision(&key, 0, stored.encode()).await.unwrap();
        }
    });
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_before_it_is_in_the_log() {
    let bench = Bench::start(SignIn::default()).await;
    handoff(&bench);
    let send = async |key: &str, body: &Value, status: u16| {
        let request = bench.request(Method::POST, "/api/v1/messages").header("idempotency-key", key);
        bench.json(request.json(body), status).await
    };
    let without_key = bench.request(Method::POST, "/api/v1/messages").json(&body(&[]));
    assert_eq!(bench.json(without_key, 400).await["error"], "malformed_idempotency_key");
    for (changes, status, error) in [
        (("/to", json!("12")), 422, "malformed_recipient"),
        (("/number", json!("1")), 422, "unknown_number"),
        (("/number", json!(1)), 400, "malformed_message"),
        (("/template/name", json!("nope")), 422, "template_unfit"),
        (("/template/body", json!(["Ana"])), 422, "template_unfit"),
        (("/template/body", json!({ "1": "Ana", "2": "20%" })), 422, "template_unfit"),
        (("/template/body", json!(["Ana\n", "20%"])), 422, "template_unfit"),
        (("/template/body", json!(["", "20%"])), 400, "malformed_message"),
    ] {
        let told = send("a-key-for-all", &body(&[changes]), status).await;
        assert_eq!(told["error"], error, "{told}");
        assert!(told["what_to_do"].is_string());
    }
    let facts =
        async || bench.servers.log.read(vec!["conv.*.*.out.*".into()], 1, Seq::MAX, 100).await.unwrap().len();
    assert_eq!(facts().await, 0);

    // None of them used the key up.
    let sent = send("a-key-for-all", &body(&[]), 202).await;
    assert_eq!(
        (&sent["state"], &sent["repeated"], &sent["checked"]),
        (&json!("accepted"), &json!(false), &json!(true))
    );
    let again = send("a-key-for-all", &body(&[]), 202).await;
    assert_eq!((&again["id"], &again["repeated"]), (&sent["id"], &json!(true)));
    for changes in [("/to", json!("+34 600 000 002")), ("/template/body", json!(["Bea", "20%"]))] {
        assert_eq!(send("a-key-for-all", &body(&[changes]), 409).await["error"], "idempotency_key_reused");
    }
    assert_eq!(facts().await, 1);
    // What was paused since is no reason to answer a repeat otherwise.
    let mut paused = bench.sim.whatsapp.templates()[0].clone();
    paused.status = "PAUSED".into();
    bench.sim.whatsapp.set_template(paused);
    assert_eq!(send("a-key-for-all", &body(&[]), 202).await["id"], sent["id"]);

    let path = format!("/api/v1/messages/{}", sent["id"].as_str().unwrap());
    let told = bench.json(bench.request(Method::GET, &path), 200).await;
    assert_eq!(told["state"], "accepted");
    assert!(!told.to_string().contains("600000001"), "nobody is named");
    for id in ["x", "00000000000000000000000000000000-00000000000000000000000000000000"] {
        let unknown = bench.request(Method::GET, &format!("/api/v1/messages/{id}"));
        assert_eq!(bench.json(unknown, 404).await["error"], "unknown_message");
    }
    bench.stop().await;
}

#[tokio::test]
async fn where_meta_cannot_be_asked_the_template_goes_as_it_is() {
    let bench = Bench::start(SignIn::default()).await;
    handoff(&bench);
    bench.sim.set_up(e2e::sim::Api::WhatsApp, false).await;
    let request = bench.request(Method::POST, "/api/v1/messages").header("idempotency-key", "meta-is-away");
    let sent = bench.json(request.json(&body(&[])), 202).await;
    assert_eq!((&sent["state"], &sent["checked"]), (&json!("accepted"), &json!(false)));
    bench.stop().await;
}
