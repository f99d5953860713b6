//! What reps, bots and the org do on order.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::config::AfterFailure;

/// A human in Salesforce.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rep {
    /// The user's record id, `005…`.
    pub id: String,
    pub name: String,
}

impl Default for Rep {
    fn default() -> Self {
        Self { id: "005RT0000008uLmYAI".into(), name: "Marta L".into() }
    }
}

impl Rep {
    /// The one whom transfers go to.
    pub fn second() -> Self {
        Self { id: "005RT0000008vNpYAI".into(), name: "Jon P".into() }
    }
}

/// What a rep (or a bot, or the org) does, always to one conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Verb {
    /// Takes the waiting (or transferred) session.
    Accept {
        #[serde(default)]
        rep: Option<Rep>,
    },
    /// Refuses it; it stays in the queue.
    Decline,
    Say {
        text: String,
    },
    /// Anything but a plain text of the rep.
    Send {
        content: RepMessage,
        #[serde(default)]
        from: Speaker,
    },
    Typing,
    TypingStopped,
    /// The console has the customer's message (the last one, unless another entry is named).
    Delivered {
        #[serde(default)]
        entry: Option<String>,
    },
    /// The rep has read up to it.
    Read {
        #[serde(default)]
        entry: Option<String>,
    },
    /// Ends the session.
    End,
    /// The org ends it: inactivity, a flow.
    AutoEnd,
    /// Sets it inactive; the customer's next message routes it again.
    Inactive,
    /// Leaves; `to` joins at once, or the session waits in the queue for an `accept`.
    Transfer {
        #[serde(default)]
        to: Option<Rep>,
    },
    /// The same, to another queue (`00G…`); with `failure` it fails for this reason and the rep stays.
    TransferQueue {
        queue: String,
        #[serde(default)]
        to: Option<Rep>,
        #[serde(default)]
        failure: Option<String>,
    },
    /// Another rep joins, beside the first.
    Conference {
        rep: Rep,
    },
    /// One of two reps leaves; the other stays.
    Leave {
        rep: Rep,
    },
    /// A bot takes the waiting session.
    BotJoin,
    /// The bot passes it on to the queue.
    BotHandOver,
    /// The channel's automatic answer.
    AutoResponse {
        text: String,
    },
    /// The place in the queue; the estimated wait comes with another routing result before it.
    Queue {
        position: u32,
        #[serde(default)]
        estimated_wait_s: Option<i64>,
    },
    /// Nobody can take the waiting session: all went offline, or it is after hours.
    RoutingFails {
        reason: String,
        #[serde(default)]
        then: AfterFailure,
    },
    /// An AI agent's progress; not in the history.
    Progress {
        text: String,
    },
    /// Any other event, known or not; on the stream only.
    Raw {
        event: String,
        entry_type: String,
        /// Without `entryType` and `id`.
        payload: Value,
        /// Of the sender: `System` unless told.
        #[serde(default)]
        role: Option<String>,
    },
    /// A rep writes in another conversation of the same user; on the stream only.
    SayElsewhere {
        text: String,
        /// Its id; absent: one that the client has never seen.
        #[serde(default)]
        elsewhere: Option<String>,
    },
}

/// Who sends it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Speaker {
    #[default]
    Rep,
    /// The rep who joined last.
    Conferenced,
    Bot,
    System,
}

/// What is sent. Everything but text and files can only be received by an end user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RepMessage {
    Text {
        text: String,
    },
    File(RepFile),
    Choices {
        format: ChoiceFormat,
        text: String,
        options: Vec<ChoiceOption>,
    },
    Carousel {
        items: Vec<CarouselItem>,
    },
    RichLink {
        title: String,
        url: String,
        #[serde(default)]
        image: Option<String>,
    },
    /// With one field of text.
    Form {
        title: String,
        label: String,
    },
    WebView {
        title: String,
        url: String,
    },
    /// An `abstractMessage` as it is; `id` and `references` are filled in.
    Raw {
        message: Value,
    },
}

/// A file that a rep sends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RepFile {
    pub name: String,
    pub mime: String,
    /// Base64. Absent: `size` bytes of a pattern.
    pub data: Option<String>,
    pub size: usize,
    pub text: Option<String>,
    /// How often its address answers 404 first; absent: as configured.
    pub not_ready: Option<u32>,
    /// Its address redirects there instead.
    pub redirect: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChoiceFormat {
    QuickReplies,
    Buttons,
    ListPicker,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChoiceOption {
    pub title: String,
    /// `optionIdentifier`; absent: drawn.
    pub id: Option<String>,
}

impl ChoiceOption {
    pub fn new(title: &str) -> Self {
        Self { title: title.to_owned(), id: None }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CarouselItem {
    pub title: String,
    pub subtitle: Option<String>,
    /// The picture's address.
    pub image: Option<String>,
    pub options: Vec<ChoiceOption>,
    /// Title and address.
    pub links: Vec<(String, String)>,
}

/// A rep on autopilot, for load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AutoRep {
    pub accept_after_ms: u64,
    pub reply: bool,
    pub reply_after_ms: u64,
    /// Also to messages that were there before the rep accepted (header, transcript, early texts).
    pub reply_to_early: bool,
    /// Ends the session after so many replies in it.
    pub end_after: Option<u32>,
    /// Writes so often by itself while it is in the session: load on the streams.
    pub talk_every_ms: Option<u64>,
}

impl Default for AutoRep {
    fn default() -> Self {
        Self {
            accept_after_ms: 20,
            reply: true,
            reply_after_ms: 20,
            reply_to_early: true,
            end_after: None,
            talk_every_ms: None,
        }
    }
}
