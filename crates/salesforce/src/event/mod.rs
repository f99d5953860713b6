//! What arrives on the event stream and in the history: wire types (§7.4, §7.5), and what they
//! mean to us ([`Happened`]).

mod bodies;
mod happening;
mod payload;
mod rich;

use domain::{EntryId, Millis, ThreadId};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;
use uuid::Uuid;

pub use self::{
    happening::{Happened, Happening, MessageReason, read},
    payload::*,
    rich::{Action, Card, Carousel, ChoiceOption, Choices, ChoicesKind, Form, Link, Rich, WebView},
};

/// The JSON of a frame's `data`. Frames of other kinds (`ping`) have none of this.
/// Ignored on purpose: `channelPlatformKey`, `channelType`, `channelAddressIdentifier`.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// A stream carries all conversations of its end user.
    pub conversation_id: ThreadId,
    pub conversation_entry: ConversationEntry,
}

impl Envelope {
    pub fn parse(data: &str) -> Result<Self, Malformed> {
        // serde's message could quote the data: dropped.
        serde_json::from_str(data).map_err(|error| Malformed { at: error.column() })
    }

    /// What happened, in order: one thing, or one for each participant who came or left.
    pub fn happened(&self) -> Vec<Happened> {
        read(self.conversation_id, &self.conversation_entry)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a conversation entry (byte {at})")]
pub struct Malformed {
    pub at: usize,
}

/// One entry of a conversation, from the stream or from the history.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConversationEntry {
    /// Unique; for what we sent it is the id we gave, as far as is known (§12 no. 8).
    pub identifier: EntryId,
    pub entry_type: String,
    #[serde(default)]
    pub entry_payload: Payload,
    #[serde(default, deserialize_with = "lenient")]
    pub sender: Sender,
    #[serde(default, deserialize_with = "lenient")]
    pub sender_display_name: Option<String>,
    /// Salesforce's clock. Entries are ordered by it.
    pub transcripted_timestamp: Millis,
    #[serde(default, deserialize_with = "lenient")]
    pub client_timestamp: Option<Millis>,
    #[serde(default, deserialize_with = "lenient")]
    pub related_records: Vec<String>,
}

impl ConversationEntry {
    /// Whether this is the message that we sent as `id`: by the entry's id or the message's, the
    /// sources do not agree on which (§12 no. 8).
    pub fn is_message(&self, id: Uuid) -> bool {
        let is = |text: &str| text.parse::<Uuid>().is_ok_and(|uuid| uuid == id);
        let Payload::Message(message) = &self.entry_payload else {
            return self.entry_type == "Message" && is(self.identifier.as_str());
        };
        is(self.identifier.as_str()) || message.abstract_message.id.as_deref().is_some_and(is)
    }
}

/// Names and texts never print.
impl std::fmt::Debug for ConversationEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConversationEntry")
            .field("identifier", &self.identifier)
            .field("entry_type", &self.entry_type)
            .field("role", &self.sender.role)
            .field("transcripted_timestamp", &self.transcripted_timestamp)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Envelope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Envelope")
            .field("conversation_id", &self.conversation_id)
            .field("conversation_entry", &self.conversation_entry)
            .finish()
    }
}

#[derive(Clone, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Sender {
    #[serde(deserialize_with = "nullable")]
    pub role: Role,
    pub app_type: Option<String>,
    pub subject: Option<String>,
    pub client_identifier: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Default)]
#[cfg_attr(test, derive(serde::Serialize))]
pub enum Role {
    /// Our own messages, echoed.
    EndUser,
    /// A person in Salesforce.
    Agent,
    /// A bot or an AI agent in Salesforce.
    Chatbot,
    /// Automation.
    System,
    /// Omni-Channel.
    Router,
    /// A person who listens in or steps in.
    Supervisor,
    #[default]
    #[serde(other)]
    Unknown,
}

/// `null` where something is expected: the schema calls many members optional.
pub(crate) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

/// Takes a member that does not fit for an absent one: a message with an odd part is still a
/// message that somebody waits for.
pub(crate) fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(
    from: D,
) -> Result<T, D::Error> {
    let value = Value::deserialize(from)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// `entryPayload`: JSON as a string on the stream, in the history a string or an object (§8). What
/// does not fit becomes [`Payload::Unreadable`]: one odd entry must not hide the rest of a page.
impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = match Value::deserialize(from)? {
            Value::String(text) => serde_json::from_str(&text).unwrap_or_default(),
            value
            @ (Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_)) => value,
        };
        Ok(Self::from_value(value))
    }
}

#[cfg(test)]
mod tests;
