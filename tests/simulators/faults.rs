//! Faults on order.

use std::time::Duration;

use e2e::sim::{Api, Fault, Rule, Say, What};
use serde_json::{Value, json};

use crate::help::{NUMBER, TOKEN, World, ana, id, message, until};

fn hello() -> Value {
    json!({
        "messaging_product": "whatsapp", "to": "+15550100199", "type": "text", "text": { "body": "Hello" },
        "biz_opaque_callback_data": "ours",
    })
}

#[tokio::test]
async fn a_lost_answer_leaves_the_message_and_a_refused_one_does_not() {
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    whatsapp.say(Say::text(NUMBER, &ana(), "Hi")).unwrap();
    let url = format!("{}/v25.0/{NUMBER}/messages", world.sim.addresses().whatsapp);
    let send = async || world.http.post(&url).bearer_auth(TOKEN).json(&hello()).send().await;
    whatsapp.add_fault(Rule::new("messages", Fault::LoseAnswer).times(1));
    send().await.unwrap_err();
    assert_eq!(whatsapp.phone(NUMBER, "15550100199").unwrap().received().len(), 1);
    whatsapp.add_fault(Rule::new("messages", Fault::Refuse).times(1));
    send().await.unwrap_err();
    assert_eq!(whatsapp.phone(NUMBER, "15550100199").unwrap().received().len(), 1);
    let wa_requests: Vec<_> = world
        .sim
        .record
        .from(1, 1_000)
        .into_iter()
        .filter_map(|entry| match entry.what {
            What::WaRequest { status, fault, opaque, wamid, .. } => {
                Some((status, fault, opaque, wamid.is_some()))
            }
            _ => None,
        })
        .collect();
    let ours = Some("ours".to_owned());
    assert_eq!(
        wa_requests,
        [(0, Some("lose_answer".into()), ours.clone(), true), (0, Some("refuse".into()), ours, false)]
    );
}

#[tokio::test]
async fn statuses_come_with_the_body_and_headers_of_the_real_thing() {
    let world = World::start().await;
    let (token, c) = (world.token("u1").await, id(1));
    world.create(&token, &c).await;
    let url = format!("{}/iamessage/api/v2/conversation/{c}/message", world.sim.addresses().salesforce);
    let send = async || {
        let request = world.http.post(&url).bearer_auth(&token).json(&message(&id(100), "x"));
        let response = request.send().await.unwrap();
        let retry = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        (response.status().as_u16(), retry, kind)
    };
    let salesforce = &world.sim.salesforce;
    for (status, retry_after) in [(429, Some(3)), (429, None), (500, None), (503, None)] {
        salesforce.add_fault(Rule::new("message", Fault::Status { status, retry_after }).times(1)).unwrap();
    }
    assert_eq!(send().await, (429, Some("3".into()), "application/json".into()));
    assert_eq!(send().await.1, None);
    assert_eq!(send().await.0, 500);
    assert_eq!(send().await, (503, None, "text/html".into()));
    assert_eq!(send().await.0, 202);
    world.sim.whatsapp.add_fault(Rule::new("messages", Fault::Graph { code: 131056 }).times(1));
    assert_eq!(world.send(&hello()).await.1["error"]["code"], 131056);
}

#[tokio::test]
async fn a_timeout_never_answers_and_a_delay_does() {
    let world = World::start().await;
    let (token, c) = (world.token("u1").await, id(1));
    world.create(&token, &c).await;
    let salesforce = &world.sim.salesforce;
    salesforce.add_fault(Rule::new("message", Fault::Timeout).times(1)).unwrap();
    salesforce.add_fault(Rule::new("message", Fault::Delay { ms: 30 })).unwrap();
    let first = tokio::time::timeout(Duration::from_millis(100), world.say(&token, &c, &id(100), "x")).await;
    assert!(first.is_err());
    let began = std::time::Instant::now();
    assert_eq!(world.say(&token, &c, &id(100), "x").await.0, 202);
    assert!(began.elapsed() >= Duration::from_millis(30));
    assert_eq!(salesforce.conversation(&c).unwrap().texts("EndUser"), ["x"]);
}

#[tokio::test]
async fn an_api_that_is_down_refuses_connections_and_comes_back_on_its_port() {
    let world = World::start().await;
    let (token, c) = (world.token("u1").await, id(1));
    let live = world.stream(&token, "0").await;
    world.sim.set_up(Api::Salesforce, false).await;
    until("the stream broke", async || world.sim.salesforce.streams().is_empty().then_some(())).await;
    drop(live);
    let url = format!("{}/iamessage/api/v2/conversation/{c}", world.sim.addresses().salesforce);
    let error = world.http.get(&url).send().await.unwrap_err();
    assert!(error.is_connect(), "{error:?}");
    world.sim.set_up(Api::Salesforce, true).await;
    assert_eq!(world.create(&token, &c).await.0, 201);
}

#[tokio::test]
async fn a_status_may_come_before_the_answer() {
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    whatsapp.say(Say::text(NUMBER, &ana(), "Hi")).unwrap();
    whatsapp.configure(json!({ "sent_after_ms": 0 })).unwrap();
    whatsapp.add_fault(Rule::new("messages", Fault::SlowAnswer { ms: 150 }));
    let hello = hello();
    let status_seen = until("the status", async || {
        let bodies = world.endpoint.bodies();
        let value = |body: &Value| body["entry"][0]["changes"][0]["value"]["statuses"][0]["status"].clone();
        bodies.iter().any(|body| value(body) == "sent").then_some(std::time::Instant::now())
    });
    let answered = async {
        assert_eq!(world.send(&hello).await.0, 200);
        std::time::Instant::now()
    };
    let (status_seen, answered) = tokio::join!(status_seen, answered);
    assert!(status_seen < answered);
}

#[tokio::test]
async fn what_a_caller_gave_up_on_happens_all_the_same() {
    let world = World::start().await;
    let (token, c) = (world.token("u1").await, id(1));
    world.create(&token, &c).await;
    let salesforce = &world.sim.salesforce;
    salesforce.add_fault(Rule::new("message", Fault::Delay { ms: 100 }).times(1)).unwrap();
    let given_up =
        tokio::time::timeout(Duration::from_millis(20), world.say(&token, &c, &id(100), "x")).await;
    assert!(given_up.is_err());
    until("the entry", async || (salesforce.conversation(&c)?.texts("EndUser") == ["x"]).then_some(())).await;
    let seen =
        |what: &What| matches!(what, What::SfRequest { endpoint, status: 202, .. } if endpoint == "message");
    until("the record", async || {
        world.sim.record.from(1, 1_000).iter().any(|entry| seen(&entry.what)).then_some(())
    })
    .await;
}
