//! From an entry to the event log of its user.

use std::{
    borrow::Cow,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    config::WireStyle,
    state,
    state::{State, StoredEntry, new_id},
    verb::Rep,
    view::FileView,
    wheel::Timer,
};
use crate::sim::record::What;

/// Events kept per user for replay; the oldest go first.
const MAX_LOG: usize = 20_000;

#[derive(Debug)]
pub(super) struct Logged {
    pub(super) id: u64,
    pub(super) frame: Bytes,
    /// By the simulator's clock.
    pub(super) at_ms: i64,
}

/// An event without its id.
#[derive(Debug)]
pub(super) struct Outgoing {
    subject: std::sync::Arc<str>,
    event: Cow<'static, str>,
    data: String,
}

/// Events held back until there are enough.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) wanted: usize,
    pub(super) events: Vec<Outgoing>,
}

/// An entry about to be added. `payload` lacks `entryType` and `id`.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) event: Cow<'static, str>,
    pub(super) entry_type: Cow<'static, str>,
    pub(super) identifier: String,
    pub(super) payload: Value,
    pub(super) sender: Value,
    pub(super) sender_name: String,
    /// What it is about, where that is not the session.
    pub(super) related: Option<String>,
    pub(super) text: Option<String>,
    pub(super) file: Option<FileView>,
    pub(super) message_id: Option<String>,
    pub(super) detail: Option<String>,
}

impl Draft {
    fn new(entry_type: impl Into<Cow<'static, str>>, payload: Value, sender: Value, name: &str) -> Self {
        let entry_type = entry_type.into();
        Self {
            event: event_of(&entry_type),
            entry_type,
            identifier: new_id(),
            payload,
            sender,
            sender_name: name.to_owned(),
            related: None,
            text: None,
            file: None,
            message_id: None,
            detail: None,
        }
    }

    pub(super) fn rep(rep: &Rep, entry_type: &'static str, payload: Value) -> Self {
        Self::new(entry_type, payload, state::agent(rep), &rep.name)
    }

    pub(super) fn customer(
        (subject, client, name): (&str, &str, &str),
        entry_type: &'static str,
        payload: Value,
    ) -> Self {
        let sender = json!({
            "role": "EndUser", "appType": "iamessage", "subject": subject, "clientIdentifier": client,
        });
        Self::new(entry_type, payload, sender, name)
    }

    pub(super) fn bot(entry_type: &'static str, payload: Value) -> Self {
        Self::new(entry_type, payload, bot(), BOT)
    }

    pub(super) fn system(entry_type: impl Into<Cow<'static, str>>, payload: Value) -> Self {
        Self::automated("System", "b21b1c2e-1f61-41bc-acb7-0dd842762334", entry_type, payload)
    }

    pub(super) fn router(entry_type: &'static str, payload: Value) -> Self {
        Self::automated("Router", "3ceb0831-8744-4e92-ad93-36c0f9c4b930", entry_type, payload)
    }

    fn automated(role: &str, client: &str, entry_type: impl Into<Cow<'static, str>>, payload: Value) -> Self {
        let sender = json!({
            "role": role, "appType": "conversation", "subject": "conversation", "clientIdentifier": client,
        });
        Self::new(entry_type, payload, sender, "Automated Process")
    }

    pub(super) fn detail(self, detail: &str) -> Self {
        Self { detail: Some(detail.to_owned()), ..self }
    }
}

pub(super) const BOT: &str = "Parcel Helper";

pub(super) fn bot() -> Value {
    json!({
        "role": "Chatbot", "appType": "chatbot", "subject": "0XxRT0000002Cf60AE",
        "clientIdentifier": "d00f7b11-205f-42f7-88c1-d781b972e776",
    })
}

/// `RoutingResult` → `CONVERSATION_ROUTING_RESULT`.
fn event_of(entry_type: &str) -> Cow<'static, str> {
    let mut event = "CONVERSATION".to_owned();
    for letter in entry_type.chars() {
        if letter.is_uppercase() {
            event.push('_');
        }
        event.extend(letter.to_uppercase());
    }
    event.into()
}

/// What is on the stream only.
pub(super) fn passing(entry_type: &str) -> bool {
    matches!(
        entry_type,
        "TypingStartedIndicator"
            | "TypingStoppedIndicator"
            | "DeliveryAcknowledgement"
            | "ReadAcknowledgement"
            | "ProgressIndicator"
            | "StreamingToken"
    )
}

impl State {
    /// Adds an entry to its conversation and an event to its user's log; the streams are woken.
    pub(super) fn add(&mut self, conversation: &str, draft: Draft) {
        let now = self.now_ms();
        let shuffled = self.config.shuffle;
        let Some(found) = self.conversations.get_mut(conversation) else { return };
        let session = found.sessions.last().map(|session| session.id.clone());
        let related: Vec<String> = draft.related.clone().or_else(|| session.clone()).into_iter().collect();
        let last = found.entries.last().map_or(0, |entry| entry.transcripted_ms);
        let transcripted_ms = now.max(last + i64::from(shuffled));
        let subject = found.subject.clone();
        let payload = full_payload(&draft);
        let data = self.envelope(conversation, &draft, &payload, (now, transcripted_ms), &related);
        let delay = self.config.echo_delay_ms;
        let echo = draft.sender["role"] == "EndUser" && draft.entry_type == "Message";
        let outgoing = Outgoing { subject: subject.clone(), event: draft.event, data };
        let at_once = !shuffled
            && (delay == 0 || !echo)
            && self.users.get(&subject).is_none_or(|user| user.held.is_none());
        let role = draft.sender["role"].as_str().unwrap_or_default().to_owned();
        self.record.push(What::SfEntry {
            conversation: conversation.to_owned(),
            session: session.clone(),
            identifier: draft.identifier.clone(),
            entry_type: draft.entry_type.clone().into_owned(),
            role: role.clone(),
            event: if at_once { self.next_event + 1 } else { 0 },
            text: draft.text.clone(),
            message_id: draft.message_id,
            detail: draft.detail,
        });
        if let Some(file) = &draft.file {
            self.record.push(What::SfFile {
                conversation: conversation.to_owned(),
                entry: draft.identifier.clone(),
                role,
                name: file.name.clone(),
                mime: file.mime.clone(),
                size: file.size,
                sha256: file.sha256.clone(),
                caption: draft.text.clone(),
            });
        }
        if let Some(found) = self.conversations.get_mut(conversation) {
            found.identifiers.insert(draft.identifier.clone());
            found.entries.push(StoredEntry {
                identifier: draft.identifier,
                entry_type: draft.entry_type,
                payload: payload.into(),
                sender: draft.sender,
                sender_name: draft.sender_name,
                transcripted_ms,
                session,
                related,
                text: draft.text,
                file: draft.file,
            });
        }
        if echo && delay > 0 {
            self.wheel.schedule(Instant::now() + Duration::from_millis(delay), Timer::Release(outgoing));
        } else {
            self.send(outgoing);
        }
    }

    /// An event that is in no history.
    pub(super) fn pass(&mut self, subject: &str, conversation: &str, draft: &Draft) {
        let now = self.now_ms();
        let Some((subject, _)) = self.users.get_key_value(subject) else { return };
        let subject = subject.clone();
        let data = self.envelope(conversation, draft, &full_payload(draft), (now, now), &[]);
        self.send(Outgoing { subject, event: draft.event.clone(), data });
    }

    fn envelope(
        &self,
        conversation: &str,
        draft: &Draft,
        payload: &str,
        (now, transcripted_ms): (i64, i64),
        related: &[String],
    ) -> String {
        json!({
            "channelPlatformKey": self.config.channel_platform_key,
            "channelType": "embedded_messaging",
            "channelAddressIdentifier": self.config.channel_address_identifier,
            "conversationId": conversation,
            "conversationEntry": {
                "senderDisplayName": draft.sender_name,
                "identifier": draft.identifier,
                "entryType": draft.entry_type,
                "entryPayload": payload,
                "sender": draft.sender,
                "transcriptedTimestamp": transcripted_ms,
                "clientTimestamp": now,
                "clientDuration": 0,
                "contextParamMap": {},
                "visibilityStrategy": "All",
                "relatedRecords": related,
            },
        })
        .to_string()
    }

    /// To the log, unless an order holds it back.
    pub(super) fn send(&mut self, outgoing: Outgoing) {
        if self.config.shuffle {
            self.outbox.push(outgoing);
            return;
        }
        let user = self.users.entry(outgoing.subject.clone()).or_default();
        let Some(held) = &mut user.held else { return self.log(&outgoing) };
        held.events.push(outgoing);
        if held.events.len() >= held.wanted {
            let events = user.held.take().map(|held| held.events).unwrap_or_default();
            events.iter().rev().for_each(|event| self.log(event));
        }
    }

    /// The next events of a user are held back until there are so many.
    pub(super) fn hold(&mut self, subject: &str, wanted: usize) {
        let Some(user) = self.users.get_mut(subject) else { return };
        let before = user.held.take().map(|held| held.events).unwrap_or_default();
        if wanted > 0 {
            user.held = Some(Held { wanted, events: before });
        } else {
            before.iter().rev().for_each(|event| self.log(event));
        }
    }

    /// What was kept to be shuffled goes out.
    pub(super) fn flush(&mut self) {
        if self.outbox.is_empty() {
            return;
        }
        let mut events = std::mem::take(&mut self.outbox);
        fastrand::shuffle(&mut events);
        events.iter().for_each(|event| self.log(event));
    }

    pub(super) fn log(&mut self, Outgoing { subject, event, data }: &Outgoing) {
        self.next_event += 1;
        let id = self.next_event;
        let frame = Bytes::from(match self.config.wire_style {
            WireStyle::Plain => format!("id:{id}\nevent:{event}\ndata:{data}\n\n"),
            WireStyle::Spaced => format!("id: {id}\nevent: {event}\ndata: {data}\n\n"),
            WireStyle::Crlf => format!("id:{id}\r\nevent:{event}\r\ndata:{data}\r\n\r\n"),
        });
        let at_ms = self.now_ms();
        let user = self.users.entry(subject.clone()).or_default();
        user.log.push_back(Logged { id, frame, at_ms });
        if user.log.len() > MAX_LOG {
            user.log.pop_front();
        }
        self.streams.wake(&user.streams);
    }

    /// The last events of a user once more, with new ids.
    pub(super) fn repeat(&mut self, subject: &str, count: usize) {
        let Some((subject, user)) = self.users.get_key_value(subject) else { return };
        let last = user.log.len().saturating_sub(count);
        let again: Vec<Outgoing> = user
            .log
            .iter()
            .skip(last)
            .filter_map(|logged| {
                let frame = std::str::from_utf8(&logged.frame).ok()?;
                let field = |name: &str| {
                    let line = frame.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                    line.map(|value| value.trim().to_owned())
                };
                Some(Outgoing {
                    subject: subject.clone(),
                    event: field("event")?.into(),
                    data: field("data")?,
                })
            })
            .collect();
        again.iter().for_each(|event| self.log(event));
    }
}

fn full_payload(draft: &Draft) -> String {
    let mut payload = draft.payload.clone();
    payload["entryType"] = draft.entry_type.clone().into();
    payload["id"] = draft.identifier.clone().into();
    payload.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_named_after_entry_types() {
        assert_eq!(event_of("SessionStatusChanged"), "CONVERSATION_SESSION_STATUS_CHANGED");
        assert_eq!(event_of("Message"), "CONVERSATION_MESSAGE");
    }
}
