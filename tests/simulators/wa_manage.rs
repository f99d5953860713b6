//! The calls with which a number is set up and checked, and the switches that break it.

use e2e::sim::{Happening, Say, What};
use serde_json::{Value, json};

use crate::{
    help::{Endpoint, NUMBER, SECRET, TOKEN, World, ana, until},
    wa_send::message,
};

const WABA: &str = "104857600000001";
const APP: &str = "331100220033001";

async fn call(world: &World, method: &str, path: &str, token: &str, body: &Value) -> (u16, Value) {
    let url = format!("{}/v25.0/{path}", world.sim.addresses().whatsapp);
    let mut request = world.http.request(method.parse().unwrap(), url).bearer_auth(token);
    if !body.is_null() {
        request = request.json(body);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn get(world: &World, path: &str) -> Value {
    call(world, "GET", path, TOKEN, &Value::Null).await.1
}

#[tokio::test]
async fn a_good_number_looks_good() {
    let world = World::start().await;
    let fields = "id,display_phone_number,verified_name,status,quality_rating,code_verification_status,\
                  name_status,platform_type,throughput,whatsapp_business_manager_messaging_limit,\
                  webhook_configuration,account_mode,is_official_business_account";
    let mut node = get(&world, &format!("{NUMBER}?fields={fields}")).await;
    assert_eq!(node["webhook_configuration"]["application"], world.endpoint.url.as_str());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/whatsapp/testdata/api/phone_number_get.json");
    let sample: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut sample = sample["response"]["body"].clone();
    for node in [&mut node, &mut sample] {
        node.as_object_mut().unwrap().remove("webhook_configuration");
    }
    assert_eq!(node, sample);
    let list = get(&world, &format!("{WABA}/phone_numbers")).await;
    assert_eq!(list["data"][0]["id"], NUMBER);
    let health = get(&world, &format!("{NUMBER}?fields=health_status")).await;
    assert_eq!(health["health_status"]["can_send_message"], "AVAILABLE");
    assert_eq!(health["health_status"]["entities"].as_array().unwrap().len(), 4);
    let apps = get(&world, &format!("{WABA}/subscribed_apps")).await;
    assert_eq!(apps["data"][0]["whatsapp_business_api_data"]["id"], APP);
    let token = get(&world, &format!("debug_token?input_token={TOKEN}")).await;
    assert_eq!((&token["data"]["is_valid"], &token["data"]["app_id"]), (&json!(true), &json!(APP)));
    let app_token = format!("{APP}|{SECRET}");
    let (_, fields) = call(&world, "GET", &format!("{APP}/subscriptions"), &app_token, &Value::Null).await;
    assert_eq!(fields["data"][0]["fields"][0]["name"], "messages");
}

#[tokio::test]
async fn wrong_ids_and_tokens_are_told_apart() {
    let world = World::start().await;
    for path in ["77", "77/phone_numbers", "77/message_templates", "77/subscribed_apps", "77/message_history"]
    {
        let (status, answer) = call(&world, "GET", path, TOKEN, &Value::Null).await;
        assert_eq!((status, &answer["error"]["error_subcode"]), (400, &json!(33)), "{path} {answer}");
        assert_eq!(answer["error"]["type"], "GraphMethodException");
        let (status, answer) = call(&world, "GET", path, "wrong", &Value::Null).await;
        assert_eq!((status, &answer["error"]["code"]), (401, &json!(190)), "{path}");
    }
    let (status, answer) = call(&world, "GET", &format!("{APP}/subscriptions"), TOKEN, &Value::Null).await;
    assert_eq!((status, &answer["error"]["code"]), (403, &json!(10)), "needs the app's token");
    let unknown = get(&world, "debug_token?input_token=nope").await;
    assert_eq!(unknown["data"]["is_valid"], false);
}

#[tokio::test]
async fn each_switch_breaks_one_thing() {
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    whatsapp.say(Say::text(NUMBER, &ana(), "Hi")).unwrap();
    let text = message("text", json!({ "body": "x" }));
    let set = |changes: Value| whatsapp.set_setup(NUMBER, changes).unwrap();

    set(json!({ "token_valid": false }));
    assert_eq!(world.send(&text).await.1["error"]["code"], 190);
    set(json!({ "token_valid": true, "scopes": ["whatsapp_business_management"] }));
    assert_eq!(world.send(&text).await.1["error"]["code"], 10);
    set(json!({ "scopes": ["whatsapp_business_messaging"] }));
    assert_eq!(get(&world, &format!("{WABA}/phone_numbers")).await["error"]["code"], 10);
    set(json!({ "scopes": ["whatsapp_business_messaging", "whatsapp_business_management"] }));

    set(json!({ "health": "BLOCKED", "health_code": 141_006, "send_error": 131_031 }));
    let health = get(&world, &format!("{NUMBER}?fields=health_status")).await["health_status"].clone();
    assert_eq!(health["entities"][0]["errors"][0]["error_code"], 141_006);
    assert_eq!(world.send(&text).await.1["error"]["code"], 131_031);
    set(json!({ "health": "AVAILABLE", "send_error": null }));

    let restricted = Happening::Restricted {
        number: NUMBER.into(),
        restriction: "RESTRICTED_BIZ_INITIATED_MESSAGING".into(),
        code: 368,
        expiration: 1_796_004_800,
    };
    whatsapp.happen(restricted).unwrap();
    assert_eq!(world.send(&text).await.0, 403);
    assert_eq!(get(&world, &format!("{NUMBER}?fields=status")).await["status"], "RESTRICTED");
    whatsapp.happen(Happening::RestrictionLifted { number: NUMBER.into() }).unwrap();
    assert_eq!(world.send(&text).await.0, 200);

    set(json!({ "fields": ["account_update"] }));
    let lost = whatsapp.say(Say::text(NUMBER, &ana(), "not subscribed to messages")).unwrap();
    let dropped = |entry: &e2e::sim::Entry| matches!(&entry.what, What::WebhookDropped { ids, .. } if ids == std::slice::from_ref(&lost));
    assert!(world.sim.record.from(1, 1_000).iter().any(dropped));
}

#[tokio::test]
async fn subscribing_is_one_call_and_callbacks_override_each_other() {
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    let path = format!("{WABA}/subscribed_apps");
    let none = Value::Null;
    assert_eq!(call(&world, "DELETE", &path, TOKEN, &none).await.1, json!({ "success": true }));
    assert_eq!(get(&world, &path).await, json!({ "data": [] }));
    whatsapp.say(Say::text(NUMBER, &ana(), "lost")).unwrap();
    assert_eq!(call(&world, "POST", &path, TOKEN, &none).await.0, 200);
    whatsapp.say(Say::text(NUMBER, &ana(), "to the app")).unwrap();
    until("webhook", async || (world.endpoint.bodies().len() == 1).then_some(())).await;

    let other = Endpoint::start().await;
    let over = json!({ "override_callback_uri": other.url, "verify_token": "verify me" });
    let bad = json!({ "override_callback_uri": other.url, "verify_token": "wrong" });
    assert_eq!(call(&world, "POST", &path, TOKEN, &bad).await.1["error"]["code"], 100);
    assert_eq!(call(&world, "POST", &path, TOKEN, &over).await.0, 200);
    assert_eq!(get(&world, &path).await["data"][0]["override_callback_uri"], other.url.as_str());
    whatsapp.say(Say::text(NUMBER, &ana(), "to the account's")).unwrap();
    until("webhook", async || (other.bodies().len() == 1).then_some(())).await;

    let third = Endpoint::start().await;
    let over = json!({ "webhook_configuration": { "override_callback_uri": third.url, "verify_token": "verify me" } });
    assert_eq!(call(&world, "POST", NUMBER, TOKEN, &over).await.0, 200);
    whatsapp.say(Say::text(NUMBER, &ana(), "to the number's")).unwrap();
    until("webhook", async || (third.bodies().len() == 1).then_some(())).await;
    let node =
        get(&world, &format!("{NUMBER}?fields=webhook_configuration")).await["webhook_configuration"].clone();
    assert_eq!(node["phone_number"], third.url.as_str());
    assert_eq!(node["whatsapp_business_account"], other.url.as_str());
}

#[tokio::test]
async fn history_tells_statuses_and_what_became_of_their_webhooks() {
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    whatsapp
        .configure(json!({ "read_after_ms": null, "retry_first_ms": 60_000, "retry_cap_ms": 60_000 }))
        .unwrap();
    whatsapp.say(Say::text(NUMBER, &ana(), "Hi")).unwrap();
    until("delivery", async || (whatsapp.undelivered() == 0).then_some(())).await;
    let (_, sent) = world.send(&message("text", json!({ "body": "x" }))).await;
    let wamid = sent["messages"][0]["id"].as_str().unwrap().to_owned();
    let events = async || {
        let history = get(&world, &format!("{NUMBER}/message_history?message_id={wamid}")).await;
        history["data"][0]["events"]["data"].as_array().cloned().unwrap_or_default()
    };
    until("both delivered", async || {
        let events = events().await;
        let all = |event: &Value| event["webhook_update_state"] == "DELIVERED";
        (events.len() == 2 && events.iter().all(all)).then_some(())
    })
    .await;
    let got = events().await;
    assert_eq!(
        (&got[0]["delivery_status"], &got[1]["delivery_status"]),
        (&json!("SENT"), &json!("DELIVERED"))
    );
    *world.endpoint.status.lock().unwrap() = 503;
    let (_, sent) = world.send(&message("text", json!({ "body": "y" }))).await;
    let wamid = sent["messages"][0]["id"].as_str().unwrap().to_owned();
    until("a retry", async || {
        let history = get(&world, &format!("{NUMBER}/message_history?message_id={wamid}")).await;
        (history["data"][0]["events"]["data"][0]["webhook_update_state"] == "RETRYING").then_some(())
    })
    .await;
}
