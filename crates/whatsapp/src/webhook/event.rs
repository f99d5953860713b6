//! What a webhook tells, in the domain's words.

use bytes::Bytes;
use domain::{
    Millis, PhoneNumberId, WabaId, Wamid,
    message::{Customer, InboundMessage},
};

use super::node;

/// One thing a webhook tells.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly every event is a message")]
pub enum Event {
    Message(Message),
    Status(Status),
    Other(Other),
}

/// Something that belongs to one conversation: a customer's message, or a notice (a system
/// message, an echo, a `standby` copy), which [`domain::message::Content::Notice`] marks.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    pub waba: WabaId,
    /// Notices that have no wamid of their own carry an empty one.
    pub message: InboundMessage,
    pub identity: Identity,
    /// The message as Meta wrote it, JSON.
    pub raw: Bytes,
}

/// What tells one message from another, however often each is delivered.
#[derive(Clone, PartialEq, Eq)]
pub enum Identity {
    /// Its wamid.
    Wamid,
    /// This text. A notice must not take the name of the message it is about: a `standby` copy is
    /// followed by the message itself when the conversation becomes ours (§1.4).
    Text(String),
}

/// What became of a message that was sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Status {
    pub waba: WabaId,
    pub number: PhoneNumberId,
    pub wamid: Wamid,
    /// `sent`, `delivered`, `read`, `played`, `failed`, or whatever Meta invents.
    pub status: String,
    pub at: Millis,
    /// `None` when the status names nobody: then only `opaque` or the wamid tell where it belongs.
    pub customer: Option<Customer>,
    /// `biz_opaque_callback_data`, as it was sent along; other senders put their own things there.
    pub opaque: Option<String>,
    pub problems: Vec<Problem>,
    /// The status as Meta wrote it, JSON.
    pub raw: Bytes,
}

/// An error inside an event (§2.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// 0 when the event has none that is a number.
    pub code: i32,
    pub title: String,
}

/// What belongs to no conversation, or to none that can be told: account events, calls, group
/// traffic, messages without a sender.
#[derive(Clone, PartialEq, Eq)]
pub struct Other {
    pub waba: WabaId,
    /// The webhook field.
    pub field: String,
    pub number: Option<PhoneNumberId>,
    /// The field's `value` in Meta's shape, JSON, reduced to this event and what explains it.
    pub raw: Bytes,
}

impl Event {
    /// The business number it came in on, where it names one.
    pub fn number(&self) -> Option<&PhoneNumberId> {
        match self {
            Self::Message(message) => Some(&message.message.number),
            Self::Status(status) => Some(&status.number),
            Self::Other(other) => other.number.as_ref(),
        }
    }

    pub fn raw(&self) -> &Bytes {
        match self {
            Self::Message(message) => &message.raw,
            Self::Status(status) => &status.raw,
            Self::Other(other) => &other.raw,
        }
    }
}

impl Status {
    /// For a status whose conversation cannot be told.
    pub fn into_other(self) -> Other {
        let number = node::quoted(self.number.as_str());
        let raw = [
            b"{\"metadata\":{\"phone_number_id\":",
            number.as_bytes(),
            b"},\"statuses\":[",
            &self.raw,
            b"]}",
        ]
        .concat()
        .into();
        Other { waba: self.waba, field: "messages".into(), number: Some(self.number), raw }
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message").field("content", &self.message.content).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Wamid => "Wamid",
            Self::Text(_) => "Text(…)",
        })
    }
}

impl std::fmt::Debug for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Status")
            .field("status", &self.status)
            .field("problems", &self.problems)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Other {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Other")
            .field("field", &self.field)
            .field("bytes", &self.raw.len())
            .finish_non_exhaustive()
    }
}
