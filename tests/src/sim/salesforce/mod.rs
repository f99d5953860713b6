//! Messaging for In-App and Web, simulated: the REST API and event streams on one side, reps on the
//! other. The blueprint is `miaw-api.md` §13.

mod api;
mod auth;
mod config;
mod message;
mod rep;
mod sse;
mod state;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
pub use config::*;
use serde_json::{Map, Value, json};
use state::State;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

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

/// A JSON object with no other members than these.
fn body(call: &Call, members: &[&str]) -> Result<Map<String, Value>, Refusal> {
    if !call.has_json_content() {
        return Err(Refusal::new(415, "Unsupported media type", "UNSUPPORTED_MEDIA_TYPE"));
    }
    match serde_json::from_slice(&call.body) {
        Ok(Value::Object(body)) => match body.keys().find(|key| !members.contains(&key.as_str())) {
            Some(other) => Err(Refusal::parameter(other)),
            None => Ok(body),
        },
        _ => Err(Refusal::new(400, "Malformed JSON", "BAD_REQUEST")),
    }
}

/// The simulator's levers. The control API offers the same ones over HTTP.
#[derive(Debug)]
pub struct Salesforce {
    state: Mutex<State>,
    record: Arc<Record>,
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
        Arc::new(Self { state, record, tracker, stop })
    }

    pub(super) async fn listen(self: &Arc<Self>, addr: SocketAddr) -> std::io::Result<Server> {
        let sim = self.clone();
        let handler = Arc::new(move |call| -> futures::future::BoxFuture<'static, _> {
            Box::pin(sim.clone().serve(call))
        });
        Server::start(addr, handler, &self.tracker, self.stop.clone()).await
    }

    /// Everything happens under one lock; what it made due for the automatic rep starts after it.
    fn with<R>(self: &Arc<Self>, act: impl FnOnce(&mut State) -> R) -> R {
        let (result, due) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let result = act(&mut state);
            let due = std::mem::take(&mut state.due);
            (result, state.auto.clone().map(|auto| (auto, due)))
        };
        if let Some((auto, due)) = due {
            self.dispatch(&auto, due);
        }
        result
    }

    pub fn config(self: &Arc<Self>) -> SalesforceConfig {
        self.with(|state| state.config.clone())
    }

    /// Changes the given members of the configuration.
    pub fn configure(self: &Arc<Self>, changes: Value) -> Result<SalesforceConfig> {
        self.record.control("salesforce config", changes.clone());
        self.with(|state| {
            state.config = patch(&state.config, changes)?;
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
            if state.auto.is_some() {
                let waiting = |id: &&String| {
                    state
                        .conversations
                        .get(*id)
                        .is_some_and(|found| matches!(found.routing_status(), "INITIAL" | "TRANSFER"))
                };
                state.due = state.order.iter().filter(waiting).cloned().map(state::Due::Accept).collect();
            }
        });
    }

    /// Open event streams.
    pub fn streams(self: &Arc<Self>) -> Vec<StreamView> {
        self.with(|state| {
            let view = |(stream, open): (&u64, &sse::Open)| StreamView {
                stream: *stream,
                subject: open.subject.clone(),
                last_event: open.last_event,
            };
            state.streams.iter().map(view).collect()
        })
    }

    fn touch(self: &Arc<Self>, who: &Who, change: impl Fn(&mut state::User)) -> usize {
        self.with(|state| {
            let of_conversation = who.conversation.as_deref().map(|id| state.subject_of(id));
            let chosen = |subject: &String| {
                who.subject.as_ref().is_none_or(|wanted| wanted == subject)
                    && of_conversation.as_ref().is_none_or(|wanted| wanted.as_ref() == Some(subject))
            };
            let users = state.users.iter_mut().filter(|(subject, _)| chosen(subject));
            users
                .map(|(_, user)| {
                    change(user);
                    user.touch();
                })
                .count()
        })
    }

    /// Breaks the connections of the streams. Gives how many users it hit.
    pub fn cut_streams(self: &Arc<Self>, who: &Who) -> usize {
        self.record.control("salesforce cut streams", json!(who));
        self.touch(who, |user| user.cuts += 1)
    }

    /// Streams of the users there are stay open, also new ones of theirs, and carry nothing: no events,
    /// no pings.
    pub fn stall_streams(self: &Arc<Self>, who: &Who) -> usize {
        self.record.control("salesforce stall streams", json!(who));
        self.touch(who, |user| user.stalled = true)
    }

    pub fn resume_streams(self: &Arc<Self>, who: &Who) -> usize {
        self.record.control("salesforce resume streams", json!(who));
        self.touch(who, |user| user.stalled = false)
    }

    /// Tokens (of one user, or all) are expired from now on. Gives how many.
    pub fn expire_tokens(self: &Arc<Self>, who: &Who) -> usize {
        self.record.control("salesforce expire tokens", json!(who));
        let expired = self.with(|state| {
            let now = state.now_ms();
            let subject = match &who.conversation {
                Some(id) => state.subject_of(id).or_else(|| Some(String::new())),
                None => who.subject.clone(),
            };
            let chosen =
                |token: &&mut state::Token| subject.as_ref().is_none_or(|wanted| *wanted == token.subject);
            state.tokens.values_mut().filter(chosen).map(|token| token.expires_ms = now).count()
        });
        self.touch(who, |_| {});
        expired
    }

    /// Moves this simulator's clock ahead of (or behind) the real one.
    pub fn set_clock_offset_ms(self: &Arc<Self>, offset_ms: i64) {
        self.record.control("salesforce clock", offset_ms.into());
        self.with(|state| state.offset_ms = offset_ms);
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
