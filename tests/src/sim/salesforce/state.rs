//! Users with their event logs, conversations with their entries and sessions.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use serde_json::{Value, json};

use super::{
    config::SalesforceConfig,
    files::Files,
    log::{Held, Logged, Outgoing},
    sse::Streams,
    verb::{AutoRep, Rep},
    view::FileView,
    wheel::Wheel,
};
use crate::sim::{
    faults::Faults,
    record::{Record, What, wall_ms},
};

/// Where event ids start, so that they look like the real ones.
const FIRST_EVENT: u64 = 2_147_867_834;

#[derive(Debug)]
pub(super) struct State {
    pub(super) config: SalesforceConfig,
    pub(super) record: Arc<Record>,
    pub(super) faults: Faults,
    pub(super) offset_ms: i64,
    pub(super) users: HashMap<Arc<str>, User>,
    pub(super) tokens: HashMap<Arc<str>, Token>,
    pub(super) conversations: HashMap<String, Conversation>,
    /// Ids in order of creation.
    pub(super) order: Vec<String>,
    /// When tokens were asked for and renewed, by the simulator's clock.
    pub(super) token_calls: VecDeque<i64>,
    pub(super) renewals: VecDeque<i64>,
    pub(super) streams: Streams,
    pub(super) files: Files,
    pub(super) auto: Option<AutoRep>,
    pub(super) wheel: Wheel,
    /// Events of the running act, when they are to be shuffled.
    pub(super) outbox: Vec<Outgoing>,
    pub(super) next_event: u64,
    next_record: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) subject: Arc<str>,
    pub(super) client: String,
    /// Milliseconds, by the simulator's clock.
    pub(super) expires_ms: i64,
}

#[derive(Debug)]
pub(super) struct User {
    pub(super) log: VecDeque<Logged>,
    /// Open ones, the oldest first.
    pub(super) streams: Vec<u64>,
    pub(super) stalled: bool,
    /// Events held back, to come in reverse.
    pub(super) held: Option<Held>,
    /// `MessagingEndUser.Name`.
    pub(super) name: String,
    pub(super) creates: VecDeque<i64>,
}

impl Default for User {
    fn default() -> Self {
        Self {
            log: VecDeque::new(),
            streams: Vec::new(),
            stalled: false,
            held: None,
            name: GUEST.to_owned(),
            creates: VecDeque::new(),
        }
    }
}

pub(super) const GUEST: &str = "Guest";

impl User {
    pub(super) fn last_event(&self) -> u64 {
        self.log.back().map_or(0, |logged| logged.id)
    }
}

#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) subject: Arc<str>,
    pub(super) created_ms: i64,
    pub(super) closed_ms: Option<i64>,
    pub(super) entries: Vec<StoredEntry>,
    pub(super) sessions: Vec<Session>,
    /// Client message ids that were taken, with the entry each became.
    pub(super) messages: HashMap<String, String>,
    pub(super) identifiers: HashSet<String>,
    /// When the customer wrote, by the simulator's clock.
    pub(super) recent: VecDeque<i64>,
    pub(super) customer_typing: bool,
    /// Entries of others that the client acknowledged.
    pub(super) delivered: BTreeSet<String>,
    pub(super) read: BTreeSet<String>,
    /// The automatic rep: customer texts to answer, answers given.
    pub(super) to_answer: u32,
    pub(super) answered: u32,
}

impl Conversation {
    pub(super) fn new(subject: Arc<str>, created_ms: i64) -> Self {
        Self {
            subject,
            created_ms,
            closed_ms: None,
            entries: Vec::new(),
            sessions: Vec::new(),
            messages: HashMap::new(),
            identifiers: HashSet::new(),
            recent: VecDeque::new(),
            customer_typing: false,
            delivered: BTreeSet::new(),
            read: BTreeSet::new(),
            to_answer: 0,
            answered: 0,
        }
    }

    /// The session that is not over.
    pub(super) fn live(&mut self) -> Option<&mut Session> {
        self.sessions.last_mut().filter(|session| !matches!(session.status, "Ended" | "Error"))
    }

    pub(super) fn routing_status(&self) -> &'static str {
        match self.sessions.last() {
            None => "NEEDS_ROUTING",
            Some(session) if matches!(session.status, "Ended" | "Error") => "NEEDS_ROUTING",
            Some(session) if session.transferring => "TRANSFER",
            Some(session) if session.status == "Waiting" => "INITIAL",
            Some(_) => "ROUTED",
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) status: &'static str,
    pub(super) transferring: bool,
    pub(super) rep: Option<Rep>,
    pub(super) others: Vec<Rep>,
    pub(super) bot: bool,
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) dropped: Vec<String>,
    pub(super) language: Option<String>,
    pub(super) started_ms: i64,
    pub(super) ended_ms: Option<i64>,
    pub(super) work: String,
    pub(super) queue: String,
    pub(super) answered: u32,
}

#[derive(Debug, Clone)]
pub(super) struct StoredEntry {
    pub(super) identifier: String,
    pub(super) entry_type: Cow<'static, str>,
    /// JSON: the parsed form takes several times as much.
    pub(super) payload: Box<str>,
    pub(super) sender: Value,
    pub(super) sender_name: String,
    pub(super) transcripted_ms: i64,
    pub(super) session: Option<String>,
    pub(super) related: Vec<String>,
    pub(super) text: Option<String>,
    pub(super) file: Option<FileView>,
}

impl StoredEntry {
    pub(super) fn role(&self) -> &str {
        self.sender["role"].as_str().unwrap_or_default()
    }

    pub(super) fn parsed(&self) -> Value {
        serde_json::from_str(&self.payload).unwrap_or_default()
    }
}

impl State {
    pub(super) fn new(config: SalesforceConfig, record: Arc<Record>) -> Self {
        Self {
            config,
            record,
            faults: Faults::default(),
            offset_ms: 0,
            users: HashMap::new(),
            tokens: HashMap::new(),
            conversations: HashMap::new(),
            order: Vec::new(),
            token_calls: VecDeque::new(),
            renewals: VecDeque::new(),
            streams: Streams::default(),
            files: Files::default(),
            auto: None,
            wheel: Wheel::default(),
            outbox: Vec::new(),
            next_event: FIRST_EVENT,
            next_record: 1_000,
        }
    }

    pub(super) fn now_ms(&self) -> i64 {
        wall_ms() + self.offset_ms
    }

    /// An 18-character record id.
    pub(super) fn record_id(&mut self, prefix: &str) -> String {
        self.next_record += 1;
        format!("{prefix}RT{:011}AE", self.next_record)
    }

    pub(super) fn subject_of(&self, conversation: &str) -> Option<Arc<str>> {
        self.conversations.get(conversation).map(|found| found.subject.clone())
    }

    pub(super) fn name_of(&self, subject: &str) -> String {
        self.users.get(subject).map_or_else(|| GUEST.to_owned(), |user| user.name.clone())
    }

    /// Something a client of the real API must not do. It may have been answered like anything else.
    pub(super) fn violation(&self, rule: &str, subject: &str) {
        self.record.push(What::SfViolation { rule: rule.to_owned(), subject: subject.to_owned() });
    }
}

/// How a rep appears as sender and participant.
pub(super) fn agent(rep: &Rep) -> Value {
    json!({
        "role": "Agent", "appType": "agent", "subject": rep.id,
        "clientIdentifier": "e5a9f6b1-a297-49bf-adf4-38f7b27c1c74",
    })
}

/// What Salesforce draws for entries, clients and unverified users.
pub(super) fn new_id() -> String {
    uuid::Builder::from_random_bytes(fastrand::u128(..).to_be_bytes()).into_uuid().to_string()
}

/// Counts one more call in a sliding window, unless it is full.
pub(super) fn within(window: &mut VecDeque<i64>, now_ms: i64, length_ms: i64, most: u32) -> bool {
    // What is in the future was counted before the clock was moved back.
    while window.front().is_some_and(|at| now_ms - *at >= length_ms || *at > now_ms) {
        window.pop_front();
    }
    let free = window.len() < most as usize;
    if free {
        window.push_back(now_ms);
    }
    free
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_slides_with_the_clock() {
        let mut window = VecDeque::new();
        assert!(within(&mut window, 0, 60_000, 2) && within(&mut window, 10, 60_000, 2));
        assert!(!within(&mut window, 59_999, 60_000, 2));
        assert!(within(&mut window, 60_000, 60_000, 2));
        assert!(!within(&mut window, 60_009, 60_000, 2));
        assert!(within(&mut window, -5_000, 60_000, 2), "the clock was moved back");
    }
}
