//! What is asked of ingress beside webhooks: Salesforce's hooks, the integrations' public keys, and
//! kept files.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{sync::OnceLock, time::Duration};

use clap::Parser as _;
use devstack::Nats;
use domain::{
    ThreadId,
    derive::{Keying, uuid},
    links::FileLink,
};
use ingress::Config;
use reqwest::StatusCode;
use runtime::settings::Live;
use salesforce::keys::{KeyPair, generate_key_pair};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

const KEYING: &str = "0123456789abcdef0123456789abcdef";
const HOOK_KEY: &str = "a hook key of thirty-two characters or more";

struct Service {
    url: String,
    http: reqwest::Client,
    log: bus::Log,
    _running: JoinSet<anyhow::Result<()>>,
    _nats: Nats,
    _dir: tempfile::TempDir,
}

fn pair(n: usize) -> &'static KeyPair {
    static PAIRS: OnceLock<Vec<KeyPair>> = OnceLock::new();
    &PAIRS.get_or_init(|| (0..2).map(|_| generate_key_pair(2048).unwrap()).collect())[n]
}

fn settings() -> Value {
    let integration = |id: &str| {
        json!({
            "id": id, "instance_url": "https://acme.my.salesforce.com", "es_developer_name": "Bridge",
            "org_id": "00DRT0000004QhW", "auth_key_id": format!("{id}-1"),
            "jwt_private_key": pair(0).private_pem.expose_secret(), "jwt_public_key": pair(0).public_pem,
        })
    };
    let mut main = integration("main");
    main["hook_keys"] = json!(["another hook key, which is on its way out", HOOK_KEY]);
    main["more_keys"] =
        json!([{ "auth_key_id": "main-2", "jwt_private_key": pair(1).private_pem.expose_secret() }]);
    json!({
        "channels": [{ "phone_number_id": "1", "waba_id": "2", "display_phone_number": "+1", "name": "Support",
                       "access_token": "t", "integration": "main" }],
        "integrations": [main, integration("closed")],
    })
}

async fn start() -> Service {
    let nats = Nats::start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("settings.json");
    std::fs::write(&path, settings().to_string()).unwrap();
    let url = nats.url();
    let arguments = [
        "ingress",
        "--nats-url",
        &url,
        "--whatsapp-app-secrets",
        "secret",
        "--whatsapp-verify-token",
        "token",
        "--conversation-key-secret",
        KEYING,
        "--settings",
        path.to_str().unwrap(),
    ];
    let config = Config::try_parse_from(arguments).unwrap();
    let log = bus::connect(&config.bus).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let settings = Some(Live::fixed(runtime::settings::load(&path).unwrap()));
    let mut running = JoinSet::new();
    running.spawn(ingress::run(config.webhook, listener, log.clone(), settings, CancellationToken::new()));
    let http = runtime::http_client(runtime::HttpTimeouts::default()).unwrap();
    Service { url, http, log, _running: running, _nats: nats, _dir: dir }
}

impl Service {
    /// Status and word of the problem.
    async fn hook(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> (u16, String) {
        let mut request = self.http.post(format!("{}/hooks/salesforce/{path}", self.url)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let problem: Value = answer.json().await.unwrap_or_default();
        (status, problem["error"].as_str().unwrap_or_default().to_owned())
    }

    async fn json(&self, path: &str) -> (StatusCode, Value) {
        let answer = self.http.get(format!("{}{path}", self.url)).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }
}

#[tokio::test]
async fn a_hook_wakes_the_follower_and_nobody_else_may_call() {
    let service = start().await;
    let thread = ThreadId(uuid("thread", &[]));
    let news = json!({ "conversation": thread, "why": "a flow may say more" }).to_string();
    let bearer = format!("Bearer {HOOK_KEY}");
    let key = [("authorization", bearer.as_str())];
    let said = |status: u16, error: &str| (status, error.to_owned());

    assert_eq!(service.hook("main", &key, news.clone()).await, said(503, "away"), "no egress runs");
    let mut wakes = service.log.wakes().await.unwrap();
    let mut followers = JoinSet::new();
    followers.spawn(async move {
        let mut woken = 0;
        while let Some(wake) = wakes.next().await {
            if wake.thread == thread {
                woken += 1;
                wakes.taken(wake).await;
            }
            if woken == 3 {
                break;
            }
        }
        // Others come and are not followed.
        while wakes.next().await.is_some() {}
    });
    assert_eq!(service.hook("main", &key, news.clone()).await, said(204, ""));
    let older = [("authorization", "bearer another hook key, which is on its way out")];
    assert_eq!(service.hook("main", &older, news.clone()).await, said(204, ""));
    let signature = whatsapp::signature::sign(&SecretString::from(HOOK_KEY), news.as_bytes());
    let signed = [(ingress::HOOK_SIGNATURE, signature.as_str())];
    assert_eq!(service.hook("main", &signed, news.clone()).await, said(204, ""));

    let other = json!({ "conversation": uuid("other", &[]) }).to_string();
    for (path, headers, body, expected) in [
        ("main", &key[..], other.clone(), said(404, "not_followed")),
        ("main", &signed[..], other, said(401, "unauthorized")),
        ("main", &[("authorization", "Bearer something else")][..], news.clone(), said(401, "unauthorized")),
        ("main", &[("authorization", "Basic eDp5")][..], news.clone(), said(401, "unauthorized")),
        ("main", &[][..], news.clone(), said(401, "unauthorized")),
        ("main", &[(ingress::HOOK_SIGNATURE, "sha256=00")][..], news.clone(), said(401, "unauthorized")),
        ("other", &key[..], news.clone(), said(404, "no_integration")),
        ("closed", &key[..], news.clone(), said(404, "no_integration")),
        ("main", &key[..], "not JSON".into(), said(400, "not_news")),
        ("main", &key[..], r#"{"conversation":"5"}"#.into(), said(400, "not_news")),
        ("main", &key[..], "x".repeat(20_000), said(413, "too_large")),
    ] {
        assert_eq!(service.hook(path, headers, body.clone()).await, expected, "{path} {headers:?}");
    }
}

#[tokio::test]
async fn public_keys_are_published_and_no_private_one() {
    let service = start().await;
    let ids = |set: &Value| {
        let keys = set["keys"].as_array().unwrap();
        keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (status, main) = service.json("/integrations/main/jwks.json").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(ids(&main), ["main-2", "main-1"]);
    for key in main["keys"].as_array().unwrap() {
        let members: Vec<&str> = key.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["alg", "e", "kid", "kty", "n", "use", "x5c"]);
    }
    let (_, all) = service.json("/.well-known/jwks.json").await;
    assert_eq!(ids(&all), ["main-2", "main-1", "closed-1"]);
    assert_eq!(service.json("/.well-known/jwks.json").await.1, all, "the same certificates");
    assert_eq!(service.json("/integrations/other/jwks.json").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_kept_file_is_given_to_whoever_has_a_link_and_as_a_download() {
    let service = start().await;
    let media = service.log.media().await.unwrap();
    let bytes: Vec<u8> = (0..300_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    media.put("0123abcd", &mut bytes.as_slice()).await.unwrap();
    let keying = Keying::new(&SecretString::from(KEYING));
    let link =
        FileLink { object: "0123abcd".into(), ending: "webp".into(), expires_at: runtime::now() + 60_000 };
    let get =
        async |token: &str| service.http.get(format!("{}/files/{token}", service.url)).send().await.unwrap();
    let answer = get(&link.token(&keying)).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-disposition"), "attachment; filename=\"file.webp\"");
    assert_eq!(header("content-type"), "application/octet-stream");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("cache-control"), "private, no-store");
    assert_eq!(header("content-length"), "300000");
    assert!(answer.bytes().await.unwrap() == bytes);

    let old = FileLink { expires_at: runtime::now() - 1_000, ..link.clone() };
    let gone = FileLink { object: "ffff".into(), ..link.clone() };
    let forged = link.token(&Keying::new(&SecretString::from("another secret")));
    for (token, status) in [
        (old.token(&keying), StatusCode::GONE),
        (gone.token(&keying), StatusCode::GONE),
        (forged, StatusCode::NOT_FOUND),
        ("0123abcd".into(), StatusCode::NOT_FOUND),
    ] {
        assert_eq!(get(&token).await.status(), status, "{token}");
    }
    // Whoever stops reading holds nobody up.
    let stopped = futures::future::join_all((0..40).map(|_| get(link.token(&keying).leak()))).await;
    let given = stopped.iter().filter(|answer| answer.status() == StatusCode::OK).count();
    assert!(given >= 32, "{given}");
    drop(stopped);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while get(&link.token(&keying)).await.status() != StatusCode::OK {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
