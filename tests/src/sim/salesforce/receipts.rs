//! Typing and acknowledgements, both ways (`miaw-api.md` §6).

use serde_json::{Map, Value, json};

use super::{
    Refusal,
    api::{Reply, is_uuid},
    known,
    log::Draft,
    state::State,
    verb::Rep,
};
use crate::sim::record::What;

/// `POST /conversation/{id}/entry`: the rep sees it.
pub(super) fn typing(state: &mut State, id: &str, body: &Map<String, Value>) -> Reply {
    known(body, &["entryType", "id"])?;
    let started = match body.get("entryType").and_then(Value::as_str) {
        Some("TypingStartedIndicator") => true,
        Some("TypingStoppedIndicator") => false,
        _ => return Err(Refusal::parameter("entryType")),
    };
    if !body.get("id").and_then(Value::as_str).is_some_and(is_uuid) {
        return Err(Refusal::parameter("id"));
    }
    if let Some(conversation) = state.conversations.get_mut(id) {
        conversation.customer_typing = started;
    }
    state.record.push(What::CustomerTyping { conversation: id.to_owned(), started });
    Ok((200, json!({})))
}

/// `POST /conversation/{id}/acknowledge-entries`: all of them, or none.
pub(super) fn acknowledge(state: &mut State, id: &str, body: &Map<String, Value>) -> Reply {
    known(body, &["acks"])?;
    let acks = body.get("acks").and_then(Value::as_array).filter(|acks| !acks.is_empty());
    let acks = acks.filter(|acks| acks.len() <= state.config.max_acks);
    let acks = acks.ok_or_else(|| Refusal::parameter("acks"))?;
    let conversation = state.conversations.get_mut(id).ok_or_else(Refusal::not_found)?;
    let mut seen = Vec::new();
    for ack in acks {
        let text = |name: &str| ack.get(name).and_then(Value::as_str).unwrap_or_default();
        if !is_uuid(text("id")) {
            return Err(Refusal::parameter("acks.id"));
        }
        if !["Delivery", "Read"].contains(&text("entryType")) {
            return Err(Refusal::parameter("acks.entryType"));
        }
        let at = conversation.entries.iter().rposition(|e| e.identifier == text("conversationEntryId"));
        let at = at.ok_or_else(|| Refusal::parameter("acks.conversationEntryId"))?;
        seen.push((at, text("entryType").to_owned()));
    }
    let mut wrong = 0;
    for (at, ack) in seen {
        let from_others =
            |entry: &&super::state::StoredEntry| entry.entry_type == "Message" && entry.role() != "EndUser";
        let entry = &conversation.entries[at];
        wrong += usize::from(!from_others(&entry));
        let what = What::Acknowledged {
            conversation: id.to_owned(),
            entry: entry.identifier.clone(),
            ack: ack.clone(),
        };
        state.record.push(what);
        if ack == "Delivery" {
            conversation.delivered.insert(entry.identifier.clone());
        } else {
            // A high-water mark.
            let until = conversation.entries[..=at].iter().filter(from_others);
            conversation.read.extend(until.map(|entry| entry.identifier.clone()));
        }
    }
    let subject = conversation.subject.clone();
    for _ in 0..wrong {
        state.violation("acknowledged what is no message of others", &subject);
    }
    Ok((200, json!({})))
}

impl State {
    /// The rep's console has an entry of the customer, or the rep has read it.
    pub(super) fn receipt(&mut self, conversation: &str, rep: &Rep, kind: &str, entry: &str) {
        let (entry_type, now) =
            (if kind == "Read" { "ReadAcknowledgement" } else { "DeliveryAcknowledgement" }, self.now_ms());
        let draft = Draft::rep(rep, entry_type, Value::Null);
        let payload = json!({
            "acknowledgedConversationEntryIdentifier": entry, "acknowledgementTimestamp": now,
            "recipient": draft.sender,
        });
        let related = Some(entry.to_owned());
        self.add(conversation, Draft { payload, related, detail: Some(entry.to_owned()), ..draft });
    }
}
