//! What people are and say, and every secret, stay out of logs, traces, subjects and cache keys:
//! planted, sent through everything that can go well or wrong, and looked for afterwards.

use std::{collections::BTreeSet, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use e2e::{
    otlp,
    sim::{Act, Api, Customer, Did, Fault, File, RepFile, RepMessage, Rule, Speaker, Verb, Who},
};
use futures::TryStreamExt as _;
use serde_json::json;
use xtask::stack::{NUMBER, Options, Stack};

use crate::chat::Chat;

/// As no program writes them by itself.
const PHONE: &str = "15550176543";
const NAME: &str = "Quillonora";
const PLANTED: [&str; 12] = [
    PHONE,
    "5550176543",
    NAME,
    "zebrafinch",         // what the customer writes
    "ocelotling",         // what the rep writes
    "marmosetta",         // a caption
    "tapirfile",          // file names
    "quokka@example.org", // an address in a text
    "Wombatstreet",       // a place
    "axolotlcard",        // a contact
    "okapi-refused",      // a text that WhatsApp refuses
    "numbat-while-away",  // a text while Salesforce is away
];
/// Tokens and keys, by what they begin with.
const SECRETS: [&str; 4] = ["eyJ", "Bearer ", "PRIVATE KEY", "wamid."];

#[tokio::test]
async fn nothing_personal_and_no_secret_is_in_a_log_a_trace_a_subject_or_a_key() {
    let mut collector = otlp::Receiver::start().await.unwrap();
    let logs = tempfile::tempdir().unwrap();
    let env = [
        ("RUST_LOG", "debug"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint()),
        ("OTEL_BSP_SCHEDULE_DELAY", "200"),
    ];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let options = Options { env, logs: Some(logs.path().to_owned()), ..Options::default() };
    let stack = Stack::start(options).await.unwrap();
    through_everything(&stack).await;
    let spans = collector
        .wait_for(Duration::from_secs(20), |spans| {
            ["ingress", "handoff", "egress"].iter().all(|name| spans.iter().any(|span| span.service == *name))
        })
        .await;

    let mut found = BTreeSet::new();
    let mut look =
        |place: &str, text: &str| {
            found.extend(PLANTED.iter().chain(&SECRETS).filter(|planted| text.contains(**planted)).map(
                |planted| format!("{planted} in {place}: {}", text.chars().take(300).collect::<String>()),
            ));
        };
    for span in &spans {
        look("a span", &format!("{span:?}"));
    }
    let subjects = subjects(&stack.nats.url()).await;
    assert!(subjects.iter().any(|subject| subject.starts_with("conv.")), "{subjects:?}");
    subjects.iter().for_each(|subject| look("a subject", subject));
    let keys = keys(&stack.valkey.url()).await;
    assert!(!keys.is_empty());
    keys.iter().for_each(|key| look("a key", key));
    stack.stop().await.unwrap();
    let mut lines = 0;
    for file in std::fs::read_dir(logs.path()).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // The simulators' own says what it likes.
        if name.starts_with("sim") {
            continue;
        }
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            lines += 1;
            look(&name, line);
        }
    }
    assert!(lines > 100, "{lines} lines only: was anything logged?");
    assert!(found.is_empty(), "{found:#?}");
}

/// What goes well, what is refused, what fails and is tried again.
async fn through_everything(stack: &Stack) {
    let control = &stack.control;
    let chat = Chat::live(control, Customer::phone(PHONE, NAME)).await;
    chat.acts(Act::Text { body: "zebrafinch, write to quokka@example.org".into() }).await;
    chat.rep_reads("zebrafinch").await;
    let file = File { filename: Some("tapirfile.pdf".into()), ..File::bytes(b"%PDF-1.7 tapirfile") };
    chat.acts(Act::Document { file, caption: Some("marmosetta".into()) }).await;
    chat.rep_reads("marmosetta").await;
    let (name, address) = (Some("Wombatstreet".into()), None);
    chat.acts(Act::Location { latitude: 1.5, longitude: 2.5, name, address, url: None }).await;
    chat.rep_reads("Wombatstreet").await;
    let card = json!({ "name": { "formatted_name": "axolotlcard", "first_name": "axolotlcard" },
                       "phones": [{ "phone": PHONE }] });
    chat.acts(Act::Contacts { contacts: vec![card] }).await;
    chat.rep_reads("axolotlcard").await;
    chat.rep_says("ocelotling").await;
    let said = chat.gets("the rep's words", |message| message.text == "ocelotling").await;
    let mut quoting = Did::new(NUMBER, &chat.customer, Act::Text { body: "zebrafinch again".into() });
    quoting.quote = Some(said.wamid);
    control.act(&quoting).await.unwrap();
    chat.rep_reads("zebrafinch again").await;
    let file = RepFile {
        name: "tapirfile-invoice.pdf".into(),
        mime: "application/pdf".into(),
        data: Some(STANDARD.encode(b"%PDF-1.7 tapirfile")),
        text: Some("ocelotling".into()),
        ..RepFile::default()
    };
    chat.rep(Verb::Send { content: RepMessage::File(file), from: Speaker::Rep }).await;
    chat.gets("the file", |message| message.kind() == "document").await;

    let failing = json!({ "failing": { chat.customer.key(): { "code": 131_026 } } });
    control.configure_whatsapp(failing).await.unwrap();
    chat.rep_says("okapi-refused").await;
    chat.rep_reads("Not delivered").await;
    control.configure_whatsapp(json!({ "failing": {} })).await.unwrap();
    control.add_fault(Api::WhatsApp, &Rule::new("*", Fault::LoseAnswer).times(1)).await.unwrap();
    control.add_fault(Api::Salesforce, &Rule::new("*", Fault::LoseAnswer).times(3)).await.unwrap();
    control.add_fault(Api::Salesforce, &Rule::new("*", Fault::Refuse).times(2).after(3)).await.unwrap();
    control.expire_tokens(&Who::default()).await.unwrap();
    control.cut_streams(&Who::default()).await.unwrap();
    chat.acts(Act::Text { body: "numbat-while-away".into() }).await;
    chat.rep_reads("numbat-while-away").await;
    chat.rep_says("ocelotling, again").await;
    chat.gets("the rep's next words", |message| message.text == "ocelotling, again").await;
    chat.rep(Verb::End).await;
    chat.gets("the farewell", |message| message.text.contains("has ended")).await;
}

/// Of every stream, those of key-value and object stores too.
async fn subjects(nats: &str) -> Vec<String> {
    let client = async_nats::connect(nats).await.unwrap();
    let jetstream = async_nats::jetstream::new(client);
    let names: Vec<String> = jetstream.stream_names().try_collect().await.unwrap();
    let mut all = Vec::new();
    for name in names {
        let stream = jetstream.get_stream(&name).await.unwrap();
        let mut subjects = stream.info_with_subjects(">").await.unwrap();
        while let Some((subject, _)) = subjects.try_next().await.unwrap() {
            // Names of objects and keys may be encoded in them.
            let decoded = subject.rsplit('.').next().and_then(|last| STANDARD.decode(last).ok());
            all.extend(decoded.map(|name| String::from_utf8_lossy(&name).into_owned()));
            all.push(subject);
        }
    }
    all
}

async fn keys(valkey: &str) -> Vec<String> {
    let client = redis::Client::open(valkey).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap()
}
