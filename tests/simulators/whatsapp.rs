//! The send endpoint.

use e2e::sim::{Customer, Say, What, WindowRefusal};
use serde_json::{Value, json};

use crate::help::{NUMBER, TOKEN, World, ana, until};

fn text(to: &str, body: &str) -> Value {
    json!({
        "messaging_product": "whatsapp", "recipient_type": "individual", "to": to, "type": "text",
        "text": { "body": body }, "biz_opaque_callback_data": "ours-1",
    })
}

#[tokio::test]
async fn a_text_inside_the_window_is_shown_and_ticked() {
    let world = World::start().await;
    world.sim.whatsapp.say(Say::text(NUMBER, &ana(), "Hi")).unwrap();
    let (status, body) = world.send(&text("+15550100199", "Hello Ana")).await;
    assert_eq!(status, 200);
    assert_eq!(body["contacts"], json!([{ "input": "+15550100199", "wa_id": "15550100199" }]));
    let wamid = body["messages"][0]["id"].as_str().unwrap();
    let phone = until("read", async || {
        let phone = world.sim.whatsapp.phone(NUMBER, "15550100199")?;
        (phone.messages[1].tick == "read").then_some(phone)
    })
    .await;
    assert_eq!(phone.received(), ["Hello Ana"]);
    assert_eq!(
        (phone.messages[1].wamid.as_str(), phone.messages[1].opaque.as_deref()),
        (wamid, Some("ours-1"))
    );
    let statuses = until("statuses", async || {
        let bodies = world.endpoint.bodies();
        let all: Vec<Value> = bodies
            .iter()
            .filter_map(|body| body["entry"][0]["changes"][0]["value"]["statuses"][0].as_object().cloned())
            .map(Value::from)
            .collect();
        (all.len() == 3).then_some(all)
    })
    .await;
    assert!(statuses.iter().all(|s| s["id"] == wamid && s["biz_opaque_callback_data"] == "ours-1"));
}

#[tokio::test]
async fn malformed_requests_get_their_documented_error() {
    let world = World::start().await;
    world.sim.whatsapp.say(Say::text(NUMBER, &ana(), "Hi")).unwrap();
    let good = text("+15550100199", "Hello");
    let with = |change: fn(&mut Value)| {
        let mut body = good.clone();
        change(&mut body);
        body
    };
    let long = |n: usize| text("+15550100199", &"é".repeat(n));
    for (body, status, code) in [
        (with(|b| b["messaging_product"] = "sms".into()), 400, 100),
        (with(|b| b["type"] = Value::Null), 400, 131008),
        (with(|b| b["type"] = "telegram".into()), 400, 131009),
        (with(|b| b["text"] = json!({})), 400, 131008),
        (long(4_097), 400, 131009),
        (long(0), 400, 131009),
        (with(|b| b["to"] = Value::Null), 400, 131009),
        (with(|b| b["to"] = "nobody".into()), 400, 131009),
        (with(|b| b["to"] = "+15550100200".into()), 400, 131021),
        (with(|b| b["biz_opaque_callback_data"] = "x".repeat(513).into()), 400, 131009),
    ] {
        let (got, answer) = world.send(&body).await;
        assert_eq!((got, &answer["error"]["code"]), (status, &json!(code)), "{body}");
    }
    assert_eq!(world.send(&long(4_096)).await.0, 200);
    assert_eq!(world.send_as("other", NUMBER, &good).await.1["error"]["code"], 190);
    let (status, answer) = world.send_as(TOKEN, "123123", &good).await;
    assert_eq!((status, &answer["error"]["error_subcode"]), (400, &json!(33)));
    let product = with(|b| {
        b["type"] = "interactive".into();
        b["interactive"] = json!({ "type": "product" });
    });
    assert_eq!(world.send(&product).await.0, 501);
}

#[tokio::test]
async fn what_is_not_there_says_so() {
    let world = World::start().await;
    let url = format!("{}/v25.0/{NUMBER}/calls", world.sim.addresses().whatsapp);
    let response = world.http.post(url).send().await.unwrap();
    assert_eq!(response.status(), 501);
    assert_eq!(response.json::<Value>().await.unwrap()["simulator"], "whatsapp");
}

#[tokio::test]
async fn the_window_closes_24_hours_after_the_customers_last_message() {
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    let send = async || world.send(&text("+15550100199", "late")).await;
    assert_eq!(send().await.1["error"]["code"], 131047, "never wrote");
    whatsapp.say(Say { age_ms: 24 * 3_600_000 - 60_000, ..Say::text(NUMBER, &ana(), "Hi") }).unwrap();
    assert_eq!(send().await.0, 200);
    whatsapp.set_clock_offset_ms(120_000);
    assert_eq!(send().await.1["error"]["code"], 131047);

    whatsapp.configure(json!({ "window_refusal": WindowRefusal::Late })).unwrap();
    let (status, body) = send().await;
    assert_eq!(status, 200);
    let wamid = body["messages"][0]["id"].as_str().unwrap();
    until("a failed status", async || {
        let bodies = world.endpoint.bodies();
        bodies.iter().find_map(|body| {
            let status = &body["entry"][0]["changes"][0]["value"]["statuses"][0];
            (status["id"] == wamid && status["status"] == "failed" && status["errors"][0]["code"] == 131047)
                .then_some(())
        })
    })
    .await;
    assert_eq!(
        whatsapp.phone(NUMBER, "15550100199").unwrap().received(),
        ["late"],
        "the refused one is not seen"
    );
}

#[tokio::test]
async fn one_pair_may_burst_to_45_and_blocks_no_other() {
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    let bea = Customer::phone("15550100198", "Bea");
    whatsapp.configure(json!({ "statuses": false })).unwrap();
    whatsapp.say(Say::text(NUMBER, &ana(), "Hi")).unwrap();
    whatsapp.say(Say::text(NUMBER, &bea, "Hi")).unwrap();
    let mut codes = Vec::new();
    for n in 0..46 {
        codes.push(world.send(&text("+15550100199", &n.to_string())).await.1["error"]["code"].clone());
    }
    assert_eq!(codes.iter().filter(|code| code.is_null()).count(), 45);
    assert_eq!(codes[45], 131056);
    assert_eq!(world.send(&text("+15550100198", "x")).await.0, 200);

    whatsapp.configure(json!({ "pair_limit": false, "number_per_second": 3 })).unwrap();
    let mut last = Value::Null;
    for _ in 0..5 {
        last = world.send(&text("+15550100199", "y")).await.1;
    }
    assert_eq!(last["error"]["code"], 130429);
}

#[tokio::test]
async fn a_customer_without_a_phone_is_reached_by_bsuid() {
    let world = World::start().await;
    let bruno = Customer::hidden("BR.50217733991846002178", "Bruno Lima");
    world.sim.whatsapp.say(Say::text(NUMBER, &bruno, "Oi")).unwrap();
    let mut body = text("", "Olá");
    body.as_object_mut().unwrap().remove("to");
    body["recipient"] = "BR.50217733991846002178".into();
    let (status, answer) = world.send(&body).await;
    assert_eq!(status, 200);
    assert_eq!(answer["contacts"][0]["user_id"], "BR.50217733991846002178");
    body["recipient"] = "BR.1".into();
    assert_eq!(world.send(&body).await.1["error"]["code"], 131009);
    let webhook = until("webhook", async || world.endpoint.bodies().first().cloned()).await;
    let message = &webhook["entry"][0]["changes"][0]["value"]["messages"][0];
    assert_eq!(
        (&message["from"], &message["from_user_id"]),
        (&Value::Null, &"BR.50217733991846002178".into())
    );
}

#[tokio::test]
async fn requests_and_what_they_showed_are_in_the_record_in_order() {
    let world = World::start().await;
    world.sim.whatsapp.say(Say::text(NUMBER, &ana(), "Hi")).unwrap();
    world.send(&text("+15550100199", "Hello")).await;
    let record = world.sim.record.from(1, 1_000);
    assert!(record.iter().zip(1..).all(|(entry, seq)| entry.seq == seq));
    let at = |wanted: &dyn Fn(&What) -> bool| record.iter().position(|entry| wanted(&entry.what)).unwrap();
    let said = at(&|what| matches!(what, What::CustomerSaid { .. }));
    let shown = at(&|what| matches!(what, What::Shown { opaque: Some(o), .. } if o == "ours-1"));
    let answered = at(&|what| matches!(what, What::WaRequest { status: 200, .. }));
    assert!(said < shown && shown < answered);
}
