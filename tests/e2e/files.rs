//! What reps get that is not a plain text, and what customers answer where nothing can be tapped on.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use e2e::sim::{Act, ChoiceFormat, ChoiceOption, File, RepMessage, RepView, Say, Speaker, Verb};
use xtask::stack::{NUMBER, Options, Stack, users};

use crate::{
    chat::{Chat, ana},
    until,
};

const PUBLIC: &str = "https://chat.example.com";
/// One see-through pixel, lossless.
const STICKER: &str = "UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA==";

#[tokio::test]
async fn stickers_links_long_transcripts_and_typed_numbers() {
    let env = vec![("PUBLIC_URL".to_owned(), PUBLIC.to_owned())];
    let options = Options { env, users: Some(users().unwrap()), ..Options::default() };
    let mut stack = Stack::start(options).await.unwrap();
    let ingress = stack.service("ingress", 0).url();
    // More than three messages' worth before anybody is there.
    for n in 0..8 {
        let text = format!("part {n}: {}", "a long story ".repeat(100));
        stack.control.say(&Say::text(NUMBER, &ana(), &text)).await.unwrap();
        let answers = async || {
            let phone = stack.control.phone(NUMBER, &ana().key()).await.unwrap()?;
            (phone.received().len() > n).then_some(())
        };
        until("an answer", answers).await;
    }
    let chat = Chat::live(&stack.control, ana()).await;
    let whole = chat
        .rep_sees("the whole conversation", |view| view.files("EndUser").first().map(|&file| file.clone()))
        .await;
    assert_eq!(whole.name, "conversation.txt");
    assert!(whole.size > 8 * 1_300, "{} bytes", whole.size);
    chat.rep_reads("part 7: a long").await;
    let view = chat.view().await;
    let first = view.entries.iter().filter(|entry| entry.role == "EndUser").count();
    assert!(first <= 6, "{first} messages to open with");
    assert!(!view.texts("EndUser").iter().any(|text| text.contains("part 0:")), "in the file only");

    chat.acts(Act::Sticker { file: File::bytes(&STANDARD.decode(STICKER).unwrap()), animated: false }).await;
    let sticker =
        chat.rep_sees("the sticker", |view| view.files("EndUser").get(1).map(|&file| file.clone())).await;
    assert_eq!((sticker.name.as_str(), sticker.mime.as_str()), ("sticker.png", "image/png"));

    let bytes = b"PK\x03\x04 something packed";
    let packed = File {
        mime_type: Some("application/zip".into()),
        filename: Some("holiday.zip".into()),
        ..File::bytes(bytes)
    };
    chat.acts(Act::Document { file: packed, caption: Some("our pictures".into()) }).await;
    let said = |view: &RepView| {
        let mut texts = view.texts("EndUser").into_iter();
        texts.find(|text| text.contains("our pictures")).map(str::to_owned)
    };
    let text = chat.rep_sees("a link", said).await;
    assert!(text.contains("holiday.zip (1 KB) is not attached"), "{text}");
    let link = text.split_whitespace().find_map(|word| word.strip_prefix(PUBLIC)).unwrap();
    let http = runtime::http_client(runtime::HttpTimeouts::default()).unwrap();
    let answer = http.get(format!("{ingress}{link}")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.headers()["content-disposition"].to_str().unwrap().contains("file.zip"));
    assert_eq!(answer.bytes().await.unwrap(), &bytes[..]);
    let forged = format!("{ingress}{}x", link.trim_end_matches(|c: char| c.is_ascii_alphanumeric()));
    assert_eq!(http.get(forged).send().await.unwrap().status(), 404);

    let options = (1..=12).map(|n| ChoiceOption::new(&format!("Option {n}"))).collect();
    let content = RepMessage::Choices { format: ChoiceFormat::ListPicker, text: "Which?".into(), options };
    chat.rep(Verb::Send { content, from: Speaker::Rep }).await;
    chat.gets("the numbered text", |message| message.text.contains("11. Option 11")).await;
    chat.acts(Act::Text { body: "11".into() }).await;
    let chose = |view: &RepView| {
        let is_choice =
            |entry: &&e2e::sim::EntryView| entry.payload.to_string().contains("ChoicesResponseMessage");
        view.entries.iter().find(is_choice).map(|entry| entry.text.clone())
    };
    assert_eq!(chat.rep_sees("the choice", chose).await.as_deref(), Some("Option 11"));

    // A transfer that fails changes nothing.
    let queue = "00GRT0000000001".to_owned();
    chat.rep(Verb::TransferQueue { queue, to: None, failure: Some("No reps there".into()) }).await;
    chat.rep_says("still me").await;
    chat.gets("the same rep", |message| message.text == "still me").await;
    let got = chat.phone().await;
    assert!(!got.iter().any(|message| message.text.contains("Nobody is available")));
    let log = std::fs::read_to_string(stack.nats.log()).unwrap();
    assert!(!log.contains("Violation"), "{log}");
    stack.stop().await.unwrap();
}
