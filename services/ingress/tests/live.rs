//! Channels, keys and hooks that are saved in the broker while ingress runs.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::Duration;

use clap::Parser as _;
use configuration::{Change, Configuration};
use devstack::Nats;
use ingress::Config;
use reqwest::StatusCode;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use whatsapp::signature;

const KEY: &str = "a:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

struct Service {
    url: String,
    http: reqwest::Client,
}

impl Service {
    async fn handshake(&self, token: &str) -> (StatusCode, String) {
        let query = format!("hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token={token}");
        let answer = self.http.get(format!("{}/webhooks/whatsapp?{query}", self.url)).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    async fn webhook(&self, secret: &str, number: &str) -> StatusCode {
        let body = json!({ "object": "whatsapp_business_account", "entry": [{ "id": "2", "changes": [{
            "field": "messages",
            "value": { "messaging_product": "whatsapp", "metadata": { "phone_number_id": number },
                       "messages": [{ "id": format!("wamid.{number}"), "from": "491700000000", "type": "text",
                                      "timestamp": "1700000000", "text": { "body": "hello" } }] },
        }] }] })
        .to_string();
        let signature = signature::sign(&SecretString::from(secret), body.as_bytes());
        let request = self.http.post(format!("{}/webhooks/whatsapp", self.url));
        request.header("x-hub-signature-256", signature).body(body).send().await.unwrap().status()
    }
}

async fn until(what: &str, ask: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !ask().await {
        assert!(Instant::now() < deadline, "waited for: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn document(channels: &[&str], secrets: &[&str], tokens: &[&str]) -> Value {
    let channel = |number: &&str| {
        json!({ "phone_number_id": number, "waba_id": "2", "display_phone_number": "+1", "name": "Support",
                "access_token": "t" })
    };
    json!({ "channels": channels.iter().map(channel).collect::<Vec<_>>(),
            "webhook": { "app_secrets": secrets, "verify_tokens": tokens } })
}

fn change(what: &str) -> Change {
    Change { who: "ann".into(), what: what.into() }
}

#[tokio::test]
async fn a_channel_that_is_saved_while_it_runs_is_taken_up() {
    let nats = Nats::start().await.unwrap();
    let url = nats.url();
    let arguments = ["ingress", "--nats-url", &url, "--settings", "broker", "--master-key", KEY];
    let keying = ["--conversation-key-secret", "0123456789abcdef0123456789abcdef"];
    let config = Config::try_parse_from(arguments.into_iter().chain(keying)).unwrap();
    let log = bus::connect(&config.bus).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = Service {
        url: format!("http://{}", listener.local_addr().unwrap()),
        http: runtime::http_client(runtime::HttpTimeouts::default()).unwrap(),
    };
    let shutdown = CancellationToken::new();
    let source = config.webhook.source.clone().unwrap();
    let settings =
        configuration::settings(&source, &log, config.opens.master_key.as_ref(), &shutdown).await.unwrap();
    let mut running = JoinSet::new();
    running.spawn(ingress::run(config.webhook, listener, log.clone(), Some(settings), shutdown));

    // Nothing is saved: nobody is let in, not even with nothing.
    assert_eq!(service.handshake("").await.0, StatusCode::FORBIDDEN);
    assert_eq!(service.webhook("", "1").await, StatusCode::UNAUTHORIZED);

    let configuration = Configuration::open(&log, &SecretString::from(KEY)).await.unwrap();
    let saved = document(&["1"], &["secret one"], &["token-one"]);
    let first = configuration.save(saved, 0, change("channel 1 added")).await.unwrap();
    until("the handshake", async || {
        service.handshake("token-one").await == (StatusCode::OK, "1158201444".into())
    })
    .await;
    let stored = async || log.last("conv.>").await.unwrap().map_or(0, |entry| entry.seq);
    assert_eq!(service.webhook("secret one", "9").await, StatusCode::OK);
    assert_eq!(stored().await, 0, "another number's is not stored");
    assert_eq!(service.webhook("secret one", "1").await, StatusCode::OK);
    assert_eq!(stored().await, 1);

    // Another number of another app; the first app's secret is replaced.
    let saved = document(&["1", "9"], &["secret new", "secret two"], &["token-two"]);
    configuration.save(saved, first, change("channel 9 added")).await.unwrap();
    until("the second app's handshake", async || service.handshake("token-two").await.0 == StatusCode::OK)
        .await;
    assert_eq!(service.handshake("token-one").await.0, StatusCode::FORBIDDEN);
    assert_eq!(service.webhook("secret one", "1").await, StatusCode::UNAUTHORIZED);
    assert_eq!(service.webhook("secret new", "9").await, StatusCode::OK);
    assert_eq!(stored().await, 2);
    assert!(running.try_join_next().is_none());
}

#[tokio::test]
async fn without_any_key_it_does_not_start_on_a_file() {
    let nats = Nats::start().await.unwrap();
    let url = nats.url();
    let arguments = ["ingress", "--nats-url", &url];
    let keying = ["--conversation-key-secret", "0123456789abcdef0123456789abcdef"];
    let config = Config::try_parse_from(arguments.into_iter().chain(keying)).unwrap();
    let log = bus::connect(&config.bus).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ended = ingress::run(config.webhook, listener, log, None, CancellationToken::new()).await;
    assert!(ended.unwrap_err().to_string().contains("WHATSAPP_APP_SECRETS"));
}
