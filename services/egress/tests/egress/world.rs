//! Real NATS and Valkey, both simulators, and the little of ingress and handoff that egress needs.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use axum::{Router, http::StatusCode, routing::post};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bus::{Chained, Entry, Log};
use domain::{
    Cause, ContactId, ConversationKey, PhoneNumberId, SendId, Seq, ThreadId,
    message::{Customer, Outgoing},
    session::{Conversation, Decision, Origin, Output, Owner, Send, Thread},
    settings::Settings,
};
use e2e::sim::{Number, Options, PublicKey, Say, Sim};
use proto::{
    StoredDecision,
    subjects::{self, Kind, SendRef},
    v1::{self, entry::Body},
};
use salesforce::keys::{KeyPair, generate_key_pair};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use store::Store;
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_util::sync::CancellationToken;

pub(crate) const NUMBER: &str = "220011223344001";
const TOKEN: &str = "test-token";
const ISSUER: &str = "https://bridge.example.com";
pub(crate) const PHONE: &str = "15550100199";
/// Short, so that doubts are settled soon; three times what a POST may take.
pub(crate) const GRACE: Duration = Duration::from_millis(2_400);
pub(crate) const GRAPH_TIMEOUT: Duration = Duration::from_millis(800);

pub(crate) struct World {
    pub(crate) nats: devstack::Nats,
    pub(crate) valkey: devstack::Valkey,
    pub(crate) sim: Sim,
    pub(crate) log: Log,
    settings: Settings,
    ingress: tokio::task::JoinSet<()>,
}

/// An egress in a runtime of its own, so that it can be killed as a process is.
pub(crate) struct Egress {
    runtime: Option<Runtime>,
    shutdown: CancellationToken,
    ended: tokio::sync::oneshot::Receiver<anyhow::Result<()>>,
}

/// One customer's conversation.
pub(crate) struct Chat {
    pub(crate) key: ConversationKey,
    pub(crate) state: Conversation,
    head: Seq,
}

/// Waits until `ready` gives something, at most 30 s.
pub(crate) async fn until<T>(what: &str, mut ready: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = ready().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn keys() -> &'static KeyPair {
    static SHARED: OnceLock<KeyPair> = OnceLock::new();
    SHARED.get_or_init(|| generate_key_pair(2048).unwrap())
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With more numbers than [`NUMBER`].
    pub(crate) async fn start_with(more: &[&str]) -> Self {
        runtime::init_crypto();
        let nats = devstack::Nats::start().await.unwrap();
        let valkey = devstack::Valkey::start().await.unwrap();
        let log = bus::connect(&bus::Config::at(&nats.url())).await.unwrap();
        let keys = keys();
        let mut options = Options::default();
        options.salesforce_config.keys = vec![PublicKey::pem("key-1", &keys.public_pem)];
        options.salesforce_config.issuer = ISSUER.into();
        options.salesforce_config.token_limit = false;
        options.salesforce_config.ping_interval_ms = 500;
        let sim = Sim::start(options).await.unwrap();
        let numbers = || [NUMBER].into_iter().chain(more.iter().copied());
        let channel = |number: &str| {
            json!({
                "phone_number_id": number, "waba_id": "104857600000001", "display_phone_number": "+1 555 0100",
                "name": "Support", "access_token": TOKEN, "integration": "main",
            })
        };
        let settings = serde_json::from_value(json!({
            "channels": numbers().map(channel).collect::<Vec<_>>(),
            "integrations": [{
                "id": "main", "instance_url": "https://acme.my.salesforce.com",
                "messaging_url": sim.addresses().salesforce,
                "es_developer_name": "Phone_Bridge_Client", "org_id": "00DRT0000004QhW",
                "auth_key_id": "key-1", "issuer": ISSUER,
                "jwt_private_key": keys.private_pem.expose_secret(), "jwt_public_key": keys.public_pem,
            }],
        }))
        .unwrap();
        let (ingress, callback_url) = statuses_into(log.clone()).await;
        for (number, index) in numbers().zip(200..) {
            sim.whatsapp.set_number(Number {
                phone_number_id: number.into(),
                waba_id: "104857600000001".into(),
                display_phone_number: format!("15550100{index}"),
                token: TOKEN.into(),
                app_secret: "secret".into(),
                callback_url: callback_url.clone(),
                verify_token: "verify".into(),
            });
        }
        Self { nats, valkey, sim, log, settings, ingress }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn store_config(&self) -> store::Config {
        store::Config {
            redis_url: self.valkey.url().into(),
            redis_prefix: "test".into(),
            master_key: format!("a:{}", STANDARD.encode([7; 32])).into(),
        }
    }

    pub(crate) async fn egress(&self) -> Egress {
        self.egress_with(|_| {}).await
    }

    pub(crate) async fn egress_with(&self, change: impl FnOnce(&mut egress::Egress)) -> Egress {
        self.start_egress(change, Vec::new()).await
    }

    /// One that believes to own every partition, whoever else does.
    pub(crate) async fn egress_without_lease(&self) -> Egress {
        self.start_egress(|_| {}, vec!["lease".into()]).await
    }

    /// The same, by way of `nats` (an address in front of the broker).
    pub(crate) async fn egress_without_lease_at(&self, nats: &str) -> Egress {
        self.start_egress_at(nats, |_| {}, vec!["lease".into()]).await
    }

    async fn start_egress(
        &self,
        change: impl FnOnce(&mut egress::Egress),
        unsafe_disable: Vec<String>,
    ) -> Egress {
        self.start_egress_at(&self.nats.url(), change, unsafe_disable).await
    }

    async fn start_egress_at(
        &self,
        nats: &str,
        change: impl FnOnce(&mut egress::Egress),
        unsafe_disable: Vec<String>,
    ) -> Egress {
        let mut config = egress::Egress {
            whatsapp: whatsapp::client::Config {
                graph_url: format!("{}/v25.0", self.sim.addresses().whatsapp).parse().unwrap(),
                graph_timeout: GRAPH_TIMEOUT,
            },
            send_grace: GRACE,
            unfollow_linger: Duration::from_millis(300),
            stream_idle: Duration::from_secs(2),
            max_streams: 100,
            max_connecting: 10,
            send_ledger: true,
            pace: true,
        };
        change(&mut config);
        let bus = bus::Config { unsafe_disable, ..bus::Config::at(nats) };
        let store = self.store_config();
        let settings = runtime::settings::Live::fixed(self.settings.clone());
        let shutdown = CancellationToken::new();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (tell, ended) = tokio::sync::oneshot::channel();
        let stop = shutdown.clone();
        runtime.spawn(async move {
            let outcome = async {
                let log = bus::connect(&bus).await?;
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                egress::run(config, listener, log, Store::connect(&store)?, settings, stop).await
            };
            let _ = tell.send(outcome.await);
        });
        Egress { runtime: Some(runtime), shutdown, ended }
    }

    /// A customer who has just written, so that the window is open.
    pub(crate) fn chat(&self, phone: &str) -> Chat {
        self.chat_on(NUMBER, phone)
    }

    pub(crate) fn chat_on(&self, number: &str, phone: &str) -> Chat {
        let customer = e2e::sim::Customer::phone(phone, "Ana Ferreira");
        self.sim.whatsapp.say(Say::text(number, &customer, "hello")).unwrap();
        let key = ConversationKey::from_bytes(*domain::derive::uuid("test", &[phone.as_bytes()]).as_bytes());
        let contact = ContactId(domain::derive::uuid("contact", &[phone.as_bytes()]));
        let state = Conversation {
            customer: Customer { phone: Some(phone.into()), ..Customer::default() },
            contact: Some(contact),
            customer_wrote_at: runtime::now(),
            ..Conversation::new(PhoneNumberId::new(number))
        };
        Chat { key, state, head: 0 }
    }

    /// What the customer sees of us.
    pub(crate) fn received(&self, phone: &str) -> Vec<String> {
        let view = self.sim.whatsapp.phone(NUMBER, phone);
        view.map(|view| view.received().into_iter().map(str::to_owned).collect()).unwrap_or_default()
    }

    pub(crate) async fn until_received(&self, phone: &str, texts: &[&str]) {
        let mut last = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            last = self.received(phone);
            if last == texts {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("expected {texts:?}, got {last:?}");
    }

    /// Everything of a kind that the log has of a conversation, in order.
    pub(crate) async fn entries(&self, chat: &Chat, kind: Kind) -> Vec<(Entry, Body)> {
        let filter = match kind {
            Kind::Decision => subjects::decision(&chat.key),
            _ => format!("conv.{}.{}.{}.>", chat.key.partition(), chat.key, kind.as_str()),
        };
        let entries = self.log.read(vec![filter], 1, Seq::MAX, 100_000).await.unwrap();
        entries.into_iter().map(|entry| (entry.clone(), proto::decode(entry.payload).unwrap())).collect()
    }

    /// The undelivered, by send.
    pub(crate) async fn undelivered(&self, chat: &Chat) -> Vec<v1::Undelivered> {
        let bodies = self.entries(chat, Kind::Undelivered).await.into_iter();
        bodies
            .map(|(_, body)| match body {
                Body::Undelivered(undelivered) => undelivered,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    /// Attempt and phase of each send record, in order: `1 intent`, `1 outcome accepted` …
    pub(crate) async fn records(&self, chat: &Chat) -> Vec<String> {
        let bodies = self.entries(chat, Kind::Send).await.into_iter();
        bodies
            .map(|(_, body)| match body {
                Body::SendIntent(intent) => format!("{} intent", intent.attempt),
                Body::SendOutcome(outcome) => {
                    use v1::send_outcome::Outcome;
                    let word = match outcome.outcome.unwrap() {
                        Outcome::Accepted(accepted) if accepted.answered => "accepted",
                        Outcome::Accepted(_) => "accepted by status",
                        Outcome::Refused(_) => "refused",
                        Outcome::InDoubt(_) => "in doubt",
                        Outcome::NotSent(_) => "not sent",
                    };
                    format!("{} {word}", outcome.attempt)
                }
                other => panic!("{other:?}"),
            })
            .collect()
    }

    /// Appends what handoff would: a fact and the decision that answers it.
    pub(crate) async fn decide(&self, chat: &mut Chat, outputs: Vec<Output>) -> Seq {
        let answers = self.fact(chat).await;
        self.answer(chat, answers, outputs).await;
        chat.head
    }

    pub(crate) async fn fact(&self, chat: &Chat) -> Seq {
        let id = format!("{:x}{:x}", fastrand::u64(..), fastrand::u64(..));
        let body = proto::encode(Body::TimerFired(v1::TimerFired { timer: "1-0".into() }));
        self.log.append_fact(&subjects::fact(&chat.key, Kind::Timer, &id), body, None).await.unwrap().seq
    }

    pub(crate) async fn answer(&self, chat: &mut Chat, answers: Seq, outputs: Vec<Output>) {
        let decision = Decision { state: chat.state.clone(), outputs };
        let stored = StoredDecision { answers, policy_version: 1, decision };
        match self.log.append_decision(&chat.key, chat.head, stored.encode()).await.unwrap() {
            Chained::Appended(seq) => chat.head = seq,
            Chained::Moved => panic!("only the test decides"),
        }
    }

    /// Decides to send these texts, a decision each.
    pub(crate) async fn send(&self, chat: &mut Chat, texts: &[&str]) -> Vec<SendId> {
        let mut ids = Vec::new();
        for text in texts {
            let next = self.next_send(chat).await;
            self.send_as(chat, next, text).await;
            ids.push(next.1);
        }
        ids
    }

    /// The fact that a send will answer, and the send's id.
    pub(crate) async fn next_send(&self, chat: &Chat) -> (Seq, SendId) {
        let answers = self.fact(chat).await;
        let id = domain::derive::uuid("test-send", &[chat.key.as_bytes(), &answers.to_be_bytes()]);
        (answers, SendId(id))
    }

    pub(crate) async fn send_as(&self, chat: &mut Chat, (answers, id): (Seq, SendId), text: &str) {
        let send = Send {
            id,
            body: Outgoing::Text(text.to_owned()),
            quotes: None,
            origin: Origin::Rep,
            mark: None,
            not_after: 0,
        };
        self.answer(chat, answers, vec![Output::Send(send)]).await;
    }

    /// As campaigns do.
    pub(crate) async fn send_until(&self, chat: &mut Chat, not_after: i64, text: &str) {
        let (answers, id) = self.next_send(chat).await;
        let send = Send {
            id,
            body: Outgoing::Text(text.to_owned()),
            quotes: None,
            origin: Origin::Campaign,
            mark: None,
            not_after,
        };
        self.answer(chat, answers, vec![Output::Send(send)]).await;
    }

    /// Decides to follow the chat's thread. Returns the cause that is to be told.
    pub(crate) async fn follow(&self, chat: &mut Chat) -> Cause {
        let answers = self.fact(chat).await;
        let follow = Cause { answers, index: 0 };
        let id = chat.thread();
        chat.state.owner = Owner::Live(Thread::new(id, follow));
        self.answer(chat, answers, vec![Output::Follow { thread: id }]).await;
        follow
    }

    pub(crate) async fn unfollow(&self, chat: &mut Chat) {
        chat.state.owner = Owner::Assistant;
        let thread = chat.thread();
        self.decide(chat, vec![Output::Unfollow { thread }]).await;
    }

    pub(crate) async fn until_up(&self, chat: &Chat, follow: Cause) {
        let subject = subjects::fact(&chat.key, Kind::Salesforce, &format!("up-{follow}"));
        until("the stream", async || self.log.last(&subject).await.unwrap()).await;
    }

    pub(crate) async fn stop(mut self) {
        self.ingress.abort_all();
        self.valkey.kill().await.unwrap();
        self.nats.kill().await.unwrap();
        self.sim.shutdown().await;
    }
}

impl Chat {
    pub(crate) fn thread(&self) -> ThreadId {
        self.state.thread_id(&self.key).unwrap()
    }
}

impl Egress {
    /// As `kill -9` does: nothing is finished.
    pub(crate) fn kill(mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// As SIGTERM does.
    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(20), &mut self.ended).await;
        ended.unwrap().unwrap().unwrap();
        self.kill();
    }
}

impl Drop for Egress {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What ingress does with statuses.
async fn statuses_into(log: Log) -> (tokio::task::JoinSet<()>, String) {
    let log = Arc::new(log);
    let handle = async move |body: axum::Json<Value>| {
        for status in body.0["entry"][0]["changes"][0]["value"]["statuses"].as_array().into_iter().flatten() {
            let Some(opaque) = status["biz_opaque_callback_data"].as_str() else { continue };
            let (Some(key), Some(reference)) =
                (SendRef::conversation_in_opaque(opaque), SendRef::from_opaque(opaque))
            else {
                continue;
            };
            let word = status["status"].as_str().unwrap();
            let problems = status["errors"].as_array().into_iter().flatten();
            let body = Body::WhatsappStatus(v1::WhatsAppStatus {
                mark: None,
                phone_number_id: NUMBER.into(),
                wamid: status["id"].as_str().unwrap().into(),
                status: word.into(),
                at: 0,
                reference: Some(reference.to_string()),
                problems: problems
                    .map(|problem| v1::whats_app_status::Problem {
                        code: i32::try_from(problem["code"].as_i64().unwrap()).unwrap(),
                        title: String::new(),
                    })
                    .collect(),
                raw: Default::default(),
            });
            let subject = subjects::status(&key, &reference.to_string(), word);
            if log.append_fact(&subject, proto::encode(body), Some(Duration::from_secs(3))).await.is_err() {
                return StatusCode::SERVICE_UNAVAILABLE;
            }
        }
        StatusCode::OK
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/webhook", listener.local_addr().unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let _ = axum::serve(listener, Router::new().route("/webhook", post(handle))).await;
    });
    (tasks, url)
}
