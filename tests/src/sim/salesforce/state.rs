//! Users with their event logs, conversations with their entries and sessions.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::config::{AutoRep, Rep, SalesforceConfig};
use crate::sim::{
    faults::Faults,
    record::{Record, What, wall_ms},
};

/// Events kept per user for replay; the oldest go first.
const MAX_LOG: usize = 20_000;
/// Where event ids start, so that they look like the real ones.
const FIRST_EVENT: u64 = 2_147_867_834;

#[derive(Debug)]
pub(super) struct State {
    pub(super) config: SalesforceConfig,
    pub(super) record: Arc<Record>,
    pub(super) faults: Faults,
    pub(super) offset_ms: i64,
    pub(super) users: HashMap<String, User>,
    pub(super) tokens: HashMap<String, Token>,
    pub(super) conversations: HashMap<String, Conversation>,
    /// Ids in order of creation.
    pub(super) order: Vec<String>,
    pub(super) token_calls: VecDeque<Instant>,
    pub(super) streams: BTreeMap<u64, super::sse::Open>,
    pub(super) next_stream: u64,
    pub(super) auto: Option<AutoRep>,
    /// What the automatic rep has to do, taken by whoever releases the lock.
    pub(super) due: Vec<Due>,
    next_event: u64,
    next_record: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Due {
    Accept(String),
    Reply(String),
}

#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) subject: String,
    pub(super) client: String,
    /// Milliseconds, by the simulator's clock.
    pub(super) expires_ms: i64,
}

#[derive(Debug)]
pub(super) struct User {
    pub(super) log: VecDeque<Logged>,
    pub(super) changed: watch::Sender<u64>,
    /// Raised to cut this user's streams.
    pub(super) cuts: u64,
    pub(super) stalled: bool,
    /// `MessagingEndUser.Name`.
    pub(super) name: String,
    pub(super) creates: VecDeque<Instant>,
}

impl Default for User {
    fn default() -> Self {
        Self {
            log: VecDeque::new(),
            changed: watch::Sender::new(0),
            cuts: 0,
            stalled: false,
            name: "Guest".to_owned(),
            creates: VecDeque::new(),
        }
    }
}

impl User {
    pub(super) fn last_event(&self) -> u64 {
        self.log.back().map_or(0, |logged| logged.id)
    }

    pub(super) fn touch(&self) {
        self.changed.send_modify(|changes| *changes += 1);
    }
}

#[derive(Debug)]
pub(super) struct Logged {
    pub(super) id: u64,
    pub(super) frame: Bytes,
    pub(super) at: Instant,
}

#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) subject: String,
    pub(super) created_ms: i64,
    pub(super) closed_ms: Option<i64>,
    pub(super) entries: Vec<StoredEntry>,
    pub(super) sessions: Vec<Session>,
    /// Client message ids that were taken, with the entry each became.
    pub(super) messages: HashMap<String, String>,
    pub(super) identifiers: HashSet<String>,
    pub(super) recent: VecDeque<Instant>,
    /// The automatic rep: customer texts to answer, answers given.
    pub(super) to_answer: u32,
    pub(super) answered: u32,
}

impl Conversation {
    /// The session that is not over.
    pub(super) fn live(&mut self) -> Option<&mut Session> {
        self.sessions.last_mut().filter(|session| session.status != "Ended")
    }

    pub(super) fn routing_status(&self) -> &'static str {
        match self.sessions.last() {
            None => "NEEDS_ROUTING",
            Some(session) if session.status == "Ended" => "NEEDS_ROUTING",
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
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) language: Option<String>,
    pub(super) started_ms: i64,
    pub(super) ended_ms: Option<i64>,
    pub(super) work: String,
    pub(super) answered: u32,
}

#[derive(Debug, Clone)]
pub(super) struct StoredEntry {
    pub(super) identifier: String,
    pub(super) entry_type: &'static str,
    pub(super) payload: Value,
    pub(super) sender: Value,
    pub(super) sender_name: String,
    pub(super) transcripted_ms: i64,
    pub(super) session: Option<String>,
    pub(super) related: Vec<String>,
    pub(super) text: Option<String>,
}

/// An entry about to be added. `payload` lacks `entryType` and `id`.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) event: &'static str,
    pub(super) entry_type: &'static str,
    pub(super) identifier: String,
    pub(super) payload: Value,
    pub(super) sender: Value,
    pub(super) sender_name: String,
    pub(super) text: Option<String>,
    pub(super) message_id: Option<String>,
    pub(super) detail: Option<String>,
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
            streams: BTreeMap::new(),
            next_stream: 1,
            auto: None,
            due: Vec::new(),
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

    pub(super) fn subject_of(&self, conversation: &str) -> Option<String> {
        self.conversations.get(conversation).map(|found| found.subject.clone())
    }

    /// Adds an entry to its conversation and an event to its user's log; the streams are woken.
    pub(super) fn add(&mut self, conversation: &str, draft: Draft) {
        let now = self.now_ms();
        let Some(found) = self.conversations.get_mut(conversation) else { return };
        let Draft {
            event,
            entry_type,
            identifier,
            mut payload,
            sender,
            sender_name,
            text,
            message_id,
            detail,
        } = draft;
        payload["entryType"] = entry_type.into();
        payload["id"] = identifier.clone().into();
        let session = found.sessions.last().map(|session| session.id.clone());
        let related: Vec<String> = session.iter().cloned().collect();
        let last = found.entries.last().map_or(0, |entry| entry.transcripted_ms);
        let transcripted_ms = now.max(last);
        let envelope = json!({
            "channelPlatformKey": self.config.channel_platform_key,
            "channelType": "embedded_messaging",
            "channelAddressIdentifier": self.config.channel_address_identifier,
            "conversationId": conversation,
            "conversationEntry": {
                "senderDisplayName": sender_name,
                "identifier": identifier,
                "entryType": entry_type,
                "entryPayload": payload.to_string(),
                "sender": sender,
                "transcriptedTimestamp": transcripted_ms,
                "clientTimestamp": now,
                "clientDuration": 0,
                "contextParamMap": {},
                "visibilityStrategy": "All",
                "relatedRecords": related,
            },
        });
        self.next_event += 1;
        let id = self.next_event;
        let frame = Bytes::from(format!("id:{id}\nevent:{event}\ndata:{envelope}\n\n"));
        self.record.push(What::SfEntry {
            conversation: conversation.to_owned(),
            session: session.clone(),
            identifier: identifier.clone(),
            entry_type: entry_type.to_owned(),
            role: sender["role"].as_str().unwrap_or_default().to_owned(),
            event: id,
            text: text.clone(),
            message_id,
            detail,
        });
        found.identifiers.insert(identifier.clone());
        found.entries.push(StoredEntry {
            identifier,
            entry_type,
            payload,
            sender,
            sender_name,
            transcripted_ms,
            session,
            related,
            text,
        });
        let user = self.users.entry(found.subject.clone()).or_default();
        user.log.push_back(Logged { id, frame, at: Instant::now() });
        if user.log.len() > MAX_LOG {
            user.log.pop_front();
        }
        user.touch();
    }

    /// A session begins: routing, then the queue.
    pub(super) fn start_session(
        &mut self,
        conversation: &str,
        attributes: BTreeMap<String, String>,
        language: Option<String>,
        creating: bool,
    ) {
        let id = self.record_id("0Mw");
        let work = self.record_id("0Bz");
        let now = self.now_ms();
        let Some(found) = self.conversations.get_mut(conversation) else { return };
        found.to_answer = 0;
        found.sessions.push(Session {
            id: id.clone(),
            status: "New",
            transferring: false,
            rep: None,
            attributes: attributes.clone(),
            language,
            started_ms: now,
            ended_ms: None,
            work,
            answered: 0,
        });
        let subject = found.subject.clone();
        self.run_flow(&subject, &attributes);
        let conversation_id = conversation.to_owned();
        self.record.push(if creating {
            What::ConversationCreated { conversation: conversation_id, subject, session: id, attributes }
        } else {
            What::SessionStarted { conversation: conversation_id, session: id, attributes }
        });
        let failure = self.config.routing_failure.clone();
        self.route(conversation, "Initial", failure);
        self.set_status(conversation, "Waiting", None);
        if self.auto.is_some() {
            self.due.push(Due::Accept(conversation.to_owned()));
        }
    }

    /// The org's Omni-Channel flow, if there is one: only it can make a name show.
    fn run_flow(&mut self, subject: &str, attributes: &BTreeMap<String, String>) {
        let Some(flow) = &self.config.flow else { return };
        let part = |name: &String| attributes.get(name).filter(|value| !value.is_empty()).cloned();
        let name = match (part(&flow.name), part(&flow.phone)) {
            (Some(name), Some(phone)) => format!("{name} ({phone})"),
            (Some(only), None) | (None, Some(only)) => only,
            (None, None) => return,
        };
        self.users.entry(subject.to_owned()).or_default().name = name;
    }

    pub(super) fn set_status(&mut self, conversation: &str, status: &'static str, by: Option<&str>) {
        let now = self.now_ms();
        let channel = self.config.channel_address_identifier.clone();
        let Some(found) = self.conversations.get_mut(conversation) else { return };
        let Some(session) = found.sessions.last_mut() else { return };
        let previous = std::mem::replace(&mut session.status, status);
        if status == "Ended" {
            session.ended_ms = Some(now);
            session.transferring = false;
        }
        let payload = json!({
            "conversationIdentifier": conversation, "channelAddressIdentifier": channel,
            "sessionId": session.id, "sessionStatus": status, "sessionStatusPrev": previous,
            "sessionEndedByRole": by, "sessionStartTime": session.started_ms,
            "sessionEndTime": session.ended_ms,
        });
        self.add(
            conversation,
            Draft {
                event: "CONVERSATION_SESSION_STATUS_CHANGED",
                entry_type: "SessionStatusChanged",
                detail: Some(status.to_owned()),
                ..system(payload)
            },
        );
    }

    pub(super) fn route(&mut self, conversation: &str, routing: &str, failure: Option<String>) {
        let pending = self.record_id("0JR");
        let Some(found) = self.conversations.get_mut(conversation) else { return };
        let Some(session) = found.sessions.last_mut() else { return };
        let initiator = session
            .rep
            .as_ref()
            .filter(|_| routing == "Transfer")
            .map(|rep| json!({ "role": "Agent", "appType": "agent", "subject": rep.id }));
        let failed = failure.is_some();
        let payload = json!({
            "recordId": if failed { Value::Null } else { session.id.clone().into() },
            "errorMessages": failure.iter().collect::<Vec<_>>(),
            "pendingServiceRoutingId": if failed { Value::Null } else { pending.into() },
            "skipRouterCPRemovalIfNoRoutingFailures": false, "workOwnerId": null, "routingType": routing,
            "estimatedWaitTime": { "isEWTRequested": false, "estimatedWaitTimeInSeconds": null },
            "failureReason": failure, "failureType": if failed { "RoutingError" } else { "None" },
            "isExternallyRouted": false, "cancelReason": null, "initiator": initiator,
            "routingConfigurationDetails": {
                "routingConfigurationType": "QueueRoutingType", "queueId": QUEUE,
            },
        });
        self.add(
            conversation,
            Draft {
                event: "CONVERSATION_ROUTING_RESULT",
                entry_type: "RoutingResult",
                detail: Some(routing.to_owned()),
                ..router(payload)
            },
        );
    }

    pub(super) fn work(&mut self, conversation: &str, work: &str, routing: &str) {
        let Some(found) = self.conversations.get_mut(conversation) else { return };
        let Some(session) = found.sessions.last_mut() else { return };
        let payload = json!({
            "workType": work, "workId": session.work, "workTargetId": session.id, "routingType": routing,
            "queueId": QUEUE, "botId": null, "agentSessionId": "0AkRT0000009Zw30AE", "agentGroupIds": [],
            "errorMessages": [], "conversationId": conversation,
        });
        self.add(
            conversation,
            Draft {
                event: "CONVERSATION_ROUTING_WORK_RESULT",
                entry_type: "RoutingWorkResult",
                detail: Some(work.to_owned()),
                ..router(payload)
            },
        );
    }

    pub(super) fn participant(&mut self, conversation: &str, operation: &str, rep: &Rep) {
        let payload = json!({ "entries": [{
            "operation": operation, "displayName": rep.name, "participant": agent(rep),
            "menuMetadata": null,
        }] });
        self.add(
            conversation,
            Draft {
                event: "CONVERSATION_PARTICIPANT_CHANGED",
                entry_type: "ParticipantChanged",
                detail: Some(operation.to_owned()),
                ..system(payload)
            },
        );
    }
}

const QUEUE: &str = "00GRT0000001aXc2AI";

pub(super) fn agent(rep: &Rep) -> Value {
    json!({
        "role": "Agent", "appType": "agent", "subject": rep.id,
        "clientIdentifier": "e5a9f6b1-a297-49bf-adf4-38f7b27c1c74",
    })
}

fn automated(role: &str, client: &str, payload: Value) -> Draft {
    let sender = json!({
        "role": role, "appType": "conversation", "subject": "conversation", "clientIdentifier": client,
    });
    Draft {
        event: "",
        entry_type: "",
        identifier: new_id(),
        payload,
        sender,
        sender_name: "Automated Process".to_owned(),
        text: None,
        message_id: None,
        detail: None,
    }
}

fn system(payload: Value) -> Draft {
    automated("System", "b21b1c2e-1f61-41bc-acb7-0dd842762334", payload)
}

fn router(payload: Value) -> Draft {
    automated("Router", "3ceb0831-8744-4e92-ad93-36c0f9c4b930", payload)
}

/// What Salesforce draws for entries, clients and unverified users.
pub(super) fn new_id() -> String {
    uuid::Builder::from_random_bytes(fastrand::u128(..).to_be_bytes()).into_uuid().to_string()
}

/// Counts one more call in a sliding window, unless it is full.
pub(super) fn within(window: &mut VecDeque<Instant>, length: Duration, most: u32) -> bool {
    let now = Instant::now();
    while window.front().is_some_and(|at| now.duration_since(*at) >= length) {
        window.pop_front();
    }
    let free = window.len() < most as usize;
    if free {
        window.push_back(now);
    }
    free
}
