//! The doctor's pages and JSON, over a real log and a real cache.

mod shared;

use std::time::Duration;

use bus::{Entry, Failure, Handler, Lease, ReaderOptions};
use console::{Outside, SignIn};
use domain::ConversationKey;
use proto::subjects::{self, Kind};
use serde_json::Value;
use shared::Servers;
use tokio::time::Instant;

struct Refusing;

impl Handler for Refusing {
    async fn handle(&self, _entry: &Entry, _lease: &Lease) -> Result<(), Failure> {
        Err(Failure::never("made-up reason"))
    }
}

#[tokio::test]
async fn checks_and_dead_letters_are_shown_and_discarded() {
    let (_nats, _valkey, servers) = Servers::start().await;
    let Servers { log, tasks, shutdown: stop, .. } = servers.clone();
    // Handoff lives, and can do nothing with what it gets.
    let (reader, stopped) =
        (log.reader("handoff", &[Kind::WhatsApp], ReaderOptions::default()), stop.clone());
    tasks.spawn(async move { reader.run(Refusing, stopped).await.unwrap() });
    let subject = subjects::fact(&ConversationKey::from_bytes([1; 16]), Kind::WhatsApp, "a");
    log.append_fact(&subject, "secret words".into(), None).await.unwrap();

    let url = servers.console(SignIn::default(), Outside::default()).await;
    let http = reqwest::Client::builder().build().unwrap();
    let text = async |path: &str| {
        let answer = http.get(format!("{url}{path}")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.unwrap()
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    let letters: Value = loop {
        let letters: Value = serde_json::from_str(&text("/api/v1/dead-letters").await).unwrap();
        if letters["count"] == 1 {
            break letters;
        }
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(letters["dead_letters"][0]["reason"], "made-up reason");

    let post = async |path: &str| http.post(format!("{url}{path}")).send().await.unwrap();
    let report: Value =
        serde_json::from_str(&post("/api/v1/doctor/run").await.text().await.unwrap()).unwrap();
    let verdict = |id: &str| {
        let findings = report["findings"].as_array().unwrap();
        findings.iter().find(|finding| finding["id"] == id).unwrap()["verdict"].clone()
    };
    assert_eq!((verdict("baton.handoff"), verdict("baton.egress")), ("ok".into(), "broken".into()));
    assert_eq!(
        (verdict("baton.dead_letters"), verdict("salesforce")),
        ("warning".into(), "not_applicable".into())
    );
    let newest: Value = serde_json::from_str(&text("/api/v1/doctor").await).unwrap();
    assert_eq!(newest["findings"].as_array().unwrap().len(), report["findings"].as_array().unwrap().len());
    let html = text("/troubleshooting").await;
    for shown in ["The first thing that is wrong is: egress lives", "made-up reason", "BATON_SETTINGS"] {
        assert!(html.contains(shown), "{shown}");
    }
    assert!(!html.contains("secret words"));

    let id = &letters["dead_letters"][0]["id"];
    let discard = format!("/api/v1/dead-letters/{id}/discard");
    assert_eq!(post(&discard).await.status(), 204);
    assert_eq!(post(&discard).await.status(), 404);
    assert_eq!(post("/troubleshooting/run").await.status(), 200, "it leads back to the page");
    assert!(text("/troubleshooting").await.contains("None: every entry could be handled"));
    servers.stop().await;
}
