//! Over a real NATS: decisions that ask are answered, each once.
#![expect(clippy::unwrap_used, reason = "helpers of a test")]

use std::time::Duration;

use domain::{
    Cause, ConversationKey, PhoneNumberId, SendId, Seq,
    derive::uuid,
    session::{Ask, Conversation, Decision, Origin, Output, Send},
    settings::Settings,
};
use proto::{
    StoredDecision,
    subjects::{self, Kind},
    v1::{assistant_answer::Answer, entry::Body},
};
use runtime::settings::Live;
use tokio::{net::TcpListener, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

fn key(n: u8) -> ConversationKey {
    ConversationKey::from_bytes([n; 16])
}

fn ask(text: &str, epoch: u32) -> Output {
    Output::Ask(Ask { epoch, text: text.into(), helping: false, human_until: None })
}

fn send() -> Output {
    Output::Send(Send {
        id: SendId(uuid("send", &[])),
        body: domain::message::Outgoing::Text("hi".into()),
        quotes: None,
        origin: Origin::Notice,
        mark: None,
        not_after: 0,
    })
}

async fn decide(log: &bus::Log, key: &ConversationKey, answers: Seq, outputs: Vec<Output>) {
    let state = Conversation::new(PhoneNumberId::new("1"));
    let stored = StoredDecision { answers, policy_version: 1, decision: Decision { state, outputs } };
    let previous = log.head(key).await.unwrap().map_or(0, |head| head.seq);
    let chained = log.append_decision(key, previous, stored.encode()).await.unwrap();
    assert!(matches!(chained, bus::Chained::Appended(_)));
}

/// Every answer of a conversation: the ask, the epoch, what it is.
async fn answers(log: &bus::Log, key: &ConversationKey) -> Vec<(String, u32, String)> {
    let filter = subjects::fact(key, Kind::Assistant, "*");
    let entries = log.read(vec![filter], 1, Seq::MAX, 1000).await.unwrap();
    entries
        .into_iter()
        .map(|entry| {
            let id = entry.address.unwrap().id;
            let Body::AssistantAnswer(answer) = proto::decode(entry.payload).unwrap() else { panic!("{id}") };
            assert_eq!(answer.ask, id);
            let what = match answer.answer.unwrap() {
                Answer::Reply(reply) => reply.text,
                Answer::Handoff(_) => "handoff".into(),
                Answer::Close(_) => "close".into(),
                Answer::Silence(_) => "silence".into(),
            };
            (id, answer.epoch, what)
        })
        .collect()
}

async fn until<T: PartialEq + std::fmt::Debug>(what: impl AsyncFn() -> T, expected: T) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let found = what().await;
        if found == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{found:?} instead of {expected:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn settings() -> Settings {
    serde_json::from_value(serde_json::json!({
        "channels": [],
        "faq": [{ "phrases": ["opening hours"], "answer": "9 to 18" }],
    }))
    .unwrap()
}

/// One replica of the service.
async fn start(url: &str, tasks: &TaskTracker, shutdown: &CancellationToken) {
    let log = bus::connect(&bus::Config::at(url)).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let shutdown = shutdown.clone();
    tasks.spawn(
        async move { assistant::run(listener, log, Live::fixed(settings()), shutdown).await.unwrap() },
    );
}

#[tokio::test]
async fn each_question_is_answered_once_by_however_many_replicas() {
    let nats = devstack::Nats::start().await.unwrap();
    let log = bus::connect(&bus::Config::at(&nats.url())).await.unwrap();
    let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());

    decide(&log, &key(1), 1, vec![ask("opening hours?", 0)]).await;
    decide(&log, &key(2), 2, vec![send(), ask("I want to talk to a human", 3)]).await;
    decide(&log, &key(3), 3, vec![send()]).await;
    start(&nats.url(), &tasks, &shutdown).await;
    until(async || answers(&log, &key(1)).await, vec![("1-0".into(), 0, "9 to 18".into())]).await;
    until(async || answers(&log, &key(2)).await, vec![("2-1".into(), 3, "handoff".into())]).await;

    // A second replica takes half of the partitions over while questions come in.
    start(&nats.url(), &tasks, &shutdown).await;
    for round in 10..20 {
        for n in 0..20 {
            decide(&log, &key(n), round, vec![ask("opening hours?", 1)]).await;
        }
    }
    let expected: Vec<_> = (10..20).map(|round| (format!("{round}-0"), 1, "9 to 18".to_owned())).collect();
    for n in 4..20 {
        until(async || answers(&log, &key(n)).await, expected.clone()).await;
    }

    // An answer that is there already stays the only one.
    let subject = subjects::fact(&key(30), Kind::Assistant, &Cause { answers: 7, index: 0 }.to_string());
    log.append_fact(&subject, first_answer(), None).await.unwrap();
    decide(&log, &key(30), 7, vec![ask("opening hours?", 0)]).await;
    decide(&log, &key(30), 8, vec![ask("opening hours?", 0)]).await;
    let both = vec![("7-0".into(), 0, "first".into()), ("8-0".into(), 0, "9 to 18".into())];
    until(async || answers(&log, &key(30)).await, both).await;
    assert_eq!(answers(&log, &key(3)).await.len(), 10);

    shutdown.cancel();
    tasks.close();
    tokio::time::timeout(Duration::from_secs(20), tasks.wait()).await.expect("both replicas leave");
}

/// What the README shows is a responder, and a good one.
#[test]
fn the_responder_in_the_readme_is_accepted() {
    let readme = include_str!("../README.md");
    let example = readme.split("```json").nth(1).unwrap().split("```").next().unwrap();
    let mut responder: serde_json::Value = serde_json::from_str(example).unwrap();
    for secret in ["/model/api_key", "/transcriber/api_key", "/actions/0/headers/authorization"] {
        *responder.pointer_mut(secret).unwrap() = "secret".into();
    }
    let channel = serde_json::json!({ "phone_number_id": "1", "waba_id": "2", "display_phone_number": "+1", "name": "n",
                                      "access_token": "t", "responder": responder });
    let settings: Settings = serde_json::from_value(serde_json::json!({ "channels": [channel] })).unwrap();
    assert_eq!(settings.check(), []);
}

fn first_answer() -> bytes::Bytes {
    proto::encode(Body::AssistantAnswer(proto::v1::AssistantAnswer {
        ask: "7-0".into(),
        epoch: 0,
        language: None,
        answer: Some(Answer::Reply(proto::v1::assistant_answer::Reply { text: "first".into(), body: None })),
    }))
}
