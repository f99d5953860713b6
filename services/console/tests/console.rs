//! Over a real log and a real cache, with entries made by hand.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod shared;

use bytes::Bytes;
use console::SignIn;
use domain::{
    ContactId, ConversationKey, CustomerId, PhoneNumberId, Seq, SessionId, WabaId, Wamid,
    derive::uuid,
    message::{Content, Customer, InboundMessage},
    session::{Ask, Conversation, Decision, Origin, Output, Send, Session},
};
use proto::{
    StoredDecision,
    subjects::{self, Kind, SendPhase, SendRef},
    v1::{self, assistant_answer, entry::Body, send_outcome},
};
use secrecy::SecretString;
use serde_json::{Value, json};
use shared::Servers;

const PHONE: &str = "34600111222";

struct Bench {
    nats: devstack::Nats,
    valkey: devstack::Valkey,
    servers: Servers,
    http: reqwest::Client,
    url: String,
}

impl Bench {
    async fn start(token: Option<&'static str>) -> Self {
        let (nats, valkey, servers) = Servers::start().await;
        let sign_in = SignIn { token: token.map(SecretString::from), ..SignIn::default() };
        let url = servers.console(sign_in, console::Outside::default()).await;
        let http = runtime::http_client(runtime::HttpTimeouts::default()).unwrap();
        Self { nats, valkey, servers, http, url }
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        self.http.get(format!("{}{path}", self.url)).send().await.unwrap()
    }

    async fn json(&self, path: &str, status: u16) -> Value {
        read(self.get(path).await, status).await
    }

    async fn find(&self, body: &Value, status: u16) -> Value {
        let url = format!("{}/api/v1/sessions/search", self.url);
        read(self.http.post(url).json(body).send().await.unwrap(), status).await
    }

    async fn append(&self, key: &ConversationKey, kind: Kind, id: &str, body: Body) -> Seq {
        let subject = subjects::fact(key, kind, id);
        self.servers.log.append_fact(&subject, proto::encode(body), None).await.unwrap().seq
    }

    /// A question of the customer, answered, sent and delivered.
    async fn question(&self, n: u8) -> (ConversationKey, SessionId) {
        let number = PhoneNumberId::new("100");
        let user = format!("US.{n}");
        let customer = Customer {
            phone: Some(PHONE.into()),
            bsuid: Some(user.clone()),
            name: Some("Ana <b>".into()),
            ..Customer::default()
        };
        let key = self.servers.keying.conversation(&number, &CustomerId::new(user));
        let message = InboundMessage {
            number: number.clone(),
            wamid: Wamid::new(format!("wamid.in.{n}")),
            sent_at: 1,
            customer: customer.clone(),
            content: Content::Text("<script>alert(1)</script> when do you open?".into()),
            context: domain::message::MessageContext::default(),
        };
        let message = v1::WhatsAppMessage::new(&message, &WabaId::new("1"), Bytes::from("{}"));
        let asked = self.append(&key, Kind::WhatsApp, "in", Body::WhatsappMessage(message)).await;

        let session = SessionId(uuid("session", &[&[n]]));
        let contact = ContactId(uuid("contact", &[b"ana"]));
        let mut state = Conversation::new(number);
        state.customer = customer.clone();
        state.contact = Some(contact);
        state.session = Some(Session {
            id: session,
            opened_at: 1_700_000_000_000 + i64::from(n),
            first: asked,
            handoffs: 0,
            human_until: None,
            shown_through: 0,
        });
        let ask = Ask { epoch: 0, text: String::new(), helping: false, human_until: None };
        let decided = self.decide(&key, 0, asked, &state, vec![Output::Ask(ask)]).await;
        let ask = format!("{asked}-0");
        let reply =
            assistant_answer::Answer::Reply(assistant_answer::Reply { text: "At nine.".into(), body: None });
        let answer = v1::AssistantAnswer { ask: ask.clone(), epoch: 0, answer: Some(reply), language: None };
        let answer = self.append(&key, Kind::Assistant, &ask, Body::AssistantAnswer(answer)).await;
        let send = domain::SendId(uuid("send", &[&[n]]));
        let text = Send {
            id: send,
            body: domain::message::Outgoing::Text("At nine.".into()),
            quotes: None,
            origin: Origin::Assistant,
            mark: None,
            not_after: 0,
        };
        let decided = self.decide(&key, decided, answer, &state, vec![Output::Send(text)]).await;

        let reference = SendRef { send, attempt: 1 };
        let intent =
            v1::SendIntent { send: send.to_string(), attempt: 1, decision: decided, ..Default::default() };
        let accepted = send_outcome::Accepted { wamid: "wamid.out".into(), answered: true };
        let outcome = v1::SendOutcome {
            send: send.to_string(),
            attempt: 1,
            decision: decided,
            outcome: Some(send_outcome::Outcome::Accepted(accepted)),
            ..Default::default()
        };
        let status = v1::WhatsAppStatus {
            wamid: "wamid.out".into(),
            status: "delivered".into(),
            reference: Some(reference.to_string()),
            at: 1_700_000_001_000,
            ..Default::default()
        };
        for (subject, body) in [
            (subjects::send(&key, reference, SendPhase::Intent), Body::SendIntent(intent)),
            (subjects::send(&key, reference, SendPhase::Outcome), Body::SendOutcome(outcome)),
            (subjects::status(&key, &reference.to_string(), "delivered"), Body::WhatsappStatus(status)),
        ] {
            self.servers.log.append_fact(&subject, proto::encode(body), None).await.unwrap();
        }
        self.servers.store.index_session(&key, session, None, Some(contact)).await.unwrap();
        self.servers.store.restore_contact(&self.servers.keying, contact, &customer).await.unwrap();
        (key, session)
    }

    async fn decide(
        &self,
        key: &ConversationKey,
        previous: Seq,
        answers: Seq,
        state: &Conversation,
        outputs: Vec<Output>,
    ) -> Seq {
        let stored = StoredDecision {
            answers,
            policy_version: 1,
            decision: Decision { state: state.clone(), outputs },
        };
        let chained = self.servers.log.append_decision(key, previous, stored.encode()).await.unwrap();
        let bus::Chained::Appended(seq) = chained else { panic!("not appended") };
        seq
    }

    async fn stop(self) {
        self.servers.stop().await;
    }
}

async fn read(response: reqwest::Response, status: u16) -> Value {
    let found = response.status().as_u16();
    let body = response.text().await.unwrap();
    assert_eq!(found, status, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn a_session_is_found_and_told_with_and_without_the_cache() {
    let mut bench = Bench::start(None).await;
    let (key, session) = bench.question(1).await;
    let (_, other) = bench.question(2).await;

    for round in ["with the cache", "with an empty cache"] {
        let told = bench.json(&format!("/api/v1/sessions/{session}"), 200).await;
        assert_eq!(told["id"], session.to_string(), "{round}");
        assert_eq!(told["conversation"], key.to_string());
        assert_eq!(told["owner"], "assistant");
        let told = bench.json(&format!("/api/v1/sessions/{session}/timeline"), 200).await;
        assert_eq!(told["ledger_line"], "1 in, 1 forwarded or answered; 1 out, 1 delivered", "{round}");
        let kinds: Vec<_> = told["entries"].as_array().unwrap().iter().map(|e| e["kind"].clone()).collect();
        assert_eq!(kinds, ["wa", "dec", "ai", "dec", "snd", "snd", "st"]);
        assert_eq!(told["entries"][3]["outputs"][0]["delivery"]["state"], "delivered");

        for phone in ["+34 600 111 222", "0034600111222"] {
            let found = bench.find(&json!({ "phone": phone }), 200).await;
            let ids: Vec<_> =
                found["sessions"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap()).collect();
            assert_eq!(ids, [other.to_string(), session.to_string()], "{round}, the newest first");
        }
        assert_eq!(bench.find(&json!({ "phone": "+15550000000" }), 200).await["sessions"], json!([]));
        bench.valkey.restart_empty().await.unwrap();
    }
    bench.stop().await;
}

#[tokio::test]
async fn the_page_tells_the_same_without_scripts() {
    let bench = Bench::start(None).await;
    let (_, session) = bench.question(1).await;
    let page = bench.get(&format!("/sessions/{session}")).await;
    assert_eq!(page.status(), 200);
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"));
    assert_eq!(page.headers()["cache-control"], "no-store");
    let html = page.text().await.unwrap();
    for text in
        ["1 in, 1 forwarded or answered; 1 out, 1 delivered", "At nine.", "delivered", "when do you open?"]
    {
        assert!(html.contains(text), "{text}");
    }
    assert!(!html.contains("<script>") && !html.contains("<b>"), "what people wrote is escaped");
    // Found again by form, without the number in a URL.
    let search = |wanted: &'static str| {
        let body = format!("wanted={}", wanted.replace('+', "%2B").replace(' ', "+"));
        let request = bench.http.post(format!("{}/search", bench.url));
        request.header("content-type", "application/x-www-form-urlencoded").body(body).send()
    };
    let found = search("+34 600 111 222").await.unwrap();
    assert_eq!((found.status().as_u16(), found.url().path()), (200, "/search"));
    assert!(found.text().await.unwrap().contains(&format!("/sessions/{session}")));
    assert_eq!(search("12345").await.unwrap().status(), 400);
    assert_eq!(bench.get("/").await.status(), 200);
    let style = bench.get("/style.css").await;
    assert_eq!(
        (style.status().as_u16(), &style.headers()["content-type"]),
        (200, &"text/css; charset=utf-8".parse().unwrap())
    );
    bench.stop().await;
}

#[tokio::test]
async fn what_cannot_be_answered_says_why_and_what_to_do() {
    let mut bench = Bench::start(None).await;
    let (_, session) = bench.question(1).await;
    let unknown = SessionId(uuid("session", &[b"unknown"]));
    for (path, status, error) in [
        ("/api/v1/sessions/123".to_owned(), 400, "malformed_id"),
        (format!("/api/v1/sessions/{unknown}"), 404, "unknown_session"),
        (format!("/api/v1/sessions/{unknown}/timeline"), 404, "unknown_session"),
        ("/api/v1/nothing".to_owned(), 404, "not_found"),
    ] {
        let told = bench.json(&path, status).await;
        assert_eq!(told["error"], error, "{path}");
        assert!(
            !told["message"].as_str().unwrap().is_empty() && !told["what_to_do"].as_str().unwrap().is_empty()
        );
    }
    assert_eq!(bench.find(&json!({ "phone": "12" }), 400).await["error"], "malformed_phone");
    assert_eq!(bench.find(&json!({ "name": "Ana" }), 400).await["error"], "malformed_body");
    assert_eq!(bench.get("/sessions/123").await.status(), 400);
    assert_eq!(bench.get(&format!("/sessions/{unknown}")).await.status(), 404);

    bench.nats.kill().await.unwrap();
    let told = bench.json(&format!("/api/v1/sessions/{session}/timeline"), 503).await;
    assert_eq!(told["error"], "log_away");
    assert_eq!(bench.get(&format!("/sessions/{session}")).await.status(), 503);
    bench.stop().await;
}

#[tokio::test]
async fn with_a_token_nobody_else_may_look() {
    let bench = Bench::start(Some("a token of some length")).await;
    let (_, session) = bench.question(1).await;
    let api = format!("/api/v1/sessions/{session}");
    assert_eq!(bench.json(&api, 401).await["error"], "not_signed_in");
    assert_eq!(bench.find(&json!({ "phone": PHONE }), 401).await["error"], "not_signed_in");
    let page = bench.get(&format!("/sessions/{session}")).await;
    assert_eq!(page.headers()["location"], format!("/sign-in?to=%2Fsessions%2F{session}"));
    let page = bench.get(&format!("/sign-in?to=/sessions/{session}")).await;
    assert!(page.text().await.unwrap().contains("Console token"));
    assert_eq!(bench.get("/").await.headers()["location"], "/sign-in");
    assert_eq!(bench.get("/livez").await.status(), 200);

    let request = bench.http.get(format!("{}{api}", bench.url)).bearer_auth("a token of some length");
    read(request.send().await.unwrap(), 200).await;
    let request = bench.http.get(format!("{}{api}", bench.url)).bearer_auth("another token, just as long");
    assert_eq!(read(request.send().await.unwrap(), 401).await["error"], "wrong_token");

    let sign_in = async |token: &str| {
        let body = format!("token={}&to=/sessions/{session}", token.replace(' ', "+"));
        let request = bench.http.post(format!("{}/sign-in", bench.url));
        request.header("content-type", "application/x-www-form-urlencoded").body(body).send().await.unwrap()
    };
    assert_eq!(sign_in("wrong").await.status(), 401);
    let signed_in = sign_in("a token of some length").await;
    assert_eq!(signed_in.headers()["location"], format!("/sessions/{session}"));
    let cookie = signed_in.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && !cookie.contains("a token"));
    let cookie = cookie.split(';').next().unwrap();
    let request = bench.http.get(format!("{}/sessions/{session}", bench.url)).header("cookie", cookie);
    assert!(request.send().await.unwrap().text().await.unwrap().contains("At nine."));
    bench.stop().await;
}
