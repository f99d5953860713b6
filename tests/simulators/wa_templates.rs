//! Templates: listed, sent, paused.

use e2e::sim::{Act, Did, Happening, Held, Say, Template};
use serde_json::{Value, json};

use crate::{
    help::{NUMBER, TOKEN, World, ana, until},
    wa_inbound::change_with,
    wa_send::{ANA, message},
};

const WABA: &str = "104857600000001";

/// The templates of the recorded list.
fn recorded() -> Vec<Template> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/whatsapp/testdata/api/templates_list.json");
    let list: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let of = |node: &Value| Template {
        waba_id: WABA.into(),
        id: node["id"].as_str().unwrap().into(),
        status: node["status"].as_str().unwrap().into(),
        category: node["category"].as_str().unwrap().into(),
        parameter_format: node["parameter_format"].as_str().unwrap().into(),
        components: node["components"].as_array().unwrap().clone(),
        ..Template::text(WABA, node["name"].as_str().unwrap(), node["language"].as_str().unwrap(), "")
    };
    list["response"]["body"]["data"].as_array().unwrap().iter().map(of).collect()
}

fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

fn order_update(body: &[&str]) -> Value {
    let image = json!({ "type": "image", "image": { "link": "https://example.com/i.jpg" } });
    message(
        "template",
        json!({
            "name": "order_update", "language": { "code": "en_US" }, "components": [
                { "type": "header", "parameters": [image] },
                { "type": "body", "parameters": body.iter().map(|word| text(word)).collect::<Vec<_>>() },
                { "type": "button", "sub_type": "quick_reply", "index": "0",
                  "parameters": [{ "type": "payload", "payload": "THANKS" }] },
                { "type": "button", "sub_type": "url", "index": 1, "parameters": [text("4711")] },
            ],
        }),
    )
}

#[tokio::test]
async fn a_template_goes_outside_the_window_and_its_button_comes_back() {
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    recorded().into_iter().for_each(|template| whatsapp.set_template(template));
    let (status, answer) = world.send(&order_update(&["Ana", "4711"])).await;
    assert_eq!((status, &answer["messages"][0]["message_status"]), (200, &json!("accepted")), "{answer}");
    let phone = whatsapp.phone(NUMBER, ANA).unwrap();
    assert_eq!(phone.received(), ["Hi Ana, order 4711 left today."]);
    let content = phone.messages[0].content.as_ref().unwrap();
    assert_eq!(content.footer.as_deref(), Some("Example Shop"));
    assert_eq!(content.buttons[1].id, "https://example.com/t/4711");
    let tap = Act::TapQuickReply { wamid: phone.messages[0].wamid.clone(), index: 0, without_context: false };
    let wamid = whatsapp.act(Did::new(NUMBER, &ana(), tap)).unwrap();
    let got = change_with(&world, &wamid).await["value"]["messages"][0].clone();
    assert_eq!(got["button"], json!({ "payload": "THANKS", "text": "Thanks" }));
    assert_eq!(got["context"], json!({ "from": "15550100200", "id": phone.messages[0].wamid }));
    let sent = change_with(&world, "\"status\":\"sent\"").await;
    let pricing = &sent["value"]["statuses"][0]["pricing"];
    assert_eq!((&pricing["category"], &pricing["billable"]), (&json!("utility"), &json!(true)));
}

#[tokio::test]
async fn parameters_must_fit() {
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    recorded().into_iter().for_each(|template| whatsapp.set_template(template));
    let named = |change: Option<&str>, words: &[(&str, &str)]| {
        let parameter =
            |(name, word): &(&str, &str)| json!({ "type": "text", "parameter_name": name, "text": word });
        let parameters: Vec<Value> = words.iter().map(parameter).collect();
        message(
            "template",
            json!({
                "name": change.unwrap_or("order_update_named"), "language": { "code": "en_US" },
                "components": [{ "type": "body", "parameters": parameters }],
            }),
        )
    };
    let with = |path: &str, value: Value| {
        let mut body = order_update(&["Ana", "4711"]);
        *body.pointer_mut(path).unwrap() = value;
        body
    };
    let components = "/template/components";
    for (body, status, code) in [
        (order_update(&["Ana"]), 400, 132_000),
        (with("/template/name", "nope".into()), 404, 132_001),
        (with("/template/language/code", "en_GB".into()), 404, 132_001),
        (with("/template/language", json!({})), 400, 131_008),
        (with(&format!("{components}/0/parameters/0"), text("no image")), 400, 132_012),
        (with(&format!("{components}/0/parameters"), json!([])), 400, 132_012),
        (order_update(&["A\nna", "4711"]), 400, 132_018),
        (order_update(&["A     na", "4711"]), 400, 132_018),
        (order_update(&[&"x".repeat(1_020), "4711"]), 400, 132_005),
        (with(&format!("{components}/3/index"), 5.into()), 400, 131_009),
        (with(&format!("{components}/3/parameters"), json!([])), 400, 131_008),
        (with(&format!("{components}/3/sub_type"), "quick_reply".into()), 400, 132_012),
        (named(None, &[("first_name", "Ana"), ("order_id", "1")]), 400, 132_015),
    ] {
        let (got, answer) = world.send(&body).await;
        assert_eq!((got, &answer["error"]["code"]), (status, &json!(code)), "{body} {answer}");
    }
    whatsapp
        .happen(Happening::TemplateStatus {
            waba_id: WABA.into(),
            name: "order_update_named".into(),
            language: "en_US".into(),
            status: "APPROVED".into(),
            event: None,
            reason: None,
            other_info: None,
        })
        .unwrap();
    assert_eq!(world.send(&named(None, &[("order_id", "1"), ("first_name", "Ana")])).await.0, 200);
    assert_eq!(whatsapp.phone(NUMBER, ANA).unwrap().received(), ["Hi Ana, order 1 left today."]);
    assert_eq!(world.send(&named(None, &[("first_name", "Ana")])).await.1["error"]["code"], 132_000);
    let wrong = named(None, &[("first_name", "Ana"), ("order", "1")]);
    assert_eq!(world.send(&wrong).await.1["error"]["code"], 132_012);
}

#[tokio::test]
async fn a_status_change_stops_a_template_and_tells() {
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    whatsapp.set_template(Template::text(WABA, "hello", "en_US", "Hello"));
    let body = message("template", json!({ "name": "hello", "language": { "code": "en_US" } }));
    let change = |status: &str| Happening::TemplateStatus {
        waba_id: WABA.into(),
        name: "hello".into(),
        language: "en_US".into(),
        status: status.into(),
        event: None,
        reason: None,
        other_info: Some(json!({ "title": "FIRST_PAUSE", "description": "Low quality" })),
    };
    for (status, code) in [("PAUSED", 132_015), ("DISABLED", 132_016), ("PENDING", 132_001)] {
        whatsapp.happen(change(status)).unwrap();
        assert_eq!(world.send(&body).await.1["error"]["code"], code);
        let got = change_with(&world, &format!("\"event\":\"{status}\"")).await;
        assert_eq!(got["field"], "message_template_status_update");
        assert_eq!(got["value"]["message_template_name"], "hello");
    }
    let entry = world.endpoint.bodies()[0]["entry"][0].clone();
    assert!(entry["time"].is_u64() && entry["id"] == WABA);
    whatsapp.happen(change("APPROVED")).unwrap();
    let mut held = whatsapp.templates()[0].clone();
    held.held = Some(Held::Dropped);
    held.category = "MARKETING".into();
    whatsapp.set_template(held.clone());
    let (_, answer) = world.send(&body).await;
    assert_eq!(answer["messages"][0]["message_status"], "held_for_quality_assessment");
    let code = async |wamid: &Value| {
        until("a failed status", async || {
            let bodies = world.endpoint.bodies();
            bodies.iter().find_map(|body| {
                let status = &body["entry"][0]["changes"][0]["value"]["statuses"][0];
                (status["id"] == *wamid && status["status"] == "failed")
                    .then(|| status["errors"][0]["code"].clone())
            })
        })
        .await
    };
    assert_eq!(code(&answer["messages"][0]["id"]).await, 132_015);

    whatsapp.set_template(Template { held: None, ..held });
    whatsapp.say(Say::text(NUMBER, &ana(), "stop that")).unwrap();
    let stop = Happening::Preference { number: NUMBER.into(), customer: ANA.into(), value: "stop".into() };
    whatsapp.happen(stop).unwrap();
    let (_, answer) = world.send(&body).await;
    assert_eq!(code(&answer["messages"][0]["id"]).await, 131_050);
}

#[tokio::test]
async fn the_list_has_pages_and_stale_cursors() {
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    for n in 0..30 {
        whatsapp.set_template(Template::text(WABA, &format!("t{n:02}"), "en_US", "x"));
    }
    let get = async |query: &str| -> Value {
        let url = format!("{}/v25.0/{WABA}/message_templates?{query}", world.sim.addresses().whatsapp);
        world.http.get(url).bearer_auth(TOKEN).send().await.unwrap().json().await.unwrap()
    };
    let first = get("limit=20&fields=name,status").await;
    assert_eq!(first["data"].as_array().unwrap().len(), 20);
    assert_eq!(first["data"][0], json!({ "name": "t00", "status": "APPROVED", "id": "1689556900000001" }));
    let next = first["paging"]["next"].as_str().unwrap();
    let second: Value = world.http.get(next).bearer_auth(TOKEN).send().await.unwrap().json().await.unwrap();
    assert_eq!(second["data"].as_array().unwrap().len(), 10);
    assert_eq!(second["paging"]["next"], Value::Null);
    assert_eq!(get("name=t07").await["data"].as_array().unwrap().len(), 1);
    assert_eq!(get("status=PAUSED").await["data"], json!([]));
    whatsapp.set_template(Template::text(WABA, "another", "en_US", "x"));
    let after = first["paging"]["cursors"]["after"].as_str().unwrap();
    assert_eq!(get(&format!("after={after}")).await["error"]["code"], 131_059);
    let url = format!("{}/v25.0/1689556900000001", world.sim.addresses().whatsapp);
    let one: Value = world.http.get(url).bearer_auth(TOKEN).send().await.unwrap().json().await.unwrap();
    assert_eq!(one["name"], "t00");
}
