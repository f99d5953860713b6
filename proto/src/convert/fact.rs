//! Facts: what the session machine reads.

use domain::{
    Cause, EntryId, PhoneNumberId,
    message::Outgoing,
    session::{
        Answer, Answered, Brief, CallResult, Command, Fact, Happening, MessagingSessionStatus,
        SalesforceEvent, Undeliverable,
    },
};

use super::{
    Malformed, cause,
    content::inbound,
    outgoing::{apart, together},
    thread,
};
use crate::v1::{self, assistant_answer, entry::Body, salesforce_event, undelivered};

/// The fact in an entry; `None` for entries that ask for no decision (statuses, send records,
/// decisions, account events).
pub fn fact(body: Body) -> Result<Option<Fact>, Malformed> {
    Ok(Some(match body {
        Body::WhatsappMessage(message) => Fact::Inbound(inbound(message)?),
        Body::AssistantAnswer(answer) => Fact::Answered(Answered {
            ask: cause(&answer.ask, "ask")?,
            epoch: answer.epoch,
            language: answer.language,
            answer: match answer.answer.ok_or(Malformed("answer"))? {
                assistant_answer::Answer::Reply(reply) => {
                    Answer::Reply { body: together(reply.text, reply.body)? }
                }
                assistant_answer::Answer::Handoff(handoff) => Answer::Handoff(Brief {
                    reason: handoff.reason,
                    summary: handoff.summary,
                    language: handoff.language,
                    priority: handoff.priority,
                    sentiment: handoff.sentiment,
                    campaign: None,
                }),
                assistant_answer::Answer::Close(close) => {
                    Answer::Close { body: close.body.map(TryInto::try_into).transpose()? }
                }
                assistant_answer::Answer::Silence(_) => Answer::Silence,
            },
        }),
        Body::ThreadFollowed(followed) => Fact::Followed { follow: cause(&followed.follow, "follow")? },
        Body::CallResult(result) => Fact::Called {
            call: cause(&result.call, "call")?,
            result: match result.result() {
                v1::call_result::Result::Unspecified => return Err(Malformed("result")),
                v1::call_result::Result::Done => CallResult::Done,
                v1::call_result::Result::Unavailable => CallResult::Unavailable,
                v1::call_result::Result::Refused => CallResult::Refused,
            },
        },
        Body::SalesforceEvent(event) => Fact::Salesforce(SalesforceEvent {
            thread: thread(&event.thread)?,
            entry: EntryId::new(event.entry),
            at: event.at,
            what: happening(event.what.ok_or(Malformed("what"))?)?,
        }),
        Body::Undelivered(undelivered) => Fact::Undelivered {
            send: undelivered.send.parse().map_err(|_| Malformed("send"))?,
            reason: match undelivered.reason.ok_or(Malformed("reason"))? {
                undelivered::Reason::WindowClosed(_) => Undeliverable::WindowClosed,
                undelivered::Reason::Refused(refused) => Undeliverable::Refused { code: refused.code },
                undelivered::Reason::Unknown(_) => Undeliverable::Unknown,
                undelivered::Reason::File(_) => Undeliverable::File,
            },
            lost: undelivered.lost.map(TryInto::try_into).transpose()?,
            excerpt: undelivered.excerpt,
        },
        Body::TimerFired(fired) => Fact::Fired { timer: cause(&fired.timer, "timer")? },
        Body::OperatorCommand(operator) => Fact::Operator(match operator.command() {
            v1::operator_command::Command::Unspecified => return Err(Malformed("command")),
            v1::operator_command::Command::HandOff => Command::HandOff,
            v1::operator_command::Command::GiveBack => Command::GiveBack,
        }),
        Body::Adopted(adopted) => {
            Fact::Adopted(Box::new(adopted.state.ok_or(Malformed("adopted.state"))?.try_into()?))
        }
        Body::Outreach(outreach) => Fact::Outreach(Box::new(outreach.try_into()?)),
        Body::Consent(v1::Consent { phone_number_id, wanted }) => {
            Fact::Consent { number: PhoneNumberId::new(phone_number_id), wanted }
        }
        Body::WhatsappStatus(_)
        | Body::MediaFetched(_)
        | Body::Decision(_)
        | Body::SendIntent(_)
        | Body::SendOutcome(_)
        | Body::AccountEvent(_) => return Ok(None),
    }))
}

impl v1::AssistantAnswer {
    /// The log's form of an answer to the question `ask`, asked under `epoch`.
    pub fn new(ask: Cause, epoch: u32, answer: &Answer) -> Self {
        let answer = match answer {
            Answer::Reply { body } => {
                let (text, body) = apart(body);
                assistant_answer::Answer::Reply(assistant_answer::Reply { text, body })
            }
            Answer::Handoff(brief) => {
                let Brief { reason, summary, language, priority, sentiment, campaign: _ } = brief.clone();
                assistant_answer::Answer::Handoff(assistant_answer::Handoff {
                    reason,
                    summary,
                    language,
                    priority,
                    sentiment,
                })
            }
            Answer::Close { body } => assistant_answer::Answer::Close(assistant_answer::Close {
                body: body.as_ref().map(Into::into),
            }),
            Answer::Silence => assistant_answer::Answer::Silence(assistant_answer::Silence {}),
        };
        Self { ask: ask.to_string(), epoch, answer: Some(answer), language: None }
    }
}

impl assistant_answer::Reply {
    /// As a person reads it.
    pub fn as_text(&self) -> String {
        together(self.text.clone(), self.body.clone()).map(|body| body.as_text()).unwrap_or_default()
    }
}

impl salesforce_event::Text {
    /// As a person reads it.
    pub fn as_text(&self) -> String {
        let bodies = bodies(self.clone()).unwrap_or_default();
        bodies.iter().map(Outgoing::as_text).collect::<Vec<_>>().join("\n")
    }
}

/// What somebody in Salesforce wrote: the text first, then what came with it.
fn bodies(text: salesforce_event::Text) -> Result<Vec<Outgoing>, Malformed> {
    let words = (!text.text.is_empty()).then_some(Ok(Outgoing::Text(text.text)));
    words.into_iter().chain(text.bodies.into_iter().map(TryInto::try_into)).collect()
}

fn happening(what: salesforce_event::What) -> Result<Happening, Malformed> {
    Ok(match what {
        salesforce_event::What::RepWrote(text) => Happening::RepWrote { bodies: bodies(text)? },
        salesforce_event::What::BotWrote(text) => Happening::BotWrote { bodies: bodies(text)? },
        salesforce_event::What::RepTyping(_) => Happening::RepTyping,
        salesforce_event::What::Queued(queued) => {
            Happening::Queued { position: queued.position, wait_seconds: queued.wait_seconds }
        }
        salesforce_event::What::RepJoined(_) => Happening::RepJoined,
        salesforce_event::What::RepLeft(_) => Happening::RepLeft,
        salesforce_event::What::SessionStatus(status) => Happening::Status {
            session: status.session,
            status: match status.status.as_str() {
                "Waiting" => MessagingSessionStatus::Waiting,
                "Active" => MessagingSessionStatus::Active,
                "Inactive" => MessagingSessionStatus::Inactive,
                "Ended" => MessagingSessionStatus::Ended,
                _ => MessagingSessionStatus::Other,
            },
        },
        salesforce_event::What::RoutingFailed(_) => Happening::RoutingFailed,
        salesforce_event::What::Closed(_) => Happening::Closed,
        salesforce_event::What::Other(other) => Happening::Other { event: other.event },
    })
}
