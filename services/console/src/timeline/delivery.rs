//! What became of each message to the customer: send records and receipts, brought together.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use domain::{SendId, Seq, message::split_text};
use proto::{
    subjects::SendRef,
    v1::{self, entry::Body, send_outcome},
};
use serde::Serialize;

use super::{Record, time};

/// Longer texts go out in parts (`whatsapp::client::MAX_TEXT_CHARS`).
const PART: usize = 4096;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Delivery {
    pub state: State,
    /// How many messages at WhatsApp it takes.
    pub parts: usize,
    /// Tries, over all parts.
    pub attempts: usize,
    pub ticks: Vec<Tick>,
}

/// A receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Tick {
    /// As WhatsApp names it: sent, delivered, read, failed …
    pub status: String,
    /// By WhatsApp's clock.
    pub at: String,
    pub seq: Seq,
    /// Meta's error codes.
    pub codes: Vec<i32>,
}

/// In the order in which a message gets on. `Failed` is last: it needs no more waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not begun.
    Waiting,
    /// Begun; nothing is known yet.
    Sending,
    InDoubt,
    /// WhatsApp took it.
    Accepted,
    Sent,
    Delivered,
    Read,
    /// Refused, or accepted and failed.
    Failed,
}

impl State {
    pub fn label(self) -> &'static str {
        match self {
            Self::Waiting => "not sent yet",
            Self::Sending => "sending",
            Self::InDoubt => "in doubt",
            Self::Accepted => "accepted",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Failed => "failed",
        }
    }

    /// As people know it from their phones.
    pub fn mark(self) -> &'static str {
        match self {
            Self::Waiting | Self::Sending => "◷",
            Self::InDoubt => "?",
            Self::Accepted => "→",
            Self::Sent => "✓",
            Self::Delivered | Self::Read => "✓✓",
            Self::Failed => "✗",
        }
    }

    pub fn class(self) -> &'static str {
        match self {
            Self::Waiting | Self::Sending | Self::Accepted | Self::Sent => "underway",
            Self::InDoubt => "doubt",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Failed => "failed",
        }
    }
}

/// All messages to the customer of a session.
#[derive(Default)]
pub(super) struct Deliveries {
    sends: BTreeMap<SendId, Delivery>,
    /// Parts of long texts, under the text they are of.
    parts: HashMap<SendId, SendId>,
    /// What WhatsApp calls our messages: for receipts that do not echo our reference.
    wamids: HashMap<String, SendId>,
}

impl Deliveries {
    pub(super) fn of(records: &[Record], facts: &Range<Seq>) -> Self {
        let mut found = Self::default();
        // The send of a decision that is long enough to have parts.
        let mut long: HashMap<Seq, SendId> = HashMap::new();
        for record in records {
            let Some(stored) = record.decision() else { continue };
            if !facts.contains(&stored.answers) {
                continue;
            }
            for send in stored.decision.sends() {
                let parts = split_text(&send.body.as_text(), PART).len();
                if parts > 1 {
                    long.insert(record.seq, send.id);
                }
                let delivery = Delivery { state: State::Waiting, parts, attempts: 0, ticks: Vec::new() };
                found.sends.insert(send.id, delivery);
            }
        }
        let mut states: BTreeMap<SendId, BTreeMap<SendId, State>> = BTreeMap::new();
        for record in records {
            if let Some((send, part, state)) = found.note(record, &long) {
                let known = states.entry(send).or_default().entry(part).or_insert(State::Waiting);
                *known = advance(*known, state);
            }
        }
        for (send, parts) in states {
            let Some(delivery) = found.sends.get_mut(&send) else { continue };
            let least = parts.values().min().copied().unwrap_or(State::Waiting);
            delivery.state = if parts.values().any(|state| *state == State::Failed) {
                State::Failed
            } else if parts.len() >= delivery.parts {
                least
            } else {
                least.min(State::Sending)
            };
        }
        found
    }

    /// Takes a record in: which send, which part of it, how far that is.
    fn note(&mut self, record: &Record, long: &HashMap<Seq, SendId>) -> Option<(SendId, SendId, State)> {
        let body = record.body()?;
        if let Body::SendIntent(intent) = body {
            let part = self.part(&intent.send, intent.decision, long)?;
            let send = self.whole(part)?;
            self.sends.get_mut(&send)?.attempts += 1;
            Some((send, part, State::Sending))
        } else if let Body::SendOutcome(outcome) = body {
            let part = self.part(&outcome.send, outcome.decision, long)?;
            let state = match outcome.outcome.as_ref()? {
                send_outcome::Outcome::Accepted(accepted) => {
                    if !accepted.wamid.is_empty() {
                        self.wamids.insert(accepted.wamid.clone(), part);
                    }
                    State::Accepted
                }
                send_outcome::Outcome::Refused(_) => State::Failed,
                send_outcome::Outcome::InDoubt(_) => State::InDoubt,
                send_outcome::Outcome::NotSent(_) => State::Sending,
            };
            Some((self.whole(part)?, part, state))
        } else if let Body::WhatsappStatus(status) = body {
            let part = self.part_of_status(status)?;
            let send = self.whole(part)?;
            self.sends.get_mut(&send)?.ticks.push(Tick {
                status: status.status.clone(),
                at: time(status.at),
                seq: record.seq,
                codes: status.problems.iter().map(|problem| problem.code).collect(),
            });
            let state = match status.status.as_str() {
                "sent" => State::Sent,
                "delivered" => State::Delivered,
                "read" | "played" => State::Read,
                "failed" => State::Failed,
                _ => State::Accepted,
            };
            Some((send, part, state))
        } else {
            None
        }
    }

    pub(super) fn get(&self, send: SendId) -> Option<&Delivery> {
        self.sends.get(&send)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Delivery> {
        self.sends.values()
    }

    /// The session's send that goes by this id, or has a part that does.
    pub(super) fn send_of(&self, id: &str) -> Option<SendId> {
        self.whole(id.parse().ok()?)
    }

    pub(super) fn send_of_status(&self, status: &v1::WhatsAppStatus) -> Option<SendId> {
        self.whole(self.part_of_status(status)?)
    }

    /// It echoes a reference of ours, only not one of this session.
    pub(super) fn is_of_another_session(&self, status: &v1::WhatsAppStatus) -> bool {
        self.part_of_status(status).is_some_and(|part| self.whole(part).is_none())
    }

    /// A part has an id of its own; its records name the decision that asked for the whole.
    fn part(&mut self, id: &str, decision: Seq, long: &HashMap<Seq, SendId>) -> Option<SendId> {
        let part = id.parse().ok()?;
        if !self.sends.contains_key(&part)
            && let Some(send) = long.get(&decision)
        {
            self.parts.insert(part, *send);
        }
        Some(part)
    }

    fn part_of_status(&self, status: &v1::WhatsAppStatus) -> Option<SendId> {
        let told = status.reference.as_deref().and_then(reference);
        told.map(|told| told.send).or_else(|| self.wamids.get(&status.wamid).copied())
    }

    fn whole(&self, part: SendId) -> Option<SendId> {
        if self.sends.contains_key(&part) { Some(part) } else { self.parts.get(&part).copied() }
    }
}

/// Either form in which a reference comes: as it travelled, or as it stands in subjects.
fn reference(text: &str) -> Option<SendRef> {
    SendRef::from_opaque(text).or_else(|| text.parse().ok())
}

/// Receipts come in any order, and of several attempts: what was seen by the customer counts most.
fn advance(known: State, new: State) -> State {
    match (known, new) {
        (State::Delivered | State::Read, State::Failed) => known,
        (State::Failed, State::Delivered | State::Read) => new,
        (known, new) => known.max(new),
    }
}
