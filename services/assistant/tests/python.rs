//! The example in Python, `deploy/examples/assistant.py`, keeps the contract: against a real NATS.
//!
//! Its packages come from the package index and stay in the target directory. Without an index the
//! test says so and passes, except where `CI` is set: there it must run.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{path::Path, process::Stdio, time::Duration};

use devstack::python;
use domain::{
    ConversationKey, PhoneNumberId, Seq,
    message::Outgoing,
    session::{Answer, Answered, Ask, Conversation, Decision, Fact, Output},
};
use proto::{
    StoredDecision,
    subjects::{self, Kind},
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
    time::Instant,
};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/examples");

async fn asks(log: &bus::Log, key: &ConversationKey, answers: Seq, ask: Ask) {
    let state = Conversation::new(PhoneNumberId::new("1"));
    let decision = Decision { state, outputs: vec![Output::Timer { at: 1 }, Output::Ask(ask)] };
    let stored = StoredDecision { answers, policy_version: 1, decision };
    let previous = log.head(key).await.unwrap().map_or(0, |head| head.seq);
    log.append_decision(key, previous, stored.encode()).await.unwrap();
}

async fn answers(log: &bus::Log, key: &ConversationKey, count: usize) -> Vec<Answered> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let found =
            log.read(vec![subjects::filter_of(key, Kind::Assistant)], 1, Seq::MAX, 100).await.unwrap();
        if found.len() >= count {
            let answered = |entry: bus::Entry| {
                let fact = proto::convert::fact(proto::decode(entry.payload).unwrap()).unwrap();
                let Some(Fact::Answered(answered)) = fact else { panic!("{fact:?}") };
                answered
            };
            return found.into_iter().map(answered).collect();
        }
        assert!(Instant::now() < deadline, "{} of {count} answers", found.len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_assistant_in_python_answers_over_nats() {
    let requirements = format!("{EXAMPLES}/requirements.txt");
    let home = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let Some(packages) = python::packages(Path::new(&requirements), home).await.unwrap() else {
        println!("SKIPPED: pip has no index to install the example's packages from");
        return;
    };
    let nats = devstack::Nats::start().await.unwrap();
    let log = bus::connect(&bus::Config::at(&nats.url())).await.unwrap();
    let ask = |text: &str, epoch, helping| Ask { epoch, text: text.into(), helping, human_until: None };
    let key = ConversationKey::from_bytes([3; 16]);
    asks(&log, &key, 11, ask("what are your hours?", 0, false)).await;

    let script = format!("{EXAMPLES}/assistant.py");
    let mut child = python::command(Some(&packages))
        .args([script.as_str(), "--nats", &nats.url()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let started = tokio::time::timeout(Duration::from_secs(60), lines.next_line()).await.unwrap().unwrap();
    assert_eq!(started.as_deref(), Some("answering"));

    asks(&log, &key, 12, ask("a human please", 4, false)).await;
    asks(&log, &key, 13, ask("is anybody there?", 5, true)).await;
    asks(&log, &key, 14, ask("which colours?", 6, false)).await;
    let mut found = answers(&log, &key, 4).await;
    found.sort_by_key(|answered| answered.ask);
    let causes: Vec<_> = found.iter().map(|answered| (answered.ask.to_string(), answered.epoch)).collect();
    assert_eq!(causes, [("11-1".into(), 0), ("12-1".into(), 4), ("13-1".into(), 5), ("14-1".into(), 6)]);
    let Answer::Reply { body } = &found[0].answer else { panic!("{:?}", found[0]) };
    assert_eq!(body.as_text(), "We are open from 9 to 18.");
    assert!(
        matches!(&found[1].answer, Answer::Handoff(brief) if brief.summary.as_deref() == Some("a human please"))
    );
    assert_eq!(found[2].answer, Answer::Silence);
    assert!(matches!(&found[3].answer, Answer::Reply { body: Outgoing::Buttons(_) }));

    // An answer that is there already stays the only one.
    let other = ConversationKey::from_bytes([4; 16]);
    let first = proto::v1::AssistantAnswer::new("21-1".parse().unwrap(), 0, &Answer::Silence);
    let payload = proto::encode(proto::v1::entry::Body::AssistantAnswer(first));
    log.append_fact(&subjects::fact(&other, Kind::Assistant, "21-1"), payload, None).await.unwrap();
    asks(&log, &other, 21, ask("hours?", 0, false)).await;
    asks(&log, &other, 22, ask("hours?", 0, false)).await;
    let found = answers(&log, &other, 2).await;
    assert_eq!((found.len(), &found[0].answer), (2, &Answer::Silence));

    // It leaves when it is asked to.
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    let ended = tokio::time::timeout(Duration::from_secs(15), child.wait()).await.unwrap().unwrap();
    assert!(ended.success(), "{ended}");
}
