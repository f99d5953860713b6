//! `POST /conversation/{id}/message`: what an end user may send, and what it sets in motion.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    Refusal,
    api::{About, Reply, attributes, deployment, is_uuid, language},
    body,
    config::{DupMessage, EchoId, FlagWhileLive},
    state::{Conversation, Draft, Due, State, Token, new_id, within},
};
use crate::sim::server::Call;

const MESSAGE: [&str; 5] =
    ["message", "esDeveloperName", "isNewMessagingSession", "routingAttributes", "language"];

pub(super) fn message(state: &mut State, token: &Token, id: &str, call: &Call, about: &mut About) -> Reply {
    let body = body(call, &MESSAGE)?;
    let Some(Value::Object(message)) = body.get("message") else {
        return Err(Refusal::parameter("message"));
    };
    let known = ["id", "messageType", "inReplyToMessageId", "staticContent"];
    if let Some(other) = message.keys().find(|key| {
        !known.contains(&key.as_str()) && !["choicesResponse", "formResponse"].contains(&key.as_str())
    }) {
        return Err(Refusal::parameter(&format!("message.{other}")));
    }
    let message_id = message.get("id").and_then(Value::as_str).unwrap_or_default();
    about.id = Some(message_id.to_owned());
    if !is_uuid(message_id) {
        return Err(Refusal::parameter("message.id"));
    }
    deployment(state, body.get("esDeveloperName").and_then(Value::as_str))?;
    match message.get("messageType").and_then(Value::as_str) {
        Some("StaticContentMessage") => {}
        Some("ChoicesResponseMessage" | "FormResponseMessage") => {
            if message.get("inReplyToMessageId").is_none() {
                return Err(Refusal::parameter("message.inReplyToMessageId"));
            }
            return Err(Refusal::new(501, "choice and form answers are not simulated", "NOT_SIMULATED"));
        }
        _ => return Err(Refusal::parameter("message.messageType")),
    }
    let content = message.get("staticContent").and_then(Value::as_object);
    let content = content.ok_or_else(|| Refusal::parameter("message.staticContent"))?;
    if content.get("formatType") != Some(&"Text".into()) {
        return Err(Refusal::parameter("message.staticContent.formatType"));
    }
    let text = content.get("text").and_then(Value::as_str).filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| Refusal::parameter("message.staticContent.text"))?;
    let flag = match body.get("isNewMessagingSession") {
        None => false,
        Some(Value::Bool(flag)) => *flag,
        Some(_) => return Err(Refusal::parameter("isNewMessagingSession")),
    };
    let (attributes, language) = (attributes(&body)?, language(&body)?);

    let config = state.config.clone();
    let conversation = state.conversations.get_mut(id).ok_or_else(Refusal::not_found)?;
    if conversation.closed_ms.is_some() {
        let code = match config.closed_send {
            404 => "NOT_FOUND",
            409 => "CONFLICT",
            _ => "BAD_REQUEST",
        };
        return Err(Refusal::new(config.closed_send, "Conversation is closed", code));
    }
    let accepted = |entry: &str, now: i64| {
        (202, json!({ "conversationEntries": [{ "id": entry, "clientTimestamp": now }] }))
    };
    let repeated = conversation.messages.get(message_id).cloned();
    if let Some(entry) = &repeated {
        match config.dup_message {
            DupMessage::Idempotent => return Ok(accepted(entry, state.now_ms())),
            DupMessage::BadRequest => return Err(Refusal::parameter("message.id")),
            DupMessage::Conflict => return Err(Refusal::new(409, "Message already exists", "CONFLICT")),
            DupMessage::Duplicate => {}
        }
    }
    let minute = Duration::from_secs(60);
    if config.message_limit && !within(&mut conversation.recent, minute, config.messages_per_minute) {
        return Err(Refusal::too_many(state));
    }
    let status = conversation.live().map(|session| session.status);
    let start = match (status, flag) {
        (None, true) => true,
        (None, false) if config.per_session_prechat => {
            let message = "No active messaging session exists for the conversation";
            return Err(Refusal::new(417, message, "EXPECTATION_FAILED"));
        }
        (None, false) => true,
        (Some(_), true) => match config.flag_while_live {
            FlagWhileLive::Ignore => false,
            FlagWhileLive::NewSession => {
                finish(state, id, "System");
                true
            }
            FlagWhileLive::BadRequest => return Err(Refusal::parameter("isNewMessagingSession")),
        },
        (Some(_), false) => false,
    };
    if start {
        state.start_session(id, attributes, language, false);
    }
    let entry_id = match (config.echo_id, &repeated) {
        (EchoId::Same, None) => message_id.to_owned(),
        (EchoId::Same, Some(_)) | (EchoId::New, _) => new_id(),
    };
    say_as_customer(state, token, id, &entry_id, message_id, text);
    if status == Some("Inactive") && !start {
        state.set_status(id, "Waiting", None);
        state.route(id, "Initial", None);
        if state.auto.is_some() {
            state.due.push(Due::Accept(id.to_owned()));
        }
    }
    Ok(accepted(&entry_id, state.now_ms()))
}

fn say_as_customer(state: &mut State, token: &Token, id: &str, entry: &str, message: &str, text: &str) {
    let name = state.users.get(&token.subject).map_or_else(|| "Guest".to_owned(), |user| user.name.clone());
    let abstract_id = if state.config.echo_id == EchoId::Same { entry } else { message };
    let payload = text_message(abstract_id, text);
    state.add(
        id,
        Draft {
            event: "CONVERSATION_MESSAGE",
            entry_type: "Message",
            identifier: entry.to_owned(),
            payload,
            sender: json!({
                "role": "EndUser", "appType": "iamessage", "subject": token.subject,
                "clientIdentifier": token.client,
            }),
            sender_name: name,
            text: Some(text.to_owned()),
            message_id: Some(message.to_owned()),
            detail: None,
        },
    );
    if let Some(conversation) = state.conversations.get_mut(id) {
        conversation.messages.insert(message.to_owned(), entry.to_owned());
        conversation.to_answer += 1;
    }
    if state.auto.is_some() {
        state.due.push(Due::Reply(id.to_owned()));
    }
}

pub(super) fn text_message(id: &str, text: &str) -> Value {
    json!({
        "abstractMessage": {
            "messageType": "StaticContentMessage", "id": id, "references": [],
            "staticContent": { "formatType": "Text", "text": text },
        },
        "messageReason": null,
    })
}

/// The session is over: work closed, status, participant gone.
pub(super) fn finish(state: &mut State, id: &str, by: &str) {
    let Some(session) = state.conversations.get_mut(id).and_then(Conversation::live) else { return };
    let rep = session.rep.clone();
    if rep.is_some() {
        state.work(id, "Closed", "Initial");
    }
    state.set_status(id, "Ended", Some(by));
    if let Some(rep) = rep {
        state.participant(id, "remove", &rep);
    }
}
