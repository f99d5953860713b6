//! Messaging for In-App and Web, simulated: the REST API and event streams on one side, reps on the
//! other. The blueprint is `miaw-api.md` §13.

mod api;
mod auth;
mod config;
mod content;
mod files;
mod history;
mod log;
mod message;
mod receipts;
mod rep;
mod session;
mod sse;
mod state;
mod verb;
mod view;
mod wheel;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Result;
use api::Host;
pub use config::*;
use serde_json::{Map, Value, json};
use sse::Over;
use state::State;
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wheel::Due;

pub use verb::*;
pub use view::*;

use super::{
    faults::Rule,
    patch,
    record::Record,
    server::{Answer, Call, Server, answer, json as json_answer},
};

/// An error answer.
#[derive(Debug)]
struct Refusal {
    status: u16,
    message: String,
    shape: Shape,
    retry_after: Option<u64>,
}

#[derive(Debug)]
enum Shape {
    /// `{message, code}`.
    Coded(&'static str),
    /// As the framework answers a missing token.
    Framework {
        path: String,
    },
    Plain,
}

impl Refusal {
    fn new(status: u16, message: &str, code: &'static str) -> Self {
        Self { status, message: message.to_owned(), shape: Shape::Coded(code), retry_after: None }
    }

    fn parameter(name: &str) -> Self {
        Self::new(400, &format!("Invalid request parameter: {name}"), "BAD_REQUEST")
    }

    fn not_found() -> Self {
        Self::new(404, "Conversation not found", "NOT_FOUND")
    }

    fn too_many(state: &State) -> Self {
        let retry_after = state.config.retry_after_s;
        Self { retry_after, ..Self::new(429, "Too many requests", "TOO_MANY_REQUESTS") }
    }

    fn unauthorized(path: &str) -> Self {
        let shape = Shape::Framework { path: path.to_owned() };
        Self { status: 401, message: "Unauthorized".into(), shape, retry_after: None }
    }

    fn expired() -> Self {
        Self { status: 401, message: "Jwt is expired".into(), shape: Shape::Plain, retry_after: None }
    }

    fn answer(&self) -> Answer {
        let mut response = match &self.shape {
            Shape::Coded(code) => json_answer(self.status, &json!({ "message": self.message, "code": code })),
            Shape::Framework { path } => {
                let timestamp = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3f+00:00").to_string();
                let body = json!({
                    "timestamp": timestamp, "status": self.status, "error": self.message, "path": path,
                });
                json_answer(self.status, &body)
            }
            Shape::Plain => answer(self.status, "text/plain", self.message.clone()),
        };
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert("retry-after", seconds.into());
        }
        response
    }
}

/// The request's JSON object.
fn body(call: &Call) -> Result<Map<String, Value>, Refusal> {
    if !call.has_json_content() {
        return Err(Refusal::new(415, "Unsupported media type", "UNSUPPORTED_MEDIA_TYPE"));
    }
    match serde_json::from_slice(&call.body) {
        Ok(Value::Object(body)) => Ok(body),
        _ => Err(Refusal::new(400, "Malformed JSON", "BAD_REQUEST")),
    }
}

/// No other members than these.
fn known(body: &Map<String, Value>, members: &[&str]) -> Result<(), Refusal> {
    match body.keys().find(|key| !members.contains(&key.as_str())) {
        Some(other) => Err(Refusal::parameter(other)),
        None => Ok(()),
    }
}

/// The simulator's levers. The control API offers the same ones over HTTP.
#[derive(Debug)]
pub struct Salesforce {
    state: Mutex<State>,
    record: Arc<Record>,
    /// Answers 429.
    throttled: AtomicU64,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Salesforce {
    pub(super) fn new(
        config: SalesforceConfig,
        record: Arc<Record>,
        tracker: TaskTracker,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let state = Mutex::new(State::new(config, record.clone()));
        Arc::new(Self { state, record, throttled: AtomicU64::new(0), tracker, stop })
    }

    pub(super) async fn listen(
        self: &Arc<Self>,
        tls: Option<TlsAcceptor>,
        addr: SocketAddr,
    ) -> std::io::Result<Server> {
        self.tracker.spawn(self.clone().turn());
        self.serve_at(tls, addr, Host::Api).await
    }

    /// The place that attachments are fetched from.
    pub(super) async fn listen_files(self: &Arc<Self>, addr: SocketAddr) -> std::io::Result<Server> {
        let server = self.serve_at(None, addr, Host::Files).await?;
        self.with(|state| state.files.base = format!("http://{}", server.addr));
        Ok(server)
    }

    async fn serve_at(
        self: &Arc<Self>,
        tls: Option<TlsAcceptor>,
        addr: SocketAddr,
        host: Host,
    ) -> std::io::Result<Server> {
        let sim = self.clone();
        let handler = Arc::new(move |call| -> futures::future::BoxFuture<'static, _> {
            Box::pin(sim.clone().serve(host, call))
        });
        Server::start_over(tls, addr, handler, &self.tracker, self.stop.clone()).await
    }

    /// Everything happens under one lock.
    fn with<R>(self: &Arc<Self>, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut state);
        state.flush();
        result
    }

    pub fn config(self: &Arc<Self>) -> SalesforceConfig {
        self.with(|state| state.config.clone())
    }

    /// Changes the given members of the configuration.
    pub fn configure(self: &Arc<Self>, changes: Value) -> Result<SalesforceConfig> {
        self.record.control("salesforce config", changes.clone());
        self.with(|state| {
            let interval = state.config.ping_interval_ms;
            state.config = patch(&state.config, changes)?;
            if state.config.ping_interval_ms != interval {
                state.reschedule_pings();
            }
            Ok(state.config.clone())
        })
    }

    /// What reps see, oldest conversation first.
    pub fn conversations(self: &Arc<Self>) -> Vec<RepView> {
        self.with(|state| state.order.iter().filter_map(|id| rep::view(state, id)).collect())
    }

    pub fn conversation(self: &Arc<Self>, id: &str) -> Option<RepView> {
        self.with(|state| rep::view(state, id))
    }

    /// A rep does something; an error says why a rep could not.
    pub fn rep(self: &Arc<Self>, conversation: &str, verb: Verb) -> Result<()> {
        let detail = json!({ "conversation": conversation, "verb": verb });
        self.with(|state| {
            // Before its effects, so that the record reads in order.
            state.record.control("rep", detail);
            rep::act(state, conversation, verb)
        })
    }

    /// Starts or stops the automatic rep; sessions that wait already are accepted too.
    pub fn set_auto_rep(self: &Arc<Self>, auto: Option<AutoRep>) {
        self.record.control("salesforce auto rep", json!(auto));
        self.with(|state| {
            state.auto = auto;
            for id in state.order.clone() {
                let Some(found) = state.conversations.get(&id) else { continue };
                match found.routing_status() {
                    "INITIAL" | "TRANSFER" => state.due(Due::Accept(id)),
                    "ROUTED" => state.due(Due::Talk(id)),
                    _ => {}
                }
            }
        });
    }

    /// Open event streams.
    pub fn streams(self: &Arc<Self>) -> Vec<StreamView> {
        self.with(|state| state.streams.views())
    }

    /// How many are open.
    pub fn open_streams(self: &Arc<Self>) -> usize {
        self.with(|state| state.streams.count())
    }

    /// How many requests were answered 429.
    pub fn throttled(&self) -> u64 {
        self.throttled.load(Ordering::Relaxed)
    }

    /// Does it to the users meant. Gives how many there are.
    fn each(self: &Arc<Self>, who: &Who, act: impl Fn(&mut State, &Arc<str>)) -> usize {
        self.with(|state| {
            let subject = match (&who.conversation, &who.subject) {
                (Some(id), _) => Some(state.subject_of(id)),
                (None, Some(subject)) => Some(Some(subject.as_str().into())),
                (None, None) => None,
            };
            let users: Vec<Arc<str>> = match subject {
                Some(subject) => {
                    subject.filter(|subject| state.users.contains_key(subject)).into_iter().collect()
                }
                None => state.users.keys().cloned().collect(),
            };
            users.iter().for_each(|subject| act(state, subject));
            users.len()
        })
    }

    fn end_streams_as(self: &Arc<Self>, who: &Who, over: Over) -> usize {
        self.each(who, |state, subject| {
            let streams = state.users.get(subject).map_or(Vec::new(), |user| user.streams.clone());
            streams.into_iter().for_each(|stream| state.streams.end(stream, over));
        })
    }

    /// Breaks the connections of the streams. Gives how many users it hit.
    pub fn cut_streams(self: &Arc<Self>, who: &Who) -> usize {
        self.record.control("salesforce cut streams", json!(who));
        self.end_streams_as(who, Over::Cut("cut"))
    }

    /// Ends the streams properly, as a server does that restarts.
    pub fn end_streams(self: &Arc<Self>, who: &Who) -> usize {
        self.record.control("salesforce end streams", json!(who));
        self.end_streams_as(who, Over::Ended)
    }

    fn set_stalled(self: &Arc<Self>, who: &Who, stalled: bool) -> usize {
        self.each(who, |state, subject| {
            if let Some(user) = state.users.get_mut(subject) {
                user.stalled = stalled;
                state.streams.wake(&user.streams);
            }
        })
    }

    /// Streams of the users there are stay open, also new ones of theirs, and carry nothing: no events,
    /// no pings.
    pub fn stall_streams(self: &Arc<Self>, who: &Who) -> usize {
        self.record.control("salesforce stall streams", json!(who));
        self.set_stalled(who, true)
    }

    pub fn resume_streams(self: &Arc<Self>, who: &Who) -> usize {
        self.record.control("salesforce resume streams", json!(who));
        self.set_stalled(who, false)
    }

    /// The last events once more.
    pub fn repeat_events(self: &Arc<Self>, disturb: &Disturb) -> usize {
        self.record.control("salesforce repeat events", json!(disturb));
        self.each(&disturb.who(), |state, subject| {
            if !disturb.same_id {
                return state.repeat(subject, disturb.count);
            }
            let streams = state.users.get(subject).map_or(Vec::new(), |user| user.streams.clone());
            streams.into_iter().for_each(|stream| state.repeat_on_stream(stream, disturb.count));
        })
    }

    /// The next `count` events are held back until there are so many, and come in reverse. 0: what is
    /// held back comes now.
    pub fn reorder_events(self: &Arc<Self>, disturb: &Disturb) -> usize {
        self.record.control("salesforce reorder events", json!(disturb));
        self.each(&disturb.who(), |state, subject| state.hold(subject, disturb.count))
    }

    /// Tokens (of one user, or all) are expired from now on. Gives how many.
    pub fn expire_tokens(self: &Arc<Self>, who: &Who) -> usize {
        self.record.control("salesforce expire tokens", json!(who));
        self.with(|state| {
            let now = state.now_ms();
            let subject: Option<Arc<str>> = match &who.conversation {
                Some(id) => Some(state.subject_of(id).unwrap_or_else(|| "".into())),
                None => who.subject.as_deref().map(Arc::from),
            };
            let chosen =
                |token: &&mut state::Token| subject.as_ref().is_none_or(|wanted| *wanted == token.subject);
            let expired =
                state.tokens.values_mut().filter(chosen).map(|token| token.expires_ms = now).count();
            state.streams.wake_all();
            expired
        })
    }

    /// Moves this simulator's clock ahead of (or behind) the real one: what expires, and every limit.
    pub fn set_clock_offset_ms(self: &Arc<Self>, offset_ms: i64) {
        self.record.control("salesforce clock", offset_ms.into());
        self.with(|state| {
            state.offset_ms = offset_ms;
            state.streams.wake_all();
        });
    }

    pub fn add_fault(self: &Arc<Self>, rule: Rule) -> Result<()> {
        rep::check(&rule.fault)?;
        self.record.control("salesforce fault", json!(rule));
        self.with(|state| state.faults.add(rule));
        Ok(())
    }

    pub fn clear_faults(self: &Arc<Self>) {
        self.record.control("salesforce faults cleared", Value::Null);
        self.with(|state| state.faults.clear());
    }

    pub fn faults(self: &Arc<Self>) -> Vec<Rule> {
        self.with(|state| state.faults.rules())
    }
}
