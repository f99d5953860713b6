//! What became of a template that was asked for, told from the log alone: the id leads to the fact, the
//! fact to its decision, the decision to the send.

use std::pin::pin;

use domain::{
    ConversationKey, Millis, SendId, Seq,
    session::{Origin, Output, Withholding},
};
use futures::StreamExt as _;
use proto::{
    StoredDecision,
    subjects::{self, Kind, SendRef},
    v1::{self, entry::Body, send_outcome, undelivered},
};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::{Duration, timeout};
use uuid::Uuid;

use crate::{
    error::RouteError,
    lookup::{Lookup, patiently},
};

/// How long whoever asks waits for the decision.
const DECIDING: Duration = Duration::from_secs(8);
/// Decisions behind the fact among which its own is looked for: it is the next one, but for what was
/// waiting before it.
const MOST_BEHIND: usize = 500;
/// Records and receipts of the conversation that are looked through.
const MOST_RECORDS: usize = 5_000;

/// The API's id of a message: where it is, so that nothing has to be remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MessageId {
    pub(super) key: ConversationKey,
    /// Of the fact.
    pub(super) fact: Uuid,
}

impl std::fmt::Display for MessageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.key, self.fact.simple())
    }
}

impl std::str::FromStr for MessageId {
    type Err = RouteError;
    fn from_str(text: &str) -> Result<Self, RouteError> {
        let parsed = text.split_once('-').and_then(|(key, fact)| {
            Some(Self {
                key: key.parse().ok()?,
                fact: Uuid::try_parse(fact).ok().filter(|_| fact.len() == 32)?,
            })
        });
        parsed.ok_or(RouteError::UnknownMessage)
    }
}

impl MessageId {
    pub(super) fn subject(self) -> String {
        subjects::fact(&self.key, Kind::Outreach, &self.fact.to_string())
    }
}

/// In the order in which a message gets on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// It is in the log, and not decided yet.
    Pending,
    /// It is going to be sent, or WhatsApp has it and told no more yet.
    Accepted,
    Sent,
    Delivered,
    Read,
    /// It is not sent: the customer wants none, or it is too late.
    Withheld,
    /// It did not reach the customer.
    Failed,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Followed {
    pub(super) id: String,
    pub(super) state: State,
    /// How it got there, oldest first.
    steps: Vec<Step>,
    /// Why it is withheld or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) problem: Option<Problem>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Step {
    state: State,
    /// RFC 3339. Of sent, delivered and read: by WhatsApp's clock.
    at: String,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct Problem {
    error: &'static str,
    message: String,
    what_to_do: String,
    /// Meta's, where it is Meta's.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<i32>,
}

impl Problem {
    fn withheld(why: Withholding) -> Self {
        let (error, message, what_to_do) = match why {
            Withholding::OptedOut => (
                "opted_out",
                "The customer wants no marketing messages.",
                "Nothing: they may ask for them again, by one of the channel's opt-in words.",
            ),
            Withholding::TooLate => {
                ("too_late", "Its time had passed.", "Send it again if it still matters.")
            }
        };
        Self { error, message: message.into(), what_to_do: what_to_do.into(), code: None }
    }

    /// By what Meta says of one message.
    fn failed(code: i32) -> Self {
        if code < 0 {
            return Self::of("unfit_file", "The file could not be fetched, or WhatsApp takes no such file.");
        }
        let remedy = whatsapp::client::remedy(code, None, axum::http::StatusCode::BAD_REQUEST, false);
        let what_to_do = if remedy.operator.is_empty() { "Nothing." } else { remedy.operator };
        Self { error: "failed", message: remedy.rep.into(), what_to_do: what_to_do.into(), code: Some(code) }
    }

    fn of(error: &'static str, message: &str) -> Self {
        Self {
            error,
            message: message.into(),
            what_to_do: "Look at the session's timeline.".into(),
            code: None,
        }
    }
}

/// The decision on a fact.
#[derive(Debug, Clone)]
enum Decided {
    Send { send: SendId, seq: Seq, at: Millis },
    Withheld { why: Withholding, at: Millis },
    SetAside,
}

/// `None`: it is about an earlier fact. Facts are decided in the order of the log.
fn judged(entry: bus::Entry, fact: Seq) -> Option<Decided> {
    let (seq, at) = (entry.seq, entry.at);
    let stored = StoredDecision::decode(entry.payload).ok()?;
    if stored.answers < fact {
        return None;
    }
    if stored.answers > fact {
        return Some(Decided::SetAside);
    }
    let told = stored.decision.outputs.iter().find_map(|output| {
        if let Output::Send(send) = output {
            return (send.origin == Origin::Campaign).then_some(Decided::Send { send: send.id, seq, at });
        }
        if let Output::Withheld { why, .. } = output {
            return Some(Decided::Withheld { why: *why, at });
        }
        None
    });
    Some(told.unwrap_or(Decided::SetAside))
}

/// Waits until the fact at `seq` is decided, for a while.
pub(super) async fn wait(lookup: &Lookup, key: &ConversationKey, seq: Seq) {
    let heard = async {
        let mut tail = pin!(lookup.log().tail(vec![subjects::decision(key)], seq));
        while let Some(entry) = tail.next().await {
            if judged(entry, seq).is_some() {
                return;
            }
        }
    };
    // Whoever asked can look again.
    let _ = timeout(DECIDING, heard).await;
}

/// # Errors
/// When the log holds no such message.
pub(super) async fn follow(lookup: &Lookup, id: MessageId) -> Result<Followed, RouteError> {
    patiently(async {
        let log = lookup.log();
        let fact = log.last(&id.subject()).await?.ok_or(RouteError::UnknownMessage)?;
        let mut told = Course::default();
        told.step(State::Pending, fact.at);
        let decisions = log.read(vec![subjects::decision(&id.key)], fact.seq, Seq::MAX, MOST_BEHIND).await?;
        match decisions.into_iter().find_map(|entry| judged(entry, fact.seq)) {
            None => {}
            Some(Decided::SetAside) => {
                told.problem = Some(Problem::of("set_aside", "It could not be decided and was set aside."));
                told.step(State::Failed, fact.at);
            }
            Some(Decided::Withheld { why, at }) => {
                told.problem = Some(Problem::withheld(why));
                told.step(State::Withheld, at);
            }
            Some(Decided::Send { send, seq, at }) => {
                told.step(State::Accepted, at);
                let filters = vec![
                    subjects::sends_of(&id.key, send),
                    subjects::filter_of(&id.key, Kind::Status),
                    subjects::fact(&id.key, Kind::Undelivered, &send.to_string()),
                ];
                for entry in log.read(filters, seq, Seq::MAX, MOST_RECORDS).await? {
                    let at = entry.at;
                    if let Ok(body) = proto::decode(entry.payload) {
                        told.note(send, &body, at);
                    }
                }
            }
        }
        Ok(told.told(id))
    })
    .await
}

/// How far a message got.
#[derive(Default)]
struct Course {
    steps: Vec<(State, Millis)>,
    problem: Option<Problem>,
    /// As WhatsApp calls it: for receipts that do not echo our reference.
    wamid: String,
}

impl Course {
    fn step(&mut self, state: State, at: Millis) {
        if self.steps.iter().all(|(known, _)| *known != state) {
            self.steps.push((state, at));
        }
    }

    fn failed(&mut self, problem: Problem, at: Millis) {
        self.problem.get_or_insert(problem);
        self.step(State::Failed, at);
    }

    fn note(&mut self, send: SendId, body: &Body, at: Millis) {
        if let Body::SendOutcome(outcome) = body {
            match &outcome.outcome {
                Some(send_outcome::Outcome::Accepted(accepted)) => {
                    self.wamid.clone_from(&accepted.wamid);
                }
                Some(send_outcome::Outcome::Refused(refused)) => {
                    self.failed(Problem::failed(refused.code), at);
                }
                Some(send_outcome::Outcome::InDoubt(_) | send_outcome::Outcome::NotSent(_)) | None => {}
            }
        } else if let Body::WhatsappStatus(status) = body {
            if self.is_about(send, status) {
                self.receipt(status);
            }
        } else if let Body::Undelivered(undelivered) = body {
            let problem = match &undelivered.reason {
                Some(undelivered::Reason::Refused(refused)) => Problem::failed(refused.code),
                Some(undelivered::Reason::WindowClosed(_)) => Problem::failed(131_047),
                Some(undelivered::Reason::File(_)) => Problem::failed(-1),
                Some(undelivered::Reason::Unknown(_)) | None => {
                    Problem::of("unknown", "WhatsApp does not say what became of it.")
                }
            };
            self.failed(problem, at);
        }
    }

    fn is_about(&self, send: SendId, status: &v1::WhatsAppStatus) -> bool {
        let reference = status.reference.as_deref();
        let reference = reference.and_then(|text| SendRef::from_opaque(text).or_else(|| text.parse().ok()));
        match reference {
            Some(reference) => reference.send == send,
            None => !self.wamid.is_empty() && status.wamid == self.wamid,
        }
    }

    fn receipt(&mut self, status: &v1::WhatsAppStatus) {
        match status.status.as_str() {
            "sent" => self.step(State::Sent, status.at),
            "delivered" => self.step(State::Delivered, status.at),
            "read" | "played" => self.step(State::Read, status.at),
            "failed" => {
                let code = status.problems.first().map_or(0, |problem| problem.code);
                self.failed(Problem::failed(code), status.at);
            }
            _ => {}
        }
    }

    /// What the customer has seen counts more than a failure of another attempt.
    fn told(self, id: MessageId) -> Followed {
        let has = |state| self.steps.iter().any(|(known, _)| *known == state);
        let seen = [State::Read, State::Delivered].into_iter().find(|state| has(*state));
        let furthest = self.steps.iter().map(|(state, _)| *state).max().unwrap_or(State::Pending);
        let state = seen.unwrap_or(furthest);
        let steps = self.steps.iter().map(|(state, at)| Step { state: *state, at: time(*at) }).collect();
        let problem = self.problem.filter(|_| seen.is_none());
        Followed { id: id.to_string(), state, steps, problem }
    }
}

fn time(at: Millis) -> String {
    jiff::Timestamp::from_millisecond(at)
        .map(|at| at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> MessageId {
        MessageId { key: ConversationKey::from_bytes([7; 16]), fact: Uuid::from_bytes([9; 16]) }
    }

    fn status(send: SendId, status: &str, code: i32) -> Body {
        let reference = Some(SendRef { send, attempt: 1 }.to_string());
        let problems = (code != 0).then(|| v1::whats_app_status::Problem { code, title: String::new() });
        Body::WhatsappStatus(v1::WhatsAppStatus {
            status: status.into(),
            reference,
            at: 5,
            problems: problems.into_iter().collect(),
            ..v1::WhatsAppStatus::default()
        })
    }

    fn course(bodies: &[Body]) -> Followed {
        let mut course = Course::default();
        course.step(State::Pending, 1);
        for body in bodies {
            course.note(SendId(Uuid::from_bytes([1; 16])), body, 2);
        }
        course.told(id())
    }

    #[test]
    fn ids_lead_to_the_fact() {
        assert_eq!(id().to_string().parse(), Ok(id()));
        for text in ["", "07", "x-y", &id().to_string()[1..]] {
            assert_eq!(text.parse::<MessageId>(), Err(RouteError::UnknownMessage), "{text}");
        }
    }

    #[test]
    fn receipts_come_in_any_order_and_of_several_attempts() {
        let send = SendId(Uuid::from_bytes([1; 16]));
        let other = SendId(Uuid::from_bytes([2; 16]));
        assert_eq!(course(&[]).state, State::Pending);
        assert_eq!(course(&[status(send, "read", 0), status(send, "sent", 0)]).state, State::Read);
        assert_eq!(course(&[status(other, "read", 0)]).state, State::Pending);
        let failed = course(&[status(send, "sent", 0), status(send, "failed", 131_026)]);
        assert_eq!(failed.state, State::Failed);
        assert_eq!(failed.problem.unwrap().code, Some(131_026));
        let seen = course(&[status(send, "failed", 131_026), status(send, "delivered", 0)]);
        assert_eq!((seen.state, seen.problem.is_none()), (State::Delivered, true));
    }
}
