//! Every kind of message that a business can send.

use e2e::sim::{Act, Customer, Did, Say, What};
use serde_json::{Value, json};

use crate::help::{NUMBER, World, ana, until};

pub(crate) const ANA: &str = "15550100199";

/// A message to Ana of this type with this object.
pub(crate) fn message(kind: &str, object: Value) -> Value {
    json!({ "messaging_product": "whatsapp", "to": "+15550100199", "type": kind, kind: object })
}

fn interactive(kind: &str, action: Value) -> Value {
    message("interactive", json!({ "type": kind, "body": { "text": "Choose" }, "action": action }))
}

fn buttons(titles: &[&str]) -> Value {
    let button = |title: &&str| json!({ "type": "reply", "reply": { "id": title, "title": title } });
    interactive("button", json!({ "buttons": titles.iter().map(button).collect::<Vec<_>>() }))
}

fn rows(sections: usize, rows: usize) -> Value {
    let row = |s: usize, r: usize| json!({ "id": format!("{s}.{r}"), "title": format!("Row {s}.{r}") });
    let section = |s| json!({ "title": "Section", "rows": (0..rows).map(|r| row(s, r)).collect::<Vec<_>>() });
    interactive(
        "list",
        json!({ "button": "Open", "sections": (0..sections).map(section).collect::<Vec<_>>() }),
    )
}

fn cta(title: &str, url: &str) -> Value {
    let parameters = json!({ "display_text": title, "url": url });
    interactive("cta_url", json!({ "name": "cta_url", "parameters": parameters }))
}

fn flow() -> Value {
    let parameters = json!({
        "flow_message_version": "3", "flow_id": "77", "flow_cta": "Start", "flow_token": "t", "mode": "published",
        "flow_action": "navigate",
    });
    interactive("flow", json!({ "name": "flow", "parameters": parameters }))
}

#[tokio::test]
async fn every_kind_shows_on_the_phone() {
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    whatsapp.configure(json!({ "statuses": false })).unwrap();
    let first = whatsapp.say(Say::text(NUMBER, &ana(), "Hi")).unwrap();
    let mut quote = message("text", json!({ "body": "This one" }));
    quote["context"] = json!({ "message_id": first });
    let card = json!([{ "name": { "formatted_name": "Dora", "first_name": "Dora" } }]);
    let ask = interactive("location_request_message", json!({ "name": "send_location" }));
    let number = interactive("request_contact_info", json!({ "name": "request_contact_info" }));
    for (body, kind, text) in [
        (quote, "text", "This one"),
        (
            message("location", json!({ "latitude": "37.7", "longitude": -122.4, "name": "Here" })),
            "location",
            "Here",
        ),
        (message("contacts", card), "contacts", "Dora"),
        (message("reaction", json!({ "message_id": first, "emoji": "👍" })), "reaction", "👍"),
        (buttons(&["Yes", "No"]), "interactive/button", "Choose"),
        (rows(2, 5), "interactive/list", "Choose"),
        (cta("Track", "https://example.com/t"), "interactive/cta_url", "Choose"),
        (ask, "interactive/location_request_message", "Choose"),
        (number, "interactive/request_contact_info", "Choose"),
        (flow(), "interactive/flow", "Choose"),
        (
            message("document", json!({ "link": "https://example.com/a.pdf", "filename": "a.pdf" })),
            "document",
            "[document]",
        ),
    ] {
        let (status, answer) = world.send(&body).await;
        assert_eq!(status, 200, "{answer}");
        let phone = whatsapp.phone(NUMBER, ANA).unwrap();
        let last = phone.messages.last().unwrap();
        assert_eq!((last.kind(), last.text.as_str(), last.visible), (kind, text, true));
        assert_eq!(answer["messages"][0]["id"], last.wamid.as_str());
    }
    let phone = whatsapp.phone(NUMBER, ANA).unwrap();
    let content = |n: usize| phone.messages[n].content.as_deref().unwrap();
    assert_eq!(content(1).quoted.as_deref(), Some(first.as_str()));
    assert_eq!(content(4).target.as_deref(), Some(first.as_str()));
    assert_eq!(content(5).buttons[1].title, "No");
    assert_eq!((content(6).rows.len(), content(6).rows[9].id.as_str()), (10, "1.4"));
    assert_eq!(content(7).buttons[0].id, "https://example.com/t");
    assert_eq!(content(11).file.as_ref().unwrap().filename.as_deref(), Some("a.pdf"));
    // The record keeps the same.
    let record = world.sim.record.from(1, 1_000);
    let shown: Vec<_> = record
        .iter()
        .filter_map(|entry| match &entry.what {
            What::Shown { content, .. } => content.as_deref(),
            _ => None,
        })
        .collect();
    assert_eq!(shown, phone.messages.iter().skip(1).filter_map(|m| m.content.as_deref()).collect::<Vec<_>>());
}

#[tokio::test]
async fn every_limit_has_its_code() {
    let world = World::start().await;
    world.sim.whatsapp.configure(json!({ "statuses": false, "pair_limit": false })).unwrap();
    let first = world.sim.whatsapp.say(Say::text(NUMBER, &ana(), "Hi")).unwrap();
    let x = |n: usize| "x".repeat(n);
    let with = |mut body: Value, path: &str, value: Value| {
        *body.pointer_mut(path).unwrap() = value;
        body
    };
    let header = |kind: &str| {
        let mut body = buttons(&["Yes"]);
        body["interactive"]["header"] = json!({ "type": kind, kind: "x" });
        body
    };
    let mut footer = buttons(&["Yes"]);
    footer["interactive"]["footer"] = json!({ "text": x(61) });
    let mut list_header = rows(1, 1);
    list_header["interactive"]["header"] =
        json!({ "type": "image", "image": { "link": "https://x.example/i" } });
    let mut reaction = message("reaction", json!({ "message_id": first, "emoji": "👍" }));
    reaction["context"] = json!({ "message_id": first });
    let mut same_id = buttons(&["Yes", "No"]);
    same_id["interactive"]["action"]["buttons"][1]["reply"]["id"] = "Yes".into();
    let mut untitled = rows(2, 1);
    untitled["interactive"]["action"]["sections"][0]["title"] = Value::Null;
    let image = |object: Value| message("image", object);
    let card = json!([{ "name": { "formatted_name": "Dora", "first_name": "Dora" } }]);
    let cards = |n: usize| message("contacts", json!(vec![card[0].clone(); n]));
    for (body, code) in [
        (image(json!({})), 131_008),
        (image(json!({ "id": "1", "link": "https://x.example/i" })), 131_009),
        (image(json!({ "id": "123" })), 131_009),
        (image(json!({ "link": "ftp://x.example/i" })), 131_009),
        (image(json!({ "link": "https://x.example/i", "caption": x(1_025) })), 131_009),
        (message("audio", json!({ "link": "https://x.example/i", "caption": "no" })), 131_009),
        (message("sticker", json!({ "link": "https://x.example/i", "caption": "no" })), 131_009),
        (message("location", json!({ "latitude": 91, "longitude": 0 })), 131_009),
        (message("location", json!({ "latitude": 1 })), 131_008),
        (cards(6), 131_009),
        (cards(0), 131_009),
        (message("contacts", json!([{ "name": { "formatted_name": "D" } }])), 131_008),
        (message("contacts", json!([{}])), 131_008),
        (reaction, 131_009),
        (message("reaction", json!({ "message_id": first, "emoji": "thumbs up" })), 131_009),
        (buttons(&[]), 131_009),
        (buttons(&["1", "2", "3", "4"]), 131_009),
        (buttons(&[&x(21)]), 131_009),
        (same_id, 131_009),
        (with(buttons(&["Yes"]), "/interactive/action/buttons/0/reply/id", x(257).into()), 131_009),
        (with(buttons(&["Yes"]), "/interactive/body/text", x(1_025).into()), 131_009),
        (with(buttons(&["Yes"]), "/interactive/body", json!({})), 131_008),
        (with(buttons(&["Yes"]), "/interactive/type", "polls".into()), 131_009),
        (header("poem"), 131_009),
        (header("image"), 131_009),
        (footer, 131_009),
        (list_header, 131_009),
        (rows(11, 1), 131_009),
        (rows(2, 6), 131_009),
        (rows(1, 11), 131_009),
        (untitled, 131_008),
        (with(rows(1, 1), "/interactive/action/button", x(21).into()), 131_009),
        (with(rows(1, 1), "/interactive/action/sections/0/rows/0/title", x(25).into()), 131_009),
        (with(rows(1, 1), "/interactive/action/sections/0/title", x(25).into()), 131_009),
        (cta(&x(21), "https://example.com"), 131_009),
        (cta("Go", "example.com"), 131_009),
        (with(flow(), "/interactive/action/parameters/flow_cta", x(31).into()), 131_009),
        (with(flow(), "/interactive/action/parameters/flow_message_version", "2".into()), 131_009),
        (message("order", json!({})), 131_051),
        (json!({ "messaging_product": "whatsapp", "type": "text", "text": { "body": "x" } }), 131_008),
    ] {
        let (status, answer) = world.send(&body).await;
        assert_eq!((status, &answer["error"]["code"]), (400, &json!(code)), "{body} {answer}");
        assert!(
            answer["error"]["error_data"]["details"].is_string() && answer["error"]["fbtrace_id"].is_string()
        );
    }
    assert_eq!(world.send(&cards(5)).await.0, 200);
    assert_eq!(world.send(&rows(10, 1)).await.0, 200);
    assert_eq!(world.send(&buttons(&["1", "2", &x(20)])).await.0, 200);
}

#[tokio::test]
async fn reading_marks_all_before_and_typing_ends_by_itself() {
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    let first = whatsapp.say(Say::text(NUMBER, &ana(), "1")).unwrap();
    let second = whatsapp.say(Say::text(NUMBER, &ana(), "2")).unwrap();
    whatsapp.say(Say::text(NUMBER, &ana(), "3")).unwrap();
    let read = |wamid: &str| {
        json!({ "messaging_product": "whatsapp", "status": "read", "message_id": wamid,
                "typing_indicator": { "type": "text" } })
    };
    let typing = || whatsapp.phone(NUMBER, ANA).unwrap().typing;
    assert_eq!(world.send(&read(&second)).await.1, json!({ "success": true }));
    let ticks: Vec<_> = whatsapp.phone(NUMBER, ANA).unwrap().messages.into_iter().map(|m| m.tick).collect();
    assert_eq!(ticks, ["read", "read", "sent"]);
    assert!(typing());
    whatsapp.advance(24.0);
    assert!(typing());
    whatsapp.advance(1.0);
    assert!(!typing());
    world.send(&read(&first)).await;
    let (_, sent) = world.send(&message("text", json!({ "body": "done" }))).await;
    assert!(!typing(), "our message ends it");

    let (status, answer) = world.send(&read(sent["messages"][0]["id"].as_str().unwrap())).await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(100)));
    assert!(answer["error"]["error_data"]["details"].as_str().unwrap().contains("is outgoing"));
    assert_eq!(world.send(&read("wamid.nobody")).await.1["error"]["code"], 100);
    let read = |entry: &e2e::sim::Entry| matches!(entry.what, What::MarkedRead { typing: true, .. });
    assert_eq!(world.sim.record.from(1, 1_000).iter().filter(|entry| read(entry)).count(), 2);
}

#[tokio::test]
async fn what_was_accepted_may_fail_by_recipient_and_by_target() {
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    let first = whatsapp.say(Say::text(NUMBER, &ana(), "Hi")).unwrap();
    let failing = json!({ ANA: { "code": 131_026, "late": true }, "15550100198": { "code": 131_031 } });
    whatsapp.configure(json!({ "failing": failing })).unwrap();
    let text = message("text", json!({ "body": "x" }));
    let wamid = world.send(&text).await.1["messages"][0]["id"].as_str().unwrap().to_owned();
    let failed = async |wamid: &str| {
        until("a failed status", async || {
            let bodies = world.endpoint.bodies();
            bodies.iter().find_map(|body| {
                let status = &body["entry"][0]["changes"][0]["value"]["statuses"][0];
                (status["id"] == wamid && status["status"] == "failed").then(|| status.clone())
            })
        })
        .await
    };
    let status = failed(&wamid).await;
    assert_eq!((&status["errors"][0]["code"], &status["recipient_id"]), (&json!(131_026), &json!(ANA)));
    assert_eq!(status["recipient_user_id"], Value::Null, "sent to a phone: no user id in failed");
    assert!(!whatsapp.phone(NUMBER, ANA).unwrap().messages[1].visible);
    let mut other = text.clone();
    other["to"] = "+15550100198".into();
    let (status, answer) = world.send(&other).await;
    assert_eq!((status, &answer["error"]["code"]), (403, &json!(131_031)));

    whatsapp.configure(json!({ "failing": {} })).unwrap();
    let react = |target: &str| message("reaction", json!({ "message_id": target, "emoji": "👍" }));
    let reaction = world.send(&react(&first)).await.1["messages"][0]["id"].as_str().unwrap().to_owned();
    for target in [reaction.as_str(), "wamid.nobody"] {
        let sent = world.send(&react(target)).await.1;
        assert_eq!(failed(sent["messages"][0]["id"].as_str().unwrap()).await["errors"][0]["code"], 131_009);
    }
    let ticks: Vec<&str> = whatsapp
        .phone(NUMBER, ANA)
        .unwrap()
        .messages
        .iter()
        .filter(|m| m.wamid == reaction)
        .map(|m| if m.tick == "sent" || m.tick == "accepted" { "sent" } else { "more" })
        .collect();
    assert_eq!(ticks, ["sent"], "reactions are sent and never delivered");
}

#[tokio::test]
async fn the_wa_id_may_differ_from_the_number_dialled() {
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    whatsapp.configure(json!({ "wa_ids": { "5511990000042": "551190000042" } })).unwrap();
    let bruno = Customer::phone("551190000042", "Bruno");
    whatsapp.say(Say::text(NUMBER, &bruno, "Oi")).unwrap();
    let mut body = message("text", json!({ "body": "Olá" }));
    body["to"] = "+55 11 99000-0042".into();
    let (status, answer) = world.send(&body).await;
    assert_eq!(status, 200);
    assert_eq!(answer["contacts"][0], json!({ "input": "+55 11 99000-0042", "wa_id": "551190000042" }));
    assert_eq!(whatsapp.phone(NUMBER, "551190000042").unwrap().received(), ["Olá"]);
}

#[tokio::test]
async fn a_group_is_one_chat_with_a_status_per_participant() {
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    let bea = Customer::phone("15550100198", "Bea");
    for who in [ana(), bea] {
        let mut did = Did::new(NUMBER, &who, Act::Text { body: "Hello all".into() });
        did.group = Some("Z3JvdXA".into());
        whatsapp.act(did).unwrap();
    }
    let mut body = message("text", json!({ "body": "Hello group" }));
    body["recipient_type"] = "group".into();
    body["to"] = "Z3JvdXA".into();
    let (status, answer) = world.send(&body).await;
    assert_eq!((status, &answer["messages"][0]["group_id"]), (200, &json!("Z3JvdXA")));
    assert_eq!(whatsapp.phone(NUMBER, "Z3JvdXA").unwrap().received(), ["Hello group"]);
    let statuses = until("delivered", async || {
        let bodies = world.endpoint.bodies();
        bodies.iter().find_map(|body| {
            let statuses = &body["entry"][0]["changes"][0]["value"]["statuses"];
            (statuses[0]["status"] == "delivered").then(|| statuses.clone())
        })
    })
    .await;
    assert_eq!(statuses.as_array().unwrap().len(), 2);
    assert_eq!(statuses[1]["recipient_participant_id"], "15550100198");
    assert_eq!(
        (&statuses[0]["recipient_type"], &statuses[0]["recipient_id"]),
        (&json!("group"), &json!("Z3JvdXA"))
    );
}
