//! More than text, in both directions, and what is around it: files, choices, quotes, receipts, the
//! customer service window, other ids, other responders.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use e2e::sim::{
    Act, ChoiceFormat, ChoiceOption, Customer, Did, File, Happening, RepFile, RepMessage, RepView, Say,
    Speaker, Template, Verb,
};
use serde_json::json;
use xtask::stack::{NUMBER, Options, Stack, WABA};

use crate::{
    chat::{Chat, ana},
    until,
};

#[tokio::test]
async fn files_choices_quotes_and_receipts_go_both_ways() {
    let stack = Stack::start(Options::default()).await.unwrap();
    // Before anybody is there: the picture comes with the transcript.
    let early = File::bytes(b"\xff\xd8\xff an early picture");
    let act = Act::Image { file: early, caption: Some("my receipt".into()) };
    stack.control.act(&Did::new(NUMBER, &ana(), act)).await.unwrap();
    let chat = Chat::live(&stack.control, ana()).await;
    let first = chat
        .rep_sees("the early picture", |view| view.files("EndUser").first().map(|&file| file.clone()))
        .await;
    assert_eq!((first.mime.as_str(), first.size), ("image/jpeg", 20));

    // In one body: webhooks of their own may overtake one another.
    stack.control.configure_whatsapp(json!({ "batch": 10, "batch_wait_ms": 500 })).await.unwrap();
    let bytes = b"\xff\xd8\xff another picture";
    chat.acts(Act::Image { file: File::bytes(bytes), caption: Some("and this".into()) }).await;
    chat.acts(Act::Text { body: "that was it".into() }).await;
    chat.rep_reads("that was it").await;
    let view = chat.view().await;
    let file = view.files("EndUser")[1].clone();
    assert_eq!(file.size, bytes.len());
    let place = |part: &str| {
        view.entries.iter().position(|entry| entry.text.as_deref().is_some_and(|text| text.contains(part)))
    };
    assert!(place("and this").unwrap() < place("that was it").unwrap(), "in order");
    stack.control.configure_whatsapp(json!({ "batch": 1, "batch_wait_ms": 0 })).await.unwrap();

    chat.rep_says("thank you").await;
    let thanks = chat.gets("the rep's words", |message| message.text == "thank you").await;
    let acked = |view: &RepView| {
        let said = view.entries.iter().find(|entry| entry.text.as_deref() == Some("thank you"))?;
        (said.delivered && said.read).then_some(())
    };
    chat.rep_sees("both receipts", acked).await;

    let mut quoting = Did::new(NUMBER, &chat.customer, Act::Text { body: "for what?".into() });
    quoting.quote = Some(thanks.wamid.clone());
    stack.control.act(&quoting).await.unwrap();
    chat.rep_reads("↪ “thank you”\nfor what?").await;
    chat.acts(Act::React { wamid: thanks.wamid, emoji: Some("👍".into()) }).await;
    chat.rep_reads("[reacted 👍]").await;

    let file = RepFile {
        name: "invoice.pdf".into(),
        mime: "application/pdf".into(),
        data: Some(STANDARD.encode(b"%PDF-1.7 invoice")),
        text: Some("your invoice".into()),
        ..RepFile::default()
    };
    chat.rep(Verb::Send { content: RepMessage::File(file), from: Speaker::Rep }).await;
    let got = chat.gets("the file", |message| message.kind() == "document").await;
    let content = got.content.unwrap();
    let shown = content.file.unwrap();
    assert_eq!(
        (got.text.as_str(), shown.filename.as_deref(), shown.bytes),
        ("your invoice", Some("invoice.pdf"), 16)
    );

    let options = vec![ChoiceOption::new("Yes"), ChoiceOption::new("No")];
    let content = RepMessage::Choices { format: ChoiceFormat::QuickReplies, text: "Solved?".into(), options };
    chat.rep(Verb::Send { content, from: Speaker::Rep }).await;
    let asked = chat.gets("the question", |message| message.text == "Solved?").await;
    let buttons = asked.content.unwrap().buttons;
    assert_eq!(buttons.iter().map(|button| button.title.as_str()).collect::<Vec<_>>(), ["Yes", "No"]);
    chat.acts(Act::TapButton { wamid: asked.wamid, id: buttons[0].id.clone() }).await;
    let chose = |view: &RepView| {
        let is_choice =
            |entry: &&e2e::sim::EntryView| entry.payload.to_string().contains("ChoicesResponseMessage");
        view.entries.iter().find(is_choice).map(|entry| entry.text.clone())
    };
    assert_eq!(chat.rep_sees("the choice", chose).await.as_deref(), Some("Yes"));
    stack.stop().await.unwrap();
}

#[tokio::test]
async fn outside_the_window_a_reps_words_wait_and_a_template_asks() {
    let policy = json!({ "rescue_template": {
        "name": "please_write", "language": "en_US", "parameters": ["{name}"],
    } });
    let stack = Stack::start(Options { policy, ..Options::default() }).await.unwrap();
    let control = &stack.control;
    let template = json!({
        "waba_id": WABA, "name": "please_write", "language": "en_US",
        "components": [{ "type": "BODY", "text": "Hello {{1}}, please write to us." }],
    });
    control.set_template(&serde_json::from_value::<Template>(template).unwrap()).await.unwrap();
    // Written 25 hours ago, and delivered only now.
    let mut wish = Did::new(NUMBER, &ana(), Act::Text { body: "I want to speak to a human".into() });
    wish.age_ms = 25 * 3_600_000;
    control.act(&wish).await.unwrap();
    let chat = Chat::accepted(control, ana()).await;
    chat.rep_says("first").await;
    chat.rep_says("second").await;
    chat.gets("the template", |message| message.text == "Hello Ana, please write to us.").await;
    chat.rep_reads("WhatsApp allows free messages within 24 hours only").await;
    assert_eq!(chat.phone().await.len(), 1, "nothing but the template");
    chat.acts(Act::Text { body: "here I am".into() }).await;
    chat.gets("the second message", |message| message.text == "second").await;
    let got: Vec<_> = chat.phone().await.into_iter().map(|message| message.text).collect();
    assert_eq!(got, ["Hello Ana, please write to us.", "first", "second"]);
    chat.rep_reads("2 kept messages are sent now").await;
    stack.stop().await.unwrap();
}

#[tokio::test]
async fn a_customer_with_new_ids_keeps_the_rep_and_the_thread() {
    let stack = Stack::start(Options::default()).await.unwrap();
    let control = &stack.control;
    let ana = Customer { bsuid: Some("US.1001".into()), ..ana() };
    let chat = Chat::live(control, ana.clone()).await;
    chat.rep_says("hello Ana").await;
    chat.gets("the rep's words", |message| message.text == "hello Ana").await;
    let changed = Happening::NumberChanged {
        number: NUMBER.into(),
        customer: ana.key(),
        phone: "15550100777".into(),
        bsuid: Some("US.2002".into()),
    };
    control.happen(&changed).await.unwrap();
    let moved = Customer { bsuid: Some("US.2002".into()), ..Customer::phone("15550100777", "Ana") };
    control.say(&Say::text(NUMBER, &moved, "this is my new number")).await.unwrap();
    chat.rep_reads("this is my new number").await;
    assert_eq!(control.conversations().await.unwrap().len(), 1, "the same conversation");
    let chat = Chat { customer: moved, ..chat };
    chat.rep_says("got it").await;
    chat.gets("the answer on the new number", |message| message.text == "got it").await;
    stack.stop().await.unwrap();
}

#[tokio::test]
async fn what_the_business_app_answers_silences_the_assistant() {
    let stack = Stack::start(Options::default()).await.unwrap();
    let control = &stack.control;
    control.say(&Say::text(NUMBER, &ana(), "hello")).await.unwrap();
    let greeted = async || {
        let phone = control.phone(NUMBER, &ana().key()).await.unwrap()?;
        (!phone.received().is_empty()).then_some(phone.received().len())
    };
    let before = until("the assistant's answer", greeted).await;
    let echo = json!({ "type": "text", "text": { "body": "I am on it" } });
    let happening = Happening::AppEcho { number: NUMBER.into(), customer: ana().key(), message: echo };
    control.happen(&happening).await.unwrap();
    until("the echo is taken", async || (control.undelivered().await.unwrap() == 0).then_some(())).await;
    control.say(&Say::text(NUMBER, &ana(), "thanks, and the hours?")).await.unwrap();
    until("the question is taken", async || (control.undelivered().await.unwrap() == 0).then_some(())).await;
    let log = bus::connect(&bus::Config::at(&stack.nats.url())).await.unwrap();
    let decided = async || {
        let question = log.last("conv.*.*.wa.*").await.unwrap()?.seq;
        let decision = log.last("conv.*.*.dec").await.unwrap()?;
        let answers = proto::StoredDecision::decode(decision.payload).unwrap().answers;
        (answers >= question).then_some(())
    };
    until("the question is decided on", decided).await;
    let phone = control.phone(NUMBER, &ana().key()).await.unwrap().unwrap();
    let ours = phone.received().into_iter().filter(|text| *text != "I am on it").count();
    assert_eq!(ours, before, "{:?}", phone.received());
    stack.stop().await.unwrap();
}
