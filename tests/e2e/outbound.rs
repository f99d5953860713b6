//! Whatever a rep or a bot sends reaches the customer, as the best that WhatsApp can show; and what
//! WhatsApp refuses is told to the rep.

use e2e::sim::{CarouselItem, ChoiceFormat, ChoiceOption, RepFile, RepMessage, Speaker, Template, Verb};
use serde_json::json;
use xtask::stack::{Options, Stack, WABA};

use crate::chat::{Chat, ana};

#[tokio::test]
async fn every_kind_of_message_reaches_the_customer() {
    let stack = Stack::start(Options::default()).await.unwrap();
    let chat = Chat::live(&stack.control, ana()).await;
    let send = async |content| chat.rep(Verb::Send { content, from: Speaker::Rep }).await;

    let options = (1..=5).map(|n| ChoiceOption::new(&format!("Slot {n}"))).collect();
    send(RepMessage::Choices { format: ChoiceFormat::ListPicker, text: "When?".into(), options }).await;
    let list = chat.gets("the list", |message| message.text == "When?").await;
    assert_eq!(list.content.as_ref().unwrap().rows.len(), 5, "{list:?}");

    let item = CarouselItem {
        title: "Blue chair".into(),
        subtitle: Some("49 EUR".into()),
        links: vec![("See it".into(), "https://example.com/chair".into())],
        ..CarouselItem::default()
    };
    send(RepMessage::Carousel { items: vec![item] }).await;
    chat.gets("the carousel in words", |message| {
        message.text.contains("Blue chair") && message.text.contains("https://example.com/chair")
    })
    .await;
    send(RepMessage::Form { title: "Your address".into(), label: "Street".into() }).await;
    chat.gets("the form in words", |message| {
        message.text.contains("Your address") && message.text.contains("Street")
    })
    .await;
    let picture =
        RepFile { name: "photo.jpg".into(), mime: "image/jpeg".into(), size: 2_000, ..RepFile::default() };
    send(RepMessage::File(picture)).await;
    chat.gets("the picture", |message| message.kind() == "image").await;
    let archive = RepFile {
        name: "logs.zip".into(),
        mime: "application/zip".into(),
        size: 2_000,
        ..RepFile::default()
    };
    send(RepMessage::File(archive)).await;
    let got = chat
        .gets("the archive", |message| message.kind() == "document" || message.text.contains("logs.zip"))
        .await;
    assert!(got.visible);
    stack.stop().await.unwrap();
}

#[tokio::test]
async fn what_whatsapp_refuses_after_all_is_told_to_the_rep_and_the_next_goes_out() {
    let stack = Stack::start(Options::default()).await.unwrap();
    let chat = Chat::live(&stack.control, ana()).await;
    // Accepted, and failed only afterwards: "message undeliverable".
    let failing = json!({ "failing": { chat.customer.key(): { "code": 131_026, "late": true } } });
    stack.control.configure_whatsapp(failing).await.unwrap();
    chat.rep_says("are you there?").await;
    chat.rep_reads("Not delivered: “are you there?”").await;
    stack.control.configure_whatsapp(json!({ "failing": {} })).await.unwrap();
    chat.rep_says("hello again").await;
    chat.gets("the next message", |message| message.text == "hello again").await;
    stack.stop().await.unwrap();
}

#[tokio::test]
async fn a_window_that_whatsapp_says_is_closed_after_all_parks_the_message() {
    let policy = json!({ "rescue_template": { "name": "please_write", "language": "en_US" } });
    let stack = Stack::start(Options { policy, ..Options::default() }).await.unwrap();
    let template = json!({
        "waba_id": WABA, "name": "please_write", "language": "en_US",
        "components": [{ "type": "BODY", "text": "Please write to us." }],
    });
    stack.control.set_template(&serde_json::from_value::<Template>(template).unwrap()).await.unwrap();
    let chat = Chat::live(&stack.control, ana()).await;
    // By its clock, not ours: 25 hours on, and the answer comes only as a status.
    stack.control.configure_whatsapp(json!({ "window_refusal": "later" })).await.unwrap();
    stack.control.advance(25.0 * 3_600.0).await.unwrap();
    chat.rep_says("your chair is ready").await;
    chat.gets("the template", |message| message.text == "Please write to us.").await;
    let seen = chat.phone().await;
    assert!(seen.iter().all(|message| message.text != "your chair is ready"), "{seen:?}");
    chat.acts(e2e::sim::Act::Text { body: "I am here".into() }).await;
    chat.gets("the kept message", |message| message.text == "your chair is ready").await;
    stack.stop().await.unwrap();
}
