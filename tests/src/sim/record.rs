//! What the simulators saw and did, in one order. Checkers judge from it, so nothing is left out:
//! when the capacity is reached the record says so instead of forgetting silently.

use std::{
    sync::{Mutex, MutexGuard},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Entries kept by default. About 300 bytes each.
pub const DEFAULT_CAPACITY: usize = 2_000_000;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Counts from 1 without gaps, over both simulators.
    pub seq: u64,
    /// Milliseconds since the simulators started, monotonic.
    pub at_ms: u64,
    /// Milliseconds since the Unix epoch, without any clock offset.
    pub wall_ms: i64,
    #[serde(flatten)]
    pub what: What,
}

/// `number` is a `phone_number_id`; `customer` the phone in digits, or the BSUID where there is
/// none; `conversation` our UUID at Salesforce.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum What {
    /// A request to the WhatsApp API and how it was answered.
    WaRequest {
        endpoint: String,
        /// 0: never answered, or the connection dropped.
        status: u16,
        /// The fault that struck it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fault: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        number: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        customer: Option<String>,
        /// `biz_opaque_callback_data`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        opaque: Option<String>,
        /// The message made by it, also when the answer was lost. Absent for read receipts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wamid: Option<String>,
        /// The Graph error code answered.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<i64>,
    },
    /// A customer wrote.
    CustomerSaid {
        number: String,
        customer: String,
        wamid: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// By the simulator's clock, offset included.
        sent_at_ms: i64,
    },
    /// A message of the business was accepted and stands in the customer's chat, in this order.
    Shown {
        number: String,
        customer: String,
        wamid: String,
        text: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        opaque: Option<String>,
        /// What the phone shows besides the text. Absent for a text that quotes nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content: Option<Box<super::Content>>,
    },
    /// A message of the business was accepted and never reached the customer.
    NotShown {
        number: String,
        customer: String,
        wamid: String,
        code: i64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        opaque: Option<String>,
    },
    /// `sent`, `delivered`, `read` or `failed`.
    Tick {
        number: String,
        customer: String,
        wamid: String,
        status: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        opaque: Option<String>,
    },
    /// The business read the customer's messages up to this one, and perhaps shows as typing.
    MarkedRead {
        number: String,
        customer: String,
        wamid: String,
        typing: bool,
    },
    /// The business broke a rule of WhatsApp. `number` and `customer` are empty where unknown.
    WaViolation {
        number: String,
        customer: String,
        /// `pair`, `number`, `window`, `not_owner`, `token_leaked`.
        rule: String,
        /// The Graph error code for it, whether or not it was refused.
        code: i64,
    },
    /// One POST of a webhook.
    Webhook {
        number: String,
        /// Wamids of messages; `<wamid>:<status>` of statuses; the field's name of others.
        ids: Vec<String>,
        /// From 1.
        attempt: u32,
        /// From 0; above 0 for ordered duplicates.
        copy: u32,
        /// 0: no answer.
        status: u16,
        took_ms: u64,
    },
    /// A webhook that was given up: Meta's horizon passed.
    WebhookDropped {
        number: String,
        ids: Vec<String>,
    },
    /// A request to the Salesforce API and how it was answered.
    SfRequest {
        endpoint: String,
        /// 0: never answered, or the connection dropped.
        status: u16,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fault: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subject: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        conversation: Option<String>,
        /// The client's id of the message sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// The message of an error answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    TokenIssued {
        subject: String,
        verified: bool,
    },
    ConversationCreated {
        conversation: String,
        subject: String,
        session: String,
        attributes: std::collections::BTreeMap<String, String>,
    },
    /// A session began in a conversation that was there already.
    SessionStarted {
        conversation: String,
        session: String,
        attributes: std::collections::BTreeMap<String, String>,
    },
    /// A conversation entry, in the conversation's order. Everything in it went onto the user's
    /// event log as `event`.
    SfEntry {
        conversation: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<String>,
        identifier: String,
        entry_type: String,
        /// `EndUser`, `Agent`, `System`, `Router`.
        role: String,
        /// The id on the event stream; 0 when an order or a switch holds the event back for now.
        event: u64,
        /// Of a text message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// The client's `message.id`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message_id: Option<String>,
        /// Of `SessionStatusChanged`: the new status; of `RoutingWorkResult`: the work type …
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// A file in a conversation, beside its `SfEntry`: what the rep (or the customer) is shown.
    SfFile {
        conversation: String,
        entry: String,
        /// `EndUser` or `Agent`.
        role: String,
        name: String,
        mime: String,
        size: usize,
        /// In hexadecimal digits.
        sha256: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caption: Option<String>,
    },
    /// The client told that the customer is typing, or has stopped.
    CustomerTyping {
        conversation: String,
        started: bool,
    },
    /// Something a client must not do, whatever it was answered: a limit overrun, a token sent to a
    /// foreign host …
    SfViolation {
        rule: String,
        /// Whom or what it is about; may be empty.
        subject: String,
    },
    /// The client acknowledged an entry.
    Acknowledged {
        conversation: String,
        entry: String,
        ack: String,
    },
    StreamOpened {
        stream: u64,
        subject: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_event_id: Option<String>,
    },
    StreamClosed {
        stream: u64,
        subject: String,
        /// `cut`, `expired`, `gone` (the client or the listener went).
        why: String,
        /// The last event written to it.
        last_event: u64,
    },
    /// Somebody pulled a lever.
    Control {
        command: String,
        detail: serde_json::Value,
    },
}

/// The entries and who waits for more.
#[derive(Debug)]
pub struct Record {
    started: Instant,
    capacity: usize,
    inner: Mutex<Inner>,
    length: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: Vec<Entry>,
    lost: u64,
}

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// The sequence of the last entry.
    pub last: u64,
    /// Entries that came after the capacity was reached: any judgement is void when not 0.
    pub lost: u64,
}

impl Record {
    pub(super) fn new(capacity: usize) -> Self {
        Self { started: Instant::now(), capacity, inner: Mutex::default(), length: watch::Sender::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no code panics while it holds the record")
    }

    pub(super) fn push(&self, what: What) {
        let mut inner = self.lock();
        if inner.entries.len() >= self.capacity {
            inner.lost += 1;
            return;
        }
        let seq = inner.entries.len() as u64 + 1;
        let at_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        inner.entries.push(Entry { seq, at_ms, wall_ms: wall_ms(), what });
        self.length.send_replace(seq);
    }

    pub(super) fn control(&self, command: &str, detail: serde_json::Value) {
        self.push(What::Control { command: command.to_owned(), detail });
    }

    /// Up to `limit` entries from sequence `from` on.
    pub fn from(&self, from: u64, limit: usize) -> Vec<Entry> {
        let start = usize::try_from(from.saturating_sub(1)).unwrap_or(usize::MAX);
        self.lock().entries.iter().skip(start).take(limit).cloned().collect()
    }

    pub fn extent(&self) -> Extent {
        let inner = self.lock();
        Extent { last: inner.entries.len() as u64, lost: inner.lost }
    }

    /// Changes with every entry; its value is the last sequence.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.length.subscribe()
    }
}

/// Milliseconds since the Unix epoch.
pub(super) fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_record_says_what_it_lost() {
        let record = Record::new(2);
        (0..5).for_each(|n| record.control("test", n.into()));
        assert_eq!(record.extent(), Extent { last: 2, lost: 3 });
        assert_eq!(record.from(2, 10).len(), 1);
    }

    #[test]
    fn entries_are_flat_json_and_come_back() {
        let record = Record::new(2);
        record.push(What::Webhook {
            number: "1".into(),
            ids: vec!["w".into()],
            attempt: 1,
            copy: 0,
            status: 200,
            took_ms: 3,
        });
        let json = serde_json::to_value(&record.from(1, 1)[0]).unwrap();
        assert_eq!((&json["kind"], &json["status"]), (&"webhook".into(), &200.into()));
        assert_eq!(serde_json::from_value::<Entry>(json).unwrap(), record.from(1, 1)[0]);
    }
}
