//! A server that speaks the wire format of a model, by script; and a log with conversations in it.
#![expect(clippy::unwrap_used, reason = "helpers of a test")]

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body as HttpBody, Bytes},
    extract::State as Extract,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::post,
};
use domain::{
    ConversationKey, PhoneNumberId, SendId, Seq, SessionId, WabaId, Wamid,
    derive::uuid,
    message::{Content, Customer, InboundMessage, MessageContext, Outgoing},
    session::{Answered, Ask, Conversation, Decision, Fact, Origin, Output, Send, Session},
};
use proto::{
    StoredDecision,
    subjects::{self, Kind},
    v1,
};
use runtime::settings::Live;
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What the server does next.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Says(&'static str),
    Calls(&'static str, Value),
    /// A tool call whose arguments are no JSON.
    Babbles(&'static str),
    Fails(u16),
    Raw(&'static str),
    Hangs,
    Endless,
}

#[derive(Default)]
struct Script {
    replies: VecDeque<Reply>,
    /// For the classification of topics.
    topic: u64,
    brief: Option<Value>,
    requests: Vec<Value>,
}

#[derive(Default)]
struct Inner {
    scripts: HashMap<String, Script>,
    /// Headers and body.
    actions: Vec<(HeaderMap, Value)>,
}

/// Scripts go by the name of the model, so that each channel has its own.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) url: String,
    inner: Arc<Mutex<Inner>>,
}

impl Server {
    pub(crate) async fn start(tasks: &TaskTracker, shutdown: &CancellationToken) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let inner = Arc::new(Mutex::new(Inner::default()));
        let routes = Router::new()
            .route("/v1/chat/completions", post(complete))
            .route("/v1/audio/transcriptions", post(transcribe))
            .route("/action", post(act))
            .with_state(Arc::clone(&inner));
        let shutdown = shutdown.clone();
        tasks.spawn(async move {
            tokio::select! {
                served = axum::serve(listener, routes) => served.unwrap(),
                () = shutdown.cancelled() => {}
            }
        });
        Self { url, inner }
    }

    pub(crate) fn script(&self, model: &str, replies: impl IntoIterator<Item = Reply>) {
        let mut inner = self.inner.lock().unwrap();
        inner.scripts.entry(model.into()).or_default().replies.extend(replies);
    }

    pub(crate) fn topic(&self, model: &str, topic: u64) {
        self.inner.lock().unwrap().scripts.entry(model.into()).or_default().topic = topic;
    }

    pub(crate) fn brief(&self, model: &str, arguments: Value) {
        self.inner.lock().unwrap().scripts.entry(model.into()).or_default().brief = Some(arguments);
    }

    /// Of the answers, not of classifications and briefs.
    pub(crate) fn requests(&self, model: &str) -> Vec<Value> {
        self.inner
            .lock()
            .unwrap()
            .scripts
            .get(model)
            .map(|script| script.requests.clone())
            .unwrap_or_default()
    }

    pub(crate) fn actions(&self) -> Vec<(HeaderMap, Value)> {
        self.inner.lock().unwrap().actions.clone()
    }
}

fn completion(message: Value) -> Response {
    Json(json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 90, "completion_tokens": 10, "total_tokens": 100 }
    }))
    .into_response()
}

fn call(name: &str, arguments: &str) -> Response {
    let call =
        json!({ "id": "call_1", "type": "function", "function": { "name": name, "arguments": arguments } });
    completion(json!({ "role": "assistant", "content": null, "tool_calls": [call] }))
}

async fn complete(Extract(inner): Extract<Arc<Mutex<Inner>>>, headers: HeaderMap, body: Bytes) -> Response {
    assert_eq!(headers["authorization"], "Bearer key");
    let request: Value = serde_json::from_slice(&body).unwrap();
    let model = request["model"].as_str().unwrap().to_owned();
    let reply = {
        let mut inner = inner.lock().unwrap();
        let script = inner.scripts.entry(model).or_default();
        match request["tool_choice"]["function"]["name"].as_str() {
            Some("report_topic") => {
                return call("report_topic", &json!({ "topic": script.topic }).to_string());
            }
            Some("handoff_to_human") => match &script.brief {
                Some(brief) => return call("handoff_to_human", &brief.to_string()),
                None => return StatusCode::BAD_REQUEST.into_response(),
            },
            Some(_) | None => {}
        }
        script.requests.push(request);
        script.replies.pop_front()
    };
    match reply.unwrap_or(Reply::Fails(500)) {
        Reply::Says(text) => completion(json!({ "role": "assistant", "content": text })),
        Reply::Calls(name, arguments) => call(name, &arguments.to_string()),
        Reply::Babbles(name) => call(name, "{ not json"),
        Reply::Fails(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Reply::Raw(text) => text.into_response(),
        Reply::Hangs => std::future::pending().await,
        Reply::Endless => {
            let chunk = || Ok::<_, std::convert::Infallible>(Bytes::from(vec![b' '; 16 * 1024]));
            Response::new(HttpBody::from_stream(futures::stream::repeat_with(chunk)))
        }
    }
}

async fn transcribe(headers: HeaderMap, body: Bytes) -> Response {
    assert!(headers["content-type"].to_str().unwrap().starts_with("multipart/form-data"));
    assert!(String::from_utf8_lossy(&body).contains("a voice"));
    Json(json!({ "text": "where is my parcel" })).into_response()
}

async fn act(
    Extract(inner): Extract<Arc<Mutex<Inner>>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Json<Value> {
    inner.lock().unwrap().actions.push((headers, body));
    Json(json!({ "status": "shipped" }))
}

pub(crate) struct World {
    pub(crate) log: bus::Log,
    pub(crate) server: Server,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    _nats: devstack::Nats,
}

/// A conversation on the channel that has this model.
pub(crate) struct Chat<'a> {
    world: &'a World,
    pub(crate) key: ConversationKey,
    pub(crate) state: Conversation,
    said: u32,
}

impl World {
    /// `channels`: the name of each model, and what its `responder` has besides; `model` is merged into
    /// the usual one.
    pub(crate) async fn start(channels: &[(&str, Value)]) -> Self {
        let nats = devstack::Nats::start().await.unwrap();
        let log = bus::connect(&bus::Config::at(&nats.url())).await.unwrap();
        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
        let server = Server::start(&tasks, &shutdown).await;
        let channels: Vec<Value> =
            channels.iter().map(|(name, more)| channel(&server.url, name, more)).collect();
        let settings =
            json!({ "channels": channels, "faq": [{ "phrases": ["opening hours"], "answer": "9 to 18" }] });
        let settings: domain::settings::Settings = serde_json::from_value(settings).unwrap();
        let wrong: Vec<_> =
            settings.check().into_iter().filter(|found| !found.field.contains("integration")).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (ours, ended) = (log.clone(), shutdown.clone());
        tasks.spawn(
            async move { assistant::run(listener, ours, Live::fixed(settings), ended).await.unwrap() },
        );
        Self { log, server, tasks, shutdown, _nats: nats }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.tasks.close();
        tokio::time::timeout(Duration::from_secs(20), self.tasks.wait()).await.expect("it leaves");
    }

    pub(crate) fn chat(&self, model: &str) -> Chat<'_> {
        let key = uuid("chat", &[model.as_bytes()]);
        Chat {
            world: self,
            key: ConversationKey::from_bytes(*key.as_bytes()),
            state: Conversation::new(PhoneNumberId::new(model)),
            said: 0,
        }
    }
}

fn channel(url: &str, name: &str, more: &Value) -> Value {
    let mut responder =
        json!({ "model": { "base_url": format!("{url}/v1"), "model": name, "api_key": "key" } });
    for (member, value) in more.as_object().unwrap() {
        match (member.as_str(), value) {
            ("model", Value::Object(members)) => {
                for (member, value) in members {
                    responder["model"][member] = value.clone();
                }
            }
            (member, value) => responder[member] = value.clone(),
        }
    }
    let text = responder.to_string().replace("{server}", url);
    json!({ "phone_number_id": name, "waba_id": "2", "display_phone_number": "+1", "name": "n",
            "access_token": "t", "responder": serde_json::from_str::<Value>(&text).unwrap() })
}

impl Chat<'_> {
    /// A message of the customer, in the log. Its position and id.
    pub(crate) async fn says(&mut self, content: Content) -> (Seq, String) {
        self.said += 1;
        let message = InboundMessage {
            number: self.state.number.clone(),
            wamid: Wamid::new(format!("wamid.{}", self.said)),
            sent_at: runtime::now(),
            customer: Customer { bsuid: Some("US.1".into()), ..Customer::default() },
            content,
            context: MessageContext::default(),
        };
        let entry = v1::WhatsAppMessage::new(&message, &WabaId::new("2"), "{}");
        let id = format!("m{}", self.said);
        let subject = subjects::fact(&self.key, Kind::WhatsApp, &id);
        let payload = proto::encode(v1::entry::Body::WhatsappMessage(entry));
        let seq = self.world.log.append_fact(&subject, payload, None).await.unwrap().seq;
        if self.state.session.is_none() {
            self.opens_session(seq);
        }
        (seq, id)
    }

    pub(crate) fn opens_session(&mut self, first: Seq) {
        self.state.session = Some(Session {
            id: SessionId(uuid("session", &[&first.to_be_bytes()])),
            opened_at: 1,
            first,
            handoffs: 0,
            human_until: None,
            shown_through: 0,
        });
    }

    pub(crate) async fn decides(&self, answers: Seq, outputs: Vec<Output>) -> String {
        let decision = Decision { state: self.state.clone(), outputs };
        let stored = StoredDecision { answers, policy_version: 1, decision };
        let previous = self.world.log.head(&self.key).await.unwrap().map_or(0, |head| head.seq);
        let chained = self.world.log.append_decision(&self.key, previous, stored.encode()).await.unwrap();
        assert!(matches!(chained, bus::Chained::Appended(_)));
        format!("{answers}-0")
    }

    /// The customer writes, and the assistant is asked: the question's id.
    pub(crate) async fn asks(&mut self, text: &str) -> String {
        let (seq, _) = self.says(Content::Text(text.into())).await;
        self.asked(seq, text, false).await
    }

    pub(crate) async fn asked(&self, seq: Seq, text: &str, helping: bool) -> String {
        let ask = Ask { epoch: self.state.epoch, text: text.into(), helping, human_until: None };
        self.decides(seq, vec![Output::Ask(ask)]).await
    }

    /// Something was sent to the customer.
    pub(crate) async fn sent(&self, origin: Origin, text: &str) {
        let head = self.world.log.head(&self.key).await.unwrap().map_or(1, |head| head.seq);
        let id = SendId(uuid("send", &[text.as_bytes()]));
        let send =
            Send { id, body: Outgoing::Text(text.into()), quotes: None, origin, mark: None, not_after: 0 };
        self.decides(head, vec![Output::Send(send)]).await;
    }

    /// The answer to a question.
    pub(crate) async fn answer(&self, ask: &str) -> Answered {
        let subject = subjects::fact(&self.key, Kind::Assistant, ask);
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(entry) = self.world.log.last(&subject).await.unwrap() {
                let fact = proto::convert::fact(proto::decode(entry.payload).unwrap()).unwrap();
                let Some(Fact::Answered(answered)) = fact else { panic!("{ask}") };
                return answered;
            }
            assert!(Instant::now() < deadline, "no answer to {ask} of {:?}", self.state.number);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Asks and waits.
    pub(crate) async fn talk(&mut self, text: &str) -> Answered {
        let ask = self.asks(text).await;
        self.answer(&ask).await
    }
}
