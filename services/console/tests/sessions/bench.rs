//! A console over a real log and a real cache, and what stands in for the other services.

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use console::SignIn;
use domain::{
    Cause, ContactId, ConversationKey, CustomerId, PhoneNumberId, Seq, SessionId, ThreadId, WabaId, Wamid,
    derive::{Keying, uuid},
    message::{Content, Customer, InboundMessage, MessageContext, Outgoing},
    session::{At, Context, Conversation, Decision, Origin, Output, Owner, Send, Session, Thread, decide},
    settings::Policy,
};
use futures::StreamExt as _;
use proto::{
    StoredDecision,
    subjects::{self, Kind},
    v1::{self, entry::Body},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::shared::Servers;

const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Bench {
    pub(super) nats: devstack::Nats,
    _valkey: devstack::Valkey,
    pub(super) servers: Servers,
    pub(super) http: reqwest::Client,
    pub(super) url: String,
}

/// A conversation as the test wants it.
pub(super) struct Wanted {
    pub(super) n: u32,
    pub(super) number: &'static str,
    pub(super) name: &'static str,
    pub(super) owner: Owner,
}

impl Bench {
    /// With what `before` brings into the log before the console looks.
    pub(super) async fn start(before: impl AsyncFnOnce(&bus::Log, &Keying)) -> Self {
        let (nats, valkey, servers) = Servers::start().await;
        before(&servers.log, &servers.keying).await;
        let url = servers.console(SignIn::default(), console::Outside::default()).await;
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let bench = Self { nats, _valkey: valkey, servers, http, url };
        bench.until("the board is there", async || bench.list("").await["ready"] == true).await;
        bench
    }

    pub(super) async fn get(&self, path: &str) -> reqwest::Response {
        self.http.get(format!("{}{path}", self.url)).send().await.unwrap()
    }

    pub(super) async fn page(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.unwrap()
    }

    pub(super) async fn list(&self, query: &str) -> Value {
        read(self.get(&format!("/api/v1/sessions{query}")).await, 200).await
    }

    pub(super) async fn form(&self, path: &str, body: String) -> reqwest::Response {
        let request = self.http.post(format!("{}{path}", self.url));
        request.header("content-type", "application/x-www-form-urlencoded").body(body).send().await.unwrap()
    }

    pub(super) async fn search(&self, wanted: &str) -> reqwest::Response {
        self.form("/search", format!("wanted={}", wanted.replace('+', "%2B").replace(' ', "+"))).await
    }

    pub(super) async fn act(&self, session: SessionId, action: &str, key: Option<&str>) -> reqwest::Response {
        let mut request = self.http.post(format!("{}/api/v1/sessions/{session}/actions", self.url));
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        request.json(&json!({ "action": action })).send().await.unwrap()
    }

    pub(super) async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let waiting = async {
            while !holds().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("not in time: {what}"));
    }

    pub(super) async fn add(&self, wanted: Wanted) -> (ConversationKey, SessionId) {
        add(&self.servers.log, &self.servers.keying, wanted, 0).await
    }

    /// What handoff does with operators' commands.
    pub(super) fn handoff(&self) {
        let (log, shutdown) = (self.servers.log.clone(), self.servers.shutdown.clone());
        self.servers.tasks.spawn(async move {
            let mut commands =
                pin!(log.tail(vec!["conv.*.*.op.*".into()], 1).take_until(shutdown.cancelled()));
            while let Some(entry) = commands.next().await {
                let key = entry.address.unwrap().key;
                let fact = proto::convert::fact(proto::decode(entry.payload).unwrap()).unwrap().unwrap();
                let head = log.head(&key).await.unwrap().unwrap();
                let state = StoredDecision::decode(head.payload).unwrap().decision.state;
                let context = Context {
                    key,
                    contact: ContactId(uuid("contact", &[])),
                    policy: &Policy::default(),
                    assistant_on: true,
                    has_team: state.number.as_str() != "300",
                    routing: false,
                    outreaches: &[],
                };
                let at = At { seq: entry.seq, time: entry.at };
                let decision = decide(state, at, &fact, &context);
                let stored = StoredDecision { answers: entry.seq, policy_version: 1, decision };
                log.append_decision(&key, head.seq, stored.encode()).await.unwrap();
            }
        });
    }

    pub(super) async fn commands(&self) -> usize {
        self.servers.log.read(vec!["conv.*.*.op.*".into()], 1, Seq::MAX, 100).await.unwrap().len()
    }

    pub(super) async fn stop(self) {
        self.servers.stop().await;
    }
}

/// A message of the customer and a decision that sends an answer. `previous`: the decision before.
pub(super) async fn add(
    log: &bus::Log,
    keying: &Keying,
    wanted: Wanted,
    previous: Seq,
) -> (ConversationKey, SessionId) {
    let Wanted { n, number, name, owner } = wanted;
    let number = PhoneNumberId::new(number);
    let user = format!("US.{n}");
    let customer = Customer {
        phone: Some(format!("3460000{n:04}")),
        bsuid: Some(user.clone()),
        name: Some(name.into()),
        ..Customer::default()
    };
    let key = keying.conversation(&number, &CustomerId::new(user));
    let message = InboundMessage {
        number: number.clone(),
        wamid: Wamid::new(format!("wamid.{n}")),
        sent_at: 1,
        customer: customer.clone(),
        content: Content::Text("<i>when</i> do you open?".into()),
        context: MessageContext::default(),
    };
    let body = Body::WhatsappMessage(v1::WhatsAppMessage::new(&message, &WabaId::new("1"), Bytes::new()));
    let subject = subjects::fact(&key, Kind::WhatsApp, &format!("m{n}-{previous}"));
    let asked = log.append_fact(&subject, proto::encode(body), None).await.unwrap().seq;
    let session = SessionId(uuid("session", &[&n.to_be_bytes()]));
    let mut state = Conversation::new(number);
    state.customer = customer;
    state.contact = Some(ContactId(uuid("contact", &[&n.to_be_bytes()])));
    state.thread = Some(thread(n));
    state.session = Some(Session {
        id: session,
        opened_at: 1_700_000_000_000,
        first: asked,
        handoffs: 1,
        human_until: None,
        shown_through: 0,
    });
    state.owner = owner;
    let send = Send {
        id: domain::SendId(uuid("send", &[&n.to_be_bytes(), &previous.to_be_bytes()])),
        body: Outgoing::Text("At nine.".into()),
        quotes: None,
        origin: Origin::Rep,
        mark: None,
        not_after: 0,
    };
    let decision = Decision { state, outputs: vec![Output::Send(send)] };
    let stored = StoredDecision { answers: asked, policy_version: 1, decision };
    let chained = log.append_decision(&key, previous, stored.encode()).await.unwrap();
    assert!(matches!(chained, bus::Chained::Appended(_)));
    (key, session)
}

pub(super) fn thread(n: u32) -> ThreadId {
    ThreadId(uuid("thread", &[&n.to_be_bytes()]))
}

pub(super) fn in_thread(n: u32) -> Thread {
    Thread::new(thread(n), Cause { answers: 1, index: 0 })
}

pub(super) async fn read(response: reqwest::Response, status: u16) -> Value {
    let found = response.status().as_u16();
    let body = response.text().await.unwrap();
    assert_eq!(found, status, "{body}");
    serde_json::from_str(&body).unwrap()
}

pub(super) fn ids(list: &Value) -> Vec<String> {
    let sessions = list["sessions"].as_array().unwrap();
    sessions.iter().map(|session| session["id"].as_str().unwrap().to_owned()).collect()
}

/// Events of a stream, one after another.
pub(super) struct Events {
    pub(super) response: reqwest::Response,
    pub(super) text: String,
}

impl Events {
    pub(super) async fn of(bench: &Bench, query: &str) -> Self {
        let response = bench.get(&format!("/sessions/stream{query}")).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new() }
    }

    /// Its name and its data.
    pub(super) async fn next(&mut self) -> (String, Value) {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    event
                        .lines()
                        .find_map(|line| line.strip_prefix(name))
                        .unwrap_or_default()
                        .trim()
                        .to_owned()
                };
                let (name, data) = (field("event:"), field("data:"));
                self.text = rest.to_owned();
                if !name.is_empty() {
                    return (name, serde_json::from_str(&data).unwrap_or_default());
                }
                continue;
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await.expect("an event").unwrap().unwrap();
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The first that tells of the conversation.
    pub(super) async fn about(&mut self, key: &ConversationKey) -> Value {
        loop {
            let (name, data) = self.next().await;
            assert_eq!(name, "rows");
            let rows = data["rows"].as_array().unwrap();
            if let Some(row) = rows.iter().find(|row| row["key"] == key.to_string()) {
                return row.clone();
            }
        }
    }
}
