//! From wire words to ours: what an entry means for a conversation.

use domain::{EntryId, Millis, ThreadId, message::Outgoing};

use super::{
    ConversationEntry, Role, bodies,
    payload::{
        Acknowledgement, Attachment, FailureType, Message, Operation, Payload, RoutingType, SessionStatus,
        WorkType,
    },
    rich::Rich,
};

/// Something that happened in a Salesforce conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    pub thread: ThreadId,
    pub entry: EntryId,
    /// Counts what one entry holds: 0, except where several participants changed at once. Entry
    /// and part together are unique.
    pub part: u32,
    /// `transcriptedTimestamp`, Salesforce's clock.
    pub at: Millis,
    /// Who sent the entry. For participants and routing that is the system.
    pub sender: Role,
    pub what: Happening,
}

#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub enum Happening {
    /// From a person: an agent or a supervisor.
    RepMessage {
        text: String,
        name: Option<String>,
        attachments: Vec<Attachment>,
        /// All of it, in types; `text` is its [`Rich::plain_text`].
        rich: Rich,
        /// The same, as the customer gets it.
        #[cfg_attr(test, serde(skip))]
        bodies: Vec<Outgoing>,
    },
    /// From a bot or an AI agent in Salesforce.
    BotMessage {
        text: String,
        name: Option<String>,
        attachments: Vec<Attachment>,
        rich: Rich,
        #[cfg_attr(test, serde(skip))]
        bodies: Vec<Outgoing>,
    },
    /// From an automation: auto-responses, consent texts, surveys.
    SystemMessage {
        text: String,
        /// Salesforce's `messageReason`: it answers by itself, or asks for consent.
        reason: Option<MessageReason>,
        rich: Rich,
        #[cfg_attr(test, serde(skip))]
        bodies: Vec<Outgoing>,
    },
    /// Our own message: it is in the thread. A text that begins or ends with a URL comes back as
    /// several (§4): any one counts.
    EndUserEcho {
        message_id: EntryId,
        /// Files of ours that Salesforce accepted and did not keep all the same (§5.2).
        failed: Vec<Attachment>,
    },
    RepJoined {
        name: Option<String>,
    },
    RepLeft {
        name: Option<String>,
    },
    SessionStatus {
        status: SessionStatus,
        session_id: String,
        /// For display only: unreliable in one report (§7.5, notes).
        ended_by: Option<Role>,
    },
    /// Omni-Channel took the work.
    Routed {
        kind: RoutingType,
        /// Only where the org has it switched on; a hint.
        estimated_wait_seconds: Option<u32>,
    },
    /// Nobody is coming. With [`RoutingType::Transfer`] or `Conference` that is the rep's attempt only,
    /// and the rep is still there.
    RoutingFailed {
        kind: RoutingType,
        failure: FailureType,
        /// Salesforce's words, for people.
        reason: String,
    },
    /// What became of the work item at a rep: offered, accepted, declined, transferred …
    Work {
        kind: WorkType,
        /// One offer to one rep, where it is told.
        work_id: Option<String>,
    },
    QueuePosition {
        position: u32,
    },
    TypingStarted,
    TypingStopped,
    /// Arrived at the rep's side: this one entry.
    Delivered {
        entry: EntryId,
    },
    /// Read by the rep: this entry and everything before it.
    Read {
        entry: EntryId,
    },
    /// A message did not reach its recipient. Not proven to reach custom clients.
    DeliveryFailed {
        entry: Option<EntryId>,
        /// Salesforce's code.
        code: Option<String>,
    },
    /// The end user's side closed the conversation for ever.
    Closed,
    /// For the timeline only; `event` is the `entryType`.
    Other {
        event: String,
    },
}

/// Why Salesforce sent a message by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub enum MessageReason {
    AutomatedResponse,
    Consent,
    Other,
}

/// Texts and names never print.
impl std::fmt::Debug for Happening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::RepMessage { text, .. } => write!(f, "RepMessage({} bytes)", text.len()),
            Self::BotMessage { text, .. } => write!(f, "BotMessage({} bytes)", text.len()),
            Self::SystemMessage { text, .. } => write!(f, "SystemMessage({} bytes)", text.len()),
            Self::EndUserEcho { message_id, .. } => write!(f, "EndUserEcho({message_id:?})"),
            Self::RepJoined { .. } => f.write_str("RepJoined"),
            Self::RepLeft { .. } => f.write_str("RepLeft"),
            Self::SessionStatus { status, .. } => write!(f, "SessionStatus({status:?})"),
            Self::Routed { kind, estimated_wait_seconds } => {
                write!(f, "Routed({kind:?}, {estimated_wait_seconds:?})")
            }
            Self::RoutingFailed { kind, failure, .. } => write!(f, "RoutingFailed({kind:?}, {failure:?})"),
            Self::Work { kind, .. } => write!(f, "Work({kind:?})"),
            Self::DeliveryFailed { entry, .. } => write!(f, "DeliveryFailed({entry:?})"),
            Self::QueuePosition { position } => write!(f, "QueuePosition({position})"),
            Self::TypingStarted => f.write_str("TypingStarted"),
            Self::TypingStopped => f.write_str("TypingStopped"),
            Self::Delivered { entry } => write!(f, "Delivered({entry:?})"),
            Self::Read { entry } => write!(f, "Read({entry:?})"),
            Self::Closed => f.write_str("Closed"),
            Self::Other { event } => write!(f, "Other({event})"),
        }
    }
}

/// What `entry` means. Never empty: what says nothing to us is [`Happening::Other`].
pub fn read(thread: ThreadId, entry: &ConversationEntry) -> Vec<Happened> {
    (0..)
        .zip(happenings(entry))
        .map(|(part, what)| Happened {
            thread,
            entry: entry.identifier.clone(),
            part,
            at: entry.transcripted_timestamp,
            sender: entry.sender.role,
            what,
        })
        .collect()
}

fn happenings(entry: &ConversationEntry) -> Vec<Happening> {
    let other = || Happening::Other { event: known_word(&entry.entry_type) };
    let one = match &entry.entry_payload {
        Payload::ParticipantChanged(changed) => {
            let mut found: Vec<Happening> = changed
                .entries
                .iter()
                .filter(|change| change.participant.role == Role::Agent)
                .filter_map(|change| {
                    let name = change.display_name.clone();
                    match change.operation {
                        Operation::Add => Some(Happening::RepJoined { name }),
                        Operation::Remove => Some(Happening::RepLeft { name }),
                        Operation::Update | Operation::Unknown => None,
                    }
                })
                .collect();
            if found.is_empty() {
                found.push(other());
            }
            return found;
        }
        Payload::Message(message) => said(entry, Some(message)),
        // A rep's words must not vanish because we cannot read them.
        Payload::Unreadable | Payload::Unknown if entry.entry_type == "Message" => said(entry, None),
        Payload::SessionStatusChanged(changed) => Happening::SessionStatus {
            status: changed.session_status,
            session_id: changed.session_id.clone(),
            ended_by: changed.session_ended_by_role,
        },
        Payload::RoutingResult(result) if result.failure_type == FailureType::None => {
            let wait = result.estimated_wait_time.and_then(|wait| wait.estimated_wait_time_in_seconds);
            let wait = wait.and_then(|seconds| u32::try_from(seconds).ok());
            Happening::Routed { kind: result.routing_type, estimated_wait_seconds: wait }
        }
        Payload::RoutingResult(result) => Happening::RoutingFailed {
            kind: result.routing_type,
            failure: result.failure_type,
            reason: result
                .failure_reason
                .clone()
                .or_else(|| result.error_messages.first().cloned())
                .unwrap_or_default(),
        },
        Payload::QueuePosition(queue) => match u32::try_from(queue.position) {
            Ok(position) => Happening::QueuePosition { position },
            Err(_) => other(),
        },
        // Our own indicators are echoed, too.
        Payload::TypingStartedIndicator(_) if entry.sender.role != Role::EndUser => Happening::TypingStarted,
        Payload::TypingStoppedIndicator(_) if entry.sender.role != Role::EndUser => Happening::TypingStopped,
        // And so may be our own receipts.
        Payload::DeliveryAcknowledgement(ack) if entry.sender.role != Role::EndUser => {
            Happening::Delivered { entry: acknowledged(ack) }
        }
        Payload::ReadAcknowledgement(ack) if entry.sender.role != Role::EndUser => {
            Happening::Read { entry: acknowledged(ack) }
        }
        Payload::RoutingWorkResult(result) => {
            Happening::Work { kind: result.work_type, work_id: result.work_id.clone() }
        }
        Payload::MessageDeliveryFailed(failed) => Happening::DeliveryFailed {
            entry: failed.failed_conversation_entry_identifier.clone().map(EntryId::new),
            code: failed.error_code.clone(),
        },
        Payload::CloseConversation => Happening::Closed,
        Payload::TypingStartedIndicator(_)
        | Payload::TypingStoppedIndicator(_)
        | Payload::DeliveryAcknowledgement(_)
        | Payload::ReadAcknowledgement(_)
        | Payload::ProgressIndicator(_)
        | Payload::StreamingToken(_)
        | Payload::EndUserConsentUpdated(_)
        | Payload::MessageUpdated(_)
        | Payload::ClientAction
        | Payload::ClientMenu
        | Payload::Unknown
        | Payload::Unreadable => other(),
    };
    vec![one]
}

fn said(entry: &ConversationEntry, message: Option<&Message>) -> Happening {
    let content = message.map(|message| &message.abstract_message);
    let rich =
        content.map_or_else(|| Rich::Other { format: "message".to_owned(), words: Vec::new() }, Rich::of);
    let text = rich.plain_text();
    let attachments = content.map(|content| content.static_content.attachments.clone()).unwrap_or_default();
    let name = entry.sender_display_name.clone();
    let reason = message.and_then(|message| message.message_reason.as_deref()).map(|reason| match reason {
        "AutomatedResponse" => MessageReason::AutomatedResponse,
        "Consent" => MessageReason::Consent,
        _ => MessageReason::Other,
    });
    match entry.sender.role {
        Role::EndUser => Happening::EndUserEcho {
            message_id: content
                .and_then(|content| content.id.clone())
                .map_or_else(|| entry.identifier.clone(), EntryId::new),
            failed: attachments.into_iter().filter(Attachment::failed).collect(),
        },
        Role::Agent | Role::Supervisor if reason.is_none() => {
            let bodies = bodies::of(&rich);
            Happening::RepMessage { text, name, attachments, rich, bodies }
        }
        Role::Chatbot => {
            let bodies = bodies::of(&rich);
            Happening::BotMessage { text, name, attachments, rich, bodies }
        }
        Role::Agent | Role::Supervisor | Role::System | Role::Router | Role::Unknown => {
            let bodies = bodies::of(&rich);
            Happening::SystemMessage { text, reason, rich, bodies }
        }
    }
}

fn acknowledged(ack: &Acknowledgement) -> EntryId {
    EntryId::new(ack.acknowledged_conversation_entry_identifier.clone())
}

/// Entry types are words; what is none could be anything.
fn known_word(entry_type: &str) -> String {
    let word = entry_type.len() <= 64 && entry_type.bytes().all(|b| b.is_ascii_alphanumeric());
    if word { entry_type.to_owned() } else { "Unknown".into() }
}
