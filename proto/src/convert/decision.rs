//! Decisions: one entry holds the new state and everything to be done.

use bytes::Bytes;
use domain::{
    Seq, Wamid,
    outreach::Mark,
    session::{Ask, Brief, Call, ControlAction, Decision, Output, Replied, Send, Withholding},
};

use super::{
    Malformed,
    outgoing::{apart, origin, stored_origin, together},
    outreach::{campaign, stored_campaign},
    thread,
};
use crate::v1::{self, call, control, entry::Body, output, withheld};

/// A text of 65,536 characters takes 16 messages.
const MOST_PARTS: u32 = 20;

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
        let decision = crate::decode(payload)?.into_decision().ok_or(Malformed("not a decision"))?;
        decision.try_into()
    }

    /// What a person reads of the message that was sent under this id, or as a part of it.
    pub fn sent(&self, id: &str) -> Option<String> {
        let is_part = |send: &&Send| (0..MOST_PARTS).any(|index| send.id.part(index).to_string() == id);
        self.decision.sends().find(is_part).map(|send| send.body.as_text())
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
            Output::Send(Send { id, body, quotes, origin, mark, not_after }) => {
                let (text, body) = apart(body);
                output::Output::Send(v1::Send {
                    id: id.to_string(),
                    text,
                    origin: stored_origin(*origin).into(),
                    body,
                    quotes: quotes.as_ref().map(|wamid| wamid.as_str().to_owned()),
                    mark: mark.map(Into::into),
                    not_after: *not_after,
                })
            }
            Output::Seen { wamid, typing } => {
                output::Output::Seen(v1::Seen { wamid: wamid.as_str().to_owned(), typing: *typing })
            }
            Output::Control(action) => output::Output::Control(v1::Control {
                action: match action {
                    ControlAction::Take => control::Action::Take,
                    ControlAction::Release => control::Action::Release,
                }
                .into(),
            }),
            Output::Move(state) => output::Output::Move(state.as_ref().into()),
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
            Output::Withheld { mark, why } => output::Output::Withheld(v1::Withheld {
                mark: mark.map(Into::into),
                why: match why {
                    Withholding::OptedOut => withheld::Why::OptedOut,
                    Withholding::TooLate => withheld::Why::TooLate,
                }
                .into(),
            }),
            Output::Replied(Replied { mark, name, text, opted_out }) => {
                output::Output::Replied(v1::Replied {
                    mark: mark.map(Into::into),
                    name: name.clone(),
                    text: text.clone(),
                    opted_out: *opted_out,
                })
            }
            Output::Consent { wanted } => {
                output::Output::WantsMarketing(v1::WantsMarketing { wanted: *wanted })
            }
            Output::Call(call) => output::Output::Call(v1::Call { call: Some(call.into()) }),
        };
        Self { output: Some(output) }
    }
}

impl From<&Call> for call::Call {
    fn from(call: &Call) -> Self {
        match call {
            Call::Open { thread, session, brief, from, through, again } => Self::Open(call::Open {
                thread: thread.to_string(),
                session: session.to_string(),
                reason: brief.reason.clone(),
                summary: brief.summary.clone(),
                language: brief.language.clone(),
                priority: brief.priority.clone(),
                sentiment: brief.sentiment.clone(),
                campaign: brief.campaign.as_ref().map(stored_campaign),
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
                origin: origin(send.origin())?,
                id: send.id.parse().map_err(|_| Malformed("send.id"))?,
                body: together(send.text, send.body)?,
                quotes: send.quotes.map(Wamid::new),
                mark: send.mark.map(Mark::try_from).transpose()?,
                not_after: send.not_after,
            }),
            output::Output::Seen(seen) => Self::Seen { wamid: Wamid::new(seen.wamid), typing: seen.typing },
            output::Output::Control(control) => Self::Control(match control.action() {
                control::Action::Unspecified => return Err(Malformed("control.action")),
                control::Action::Take => ControlAction::Take,
                control::Action::Release => ControlAction::Release,
            }),
            output::Output::Move(state) => Self::Move(Box::new(state.try_into()?)),
            output::Output::Ask(v1::Ask { epoch, text, helping, human_until }) => {
                Self::Ask(Ask { epoch, text, helping, human_until })
            }
            output::Output::Follow(follow) => Self::Follow { thread: thread(&follow.thread)? },
            output::Output::Unfollow(unfollow) => Self::Unfollow { thread: thread(&unfollow.thread)? },
            output::Output::Timer(timer) => Self::Timer { at: timer.at },
            output::Output::Withheld(withheld) => Self::Withheld {
                why: match withheld.why() {
                    withheld::Why::Unspecified => return Err(Malformed("withheld.why")),
                    withheld::Why::OptedOut => Withholding::OptedOut,
                    withheld::Why::TooLate => Withholding::TooLate,
                },
                mark: withheld.mark.map(Mark::try_from).transpose()?,
            },
            output::Output::Replied(v1::Replied { mark, name, text, opted_out }) => {
                let mark = mark.map(Mark::try_from).transpose()?;
                Self::Replied(Replied { mark, name, text, opted_out })
            }
            output::Output::WantsMarketing(v1::WantsMarketing { wanted }) => Self::Consent { wanted },
            output::Output::Call(call) => Self::Call(match call.call.ok_or(Malformed("call"))? {
                call::Call::Open(open) => Call::Open {
                    thread: thread(&open.thread)?,
                    session: open.session.parse().map_err(|_| Malformed("session"))?,
                    brief: Brief {
                        reason: open.reason,
                        summary: open.summary,
                        language: open.language,
                        priority: open.priority,
                        sentiment: open.sentiment,
                        campaign: open.campaign.map(campaign),
                    },
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
