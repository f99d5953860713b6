//! Files: up, down, and what can be wrong with them.

use axum::{Router, routing::get};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use e2e::sim::{Act, Did, File, MediaTrouble, Say, Trouble, What};
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::{
    help::{NUMBER, TOKEN, World, ana, until},
    wa_send::{ANA, message},
};

const JPEG: &[u8] = b"\xff\xd8\xff\xe0 a picture";

async fn upload(world: &World, mime_type: &str, bytes: &[u8]) -> (u16, Value) {
    let part = Part::bytes(bytes.to_vec()).file_name("photo.jpg").mime_str(mime_type).unwrap();
    let form = Form::new()
        .text("messaging_product", "whatsapp")
        .text("type", mime_type.to_owned())
        .part("file", part);
    let url = format!("{}/v25.0/{NUMBER}/media", world.sim.addresses().whatsapp);
    let response = world.http.post(url).bearer_auth(TOKEN).multipart(form).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn get_json(world: &World, path: &str, token: &str) -> (u16, Value) {
    let url = format!("{}/v25.0/{path}", world.sim.addresses().whatsapp);
    let response = world.http.get(url).bearer_auth(token).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn download(world: &World, url: &str) -> reqwest::Response {
    world.http.get(url).bearer_auth(TOKEN).header("user-agent", "test").send().await.unwrap()
}

/// Ana sends a picture: its id and the webhook's object.
async fn picture(world: &World) -> (String, Value) {
    let act = Act::Image { file: File::bytes(JPEG), caption: Some("The broken part".into()) };
    let wamid = world.sim.whatsapp.act(Did::new(NUMBER, &ana(), act)).unwrap();
    let image = until("webhook", async || {
        let bodies = world.endpoint.bodies();
        bodies.iter().find_map(|body| {
            let message = &body["entry"][0]["changes"][0]["value"]["messages"][0];
            (message["id"] == wamid).then(|| message["image"].clone())
        })
    })
    .await;
    (image["id"].as_str().unwrap().to_owned(), image)
}

#[tokio::test]
async fn a_customers_file_is_found_and_fetched_for_five_minutes() {
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    let (id, image) = picture(&world).await;
    let (status, info) = get_json(&world, &format!("{id}?phone_number_id={NUMBER}"), TOKEN).await;
    assert_eq!(
        (status, &info["mime_type"], &info["file_size"]),
        (200, &json!("image/jpeg"), &json!(JPEG.len()))
    );
    let hash = hex::decode(info["sha256"].as_str().unwrap()).unwrap();
    assert_eq!(image["sha256"], STANDARD.encode(hash), "hex there, base64 in webhooks");
    assert_eq!((&image["caption"], &image["mime_type"]), (&json!("The broken part"), &json!("image/jpeg")));

    let url = info["url"].as_str().unwrap();
    let response = download(&world, url).await;
    assert_eq!(response.headers()["content-type"], "image/jpeg");
    assert_eq!(response.headers()["content-length"], JPEG.len().to_string().as_str());
    assert_eq!(response.bytes().await.unwrap(), JPEG);
    assert_eq!(download(&world, image["url"].as_str().unwrap()).await.status(), 200, "saves a step");
    assert_eq!(world.http.get(url).header("user-agent", "x").send().await.unwrap().status(), 401, "no token");
    assert_eq!(world.http.get(url).bearer_auth(TOKEN).send().await.unwrap().status(), 400, "no User-Agent");

    for (path, token, subcode) in
        [(id.as_str(), "other", 463), ("77", TOKEN, 33), (&format!("{id}?phone_number_id=1"), TOKEN, 33)]
    {
        let (_, answer) = get_json(&world, path, token).await;
        assert_eq!(answer["error"]["error_subcode"], subcode, "{path}");
    }
    whatsapp.advance(301.0);
    assert_eq!(download(&world, url).await.status(), 404);
    let (_, again) = get_json(&world, &id, TOKEN).await;
    assert_eq!(download(&world, again["url"].as_str().unwrap()).await.status(), 200);
    whatsapp.advance(7.0 * 86_400.0);
    assert_eq!(get_json(&world, &id, TOKEN).await.0, 400, "ids from webhooks live seven days");
}

#[tokio::test]
async fn an_upload_is_sent_by_its_id_until_it_is_deleted() {
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    whatsapp.say(Say::text(NUMBER, &ana(), "Hi")).unwrap();
    let (status, answer) = upload(&world, "image/jpeg", JPEG).await;
    assert_eq!(status, 200, "{answer}");
    let id = answer["id"].as_str().unwrap().to_owned();
    assert_eq!(world.send(&message("image", json!({ "id": id, "caption": "Here" }))).await.0, 200);
    let phone = whatsapp.phone(NUMBER, ANA).unwrap();
    let file = phone.messages[1].content.as_ref().unwrap().file.clone().unwrap();
    assert_eq!(
        (file.source.as_str(), file.bytes, phone.messages[1].text.as_str()),
        (id.as_str(), JPEG.len() as u64, "Here")
    );
    assert_eq!(file.sha256, whatsapp.media(&id).unwrap()["sha256"]);
    let url = format!("{}/v25.0/{id}", world.sim.addresses().whatsapp);
    let gone = world.http.delete(url).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(gone.json::<Value>().await.unwrap(), json!({ "success": true }));
    assert_eq!(world.send(&message("image", json!({ "id": id }))).await.1["error"]["code"], 131_009);
}

#[tokio::test]
async fn uploads_keep_to_types_and_sizes_unless_lenient() {
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    whatsapp.say(Say::text(NUMBER, &ana(), "Hi")).unwrap();
    let big = vec![0; 5 * 1_024 * 1_024 + 1];
    assert_eq!(upload(&world, "application/zip", b"PK").await.1["error"]["code"], 100);
    assert_eq!(upload(&world, "image/png", &big).await.1["error"]["code"], 131_053);
    whatsapp.configure(json!({ "media_strict": false })).unwrap();
    for (mime_type, bytes) in [("application/zip", b"PK".as_slice()), ("image/png", &big)] {
        let (status, answer) = upload(&world, mime_type, bytes).await;
        assert_eq!(status, 200);
        let sent = world.send(&message("document", json!({ "id": answer["id"], "filename": "a" }))).await;
        assert_eq!(sent.0, 200);
    }
    assert_eq!(whatsapp.phone(NUMBER, ANA).unwrap().received().len(), 2);
}

#[tokio::test]
async fn bytes_that_are_not_what_was_said_fail_afterwards() {
    let world = World::start().await;
    world.sim.whatsapp.say(Say::text(NUMBER, &ana(), "Hi")).unwrap();
    let (_, answer) = upload(&world, "video/mp4", b"<!DOCTYPE html><html></html>").await;
    let (status, sent) = world.send(&message("video", json!({ "id": answer["id"] }))).await;
    assert_eq!(status, 200);
    let (_, jpeg) = upload(&world, "image/jpeg", JPEG).await;
    let (_, other) = world.send(&message("audio", json!({ "id": jpeg["id"] }))).await;
    for (sent, details) in [
        (sent, "Unsupported Video mime type text/html. Please use one of video/3gpp, video/mp4."),
        (other, "Unsupported Audio mime type image/jpeg."),
    ] {
        let error = failed(&world, sent["messages"][0]["id"].as_str().unwrap()).await;
        assert_eq!(error["code"], 131_053);
        assert!(error["error_data"]["details"].as_str().unwrap().starts_with(details), "{error}");
    }
}

async fn failed(world: &World, wamid: &str) -> Value {
    until("a failed status", async || {
        let bodies = world.endpoint.bodies();
        bodies.iter().find_map(|body| {
            let status = &body["entry"][0]["changes"][0]["value"]["statuses"][0];
            (status["id"] == wamid && status["status"] == "failed").then(|| status["errors"][0].clone())
        })
    })
    .await
}

#[tokio::test]
async fn a_link_is_fetched_before_it_is_shown() {
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    whatsapp.say(Say::text(NUMBER, &ana(), "Hi")).unwrap();
    let router = Router::new().route("/a.jpg", get(async || ([("content-type", "image/jpeg")], JPEG)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, router).await });
    world.send(&message("image", json!({ "link": format!("{base}/a.jpg") }))).await;
    let file = until("shown", async || {
        let phone = whatsapp.phone(NUMBER, ANA)?;
        let message = phone.messages.iter().find(|message| !message.from_customer && message.visible)?;
        message.content.as_ref()?.file.clone()
    })
    .await;
    assert_eq!((file.bytes, file.mime_type.as_str()), (JPEG.len() as u64, "image/jpeg"));
    let (status, sent) = world.send(&message("image", json!({ "link": format!("{base}/gone.jpg") }))).await;
    assert_eq!(status, 200, "a bad link is accepted");
    assert_eq!(failed(&world, sent["messages"][0]["id"].as_str().unwrap()).await["code"], 131_052);
}

#[tokio::test]
async fn downloads_go_wrong_on_order() {
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    let (id, _) = picture(&world).await;
    let (_, info) = get_json(&world, &id, TOKEN).await;
    let url = info["url"].as_str().unwrap();
    let order = |trouble| whatsapp.trouble_media(MediaTrouble { trouble, count: Some(1) });
    order(Trouble::WrongHash);
    order(Trouble::Truncated);
    order(Trouble::Redirect { to: None });
    order(Trouble::Huge { bytes: 1_000_000, declared: false });
    order(Trouble::WrongMime { mime_type: "text/html".into() });
    order(Trouble::Gone);
    let other = download(&world, url).await.bytes().await.unwrap();
    assert!(other.len() == JPEG.len() && other != JPEG);
    download(&world, url).await.bytes().await.unwrap_err();
    // This client follows, and takes the token along only to the same host.
    assert_eq!(download(&world, url).await.text().await.unwrap(), "not the file");
    let leaked = |entry: &e2e::sim::Entry| matches!(&entry.what, What::WaViolation { rule, .. } if rule == "token_leaked");
    assert!(!world.sim.record.from(1, 1_000).iter().any(leaked));
    world
        .http
        .get(format!("{}/elsewhere", world.sim.addresses().whatsapp))
        .bearer_auth(TOKEN)
        .send()
        .await
        .unwrap();
    assert!(world.sim.record.from(1, 1_000).iter().any(leaked));
    let huge = download(&world, url).await;
    assert_eq!(huge.content_length(), None);
    assert_eq!(huge.bytes().await.unwrap().len(), 1_000_000);
    assert_eq!(download(&world, url).await.headers()["content-type"], "text/html");
    assert_eq!(download(&world, url).await.status(), 404);
    assert_eq!(download(&world, url).await.bytes().await.unwrap(), JPEG, "and then all is well");
}

#[tokio::test]
async fn a_voice_message_is_read_without_delivered_and_played() {
    let world = World::start().await;
    let whatsapp = &world.sim.whatsapp;
    whatsapp.configure(json!({ "skip_delivered": true, "played_after_ms": 110 })).unwrap();
    whatsapp.say(Say::text(NUMBER, &ana(), "Hi")).unwrap();
    let (_, ogg) = upload(&world, "audio/ogg", b"OggS").await;
    world.send(&message("audio", json!({ "id": ogg["id"], "voice": true }))).await;
    let ticks = until("played", async || {
        let record = world.sim.record.from(1, 1_000);
        let tick = |entry: &e2e::sim::Entry| match &entry.what {
            What::Tick { status, .. } => Some(status.clone()),
            _ => None,
        };
        let ticks: Vec<String> = record.iter().filter_map(tick).collect();
        (ticks.last()? == "played").then_some(ticks)
    })
    .await;
    assert_eq!(ticks, ["sent", "read", "played"]);
    assert_eq!(whatsapp.phone(NUMBER, ANA).unwrap().messages[1].tick, "played");
}
