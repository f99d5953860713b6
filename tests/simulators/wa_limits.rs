//! Windows, buckets and clocks.

use e2e::sim::{Customer, Say, Template, What};
use serde_json::{Value, json};

use crate::{
    help::{NUMBER, TOKEN, World, ana, until},
    wa_send::message,
};

fn text() -> Value {
    message("text", json!({ "body": "x" }))
}

fn violations(world: &World) -> Vec<String> {
    let record = world.sim.record.from(1, usize::MAX);
    let rule = |entry: &e2e::sim::Entry| match &entry.what {
        What::WaViolation { rule, .. } => Some(rule.clone()),
        _ => None,
    };
    record.iter().filter_map(rule).collect()
}

#[tokio::test]
async fn the_window_opens_and_closes_on_a_moved_clock() {
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    whatsapp.configure(json!({ "statuses": false, "window_refusal": "half" })).unwrap();
    whatsapp.say(Say::text(NUMBER, &ana(), "Hi")).unwrap();
    assert_eq!(world.send(&text()).await.0, 200);
    whatsapp.advance(24.0 * 3_600.0);
    let (status, answer) = world.send(&text()).await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(131_047)), "at once");
    assert_eq!(world.send(&text()).await.0, 200, "and in its turn later");
    assert_eq!(violations(&world), ["window", "window"]);
    assert_eq!(
        whatsapp.configure(json!({ "window_refusal": "later" })).unwrap().window_refusal,
        e2e::sim::WindowRefusal::Late
    );
    whatsapp.say(Say::text(NUMBER, &ana(), "Hi again")).unwrap();
    assert_eq!(world.send(&text()).await.0, 200);
    assert_eq!(whatsapp.phone(NUMBER, "15550100199").unwrap().received(), ["x", "x"]);
}

#[tokio::test]
async fn buckets_fill_on_a_moved_clock_and_tell_who_broke_them() {
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    whatsapp.configure(json!({ "statuses": false, "pair_burst": 3, "number_per_second": 1_000 })).unwrap();
    whatsapp.say(Say::text(NUMBER, &ana(), "Hi")).unwrap();
    let send = async || world.send(&text()).await.1["error"]["code"].clone();
    for expected in [Value::Null, Value::Null, Value::Null, json!(131_056)] {
        assert_eq!(send().await, expected);
    }
    whatsapp.advance(6.0);
    assert_eq!((send().await, send().await), (Value::Null, json!(131_056)));
    assert_eq!(violations(&world), ["pair", "pair"]);

    whatsapp.configure(json!({ "only_record_limits": true })).unwrap();
    assert_eq!(send().await, Value::Null, "accepted all the same");
    assert_eq!(violations(&world).len(), 3);

    // A number with a rate of its own.
    whatsapp.configure(json!({ "only_record_limits": false, "pair_limit": false })).unwrap();
    whatsapp.set_setup(NUMBER, json!({ "messages_per_second": 2 })).unwrap();
    whatsapp.advance(1.0);
    let mut codes = Vec::new();
    for _ in 0..20 {
        codes.push(send().await);
    }
    assert!(codes.contains(&json!(130_429)), "{codes:?}");
    assert!(violations(&world).contains(&"number".to_owned()));
}

#[tokio::test]
async fn answers_carry_usage_and_management_has_its_hour() {
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    whatsapp.say(Say::text(NUMBER, &ana(), "Hi")).unwrap();
    whatsapp.configure(json!({ "management_per_hour": 2 })).unwrap();
    let base = world.sim.addresses().whatsapp;
    let get = async || {
        let url = format!("{base}/v25.0/104857600000001/message_templates");
        let response = world.http.get(url).bearer_auth(TOKEN).send().await.unwrap();
        let usage: Value =
            serde_json::from_str(response.headers()["x-business-use-case-usage"].to_str().unwrap()).unwrap();
        (response.json::<Value>().await.unwrap(), usage["104857600000001"][0].clone())
    };
    get().await;
    assert_eq!(get().await.1["call_count"], 100);
    let (answer, usage) = get().await;
    assert_eq!(answer["error"]["code"], 80_007);
    assert_eq!(usage["type"], "whatsapp_business_management");
    assert_eq!(usage["estimated_time_to_regain_access"], 60);
    whatsapp.advance(3_600.0);
    assert_eq!(get().await.0["data"], json!([]));
}

#[tokio::test]
async fn another_customer_is_not_held_up() {
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    whatsapp.configure(json!({ "statuses": false, "pair_burst": 1, "pair_payback": true })).unwrap();
    let bea = Customer::phone("15550100198", "Bea");
    for who in [ana(), bea] {
        whatsapp.say(Say::text(NUMBER, &who, "Hi")).unwrap();
    }
    let mut other = text();
    other["to"] = "+15550100198".into();
    assert_eq!(world.send(&text()).await.0, 200);
    assert_eq!(world.send(&text()).await.1["error"]["code"], 131_056);
    assert_eq!(world.send(&other).await.0, 200);
}

/// The code that the message fails with; none: the customer has it.
async fn fate(world: &World, body: &Value) -> Option<Value> {
    let (status, answer) = world.send(body).await;
    assert_eq!(status, 200, "{answer}");
    let wamid = answer["messages"][0]["id"].clone();
    until("a status", async || {
        let bodies = world.endpoint.bodies();
        let mut statuses = bodies.iter().map(|body| &body["entry"][0]["changes"][0]["value"]["statuses"][0]);
        let of = statuses.find(|status| status["id"] == wamid)?;
        Some((of["status"] == "failed").then(|| of["errors"][0]["code"].clone()))
    })
    .await
}

fn template(name: &str, to: &str) -> Value {
    let mut body = message("template", json!({ "name": name, "language": { "code": "en_US" } }));
    body["to"] = to.into();
    body
}

#[tokio::test]
async fn the_portfolio_reaches_so_many_users_a_day_and_each_gets_so_much_marketing() {
    const WABA: &str = "104857600000001";
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    let sale = Template { category: "MARKETING".into(), ..Template::text(WABA, "sale", "en_US", "Sale") };
    whatsapp.set_template(sale);
    whatsapp.set_template(Template::text(WABA, "order", "en_US", "Order"));
    whatsapp.configure(json!({ "messaging_limit": 2, "marketing_per_user": 1 })).unwrap();
    let [ana_, bea, cleo] = ["15550100199", "15550100198", "15550100197"];
    assert_eq!(fate(&world, &template("sale", ana_)).await, None);
    assert_eq!(fate(&world, &template("sale", ana_)).await, Some(json!(131_049)));
    assert_eq!(fate(&world, &template("order", ana_)).await, None, "the same user, and no marketing");
    assert_eq!(fate(&world, &template("order", bea)).await, None);
    assert_eq!(fate(&world, &template("order", cleo)).await, Some(json!(131_048)));
    assert_eq!(violations(&world), ["marketing_per_user", "messaging_limit"]);
    // Who writes may be answered, and counts for nothing.
    whatsapp.say(Say::text(NUMBER, &Customer::phone(cleo, "Cleo"), "Hi")).unwrap();
    assert_eq!(fate(&world, &template("order", cleo)).await, None);
    whatsapp.advance(24.0 * 3_600.0);
    assert_eq!(fate(&world, &template("sale", ana_)).await, None);
    // Stopped for spam in the middle of it, and let go again.
    whatsapp.set_setup(NUMBER, json!({ "send_error": 131_048 })).unwrap();
    assert_eq!(world.send(&template("order", ana_)).await.1["error"]["code"], 131_048);
    whatsapp.set_setup(NUMBER, json!({ "send_error": null })).unwrap();
    assert_eq!(fate(&world, &template("order", ana_)).await, None);
}
