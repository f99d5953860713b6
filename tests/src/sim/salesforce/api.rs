//! The REST side (`miaw-api.md` §2 to §8) with the validation of §13. Everything else answers 501.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::{
    Refusal, Salesforce, auth, body,
    config::{DupConversation, HistoryPayload},
    message,
    state::{Conversation, Draft, State, StoredEntry, Token, new_id, within},
};
use crate::sim::{
    faults::Fault,
    record::What,
    server::{Answer, Call, Dropped, answer, gateway_page, json as json_answer, not_simulated, pause},
};

/// How long an ordered time-out keeps the connection, if the caller does not give up before.
const NEVER: Duration = Duration::from_secs(600);

/// What one request was about, for the record.
#[derive(Debug, Default)]
pub(super) struct About {
    subject: Option<String>,
    conversation: Option<String>,
    pub(super) id: Option<String>,
    error: Option<String>,
}

pub(super) type Reply = Result<(u16, Value), Refusal>;

/// The endpoint's name in faults and record, and the conversation in the path.
fn endpoint(call: &Call) -> (&'static str, Option<String>) {
    let segments = call.segments();
    let rest = match segments.as_slice() {
        ["eventrouter", "v1", "sse"] if call.method == Method::GET => return ("sse", None),
        ["iamessage", "api", "v2", rest @ ..] => rest,
        _ => return ("other", None),
    };
    let (name, conversation) = match (&call.method, rest) {
        (&Method::POST, ["authorization", "authenticated", "access-token"]) => ("token", None),
        (&Method::POST, ["authorization", "unauthenticated", "access-token"]) => ("token_unverified", None),
        (&Method::GET, ["authorization", "continuation-access-token"]) => ("continuation", None),
        (&Method::POST, ["conversation"]) => ("create", None),
        (&Method::GET, ["conversation", "list"]) => ("list", None),
        (&Method::GET, ["conversation", id]) => ("get", Some(id)),
        (&Method::DELETE, ["conversation", id]) => ("close", Some(id)),
        (&Method::DELETE, ["conversation", id, "session"]) => ("end_session", Some(id)),
        (&Method::POST, ["conversation", id, "message"]) => ("message", Some(id)),
        (&Method::POST, ["conversation", id, "entry"]) => ("entry", Some(id)),
        (&Method::POST, ["conversation", id, "acknowledge-entries"]) => ("acknowledge", Some(id)),
        (&Method::GET, ["conversation", id, "entries"]) => ("entries", Some(id)),
        _ => ("other", None),
    };
    (name, conversation.map(|id| (*id).to_owned()))
}

impl Salesforce {
    pub(super) async fn serve(self: Arc<Self>, call: Call) -> Result<Answer, Dropped> {
        let (endpoint, conversation) = endpoint(&call);
        let verdict = self.with(|state| state.faults.decide(endpoint));
        if !verdict.delay.is_zero() {
            pause(&self.stop, verdict.delay).await;
        }
        let mut about = About { conversation, ..About::default() };
        let fault = verdict.name();
        let record = |about: About, status: u16| {
            self.record.push(What::SfRequest {
                endpoint: endpoint.to_owned(),
                status,
                fault: fault.clone(),
                subject: about.subject,
                conversation: about.conversation,
                id: about.id,
                error: about.error,
            });
        };
        if !matches!(
            verdict.fault,
            None | Some(Fault::LoseAnswer | Fault::SlowAnswer { .. } | Fault::Delay { .. })
        ) {
            let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
            about.id = body["message"]["id"].as_str().map(str::to_owned);
        }
        match &verdict.fault {
            Some(Fault::Status { status, retry_after }) => {
                let mut response = match status {
                    503 => gateway_page(),
                    429 => Refusal::new(429, "Too many requests", "TOO_MANY_REQUESTS").answer(),
                    500 => Refusal::new(500, "Internal server error", "INTERNAL_SERVER_ERROR").answer(),
                    401 => Refusal::unauthorized(&call.path).answer(),
                    status => answer(*status, "text/plain", ""),
                };
                if let Some(seconds) = retry_after {
                    response.headers_mut().insert("retry-after", (*seconds).into());
                }
                record(about, *status);
                return Ok(response);
            }
            Some(Fault::Timeout) => {
                record(about, 0);
                pause(&self.stop, NEVER).await;
                return Err(Dropped);
            }
            Some(Fault::Refuse | Fault::Graph { .. }) => {
                record(about, 0);
                return Err(Dropped);
            }
            Some(Fault::LoseAnswer | Fault::SlowAnswer { .. } | Fault::Delay { .. }) | None => {}
        }
        let response = if endpoint == "sse" {
            match self.open_stream(&call) {
                Ok((response, subject)) => {
                    about.subject = Some(subject);
                    response
                }
                Err(refusal) => {
                    about.error = Some(refusal.message.clone());
                    refusal.answer()
                }
            }
        } else if endpoint == "other" {
            not_simulated("salesforce", &call)
        } else {
            match self.with(|state| rest(state, endpoint, &call, &mut about)) {
                Ok((204, _)) => answer(204, "application/json", ""),
                Ok((status, body)) => json_answer(status, &body),
                Err(refusal) => {
                    about.error = Some(refusal.message.clone());
                    refusal.answer()
                }
            }
        };
        if verdict.fault == Some(Fault::LoseAnswer) {
            record(about, 0);
            return Err(Dropped);
        }
        if let Some(Fault::SlowAnswer { ms }) = verdict.fault {
            pause(&self.stop, Duration::from_millis(ms)).await;
        }
        record(about, response.status().as_u16());
        Ok(response)
    }
}

fn rest(state: &mut State, endpoint: &str, call: &Call, about: &mut About) -> Reply {
    match endpoint {
        "token" => return Ok((200, auth::token(state, call, true)?)),
        "token_unverified" => return Ok((200, auth::token(state, call, false)?)),
        _ => {}
    }
    let token = auth::bearer(state, call)?;
    about.subject = Some(token.subject.clone());
    match endpoint {
        "continuation" => return Ok((200, auth::continuation(state, &token.subject)?)),
        "list" => return list(state, &token, call),
        "create" => return create(state, &token, call, about),
        _ => {}
    }
    let id = about.conversation.clone().unwrap_or_default();
    let conversation = state.conversations.get(&id).ok_or_else(Refusal::not_found)?;
    if conversation.subject != token.subject {
        return Err(Refusal::new(403, "Forbidden", "FORBIDDEN"));
    }
    match endpoint {
        "get" => Ok((200, json!({ "conversationId": id, "routingStatus": conversation.routing_status() }))),
        "entries" => entries(state, &id, call),
        "message" => message::message(state, &token, &id, call, about),
        "entry" => entry(call),
        "acknowledge" => acknowledge(state, &id, call),
        "close" | "end_session" => end(state, &token, &id, call, endpoint == "close"),
        _ => Err(Refusal::not_found()),
    }
}

pub(super) fn deployment(state: &State, name: Option<&str>) -> Result<(), Refusal> {
    match name {
        Some(name) if name == state.config.es_developer_name => Ok(()),
        _ => Err(Refusal::parameter("esDeveloperName")),
    }
}

/// `routingAttributes`: an object of strings.
pub(super) fn attributes(body: &Map<String, Value>) -> Result<BTreeMap<String, String>, Refusal> {
    let wrong = || Refusal::parameter("routingAttributes");
    match body.get("routingAttributes") {
        None => Ok(BTreeMap::new()),
        Some(Value::Object(members)) => members
            .iter()
            .map(|(key, value)| Ok((key.clone(), value.as_str().ok_or_else(wrong)?.to_owned())))
            .collect(),
        Some(_) => Err(wrong()),
    }
}

pub(super) fn language(body: &Map<String, Value>) -> Result<Option<String>, Refusal> {
    match body.get("language") {
        None => Ok(None),
        Some(Value::String(language)) => Ok(Some(language.clone())),
        Some(_) => Err(Refusal::parameter("language")),
    }
}

pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::parse_str(text).is_ok()
}

/// Lower case, version 4, variant 8 to b.
fn is_lowercase_v4(text: &str) -> bool {
    is_uuid(text)
        && text == text.to_lowercase()
        && text.as_bytes()[14] == b'4'
        && matches!(text.as_bytes()[19], b'8' | b'9' | b'a' | b'b')
}

fn create(state: &mut State, token: &Token, call: &Call, about: &mut About) -> Reply {
    let body = body(call, &["conversationId", "esDeveloperName", "routingAttributes", "language"])?;
    let id = body.get("conversationId").and_then(Value::as_str).unwrap_or_default().to_owned();
    about.conversation = Some(id.clone());
    if !is_lowercase_v4(&id) {
        let message = "Specify the conversationId in UUID format. The UUID must be in lowercase.";
        return Err(Refusal::new(400, message, "BAD_REQUEST"));
    }
    deployment(state, body.get("esDeveloperName").and_then(Value::as_str))?;
    let (attributes, language) = (attributes(&body)?, language(&body)?);
    if let Some(existing) = state.conversations.get(&id) {
        if existing.subject != token.subject {
            return Err(Refusal::new(409, "Conversation already exists", "CONFLICT"));
        }
        return match state.config.dup_conversation {
            DupConversation::Conflict => Err(Refusal::new(409, "Conversation already exists", "CONFLICT")),
            DupConversation::Ok => Ok((200, json!({ "conversationId": id }))),
            DupConversation::BadRequest => Err(Refusal::parameter("conversationId")),
        };
    }
    let listening = state.streams.values().any(|stream| stream.subject == token.subject);
    if state.config.require_sse_before_create && !listening {
        return Err(Refusal::new(400, "Open the event stream first", "BAD_REQUEST"));
    }
    let limited = state.config.create_limit;
    let user = state.users.entry(token.subject.clone()).or_default();
    if limited && !within(&mut user.creates, Duration::from_secs(30), 3) {
        return Err(Refusal::too_many(state));
    }
    state.conversations.insert(
        id.clone(),
        Conversation {
            subject: token.subject.clone(),
            created_ms: state.now_ms(),
            closed_ms: None,
            entries: Vec::new(),
            sessions: Vec::new(),
            messages: Default::default(),
            identifiers: Default::default(),
            recent: Default::default(),
            to_answer: 0,
            answered: 0,
        },
    );
    state.order.push(id.clone());
    state.start_session(&id, attributes, language, true);
    Ok((201, json!({ "conversationId": id })))
}

fn list(state: &State, token: &Token, call: &Call) -> Reply {
    let limit = limit(call)?;
    let closed_too = match call.query.get("inclClosedConvs").map(String::as_str) {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Refusal::parameter("inclClosedConvs")),
    };
    let own: Vec<(&String, &Conversation)> = state
        .order
        .iter()
        .rev()
        .filter_map(|id| Some((id, state.conversations.get(id)?)))
        .filter(|(_, conversation)| conversation.subject == token.subject)
        .collect();
    let open = own.iter().filter(|(_, conversation)| conversation.closed_ms.is_none()).count();
    let conversations: Vec<Value> = own
        .iter()
        .filter(|(_, conversation)| closed_too || conversation.closed_ms.is_none())
        .take(limit)
        .map(|(id, conversation)| {
            json!({
                "conversationId": id, "startTimestamp": conversation.created_ms,
                "endTimestamp": conversation.closed_ms,
            })
        })
        .collect();
    Ok((
        200,
        json!({
            "openConversationsFound": open,
            "closedConversationsFound": if closed_too { own.len() - open } else { 0 },
            "conversations": conversations,
        }),
    ))
}

/// Default 20, at most 50.
fn limit(call: &Call) -> Result<usize, Refusal> {
    match call.query.get("limit") {
        None => Ok(20),
        Some(text) => match text.parse() {
            Ok(limit @ 1..=50) => Ok(limit),
            _ => Err(Refusal::parameter("limit")),
        },
    }
}

fn entries(state: &State, id: &str, call: &Call) -> Reply {
    let limit = limit(call)?;
    let bound = |name: &str, default: i64| match call.query.get(name) {
        None => Ok(default),
        Some(text) => text.parse::<i64>().map_err(|_| Refusal::parameter(name)),
    };
    let (from, to) = (bound("startTimestamp", i64::MIN)?, bound("endTimestamp", i64::MAX)?);
    let types: Option<Vec<&str>> = call.query.get("entryTypeFilter").map(|types| types.split(',').collect());
    let conversation = state.conversations.get(id).ok_or_else(Refusal::not_found)?;
    let wanted = |entry: &&StoredEntry| {
        (from..=to).contains(&entry.transcripted_ms)
            && !entry.entry_type.starts_with("Typing")
            && types.as_ref().is_none_or(|types| types.contains(&entry.entry_type))
    };
    let string = state.config.history_payload == HistoryPayload::String;
    let show = |entry: &StoredEntry| {
        let payload = match string {
            true => Value::String(entry.payload.to_string()),
            false => entry.payload.clone(),
        };
        json!({
            "senderDisplayName": entry.sender_name, "identifier": entry.identifier,
            "entryType": entry.entry_type, "entryPayload": payload, "sender": entry.sender,
            "transcriptedTimestamp": entry.transcripted_ms, "clientTimestamp": entry.transcripted_ms,
            "clientDuration": 0, "relatedRecords": entry.related,
        })
    };
    let all = conversation.entries.iter();
    let page: Vec<Value> = match call.query.get("direction").map(String::as_str) {
        None | Some("FromEnd") => all.rev().filter(wanted).take(limit).map(show).collect(),
        Some("FromStart") => all.filter(wanted).take(limit).map(show).collect(),
        Some(_) => return Err(Refusal::parameter("direction")),
    };
    Ok((200, json!({ "conversationEntries": page })))
}

/// Typing indicators: checked, shown to nobody yet.
fn entry(call: &Call) -> Reply {
    let body = body(call, &["entryType", "id"])?;
    match body.get("entryType").and_then(Value::as_str) {
        Some("TypingStartedIndicator" | "TypingStoppedIndicator") => {}
        _ => return Err(Refusal::parameter("entryType")),
    }
    match body.get("id").and_then(Value::as_str) {
        Some(id) if is_uuid(id) => Ok((200, json!({}))),
        _ => Err(Refusal::parameter("id")),
    }
}

fn acknowledge(state: &mut State, id: &str, call: &Call) -> Reply {
    let body = body(call, &["acks"])?;
    let Some(Value::Array(acks)) = body.get("acks") else { return Err(Refusal::parameter("acks")) };
    let conversation = state.conversations.get(id).ok_or_else(Refusal::not_found)?;
    let mut seen = Vec::new();
    for ack in acks {
        let text = |name: &str| ack.get(name).and_then(Value::as_str).unwrap_or_default();
        if !is_uuid(text("id")) {
            return Err(Refusal::parameter("acks.id"));
        }
        if !["Delivery", "Read"].contains(&text("entryType")) {
            return Err(Refusal::parameter("acks.entryType"));
        }
        if !conversation.identifiers.contains(text("conversationEntryId")) {
            return Err(Refusal::parameter("acks.conversationEntryId"));
        }
        seen.push((text("conversationEntryId").to_owned(), text("entryType").to_owned()));
    }
    for (entry, ack) in seen {
        state.record.push(What::Acknowledged { conversation: id.to_owned(), entry, ack });
    }
    Ok((200, json!({})))
}

/// `DELETE` of the conversation or of its session.
fn end(state: &mut State, token: &Token, id: &str, call: &Call, close: bool) -> Reply {
    deployment(state, call.query.get("esDeveloperName").map(String::as_str))?;
    let conversation = state.conversations.get_mut(id).ok_or_else(Refusal::not_found)?;
    if conversation.closed_ms.is_some() {
        return Err(Refusal::not_found());
    }
    if !close {
        if conversation.live().is_none() {
            let message = "No active messaging session exists for the conversation";
            return Err(Refusal::new(417, message, "EXPECTATION_FAILED"));
        }
        message::finish(state, id, "EndUser");
        return Ok((204, Value::Null));
    }
    let now = state.now_ms();
    let name = state.users.get(&token.subject).map_or_else(|| "Guest".to_owned(), |user| user.name.clone());
    let draft = Draft {
        event: "CONVERSATION_CLOSE_CONVERSATION",
        entry_type: "CloseConversation",
        identifier: new_id(),
        payload: json!({ "timestamp": now }),
        sender: json!({
            "role": "EndUser", "appType": "iamessage", "subject": token.subject,
            "clientIdentifier": token.client,
        }),
        sender_name: name,
        text: None,
        message_id: None,
        detail: None,
    };
    state.add(id, draft);
    message::finish(state, id, "EndUser");
    if let Some(conversation) = state.conversations.get_mut(id) {
        conversation.closed_ms = Some(now);
    }
    Ok((204, Value::Null))
}
