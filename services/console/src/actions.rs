//! What operators do to a session: a fact in the log, which handoff decides on like on any other.
//!
//! The fact's id derives from the session and a nonce (the form's, or the header `Idempotency-Key`),
//! so that a double click or a repeat after a lost answer happens once.

use std::{pin::pin, time::Duration};

use aws_lc_rs::rand;
use domain::{
    ConversationKey, Seq, SessionId,
    derive::uuid,
    session::{Call, Output, Owner},
};
use futures::StreamExt as _;
use proto::{
    StoredDecision,
    subjects::{self, Kind},
    v1::{self, entry::Body, operator_command::Command},
};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::{
    error::{RouteError, Why},
    lookup::{Lookup, patiently},
};

/// How long a command may take to get into the log.
const APPENDING: Duration = Duration::from_secs(5);
/// How long people wait for the decision; it is looked up again when they reload.
const DECIDING: Duration = Duration::from_secs(8);
/// Decisions behind a command among which its own is looked for: it is the next one, but for what
/// was waiting before it.
const MOST_BEHIND: usize = 500;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    HandOff,
    GiveBack,
}

/// A command that is in the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Commanded {
    pub(crate) action: Action,
    /// Where it stands.
    pub(crate) seq: Seq,
    /// It was there before.
    pub(crate) repeated: bool,
    pub(crate) outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Accepted,
    Refused(Why),
    /// Not decided yet.
    Pending,
}

impl Action {
    const fn command(self) -> Command {
        match self {
            Self::HandOff => Command::HandOff,
            Self::GiveBack => Command::GiveBack,
        }
    }

    fn of(command: Command) -> Option<Self> {
        [Self::HandOff, Self::GiveBack].into_iter().find(|action| action.command() == command)
    }

    /// What happens now that it was accepted.
    pub(crate) const fn accepted(self) -> &'static str {
        match self {
            Self::HandOff => "Accepted: the conversation is being handed to a rep.",
            Self::GiveBack => {
                "Accepted: Salesforce is asked to end the chat; the assistant is back once it has."
            }
        }
    }

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::HandOff => "Hand off now",
            Self::GiveBack => "Give back to the assistant",
        }
    }
}

impl Commanded {
    /// The code, the sentence, and what to do.
    pub(crate) const fn told(&self) -> (&'static str, &'static str, &'static str) {
        match self.outcome {
            Outcome::Accepted => ("accepted", self.action.accepted(), ""),
            Outcome::Refused(why) => why.told(),
            Outcome::Pending => (
                "pending",
                "The command is in the log; it is not decided yet.",
                "Reload in a moment. If it lasts, look whether handoff is running.",
            ),
        }
    }
}

/// Appends the command, unless it is there, and waits for the decision on it.
///
/// `by`: who asked, for the timeline.
pub(crate) async fn act(
    lookup: &Lookup,
    session: SessionId,
    action: Action,
    nonce: &str,
    by: &str,
) -> Result<Commanded, RouteError> {
    let nonce = checked_nonce(nonce)?;
    patiently(async {
        let key = lookup.conversation_of(session).await?;
        let id = uuid("operator", &[session.0.as_bytes(), nonce.as_bytes()]).to_string();
        let subject = subjects::fact(&key, Kind::Operator, &id);
        let log = lookup.log();
        let there = log.last(&subject).await?;
        let (seq, repeated) = match there {
            Some(entry) => (entry.seq, true),
            None => {
                let state = lookup.state(&key).await?;
                let current = state.and_then(|state| state.session).is_some_and(|of| of.id == session);
                if !current {
                    return Err(RouteError::SessionOver);
                }
                let command = v1::OperatorCommand { command: action.command().into(), by: by.to_owned() };
                let body = proto::encode(Body::OperatorCommand(command));
                let appended = log.append_fact(&subject, body, Some(APPENDING)).await?;
                (appended.seq, appended.existed)
            }
        };
        if repeated && command_at(lookup, &key, seq).await? != Some(action) {
            return Err(RouteError::NonceReused);
        }
        let outcome = decided(lookup, &key, seq, action).await;
        tracing::info!(session = %session, action = action.command().as_str_name(), seq, "operator's command");
        Ok(Commanded { action, seq, repeated, outcome })
    })
    .await
}

/// What became of the command at `seq`, as far as it is known now. `None`: there is no command.
pub(crate) async fn became(
    lookup: &Lookup,
    session: SessionId,
    seq: Seq,
) -> Result<Option<Commanded>, RouteError> {
    patiently(async {
        let key = lookup.conversation_of(session).await?;
        let Some(action) = command_at(lookup, &key, seq).await? else { return Ok(None) };
        let decisions = lookup.log().read(vec![subjects::decision(&key)], seq, Seq::MAX, MOST_BEHIND).await?;
        let outcome = decisions
            .into_iter()
            .filter_map(|entry| judged(StoredDecision::decode(entry.payload).ok()?, seq, action))
            .next()
            .unwrap_or(Outcome::Pending);
        Ok(Some(Commanded { action, seq, repeated: true, outcome }))
    })
    .await
}

async fn command_at(lookup: &Lookup, key: &ConversationKey, seq: Seq) -> Result<Option<Action>, RouteError> {
    let Some(entry) = lookup.log().get(seq).await? else { return Ok(None) };
    if entry.address.is_none_or(|address| address.key != *key || address.kind != Kind::Operator) {
        return Ok(None);
    }
    let Ok(Body::OperatorCommand(command)) = proto::decode(entry.payload) else { return Ok(None) };
    Ok(Action::of(command.command()))
}

async fn decided(lookup: &Lookup, key: &ConversationKey, seq: Seq, action: Action) -> Outcome {
    let heard = async {
        let mut tail = pin!(lookup.log().tail(vec![subjects::decision(key)], seq));
        loop {
            let Some(entry) = tail.next().await else { return Outcome::Pending };
            let Ok(stored) = StoredDecision::decode(entry.payload) else { continue };
            if let Some(outcome) = judged(stored, seq, action) {
                return outcome;
            }
        }
    };
    timeout(DECIDING, heard).await.unwrap_or(Outcome::Pending)
}

/// `None`: the decision is about an earlier fact. Facts are decided in the order of the log.
fn judged(stored: StoredDecision, command: Seq, action: Action) -> Option<Outcome> {
    if stored.answers < command {
        return None;
    }
    if stored.answers > command {
        return Some(Outcome::Refused(Why::SetAside));
    }
    let did = |wanted: fn(&Output) -> bool| stored.decision.outputs.iter().any(wanted);
    let accepted = match action {
        Action::HandOff => did(|output| matches!(output, Output::Follow { .. })),
        Action::GiveBack => did(|output| matches!(output, Output::Call(Call::EndSession { .. }))),
    };
    if accepted {
        return Some(Outcome::Accepted);
    }
    Some(Outcome::Refused(match (&stored.decision.state.owner, action) {
        (Owner::Assistant, Action::HandOff) => Why::NoTeam,
        (Owner::Assistant, Action::GiveBack) => Why::WithAssistant,
        (Owner::Opening(_), Action::GiveBack) => Why::StillConnecting,
        (Owner::Opening(_), Action::HandOff)
        | (Owner::Waiting(_) | Owner::Live(_) | Owner::Inactive(_), Action::HandOff | Action::GiveBack) => {
            Why::WithPeople
        }
    }))
}

/// What is repeated under it happens once.
pub(crate) fn checked_nonce(nonce: &str) -> Result<&str, RouteError> {
    let fits = nonce.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if fits && (8..=128).contains(&nonce.len()) { Ok(nonce) } else { Err(RouteError::MalformedNonce) }
}

/// For one form: what is asked with it happens once.
pub(crate) fn nonce() -> Result<String, RouteError> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| RouteError::Internal)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
