//! The send ledger: what to do next about a message to WhatsApp, given what the log says of it.
//!
//! WhatsApp knows no idempotency key, so sending once is our bookkeeping. Each attempt leaves two
//! records, one after the other: an *intent* before the POST, an *outcome* after it. The last
//! record of a send is therefore its whole state:
//!
//! ```text
//! nothing ──▶ intent 1 ──▶ outcome 1: accepted            done
//!                      ├─▶ outcome 1: refused             done, told as a fact
//!                      ├─▶ outcome 1: not sent ──▶ intent 2 …    it surely did not go out
//!                      └─▶ outcome 1: in doubt ──▶ intent 2 …    the one blind resend
//! ```
//! An intent without an outcome means that somebody may have sent it (a crash, or our own lost
//! answer): nobody sends again before [`Step::Await`] has waited for a status that echoes the
//! attempt. That wait counts from the intent's time in the log and is longer than a POST can last,
//! so it also outlasts a worker that was paused in the middle of one.

use std::time::Duration;

use domain::{Millis, SendId, Seq, Wamid, outreach::Mark};
use proto::{
    SendRecord,
    v1::{self, entry::Body, send_outcome},
};
use whatsapp::client::{Action, Refusal, Scope, SendError, Sent};

/// Where the table of codes sets no bound of its own, a refusal that asks for another try is believed
/// this often: with [`LONGEST_REST`] between tries, about a day.
pub const MAX_TRANSIENT_ATTEMPTS: u32 = 300;
/// Only an operator can mend a refused token or account: no use in hurrying, and nothing is dropped.
/// So long at first; pauses double up to [`LONGEST_REST`].
pub const CONFIG_REST: Duration = Duration::from_secs(30);
/// How long it takes at most until what an operator has mended is noticed.
pub const LONGEST_REST: Duration = Duration::from_secs(300);
/// One message in six seconds is what a pair sustains (`whatsapp-cloud-api.md` §10).
const PAIR_REST: Duration = Duration::from_secs(6);
const NUMBER_REST: Duration = Duration::from_secs(2);
const ACCOUNT_REST: Duration = Duration::from_secs(60);

/// An attempt of a send, as both of its records name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    pub send: SendId,
    /// Log position of the decision that asked for the send.
    pub decision: Seq,
    /// From 1.
    pub number: u32,
    /// The earlier attempt that stayed in doubt. Only one is ever sent again blindly.
    pub doubtful: Option<u32>,
    /// Of a campaign's send.
    pub mark: Option<Mark>,
}

/// A record of a send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub attempt: Attempt,
    /// When the log stored it.
    pub stored_at: Millis,
    pub phase: Phase,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    Intent,
    Outcome(Outcome),
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// `wamid` is empty when no status told it. `answered`: by the POST's answer, else by a status.
    Accepted {
        wamid: Wamid,
        answered: bool,
    },
    /// It surely did not go out, and may be tried again.
    NotSent,
    Refused {
        code: i32,
    },
    /// Neither answer nor status within the grace.
    InDoubt,
}

/// What to do next about a send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Store the intent, then POST. Where `attempt.doubtful` is set, first see whether a status of
    /// that attempt came after all.
    Try(Attempt),
    /// Somebody may have sent it: wait for a status of the attempt until `until` (the log's clock).
    Await {
        attempt: Attempt,
        until: Millis,
    },
    Settled(Settled),
}

/// Nothing is left to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    Accepted,
    Refused {
        code: i32,
    },
    /// Both attempts stayed in doubt. A late status of either settles it for good.
    Unknown {
        attempts: [u32; 2],
    },
}

/// In place of Meta's code: the file never got as far as Meta.
pub const UNFIT_FILE: i32 = -1;
/// In place of Meta's code: its time had passed before it could be sent.
pub const TOO_LATE: i32 = -2;

/// What to do about a send of which `last` is the last record.
pub fn next(send: SendId, decision: Seq, mark: Option<Mark>, last: Option<&Record>, grace: Duration) -> Step {
    let Some(Record { attempt, stored_at, phase }) = last else {
        return Step::Try(Attempt { send, decision, number: 1, doubtful: None, mark });
    };
    let again =
        |doubtful| Step::Try(Attempt { number: attempt.number.saturating_add(1), doubtful, ..*attempt });
    match phase {
        Phase::Intent => Step::Await { attempt: *attempt, until: stored_at.saturating_add(millis(grace)) },
        Phase::Outcome(Outcome::Accepted { .. }) => Step::Settled(Settled::Accepted),
        Phase::Outcome(Outcome::Refused { code }) => Step::Settled(Settled::Refused { code: *code }),
        Phase::Outcome(Outcome::NotSent) => again(attempt.doubtful),
        Phase::Outcome(Outcome::InDoubt) => match attempt.doubtful {
            None => again(Some(attempt.number)),
            Some(earlier) => Step::Settled(Settled::Unknown { attempts: [earlier, attempt.number] }),
        },
    }
}

/// What the answer to a POST says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Store this outcome and go on.
    Settles(Outcome),
    /// Store [`Outcome::NotSent`], then try again: after `rest`, or as the reader backs off.
    Later { why: Later, rest: Option<Duration> },
    /// Store nothing yet: wait for a status.
    InDoubt,
}

/// Why it did not go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Later {
    Unreachable,
    /// This customer gets too many messages.
    PairPaced,
    /// The number or the account sends too many.
    Paced,
    /// The token, the account or the number is not in order: nothing of the number goes.
    Config,
    /// An operator has to mend something that concerns this customer: the others may go.
    Operator,
    /// WhatsApp said no, for now.
    Transient,
}

impl Later {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::PairPaced => "pair_paced",
            Self::Paced => "paced",
            Self::Config => "config",
            Self::Operator => "operator",
            Self::Transient => "transient",
        }
    }
}

/// Reads the answer to the `number`-th POST of a send.
pub fn read(answer: Result<Sent, SendError>, number: u32) -> Answer {
    match answer {
        Ok(Sent { wamid }) => Answer::Settles(Outcome::Accepted { wamid, answered: true }),
        Err(SendError::NotSent(_)) => Answer::Later { why: Later::Unreachable, rest: None },
        Err(SendError::Paced { scope, retry_after, .. }) => {
            let (why, rest) = match scope {
                Scope::Pair => (Later::PairPaced, PAIR_REST),
                Scope::Number => (Later::Paced, NUMBER_REST),
                Scope::Account | Scope::App => (Later::Paced, ACCOUNT_REST),
            };
            // No answer makes us wait longer than an hour.
            let rest = retry_after.unwrap_or(rest).min(Duration::from_secs(3600));
            Answer::Later { why, rest: Some(rest) }
        }
        Err(SendError::Refused(refusal)) => refused(&refusal, number),
        Err(SendError::InDoubt(_)) => Answer::InDoubt,
    }
}

/// What the table of codes says about it.
fn refused(refusal: &Refusal, number: u32) -> Answer {
    match refusal.remedy().action {
        // The others of the number meet a gate whose pauses grow by themselves.
        Action::StopNumber => Answer::Later { why: Later::Config, rest: Some(CONFIG_REST) },
        Action::TellOperator => {
            Answer::Later { why: Later::Operator, rest: Some(growing(CONFIG_REST, number)) }
        }
        Action::Retry { rest, tries } if number < tries.unwrap_or(MAX_TRANSIENT_ATTEMPTS) => {
            Answer::Later { why: Later::Transient, rest: Some(growing(rest, number)) }
        }
        // Comes as `SendError::Paced`, unless the table and the client disagree.
        Action::SlowDown { rest, .. } => Answer::Later { why: Later::Transient, rest: Some(rest) },
        // What is parked is decided elsewhere: here it did not go.
        Action::Retry { .. } | Action::Park | Action::NotSent | Action::StopTemplate => {
            Answer::Settles(Outcome::Refused { code: refusal.code })
        }
    }
}

/// Doubles with every attempt.
fn growing(first: Duration, attempt: u32) -> Duration {
    first.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(LONGEST_REST.max(first))
}

/// The fact that tells about a refusal: 131047 means that the customer service window is closed.
pub fn undeliverable(code: i32) -> v1::undelivered::Reason {
    match code {
        UNFIT_FILE => v1::undelivered::Reason::File(v1::undelivered::File {}),
        131_047 => v1::undelivered::Reason::WindowClosed(v1::undelivered::WindowClosed {}),
        code => v1::undelivered::Reason::Refused(v1::undelivered::Refused { code }),
    }
}

/// Whether a `failed` status of attempt `failed` means that the customer did not get the message.
/// `last`: the send's last record, `None` when the log no longer has it; `other_seen`: a status of
/// another attempt says that it was sent.
pub fn failure_counts(failed: u32, last: Option<&Record>, other_seen: bool) -> bool {
    let Some(record) = last else { return true };
    match &record.phase {
        // Told already, with the same id; or another attempt went out.
        Phase::Outcome(Outcome::Refused { .. }) => false,
        Phase::Outcome(Outcome::Accepted { .. }) => record.attempt.number == failed && !other_seen,
        // Unsettled: the wait for this very status settles it as accepted, and accepted means
        // that its failure counts.
        Phase::Intent | Phase::Outcome(Outcome::NotSent | Outcome::InDoubt) => !other_seen,
    }
}

/// Whether a status of attempt `told` shows that the customer has the message twice: a later
/// attempt may have gone out too.
pub fn shows_duplicate(told: u32, last: Option<&Record>) -> bool {
    last.is_some_and(|record| {
        record.attempt.doubtful.is_some_and(|doubtful| told <= doubtful)
            && matches!(
                record.phase,
                Phase::Intent | Phase::Outcome(Outcome::Accepted { .. } | Outcome::InDoubt)
            )
    })
}

impl Attempt {
    /// `epoch`: of the lease it is written under; `at`: the writer's clock. Together they tell a
    /// worker that an intent it finds is the one it has just tried to store.
    pub fn intent(&self, epoch: u64, at: Millis) -> Body {
        Body::SendIntent(v1::SendIntent {
            send: self.send.to_string(),
            attempt: self.number,
            at,
            decision: self.decision,
            epoch,
            doubtful: self.doubtful.unwrap_or(0),
            mark: self.mark.map(Into::into),
        })
    }

    pub fn outcome(&self, outcome: &Outcome, at: Millis) -> Body {
        Body::SendOutcome(v1::SendOutcome {
            send: self.send.to_string(),
            attempt: self.number,
            at,
            doubtful: self.doubtful.unwrap_or(0),
            decision: self.decision,
            mark: self.mark.map(Into::into),
            outcome: Some(match outcome {
                Outcome::Accepted { wamid, answered } => {
                    send_outcome::Outcome::Accepted(send_outcome::Accepted {
                        wamid: wamid.as_str().to_owned(),
                        answered: *answered,
                    })
                }
                Outcome::NotSent => send_outcome::Outcome::NotSent(send_outcome::NotSent {}),
                Outcome::Refused { code } => {
                    send_outcome::Outcome::Refused(send_outcome::Refused { code: *code })
                }
                Outcome::InDoubt => send_outcome::Outcome::InDoubt(send_outcome::InDoubt {}),
            }),
        })
    }
}

impl Record {
    /// `stored_at`: the entry's time in the log.
    pub fn from_body(body: Body, stored_at: Millis) -> Result<Self, proto::Malformed> {
        let attempt = |send: &str, decision, number, doubtful: u32, mark: Option<v1::CampaignMark>| {
            let send = send.parse().map_err(|_| proto::Malformed("send"))?;
            let mark = mark.map(Mark::try_from).transpose()?;
            Ok(Attempt { send, decision, number, doubtful: (doubtful > 0).then_some(doubtful), mark })
        };
        let intent = match SendRecord::of(body).ok_or(proto::Malformed("not a send record"))? {
            SendRecord::Intent(intent) => intent,
            SendRecord::Outcome(record) => {
                return Ok(Self {
                    attempt: attempt(
                        &record.send,
                        record.decision,
                        record.attempt,
                        record.doubtful,
                        record.mark,
                    )?,
                    stored_at,
                    phase: Phase::Outcome(match record.outcome.ok_or(proto::Malformed("outcome"))? {
                        send_outcome::Outcome::Accepted(accepted) => Outcome::Accepted {
                            wamid: Wamid::new(accepted.wamid),
                            answered: accepted.answered,
                        },
                        send_outcome::Outcome::NotSent(_) => Outcome::NotSent,
                        send_outcome::Outcome::Refused(refused) => Outcome::Refused { code: refused.code },
                        send_outcome::Outcome::InDoubt(_) => Outcome::InDoubt,
                    }),
                });
            }
        };
        Ok(Self {
            attempt: attempt(&intent.send, intent.decision, intent.attempt, intent.doubtful, intent.mark)?,
            stored_at,
            phase: Phase::Intent,
        })
    }
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
