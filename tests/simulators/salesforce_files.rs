//! Files, both ways.

use e2e::sim::{RepFile, RepMessage, Speaker, Verb, What};
use serde_json::{Value, json};

use crate::{
    help::{World, id},
    streams::{assert_like_sample, read},
};

/// One part of a multipart body: name, content type, file name, content.
type Part<'a> = (&'a str, &'a str, Option<&'a str>, Vec<u8>);

async fn post(world: &World, token: &str, conversation: &str, parts: &[Part<'_>]) -> (u16, Value) {
    let mut form = reqwest::multipart::Form::new();
    for (name, mime, file, data) in parts.iter().cloned() {
        let mut part = reqwest::multipart::Part::bytes(data).mime_str(mime).unwrap();
        if let Some(file) = file {
            part = part.file_name(file.to_owned());
        }
        form = form.part(name.to_owned(), part);
    }
    let salesforce = world.sim.addresses().salesforce;
    let url = format!("{salesforce}/iamessage/api/v2/conversation/{conversation}/file");
    let response = world.http.post(url).bearer_auth(token).multipart(form).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or_default())
}

fn entry(message: u32, caption: Option<&str>) -> Part<'static> {
    let entry = json!({
        "esDeveloperName": "Phone_Bridge_Client",
        "message": { "id": id(message), "fileId": id(message + 1_000), "text": caption },
    });
    ("messageEntry", "application/json", None, entry.to_string().into_bytes())
}

fn data(name: &'static str, content: Vec<u8>) -> Part<'static> {
    ("fileData", "image/jpeg", Some(name), content)
}

fn violations(world: &World) -> Vec<String> {
    let entries = world.sim.record.from(1, usize::MAX).into_iter();
    entries
        .filter_map(|entry| if let What::SfViolation { rule, .. } = entry.what { Some(rule) } else { None })
        .collect()
}

async fn get(world: &World, url: &str) -> (u16, Vec<u8>) {
    let response = world.http.get(url).send().await.unwrap();
    (response.status().as_u16(), response.bytes().await.unwrap().to_vec())
}

#[tokio::test]
async fn a_customers_file_is_echoed_shown_and_kept() {
    let world = World::start().await;
    let (token, c) = (world.token("u1").await, id(1));
    let live = world.stream(&token, "0").await;
    world.create(&token, &c).await;
    let parts = [entry(100, Some("photo of the damaged box")), data("damaged-box.jpg", b"jpeg".to_vec())];
    let (status, body) = post(&world, &token, &c, &parts).await;
    assert_eq!((status, &body["conversationEntries"][0]["id"]), (202, &json!(id(100))));
    assert_eq!(post(&world, &token, &c, &parts).await.0, 202, "a repeat");

    let view = world.sim.salesforce.conversation(&c).unwrap();
    let [file] = view.files("EndUser")[..] else { panic!("one file: {view:?}") };
    assert_eq!((file.name.as_str(), file.mime.as_str(), file.size), ("damaged-box.jpg", "image/jpeg", 4));
    assert_eq!((file.id.as_str(), file.sha256.len()), (id(1_100).as_str(), 64));
    assert_eq!(view.texts("EndUser"), ["photo of the damaged box"]);
    let recorded = world.sim.record.from(1, usize::MAX).into_iter().any(|entry| {
        matches!(entry.what, What::SfFile { role, size: 4, caption: Some(_), .. } if role == "EndUser")
    });
    assert!(recorded);
    let frames = read(live, |frames| frames.len() == 3).await.unwrap();
    assert_like_sample(&frames[2], "CONVERSATION_MESSAGE-enduser-echo-attachment");

    assert_eq!(get(&world, &file.url).await, (200, b"jpeg".to_vec()));
    assert_eq!(
        get(&world, &file.url.replace("%2Fa%2F", "%2Fa%2Fx")).await.0,
        404,
        "the link is a capability"
    );
    assert_eq!(violations(&world), [""; 0]);
    world.http.get(&file.url).bearer_auth(&token).send().await.unwrap();
    assert_eq!(violations(&world), ["authorization sent to the file host"]);
}

#[tokio::test]
async fn what_the_org_does_not_take_is_refused() {
    let world = World::start().await;
    let salesforce = &world.sim.salesforce;
    salesforce.configure(json!({ "max_file_bytes": 10 })).unwrap();
    let (token, c) = (world.token("u1").await, id(1));
    let live = world.stream(&token, "0").await;
    world.create(&token, &c).await;
    let send = async |parts: &[Part<'_>]| post(&world, &token, &c, parts).await;
    let (status, body) = send(&[entry(100, None), data("a.jpg", vec![0; 11])]).await;
    assert_eq!((status, &body["code"]), (413, &json!("PAYLOAD_TOO_LARGE")));
    for name in ["a.webp", "a.zip", "a", ".jpg.exe"] {
        let (status, body) = send(&[entry(100, None), data(name, vec![0])]).await;
        assert_eq!((status, &body["code"]), (415, &json!("UNSUPPORTED_MEDIA_TYPE")), "{name}");
    }
    let unnamed = ("fileData", "image/jpeg", None, vec![0]);
    let (entry_as_text, wrong_name) = (
        ("messageEntry", "text/plain", None, entry(100, None).3),
        ("file", "image/jpeg", Some("a.jpg"), vec![0]),
    );
    for parts in [
        vec![data("a.jpg", vec![0]), entry(100, None)],
        vec![entry(100, None)],
        vec![entry(100, None), unnamed],
        vec![entry(100, None), wrong_name],
        vec![entry_as_text, data("a.jpg", vec![0])],
        vec![entry(100, None), data("a.jpg", vec![0]), data("b.jpg", vec![0])],
    ] {
        assert_eq!(send(&parts).await.0, 400, "{parts:?}");
    }
    salesforce.configure(json!({ "files": false })).unwrap();
    assert_eq!(send(&[entry(100, None), data("a.jpg", vec![0])]).await.0, 400);
    let (_, body) = world.exchange(&world.good_identity("u1")).await;
    let attachments = &body["context"]["configuration"]["embeddedServiceConfig"]["attachments"];
    assert_eq!(attachments, &json!({ "endUserToAgent": false, "maxFileSize": 10 }));
    salesforce
        .configure(json!({ "files": true, "max_file_in_mb": true, "max_file_bytes": 5 << 20 }))
        .unwrap();
    let (_, body) = world.exchange(&world.good_identity("u1")).await;
    let attachments = &body["context"]["configuration"]["embeddedServiceConfig"]["attachments"];
    assert_eq!(attachments["maxFileSize"], 5);

    // Accepted, and lost later.
    salesforce.configure(json!({ "upload_error": "AttachmentTooLarge" })).unwrap();
    assert_eq!(send(&[entry(101, None), data("big.mov", vec![0])]).await.0, 202);
    let frames = read(live, |frames| frames.len() == 3).await.unwrap();
    assert_like_sample(&frames[2], "CONVERSATION_MESSAGE-enduser-echo-attachment-error");
    let view = salesforce.conversation(&c).unwrap();
    assert_eq!(view.files("EndUser")[0].url, "");
}

#[tokio::test]
async fn a_reps_file_is_fetched_from_another_place_when_it_is_ready() {
    let world = World::start().await;
    let salesforce = &world.sim.salesforce;
    let (token, c) = (world.token("u1").await, id(1));
    let live = world.stream(&token, "0").await;
    world.create(&token, &c).await;
    salesforce.rep(&c, Verb::Accept { rep: None }).unwrap();
    let note = RepFile {
        name: "delivery-note-88213.pdf".into(),
        mime: "application/pdf".into(),
        size: 1_000,
        not_ready: Some(2),
        ..RepFile::default()
    };
    let moved = RepFile { redirect: Some("http://127.0.0.2:1/x".into()), not_ready: None, ..note.clone() };
    for file in [note, moved] {
        let content = RepMessage::File(file);
        salesforce.rep(&c, Verb::Send { content, from: Speaker::Rep }).unwrap();
    }
    let frames = read(live, |frames| frames.len() == 8).await.unwrap();
    assert_like_sample(&frames[6], "CONVERSATION_MESSAGE-agent-attachment");
    let view = salesforce.conversation(&c).unwrap();
    let [file, moved] = view.files("Agent")[..] else { panic!("two files: {view:?}") };
    assert!(!file.url.starts_with(&world.sim.addresses().salesforce), "another host: {}", file.url);
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(get(&world, &file.url).await);
    }
    let statuses: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
    assert_eq!((statuses, answers[2].1.len()), (vec![404, 404, 200], 1_000));
    let staying = reqwest::Client::builder()
        .tls_certs_only([])
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let response = staying.get(&moved.url).send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["location"]),
        (302, &"http://127.0.0.2:1/x".parse().unwrap())
    );
}
