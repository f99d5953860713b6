//! What a message shows, in either direction, so that tests can look at it as a customer would.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Everything in a chat that is more than a plain text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Content {
    /// The message's `type`; of interactive messages with theirs: `interactive/button`.
    pub kind: String,
    /// The wamid of the message it quotes, if the chat shows a quote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quoted: Option<String>,
    /// The file, also one in a header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<ShownFile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub footer: Option<String>,
    /// What can be tapped, in order; of a list: the button that opens it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub buttons: Vec<Choice>,
    /// The rows of a list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<Choice>,
    /// The wamid of the message that this one reacts to, edits or revokes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The type's object as it was sent.
    pub object: Value,
}

/// A file in a chat.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ShownFile {
    /// The media id, or the link that it was sent by.
    pub source: String,
    pub mime_type: String,
    /// Hex. Empty for a link outside this machine, which is not fetched.
    pub sha256: String,
    pub bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
    pub voice: bool,
}

/// A button or a row.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Choice {
    /// The reply's id, a quick reply's payload, the target of a link.
    pub id: String,
    pub title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl Content {
    pub(super) fn of(kind: &str, object: &Value) -> Self {
        Self { kind: kind.to_owned(), object: object.clone(), ..Self::default() }
    }

    /// What stands in the chat where the message has no words.
    pub(super) fn placeholder(&self) -> String {
        format!("[{}]", self.kind.split('/').next().unwrap_or_default())
    }
}
