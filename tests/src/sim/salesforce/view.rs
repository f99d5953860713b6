//! What reps see, and what testers may know.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::verb::Rep;

/// What a rep sees of one conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RepView {
    pub conversation: String,
    /// `MessagingEndUser.Name`: "Guest", unless the flow renamed it.
    pub name: String,
    /// `MessagingEndUser.MessagingPlatformKey`.
    pub platform_key: String,
    pub closed: bool,
    /// `ROUTED`, `NEEDS_ROUTING`, `INITIAL`, `TRANSFER`.
    pub routing_status: String,
    /// The customer is typing, as far as the rep was told.
    #[serde(default)]
    pub customer_typing: bool,
    pub sessions: Vec<SessionView>,
    pub entries: Vec<EntryView>,
}

impl RepView {
    /// The current session: the last one.
    pub fn session(&self) -> Option<&SessionView> {
        self.sessions.last()
    }

    /// Texts in order, of `EndUser` or `Agent`.
    pub fn texts(&self, role: &str) -> Vec<&str> {
        let of_role = self.entries.iter().filter(|entry| entry.role == role);
        of_role.filter_map(|entry| entry.text.as_deref()).collect()
    }

    /// Files in order, of `EndUser` or `Agent`.
    pub fn files(&self, role: &str) -> Vec<&FileView> {
        self.entries
            .iter()
            .filter(|entry| entry.role == role)
            .filter_map(|entry| entry.file.as_ref())
            .collect()
    }

    pub fn entry(&self, identifier: &str) -> Option<&EntryView> {
        self.entries.iter().find(|entry| entry.identifier == identifier)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionView {
    pub id: String,
    /// `Waiting`, `Active`, `Inactive`, `Ended`.
    pub status: String,
    pub rep: Option<Rep>,
    /// Reps who joined beside the first.
    #[serde(default)]
    pub others: Vec<Rep>,
    /// A bot is in it.
    #[serde(default)]
    pub bot: bool,
    /// As they came, mapped or not. No rep sees these by themselves: they are for testers.
    pub routing_attributes: BTreeMap<String, String>,
    /// Of these, what no parameter took: unknown, or too long.
    #[serde(default)]
    pub dropped_attributes: Vec<String>,
    /// What the flow wrote into custom fields: what the rep sees.
    pub fields: BTreeMap<String, String>,
    pub language: Option<String>,
    pub started_ms: i64,
    pub ended_ms: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntryView {
    pub identifier: String,
    pub entry_type: String,
    pub role: String,
    pub sender: String,
    pub session: Option<String>,
    /// Of a text; of a file its caption, of an answer what was chosen, if the customer sent them.
    pub text: Option<String>,
    #[serde(default)]
    pub file: Option<FileView>,
    /// The client acknowledged this entry of a rep.
    #[serde(default)]
    pub delivered: bool,
    #[serde(default)]
    pub read: bool,
    pub at_ms: i64,
    pub payload: Value,
}

/// A file in the thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileView {
    /// `attachments[].id`: the client's `fileId`.
    pub id: String,
    pub name: String,
    pub mime: String,
    pub size: usize,
    /// In hexadecimal digits.
    pub sha256: String,
    /// Empty when its upload failed.
    pub url: String,
}

/// An open event stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamView {
    pub stream: u64,
    pub subject: String,
    /// The last event written to it.
    pub last_event: u64,
}

/// Trouble with streams, for one user (by subject or conversation) or for all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Who {
    pub subject: Option<String>,
    pub conversation: Option<String>,
}

impl Who {
    pub fn everyone() -> Self {
        Self::default()
    }

    pub fn conversation(id: &str) -> Self {
        Self { conversation: Some(id.to_owned()), subject: None }
    }
}

/// Trouble with the events of streams.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Disturb {
    pub subject: Option<String>,
    pub conversation: Option<String>,
    /// So many events.
    pub count: usize,
    /// Repeated with the id they had, on open streams only; otherwise as new events of the log.
    pub same_id: bool,
}

impl Disturb {
    pub fn new(who: &Who, count: usize) -> Self {
        let Who { subject, conversation } = who.clone();
        Self { subject, conversation, count, same_id: false }
    }

    pub fn with_same_id(self) -> Self {
        Self { same_id: true, ..self }
    }

    pub(super) fn who(&self) -> Who {
        Who { subject: self.subject.clone(), conversation: self.conversation.clone() }
    }
}
