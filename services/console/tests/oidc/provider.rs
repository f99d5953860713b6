//! A small identity provider that does what a test tells it, wrong things among them.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_lc_rs::{digest, encoding::AsDer as _, rsa, signature};
use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use console::{Oidc, OidcArgs};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::form_urlencoded;

pub(crate) const CLIENT: &str = "baton";
pub(crate) const SECRET: &str = "a secret: with/ signs";

/// How a part of it misbehaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Silent,
    Endless,
    Broken,
}

/// What it does; each test changes what it is about.
pub(crate) struct Acts {
    pub(crate) metadata: Value,
    pub(crate) keys: Vec<Value>,
    pub(crate) signs: (Algorithm, EncodingKey, Option<&'static str>),
    /// Over the claims of a good token; null takes one out.
    pub(crate) claims: Value,
    pub(crate) information: Option<Value>,
    /// Instead of a token of ours.
    pub(crate) token: Option<String>,
    pub(crate) damaged: bool,
    pub(crate) fault: Option<(&'static str, Fault)>,
    /// Which addresses were called.
    pub(crate) calls: Vec<&'static str>,
}

#[derive(Clone)]
pub(crate) struct Provider {
    pub(crate) issuer: String,
    pub(crate) acts: Arc<Mutex<Acts>>,
}

pub(crate) fn rsa_key() -> EncodingKey {
    let key = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
    let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = key.as_der().unwrap();
    EncodingKey::from_rsa_pem(pem(der.as_ref()).as_bytes()).unwrap()
}

pub(crate) fn ec_key() -> EncodingKey {
    let key = signature::EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    EncodingKey::from_ec_pem(pem(key.to_pkcs8v1().unwrap().as_ref()).as_bytes()).unwrap()
}

fn pem(der: &[u8]) -> String {
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der))
}

/// As it is published.
pub(crate) fn public(key: &EncodingKey, algorithm: Algorithm, id: &str) -> Value {
    let mut jwk = json!(Jwk::from_encoding_key(key, algorithm).unwrap());
    jwk["kid"] = id.into();
    jwk["use"] = "sig".into();
    jwk
}

impl Provider {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let key = rsa_key();
        let acts = Acts {
            metadata: json!({
                "issuer": issuer,
                "authorization_endpoint": format!("{issuer}/authorize?tenant=1"),
                "token_endpoint": format!("{issuer}/token"),
                "jwks_uri": format!("{issuer}/keys"),
                "userinfo_endpoint": format!("{issuer}/information"),
                "code_challenge_methods_supported": ["plain", "S256"],
            }),
            keys: vec![public(&key, Algorithm::RS256, "k-1")],
            signs: (Algorithm::RS256, key, Some("k-1")),
            claims: json!({}),
            information: None,
            token: None,
            damaged: false,
            fault: None,
            calls: Vec::new(),
        };
        let provider = Self { issuer, acts: Arc::new(Mutex::new(acts)) };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(configuration))
            .route("/keys", get(keys))
            .route("/token", post(token))
            .route("/information", get(information))
            .with_state(provider.clone());
        let serve = axum::serve(listener, router);
        #[expect(clippy::disallowed_methods, reason = "ends with the test")]
        tokio::spawn(async move { serve.await.unwrap() });
        provider
    }

    pub(crate) fn set(&self, act: impl FnOnce(&mut Acts)) {
        act(&mut self.acts.lock().unwrap());
    }

    pub(crate) fn called(&self, what: &str) -> usize {
        self.acts.lock().unwrap().calls.iter().filter(|call| **call == what).count()
    }

    fn fault(&self, what: &'static str) -> Option<Fault> {
        let mut acts = self.acts.lock().unwrap();
        acts.calls.push(what);
        acts.fault.filter(|(at, _)| *at == what).map(|(_, fault)| fault)
    }
}

/// The console's side, as a test wants it.
pub(crate) fn arguments(issuer: &str) -> OidcArgs {
    OidcArgs {
        console_oidc_issuer: Some(issuer.to_owned()),
        console_oidc_client_id: Some(CLIENT.into()),
        console_oidc_client_secret: Some(SECRET.into()),
        console_url: Some("http://localhost:8081".into()),
        console_oidc_scopes: "openid profile email groups".into(),
        console_oidc_name_claim: "email".into(),
        console_oidc_roles_claim: "groups".into(),
        console_oidc_owners: "baton owners".into(),
        console_oidc_admins: "baton admins; CN=Admins,OU=A".into(),
        console_oidc_agents: "support".into(),
        console_oidc_label: "Example ID".into(),
    }
}

pub(crate) fn checked(arguments: &OidcArgs) -> Option<Oidc> {
    Some(arguments.checked().unwrap().unwrap())
}

async fn misbehave(fault: Fault) -> Response {
    match fault {
        Fault::Silent => std::future::pending().await,
        Fault::Endless => {
            let more =
                futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 65_536])));
            Body::from_stream(more).into_response()
        }
        Fault::Broken => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn configuration(State(provider): State<Provider>) -> Response {
    match provider.fault("configuration") {
        Some(fault) => misbehave(fault).await,
        None => Json(provider.acts.lock().unwrap().metadata.clone()).into_response(),
    }
}

async fn keys(State(provider): State<Provider>) -> Response {
    match provider.fault("keys") {
        Some(fault) => misbehave(fault).await,
        None => Json(json!({ "keys": provider.acts.lock().unwrap().keys })).into_response(),
    }
}

async fn information(State(provider): State<Provider>, headers: HeaderMap) -> Response {
    if let Some(fault) = provider.fault("information") {
        return misbehave(fault).await;
    }
    assert_eq!(headers["authorization"], "Bearer an-access-token");
    match &provider.acts.lock().unwrap().information {
        Some(information) => Json(information).into_response(),
        None => Json(json!({ "sub": "s-1" })).into_response(),
    }
}

/// The code says what the browser was sent with.
async fn token(State(provider): State<Provider>, headers: HeaderMap, body: Bytes) -> Response {
    if let Some(fault) = provider.fault("token") {
        return misbehave(fault).await;
    }
    let acts = provider.acts.lock().unwrap();
    let form: std::collections::BTreeMap<_, _> = form_urlencoded::parse(&body).into_owned().collect();
    let quoted: String = form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
    let basic = format!("Basic {}", STANDARD.encode(format!("{CLIENT}:{quoted}")));
    let given = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let by_basic = given.as_ref() == Some(&basic) && !form.contains_key("client_secret");
    let by_post = given.is_none() && form.get("client_secret").is_some_and(|secret| secret == SECRET);
    let ways = acts.metadata["token_endpoint_auth_methods_supported"].as_array();
    let post_only = ways.is_some_and(|ways| !ways.contains(&json!("client_secret_basic")));
    let public = ways.is_some_and(|ways| ways.contains(&json!("none")));
    if !(public || if post_only { by_post } else { by_basic }) {
        return (StatusCode::UNAUTHORIZED, Json(json!({ "error": "invalid_client" }))).into_response();
    }
    let code = URL_SAFE_NO_PAD.decode(form.get("code").map_or("", String::as_str)).unwrap_or_default();
    let code: Value = serde_json::from_slice(&code).unwrap_or_default();
    let verifier = form.get("code_verifier").map_or("", String::as_str);
    let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
    if code["challenge"] != challenge || form["redirect_uri"] != "http://localhost:8081/sign-in/oidc/callback"
    {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant" }))).into_response();
    }
    let now = runtime::now() / 1000;
    let mut claims = json!({
        "iss": provider.issuer, "aud": CLIENT, "sub": "s-1", "iat": now, "exp": now + 300,
        "nonce": code["nonce"], "email": "ana@example.com", "email_verified": true, "groups": ["support"],
    });
    for (name, value) in acts.claims.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    let (algorithm, key, id) = &acts.signs;
    let header = Header { kid: id.map(str::to_owned), ..Header::new(*algorithm) };
    let mut token = match &acts.token {
        Some(token) => token.replace("{claims}", &URL_SAFE_NO_PAD.encode(claims.to_string())),
        None => jsonwebtoken::encode(&header, &claims, key).unwrap(),
    };
    if acts.damaged {
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let other = if signature.starts_with('A') { "B" } else { "A" };
        token = format!("{signed}.{other}{}", &signature[1..]);
    }
    Json(json!({ "id_token": token, "access_token": "an-access-token", "token_type": "Bearer" }))
        .into_response()
}

/// A code as this provider gives it to a browser that was sent to `address`.
pub(crate) fn code(address: &url::Url) -> String {
    let asked = |name: &str| address.query_pairs().find(|(known, _)| known == name).unwrap().1.into_owned();
    assert_eq!(asked("code_challenge_method"), "S256");
    let code = json!({ "nonce": asked("nonce"), "challenge": asked("code_challenge") });
    URL_SAFE_NO_PAD.encode(code.to_string())
}

pub(crate) const SLOW: Duration = Duration::from_secs(60);
