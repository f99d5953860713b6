//! A stand-in for MIAW, as strict about headers and members as the reference is, and able to give
//! any prepared answer. (The simulator in `tests/` is a program with behaviour; this is a wall to
//! throw calls against.)
#![expect(dead_code, clippy::unwrap_used, reason = "every test binary uses a part of it")]

pub(crate) mod tls;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der},
    rsa::{KeyPair, KeySize},
    signature::KeyPair as _,
};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use domain::settings::Integration;
use http::{HeaderMap, Method};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use salesforce::{AccessToken, Client, Options, Retry};
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

/// Status, headers, body, and what is made of them.
pub(crate) type Case = (u16, &'static [(&'static str, &'static str)], &'static str, Retry);

pub(crate) const ORG: &str = "00DRT0000004QhW";
pub(crate) const NAME: &str = "Phone_Bridge_Client";
pub(crate) const SUB: &str = "contact-1";
pub(crate) const NOW: i64 = 1_795_186_800_000;
pub(crate) const EXPIRES: i64 = NOW + 3_600_000;

static KEY: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate(KeySize::Rsa2048).unwrap());

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn public_pem() -> String {
    let der: PublicKeyX509Der<'_> = KEY.public_key().as_der().unwrap();
    pem("PUBLIC KEY", der.as_ref())
}

pub(crate) fn integration(messaging_url: &str) -> Integration {
    let private: Pkcs8V1Der<'_> = KEY.as_der().unwrap();
    serde_json::from_value(json!({
        "id": "main", "instance_url": "https://acme.my.salesforce.com", "es_developer_name": NAME,
        "org_id": "00DRT0000004QhWAAU", "auth_key_id": "key-1", "issuer": "https://bridge.example.com",
        "jwt_private_key": pem("PRIVATE KEY", private.as_ref()), "jwt_public_key": public_pem(),
        "messaging_url": messaging_url,
    }))
    .unwrap()
}

pub(crate) fn options() -> Options {
    Options {
        connect: Duration::from_secs(2),
        total: Duration::from_secs(5),
        idle_max: Duration::from_millis(300),
    }
}

#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
    pub(crate) raw: bytes::Bytes,
}

pub(crate) struct Prepared {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) body: Body,
}

#[derive(Default)]
pub(crate) struct Stub {
    pub(crate) prepared: Mutex<VecDeque<Prepared>>,
    pub(crate) seen: Mutex<Vec<Seen>>,
    pub(crate) conversations: Mutex<BTreeSet<String>>,
    /// Oldest first.
    pub(crate) entries: Mutex<Vec<Value>>,
}

pub(crate) struct Server {
    pub(crate) stub: Arc<Stub>,
    pub(crate) client: Client,
    pub(crate) url: String,
    tasks: TaskTracker,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let stub = Arc::new(Stub::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(stub.clone());
        let tasks = TaskTracker::new();
        tasks.spawn(async move { axum::serve(listener, router).await });
        let client = Client::new(&integration(&url), options()).unwrap();
        Self { stub, client, url, tasks }
    }

    /// What the next call is answered, whatever it is.
    pub(crate) fn prepare(
        &self,
        status: u16,
        headers: &[(&'static str, &'static str)],
        body: impl Into<Body>,
    ) {
        let prepared = Prepared { status, headers: headers.to_vec(), body: body.into() };
        self.stub.prepared.lock().unwrap().push_back(prepared);
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.stub.seen.lock().unwrap().clone()
    }

    pub(crate) async fn token(&self) -> AccessToken {
        self.client.authenticate(SUB, NOW).await.unwrap()
    }
}

fn reply(status: u16, body: &Value) -> Response {
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(if body.is_null() { Body::empty() } else { body.to_string().into() }).unwrap()
}

fn refuse(status: u16, message: &str) -> Response {
    reply(status, &json!({ "message": message, "code": "BAD_REQUEST" }))
}

async fn answer(State(stub): State<Arc<Stub>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let seen = Seen {
        method: head.method.clone(),
        target: head.uri.to_string(),
        headers: head.headers.clone(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
        raw: body.clone(),
    };
    stub.seen.lock().unwrap().push(seen.clone());
    if let Some(prepared) = stub.prepared.lock().unwrap().pop_front() {
        let mut response = Response::builder().status(prepared.status);
        for (name, value) in prepared.headers {
            response = response.header(name, value);
        }
        return response.body(prepared.body).unwrap();
    }
    let path = head.uri.path().strip_prefix("/iamessage/api/v2/").unwrap_or_default().to_owned();
    let parts: Vec<&str> = path.split('/').collect();
    if head.method == Method::POST && head.headers["content-type"] != "application/json" {
        return refuse(415, "content type");
    }
    if parts == ["authorization", "authenticated", "access-token"] {
        return token(&seen);
    }
    let header =
        |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !header("authorization").starts_with("Bearer ey") {
        return Response::builder().status(401).body("Jwt is missing".into()).unwrap();
    }
    if header("x-org-id") != ORG {
        return refuse(400, "OrgId in the header and token must match");
    }
    match (head.method.as_str(), &parts[..]) {
        ("POST", ["conversation"]) => create(&stub, &seen.body),
        ("POST", ["conversation", id, "message"]) => message(&stub, id, &seen.body),
        ("GET", ["conversation", "list"]) => {
            let file = include_str!("../../testdata/conversation-list-response-200.json");
            reply(200, &serde_json::from_str(file).unwrap())
        }
        ("GET", ["conversation", id, "entries"]) => entries(&stub, id, head.uri.query().unwrap_or_default()),
        ("GET", ["conversation", id]) if known(&stub, id) => {
            reply(200, &json!({ "conversationId": id, "routingStatus": "NEEDS_ROUTING" }))
        }
        ("DELETE", ["conversation", id] | ["conversation", id, "session"]) if known(&stub, id) => {
            let named = head.uri.query() == Some(&format!("esDeveloperName={NAME}"));
            reply(if named && body.is_empty() { 204 } else { 400 }, &Value::Null)
        }
        _ => refuse(404, "Conversation not found"),
    }
}

fn known(stub: &Stub, id: &str) -> bool {
    stub.conversations.lock().unwrap().contains(id)
}

fn members(body: &Value) -> BTreeSet<&str> {
    body.as_object().map(|members| members.keys().map(String::as_str).collect()).unwrap_or_default()
}

fn token(seen: &Seen) -> Response {
    let wanted = [
        "orgId",
        "esDeveloperName",
        "capabilitiesVersion",
        "platform",
        "context",
        "authorizationType",
        "customerIdentityToken",
    ];
    let body = &seen.body;
    let plain = body["orgId"] == ORG
        && body["esDeveloperName"] == NAME
        && body["capabilitiesVersion"] == "1"
        && body["platform"] == "Web"
        && body["authorizationType"] == "JWT";
    if !plain || members(body) != wanted.into() || seen.headers.contains_key("authorization") {
        return refuse(400, "Invalid request parameter");
    }
    let mut rules = Validation::new(Algorithm::RS256);
    rules.validate_exp = false; // the tests' clock stands still
    rules.set_issuer(&["https://bridge.example.com"]);
    let key = DecodingKey::from_rsa_pem(public_pem().as_bytes()).unwrap();
    let identity = body["customerIdentityToken"].as_str().unwrap();
    assert_eq!(jsonwebtoken::decode_header(identity).unwrap().kid.as_deref(), Some("key-1"));
    let claims = jsonwebtoken::decode::<Value>(identity, &key, &rules).unwrap().claims;
    assert_eq!(members(&claims), ["sub", "iss", "exp", "iat"].into());
    let subject = format!("v2/iamessage/AUTH/Bridge_Keys/uid:{}", claims["sub"].as_str().unwrap());
    let claims = URL_SAFE_NO_PAD.encode(json!({ "sub": subject, "exp": EXPIRES / 1000 }).to_string());
    reply(
        200,
        &json!({ "accessToken": format!("eyJh.{claims}.sig"), "lastEventId": 2_147_867_834_u64,
                 "context": { "endUser": { "subject": subject } } }),
    )
}

fn create(stub: &Stub, body: &Value) -> Response {
    let id = body["conversationId"].as_str().unwrap_or_default();
    let uuid: Option<uuid::Uuid> = id.parse().ok();
    if uuid.is_none_or(|uuid| uuid.to_string() != id || uuid.get_version_num() != 4) {
        return refuse(400, "Specify the conversationId in UUID format. The UUID must be in lowercase.");
    }
    let wanted = ["conversationId", "esDeveloperName", "routingAttributes", "language"];
    let texts = body["routingAttributes"].as_object().is_some_and(|all| all.values().all(Value::is_string));
    if members(body) != wanted.into() || body["esDeveloperName"] != NAME || !texts {
        return refuse(400, "Invalid request parameter");
    }
    if stub.conversations.lock().unwrap().insert(id.to_owned()) {
        reply(201, &Value::Null) // the body may be empty
    } else {
        refuse(409, "Conversation already exists")
    }
}

fn message(stub: &Stub, id: &str, body: &Value) -> Response {
    if !known(stub, id) {
        return refuse(404, "Conversation not found");
    }
    let opens = ["message", "esDeveloperName", "isNewMessagingSession", "routingAttributes", "language"];
    let sound = members(body) == ["message", "esDeveloperName"].into()
        || members(body) == opens.into() && body["isNewMessagingSession"] == true;
    let message = &body["message"];
    let content = &message["staticContent"];
    if !sound
        || members(message) != ["id", "messageType", "staticContent"].into()
        || message["messageType"] != "StaticContentMessage"
        || content["formatType"] != "Text"
        || content["text"].as_str().is_none_or(str::is_empty)
    {
        return refuse(400, "Invalid request parameter: message");
    }
    let mut entries = stub.entries.lock().unwrap();
    // As the sibling product does.
    if entries.iter().any(|entry| entry["identifier"] == message["id"]) {
        return refuse(400, "duplicate");
    }
    let at = NOW + i64::try_from(entries.len()).unwrap();
    entries.push(entry(message["id"].as_str().unwrap(), at));
    reply(202, &json!({ "conversationEntries": [{ "id": message["id"], "clientTimestamp": at }] }))
}

pub(crate) fn entry(id: &str, at: i64) -> Value {
    json!({ "identifier": id, "entryType": "Message", "transcriptedTimestamp": at,
            "sender": { "role": "EndUser", "appType": "iamessage", "subject": "s" },
            "entryPayload": { "entryType": "Message", "id": id, "abstractMessage": { "id": id } } })
}

fn entries(stub: &Stub, id: &str, query: &str) -> Response {
    if !known(stub, id) {
        return refuse(404, "Conversation not found");
    }
    let parameter = |name: &str| {
        url::form_urlencoded::parse(query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, v)| v.into_owned())
    };
    let number = |name: &str| parameter(name).and_then(|text| text.parse::<i64>().ok());
    let limit = usize::try_from(number("limit").unwrap_or(20)).unwrap();
    if limit > 50 {
        return refuse(400, "limit");
    }
    let (start, end) = (number("startTimestamp").unwrap_or(0), number("endTimestamp").unwrap_or(i64::MAX));
    let entries = stub.entries.lock().unwrap();
    let at = |entry: &&Value| (start..=end).contains(&entry["transcriptedTimestamp"].as_i64().unwrap());
    let page: Vec<&Value> = match parameter("direction").as_deref() {
        Some("FromStart") => entries.iter().filter(at).take(limit).collect(),
        Some("FromEnd") | None => entries.iter().rev().filter(at).take(limit).collect(),
        Some(_) => return refuse(400, "direction"),
    };
    reply(200, &json!({ "conversationEntries": page }))
}
