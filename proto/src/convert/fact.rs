//! Facts: what the session machine reads.

use domain::{
    EntryId, PhoneNumberId, Wamid,
    message::{Content, InboundMessage},
    session::{
        Answer, Answered, CallResult, Command, Fact, Happening, MessagingSessionStatus, SalesforceEvent,
        Undeliverable,
    },
};

use super::{Malformed, cause, thread};
use crate::v1::{self, assistant_answer, entry::Body, salesforce_event, undelivered, whats_app_message};

/// The fact in an entry; `None` for entries that ask for no decision (statuses, send records,
/// decisions, account events).
pub fn fact(body: Body) -> Result<Option<Fact>, Malformed> {
    Ok(Some(match body {
        Body::WhatsappMessage(message) => Fact::Inbound(inbound(message)?),
        Body::AssistantAnswer(answer) => Fact::Answered(Answered {
            ask: cause(&answer.ask, "ask")?,
            epoch: answer.epoch,
            answer: match answer.answer.ok_or(Malformed("answer"))? {
                assistant_answer::Answer::Reply(reply) => Answer::Reply { text: reply.text },
                assistant_answer::Answer::Handoff(handoff) => Answer::Handoff { reason: handoff.reason },
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
            what: happening(event.what.ok_or(Malformed("what"))?),
        }),
        Body::Undelivered(undelivered) => Fact::Undelivered {
            send: undelivered.send.parse().map_err(|_| Malformed("send"))?,
            reason: match undelivered.reason.ok_or(Malformed("reason"))? {
                undelivered::Reason::WindowClosed(_) => Undeliverable::WindowClosed,
                undelivered::Reason::Refused(refused) => Undeliverable::Refused { code: refused.code },
                undelivered::Reason::Unknown(_) => Undeliverable::Unknown,
            },
            excerpt: undelivered.excerpt,
        },
        Body::TimerFired(fired) => Fact::Fired { timer: cause(&fired.timer, "timer")? },
        Body::OperatorCommand(operator) => Fact::Operator(match operator.command() {
            v1::operator_command::Command::Unspecified => return Err(Malformed("command")),
            v1::operator_command::Command::HandOff => Command::HandOff,
            v1::operator_command::Command::GiveBack => Command::GiveBack,
        }),
        Body::WhatsappStatus(_)
        | Body::Decision(_)
        | Body::SendIntent(_)
        | Body::SendOutcome(_)
        | Body::AccountEvent(_) => return Ok(None),
    }))
}

/// A customer's message: transcripts and forwards read these from the log.
pub fn inbound(message: v1::WhatsAppMessage) -> Result<InboundMessage, Malformed> {
    Ok(InboundMessage {
        number: PhoneNumberId::new(message.phone_number_id),
        wamid: Wamid::new(message.wamid),
        sent_at: message.sent_at,
        customer: message.customer.ok_or(Malformed("customer"))?.into(),
        content: match message.content.ok_or(Malformed("content"))? {
            whats_app_message::Content::Text(text) => Content::Text(text),
            whats_app_message::Content::Other(other) => Content::Other { kind: other.kind, text: other.text },
            whats_app_message::Content::Notice(notice) => Content::Notice { kind: notice.kind },
        },
    })
}

impl v1::WhatsAppMessage {
    /// The log's form of a customer's message. `raw`: the message as Meta sent it.
    pub fn new(message: &InboundMessage, waba_id: &domain::WabaId, raw: impl Into<bytes::Bytes>) -> Self {
        Self {
            phone_number_id: message.number.as_str().to_owned(),
            waba_id: waba_id.as_str().to_owned(),
            wamid: message.wamid.as_str().to_owned(),
            sent_at: message.sent_at,
            customer: Some((&message.customer).into()),
            content: Some(match message.content.clone() {
                Content::Text(text) => whats_app_message::Content::Text(text),
                Content::Other { kind, text } => {
                    whats_app_message::Content::Other(whats_app_message::Other { kind, text })
                }
                Content::Notice { kind } => {
                    whats_app_message::Content::Notice(whats_app_message::Notice { kind })
                }
            }),
            raw: raw.into(),
        }
    }
}

fn happening(what: salesforce_event::What) -> Happening {
    match what {
        salesforce_event::What::RepWrote(text) => Happening::RepWrote { text: text.text },
        salesforce_event::What::BotWrote(text) => Happening::BotWrote { text: text.text },
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
    }
}
