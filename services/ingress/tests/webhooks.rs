//! Webhooks over HTTP into a real log.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use async_nats::jetstream;
use clap::Parser as _;
use devstack::Nats;
use futures::{TryStreamExt as _, future::join_all};
use ingress::{Config, Webhook, entries};
use reqwest::StatusCode;
use runtime::settings::Source;
use secrecy::SecretString;
use tokio::{net::TcpListener, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use whatsapp::{signature, webhook};

const APP_SECRET: &str = "test app secret";

struct Service {
    url: String,
    http: reqwest::Client,
    shutdown: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
    config: Webhook,
    nats: Nats,
}

async fn start(change: impl FnOnce(&mut Webhook)) -> Service {
    let nats = Nats::start().await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let arguments = [
        ["ingress", "--nats-url"].as_slice(),
        &[&nats.url(), "--whatsapp-app-secrets", "a newer one,test app secret"],
        &["--whatsapp-verify-token", "test verify token"],
        &["--conversation-key-secret", "0123456789abcdef0123456789abcdef"],
    ];
    let mut config = Config::try_parse_from(arguments.concat()).unwrap();
    change(&mut config.webhook);
    let log = bus::connect(&config.bus).await.unwrap();
    let shutdown = CancellationToken::new();
    let settings = match &config.webhook.source {
        Some(source) => Some(configuration::settings(source, &log, None, &shutdown).await.unwrap()),
        None => None,
    };
    let run = ingress::run(config.webhook.clone(), listener, log, settings, shutdown.clone());
    #[expect(clippy::disallowed_methods, reason = "awaited by the tests that stop it")]
    let running = tokio::spawn(run);
    let http = runtime::http_client(runtime::HttpTimeouts::default()).unwrap();
    Service { url, http, shutdown, running, config: config.webhook, nats }
}

impl Service {
    async fn get(&self, path: &str) -> (StatusCode, String) {
        let answer = self.http.get(format!("{}{path}", self.url)).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    async fn post(&self, body: impl Into<reqwest::Body>, signature: Option<&str>) -> reqwest::Response {
        let mut request = self.http.post(format!("{}/webhooks/whatsapp", self.url)).body(body);
        if let Some(signature) = signature {
            request = request.header("x-hub-signature-256", signature);
        }
        request.send().await.unwrap()
    }

    async fn post_signed(&self, body: &[u8]) -> StatusCode {
        let signature = signature::sign(&SecretString::from(APP_SECRET), body);
        self.post(body.to_vec(), Some(&signature)).await.status()
    }

    async fn stream(&self) -> jetstream::stream::Stream {
        let nats = async_nats::connect(self.nats.url()).await.unwrap();
        jetstream::new(nats).get_stream("CONVERSATIONS").await.unwrap()
    }

    /// How many entries stand on each subject.
    async fn subjects(&self) -> BTreeMap<String, usize> {
        self.stream().await.info_with_subjects(">").await.unwrap().try_collect().await.unwrap()
    }

    async fn entries(&self) -> u64 {
        self.stream().await.cached_info().state.messages
    }

    /// What should be stored of a body.
    fn expected(&self, body: &[u8]) -> BTreeSet<String> {
        let keying = self.config.keying.keying();
        let events = webhook::parse(&body.to_vec().into(), 0).unwrap_or_default();
        events.into_iter().map(|event| entries::entry(event, &keying).subject).collect()
    }

    async fn wait_until_ready(&self, ready: bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.get("/readyz").await.0.is_success() != ready {
            assert!(Instant::now() < deadline, "ready stayed {}", !ready);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn files(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, into),
            false => into.push(path),
        }
    }
}

/// The recorded webhooks: everything in testdata but the Graph API's answers and lists.
fn samples() -> Vec<Vec<u8>> {
    let root = devstack::workspace_root().join("crates/whatsapp/testdata");
    let mut found = Vec::new();
    for dir in [
        "messages", "system", "statuses", "account", "echoes", "routing", "calls", "groups", "batches",
        "edge",
    ] {
        files(&root.join(dir), &mut found);
    }
    found.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    assert!(found.len() > 150);
    found.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn text(id: &str, from: &str, body: &str) -> String {
    format!(
        r#"{{"id":"wamid.{id}","from":"{from}","timestamp":"1795400000","type":"text","text":{{"body":"{body}"}}}}"#
    )
}

fn webhook_of(number: &str, messages: &[String]) -> Vec<u8> {
    format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"1","changes":[{{"field":"messages",
            "value":{{"metadata":{{"phone_number_id":"{number}"}},"messages":[{}]}}}}]}}]}}"#,
        messages.join(",")
    )
    .into_bytes()
}

#[tokio::test]
async fn the_handshake_needs_the_token_and_no_signature() {
    let service = start(|_| {}).await;
    let ask = async |query: &str| service.get(&format!("/webhooks/whatsapp?{query}")).await;
    let token = "hub.verify_token=test%20verify%20token";
    assert_eq!(
        ask(&format!("hub.mode=subscribe&hub.challenge=1158201444&{token}")).await,
        (StatusCode::OK, "1158201444".into())
    );
    let (status, body) = ask("hub.mode=subscribe&hub.challenge=1&hub.verify_token=wrong").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["error"], "wrong_token");
    assert!(body["what_to_do"].is_string());
    for query in ["", "hub.mode=subscribe", &format!("hub.mode=other&hub.challenge=1&{token}")] {
        assert_eq!(ask(query).await.0, StatusCode::BAD_REQUEST, "{query}");
    }
}

#[tokio::test]
async fn every_recorded_webhook_is_accepted_and_none_is_lost() {
    let service = start(|_| {}).await;
    let mut expected = BTreeSet::new();
    for body in samples() {
        assert_eq!(service.post_signed(&body).await, StatusCode::OK);
        expected.append(&mut service.expected(&body));
    }
    let stored = service.subjects().await;
    assert_eq!(stored.keys().cloned().collect::<BTreeSet<_>>(), expected);
    assert!(stored.values().all(|count| *count == 1));
}

#[tokio::test]
async fn five_copies_at_once_are_one_entry() {
    let service = start(|_| {}).await;
    let bodies: Vec<_> = (0..20)
        .map(|i| webhook_of("2", &[text(&format!("{i}"), &format!("49{}", i % 7), "hello")]))
        .collect();
    let posts =
        bodies.iter().flat_map(|body| std::iter::repeat_n(body, 5)).map(|body| service.post_signed(body));
    assert!(join_all(posts).await.iter().all(|status| *status == StatusCode::OK));
    let stored = service.subjects().await;
    assert_eq!((stored.len(), stored.values().sum::<usize>()), (20, 20));
}

#[tokio::test]
async fn a_batch_of_a_thousand_is_stored_in_the_order_of_each_conversation() {
    let service = start(|_| {}).await;
    let messages: Vec<_> =
        (0..1000).map(|i| text(&format!("{i}"), &format!("49{}", i % 50), &i.to_string())).collect();
    assert_eq!(service.post_signed(&webhook_of("2", &messages)).await, StatusCode::OK);
    assert_eq!(service.entries().await, 1000);
    let stream = service.stream().await;
    let mut said: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for sequence in 1..=1000 {
        let stored = stream.direct_get(sequence).await.unwrap();
        let proto::v1::entry::Body::WhatsappMessage(message) = proto::decode(stored.payload).unwrap() else {
            panic!("no message");
        };
        let message = proto::convert::inbound(message).unwrap();
        let order = message.content.as_text().parse().unwrap();
        said.entry(message.customer.phone.unwrap()).or_default().push(order);
    }
    assert_eq!(said.len(), 50);
    assert!(said.values().all(|order| order.len() == 20 && order.is_sorted()));
}

#[tokio::test]
async fn what_is_not_a_webhook_is_refused_and_disturbs_nothing() {
    let service = start(|_| {}).await;
    let body = webhook_of("2", &[text("1", "49", "hi")]);
    let forged = signature::sign(&SecretString::from("another secret"), &body);
    for signature in [None, Some("sha256=00"), Some(forged.as_str()), Some("nonsense")] {
        let answer = service.post(body.clone(), signature).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(answer.json::<serde_json::Value>().await.unwrap()["error"], "bad_signature");
    }
    assert_eq!(service.post_signed(b"{\"object\":").await, StatusCode::BAD_REQUEST);
    assert_eq!(service.post_signed(b"").await, StatusCode::BAD_REQUEST);
    assert_eq!(service.post_signed(b"{\"object\":\"page\"}").await, StatusCode::OK);
    let put = service.http.put(format!("{}/webhooks/whatsapp", service.url)).send().await.unwrap();
    assert_eq!(put.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(service.entries().await, 0);
    assert_eq!(service.post_signed(&body).await, StatusCode::OK);
    assert_eq!(service.entries().await, 1);
}

#[tokio::test]
async fn three_megabytes_are_taken_and_more_is_refused() {
    let service = start(|_| {}).await;
    let around = webhook_of("2", &[text("1", "49", "")]).len();
    let longest = service.config.max_body_bytes;
    let body = |length: usize| webhook_of("2", &[text("1", "49", &"x".repeat(length - around))]);
    assert_eq!(service.post_signed(&body(longest + 1)).await, StatusCode::PAYLOAD_TOO_LARGE);
    // Without a length the service has to count.
    let chunks = (0..longest / 65_536 + 2).map(|_| anyhow::Ok(vec![b' '; 65_536]));
    let chunks = futures::stream::iter(chunks.collect::<Vec<_>>());
    let unannounced = reqwest::Body::wrap_stream(chunks);
    assert_eq!(service.post(unannounced, None).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(service.entries().await, 0);
    assert_eq!(service.post_signed(&body(longest)).await, StatusCode::OK);
    assert_eq!(service.entries().await, 1);
}

#[tokio::test]
async fn while_the_log_is_away_meta_is_asked_to_repeat_and_the_repetition_is_stored_once() {
    let mut service = start(|config| config.publish_timeout = Duration::from_millis(500)).await;
    service.wait_until_ready(true).await;
    let before = webhook_of("2", &[text("1", "49", "before")]);
    let during = webhook_of("2", &[text("1", "49", "before"), text("2", "49", "during")]);
    assert_eq!(service.post_signed(&before).await, StatusCode::OK);
    service.nats.kill().await.unwrap();
    let asked = Instant::now();
    assert_eq!(service.post_signed(&during).await, StatusCode::SERVICE_UNAVAILABLE);
    assert!(asked.elapsed() < Duration::from_secs(3));
    service.wait_until_ready(false).await;
    assert!(service.get("/livez").await.0.is_success());
    service.nats.restart().await.unwrap();
    service.wait_until_ready(true).await;
    for _ in 0..2 {
        assert_eq!(service.post_signed(&during).await, StatusCode::OK);
    }
    assert_eq!(service.entries().await, 2);
}

#[tokio::test]
async fn numbers_that_are_not_configured_are_answered_and_not_stored() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("settings.json");
    let settings = serde_json::json!({ "channels": [{
        "phone_number_id": "2", "waba_id": "1", "display_phone_number": "+1", "name": "Support", "access_token": "t"
    }]});
    std::fs::write(&path, settings.to_string()).unwrap();
    let service = start(|config| config.source = Some(Source::File(path))).await;
    assert_eq!(service.post_signed(&webhook_of("3", &[text("1", "49", "foreign")])).await, StatusCode::OK);
    assert_eq!(service.entries().await, 0);
    let account = br#"{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[
        {"field":"account_alerts","value":{"entity_type":"WABA"}}]}]}"#;
    assert_eq!(service.post_signed(account).await, StatusCode::OK);
    assert_eq!(service.post_signed(&webhook_of("2", &[text("1", "49", "ours")])).await, StatusCode::OK);
    assert_eq!(service.entries().await, 2);
}

#[tokio::test]
async fn what_was_begun_is_answered_before_the_service_leaves() {
    let service = start(|_| {}).await;
    service.wait_until_ready(true).await;
    service.nats.signal("STOP").unwrap();
    let body = webhook_of("2", &[text("1", "49", "hi")]);
    let leave = async {
        // Long enough for the request to have reached the service; a shorter wait tests less, and
        // fails nothing.
        tokio::time::sleep(Duration::from_millis(200)).await;
        service.shutdown.cancel();
        tokio::time::sleep(Duration::from_millis(100)).await;
        service.nats.signal("CONT").unwrap();
    };
    let (status, ()) = tokio::join!(service.post_signed(&body), leave);
    assert_eq!(status, StatusCode::OK);
    assert_eq!(service.entries().await, 1);
    tokio::time::timeout(Duration::from_secs(5), service.running).await.unwrap().unwrap().unwrap();
}
