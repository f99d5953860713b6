//! Decisions: one entry holds the new state and everything to be done.

use bytes::Bytes;
use domain::{
    Seq,
    session::{Ask, Call, Decision, Origin, Output, Send},
};

use super::{Malformed, thread};
use crate::v1::{self, call, entry::Body, output};

/// A decision as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDecision {
    /// The fact it answers.
    pub answers: Seq,
    pub policy_version: u64,
    pub decision: Decision,
}

impl StoredDecision {
    pub fn encode(&self) -> Bytes {
        crate::encode(Body::Decision(v1::Decision {
            answers: self.answers,
            policy_version: self.policy_version,
            state: Some((&self.decision.state).into()),
            outputs: self.decision.outputs.iter().map(Into::into).collect(),
        }))
    }

    pub fn decode(payload: Bytes) -> Result<Self, Malformed> {
        match crate::decode(payload)? {
            Body::Decision(decision) => decision.try_into(),
            Body::WhatsappMessage(_)
            | Body::WhatsappStatus(_)
            | Body::AssistantAnswer(_)
            | Body::ThreadFollowed(_)
            | Body::CallResult(_)
            | Body::SalesforceEvent(_)
            | Body::Undelivered(_)
            | Body::TimerFired(_)
            | Body::OperatorCommand(_)
            | Body::SendIntent(_)
            | Body::SendOutcome(_)
            | Body::AccountEvent(_) => Err(Malformed("not a decision")),
        }
    }

    /// Every output with its cause.
    pub fn outputs(&self) -> impl Iterator<Item = (domain::Cause, &Output)> {
        (0..)
            .zip(&self.decision.outputs)
            .map(|(index, output)| (domain::Cause { answers: self.answers, index }, output))
    }
}

impl TryFrom<v1::Decision> for StoredDecision {
    type Error = Malformed;
    fn try_from(decision: v1::Decision) -> Result<Self, Malformed> {
        Ok(Self {
            answers: decision.answers,
            policy_version: decision.policy_version,
            decision: Decision {
                state: decision.state.ok_or(Malformed("state"))?.try_into()?,
                outputs: decision.outputs.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            },
        })
    }
}

impl From<&Output> for v1::Output {
    fn from(output: &Output) -> Self {
        let output = match output {
            Output::Send(send) => output::Output::Send(v1::Send {
                id: send.id.to_string(),
                text: send.text.clone(),
                origin: match send.origin {
                    Origin::Assistant => v1::send::Origin::Assistant,
                    Origin::Rep => v1::send::Origin::Rep,
                    Origin::Bot => v1::send::Origin::Bot,
                    Origin::Notice => v1::send::Origin::Notice,
                }
                .into(),
            }),
            Output::Ask(Ask { epoch, text, helping, human_until }) => output::Output::Ask(v1::Ask {
                epoch: *epoch,
                text: text.clone(),
                helping: *helping,
                human_until: *human_until,
            }),
            Output::Follow { thread } => output::Output::Follow(v1::Follow { thread: thread.to_string() }),
            Output::Unfollow { thread } => {
                output::Output::Unfollow(v1::Unfollow { thread: thread.to_string() })
            }
            Output::Timer { at } => output::Output::Timer(v1::Timer { at: *at }),
            Output::Call(call) => output::Output::Call(v1::Call { call: Some(call.into()) }),
        };
        Self { output: Some(output) }
    }
}

impl From<&Call> for call::Call {
    fn from(call: &Call) -> Self {
        match call {
            Call::Open { thread, session, reason, from, through, again } => Self::Open(call::Open {
                thread: thread.to_string(),
                session: session.to_string(),
                reason: reason.clone(),
                from: *from,
                through: *through,
                again: *again,
            }),
            Call::Forward { thread, from, through } => {
                Self::Forward(call::Forward { thread: thread.to_string(), from: *from, through: *through })
            }
            Call::Note { thread, text } => {
                Self::Note(call::Note { thread: thread.to_string(), text: text.clone() })
            }
            Call::EndSession { thread } => Self::EndSession(call::EndSession { thread: thread.to_string() }),
        }
    }
}

impl TryFrom<v1::Output> for Output {
    type Error = Malformed;
    fn try_from(output: v1::Output) -> Result<Self, Malformed> {
        Ok(match output.output.ok_or(Malformed("output"))? {
            output::Output::Send(send) => Self::Send(Send {
                origin: match send.origin() {
                    v1::send::Origin::Unspecified => return Err(Malformed("origin")),
                    v1::send::Origin::Assistant => Origin::Assistant,
                    v1::send::Origin::Rep => Origin::Rep,
                    v1::send::Origin::Bot => Origin::Bot,
                    v1::send::Origin::Notice => Origin::Notice,
                },
                id: send.id.parse().map_err(|_| Malformed("send.id"))?,
                text: send.text,
            }),
            output::Output::Ask(v1::Ask { epoch, text, helping, human_until }) => {
                Self::Ask(Ask { epoch, text, helping, human_until })
            }
            output::Output::Follow(follow) => Self::Follow { thread: thread(&follow.thread)? },
            output::Output::Unfollow(unfollow) => Self::Unfollow { thread: thread(&unfollow.thread)? },
            output::Output::Timer(timer) => Self::Timer { at: timer.at },
            output::Output::Call(call) => Self::Call(match call.call.ok_or(Malformed("call"))? {
                call::Call::Open(open) => Call::Open {
                    thread: thread(&open.thread)?,
                    session: open.session.parse().map_err(|_| Malformed("session"))?,
                    reason: open.reason,
                    from: open.from,
                    through: open.through,
                    again: open.again,
                },
                call::Call::Forward(forward) => Call::Forward {
                    thread: thread(&forward.thread)?,
                    from: forward.from,
                    through: forward.through,
                },
                call::Call::Note(note) => Call::Note { thread: thread(&note.thread)?, text: note.text },
                call::Call::EndSession(end) => Call::EndSession { thread: thread(&end.thread)? },
            }),
        })
    }
}
