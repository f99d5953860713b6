//! Clients, keys, an endpoint for webhooks; and waiting for a state.

use std::{
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, Instant},
};

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der},
    rsa::{KeyPair, KeySize},
    signature::KeyPair as _,
};
use axum::{
    Router,
    body::Bytes,
    extract::Query,
    http::{HeaderMap, StatusCode},
    routing::get,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use e2e::sim::{Customer, Number, Options, PublicKey, Sim};
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub(crate) const NUMBER: &str = "220011223344001";
pub(crate) const SECRET: &str = "baton_test_app_secret";
pub(crate) const TOKEN: &str = "test-token";

pub(crate) fn ana() -> Customer {
    Customer::phone("15550100199", "Ana Ferreira")
}

/// Waits until `ready` gives something; a minute is for machines that build at the same time.
pub(crate) async fn until<T>(what: &str, mut ready: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = ready().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// An endpoint that answers as ordered and keeps what it got.
pub(crate) struct Endpoint {
    pub(crate) url: String,
    pub(crate) got: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    pub(crate) status: Arc<Mutex<u16>>,
}

impl Endpoint {
    pub(crate) async fn start() -> Self {
        let got: Arc<Mutex<Vec<(HeaderMap, Bytes)>>> = Arc::default();
        let status = Arc::new(Mutex::new(200));
        let (keep, answer) = (got.clone(), status.clone());
        let post = async move |headers: HeaderMap, body: Bytes| {
            keep.lock().unwrap().push((headers, body));
            StatusCode::from_u16(*answer.lock().unwrap()).unwrap()
        };
        let verify = async |Query(query): Query<std::collections::HashMap<String, String>>| {
            if query["hub.mode"] == "subscribe" && query["hub.verify_token"] == "verify me" {
                (StatusCode::OK, query["hub.challenge"].clone())
            } else {
                (StatusCode::FORBIDDEN, String::new())
            }
        };
        let router = Router::new().route("/webhook", get(verify).post(post));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/webhook", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, router).await });
        Self { url, got, status }
    }

    pub(crate) fn bodies(&self) -> Vec<Value> {
        let got = self.got.lock().unwrap();
        got.iter().map(|(_, body)| serde_json::from_slice(body).unwrap()).collect()
    }
}

pub(crate) fn number(callback_url: &str) -> Number {
    Number {
        phone_number_id: NUMBER.into(),
        waba_id: "104857600000001".into(),
        display_phone_number: "15550100200".into(),
        token: TOKEN.into(),
        app_secret: SECRET.into(),
        callback_url: callback_url.into(),
        verify_token: "verify me".into(),
    }
}

/// A client of both simulated APIs, with the keys of an identity provider.
pub(crate) struct World {
    pub(crate) sim: Sim,
    pub(crate) http: reqwest::Client,
    pub(crate) endpoint: Endpoint,
    private_pem: String,
}

/// A fresh key pair: private and public PEM.
fn keys() -> (String, String) {
    let keys = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let private: Pkcs8V1Der<'_> = keys.as_der().unwrap();
    let public: PublicKeyX509Der<'_> = keys.public_key().as_der().unwrap();
    (pem("PRIVATE KEY", private.as_ref()), pem("PUBLIC KEY", public.as_ref()))
}

impl World {
    /// With the key pair that all tests share: making one takes a second.
    pub(crate) async fn start() -> Self {
        static SHARED: OnceLock<(String, String)> = OnceLock::new();
        Self::with_keys(SHARED.get_or_init(keys).clone()).await
    }

    pub(crate) async fn with_other_keys() -> Self {
        Self::with_keys(keys()).await
    }

    async fn with_keys((private_pem, public_pem): (String, String)) -> Self {
        let mut options = Options::default();
        options.salesforce_config.keys = vec![PublicKey::pem("key-1", &public_pem)];
        options.salesforce_config.issuer = "https://bridge.example.com".into();
        let sim = Sim::start(options).await.unwrap();
        let endpoint = Endpoint::start().await;
        sim.whatsapp.set_number(number(&endpoint.url));
        let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build().unwrap();
        Self { sim, http, endpoint, private_pem }
    }

    /// `POST …/messages` with the number's token. Status and body.
    pub(crate) async fn send(&self, body: &Value) -> (u16, Value) {
        self.send_as(TOKEN, NUMBER, body).await
    }

    pub(crate) async fn send_as(&self, token: &str, number: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}/v25.0/{number}/messages", self.sim.addresses().whatsapp);
        let response = self.http.post(url).bearer_auth(token).json(body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }

    pub(crate) fn identity(&self, header: Value, claims: Value) -> String {
        let key = jsonwebtoken::EncodingKey::from_rsa_pem(self.private_pem.as_bytes()).unwrap();
        let header: jsonwebtoken::Header = serde_json::from_value(header).unwrap();
        jsonwebtoken::encode(&header, &claims, &key).unwrap()
    }

    /// An identity that holds.
    pub(crate) fn good_identity(&self, sub: &str) -> String {
        let claims =
            json!({ "iss": "https://bridge.example.com", "sub": sub, "iat": now(), "exp": now() + 300 });
        self.identity(json!({ "alg": "RS256", "kid": "key-1" }), claims)
    }

    pub(crate) async fn exchange(&self, identity: &str) -> (u16, Value) {
        let body = json!({
            "orgId": "00DRT0000004QhW", "esDeveloperName": "Phone_Bridge_Client", "capabilitiesVersion": "1",
            "platform": "Web", "authorizationType": "JWT", "customerIdentityToken": identity,
        });
        self.call("POST", "/authorization/authenticated/access-token", "", &body).await
    }

    /// A verified user's token.
    pub(crate) async fn token(&self, sub: &str) -> String {
        let (status, body) = self.exchange(&self.good_identity(sub)).await;
        assert_eq!(status, 200);
        body["accessToken"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn call(&self, method: &str, path: &str, token: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}/iamessage/api/v2{path}", self.sim.addresses().salesforce);
        let mut request = self.http.request(method.parse().unwrap(), url).bearer_auth(token);
        if method == "POST" {
            request = request.json(body);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }

    pub(crate) async fn create(&self, token: &str, id: &str) -> (u16, Value) {
        let body = json!({
            "conversationId": id, "esDeveloperName": "Phone_Bridge_Client", "language": "en_US",
            "routingAttributes": { "Customer_Name": "Dana Okafor", "Phone_Number": "+15550100123" },
        });
        self.call("POST", "/conversation", token, &body).await
    }

    pub(crate) async fn say(&self, token: &str, conversation: &str, id: &str, text: &str) -> (u16, Value) {
        let path = format!("/conversation/{conversation}/message");
        self.call("POST", &path, token, &message(id, text)).await
    }

    pub(crate) async fn stream(&self, token: &str, last_event_id: &str) -> reqwest::Response {
        let url = format!("{}/eventrouter/v1/sse", self.sim.addresses().salesforce);
        let request = self.http.get(url).bearer_auth(token).header("x-org-id", "00DRT0000004QhW");
        request.header("last-event-id", last_event_id).send().await.unwrap()
    }
}

pub(crate) fn message(id: &str, text: &str) -> Value {
    json!({
        "message": {
            "id": id, "messageType": "StaticContentMessage",
            "staticContent": { "formatType": "Text", "text": text },
        },
        "esDeveloperName": "Phone_Bridge_Client",
    })
}

/// The n-th id, in version 4 form.
pub(crate) fn id(n: u32) -> String {
    format!("5f0c9d1e-3b7a-4c62-9e41-{n:012}")
}

pub(crate) fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

fn pem(label: &str, der: &[u8]) -> String {
    let lines: Vec<String> = STANDARD
        .encode(der)
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8(line.to_vec()).unwrap())
        .collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
