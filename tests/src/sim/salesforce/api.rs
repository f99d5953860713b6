//! The REST side (`miaw-api.md` §2 to §8) with the validation of §13. Everything else answers 501.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{
    Refusal, Salesforce, auth, body,
    config::DupConversation,
    files::{self, Upload},
    history, known,
    log::Draft,
    message, receipts,
    state::{Conversation, State, Token, within},
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

/// Two hosts in life, two ports here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Host {
    Api,
    Files,
}

/// The endpoint's name in faults and record, and the conversation in the path.
fn endpoint(host: Host, call: &Call) -> (&'static str, Option<String>) {
    if host == Host::Files {
        let is_download = call.method == Method::GET && call.path == files::PATH;
        return (if is_download { "download" } else { "other" }, None);
    }
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
        (&Method::POST, ["conversation", id, "file"]) => ("file", Some(id)),
        (&Method::GET, ["conversation", id, "transcript"]) => ("transcript", Some(id)),
        (&Method::POST, ["conversation", id, "entry"]) => ("entry", Some(id)),
        (&Method::POST, ["conversation", id, "acknowledge-entries"]) => ("acknowledge", Some(id)),
        (&Method::GET, ["conversation", id, "entries"]) => ("entries", Some(id)),
        _ => ("other", None),
    };
    (name, conversation.map(|id| (*id).to_owned()))
}

impl Salesforce {
    pub(super) async fn serve(self: Arc<Self>, host: Host, call: Call) -> Result<Answer, Dropped> {
        let response = self.clone().respond(host, call).await?;
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            self.throttled.fetch_add(1, Ordering::Relaxed);
        }
        Ok(response)
    }

    async fn respond(self: Arc<Self>, host: Host, call: Call) -> Result<Answer, Dropped> {
        let (endpoint, conversation) = endpoint(host, &call);
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
        let refused = |about: &mut About, refusal: Refusal| {
            about.error = Some(refusal.message.clone());
            refusal.answer()
        };
        let response = match endpoint {
            "other" => not_simulated("salesforce", &call),
            "sse" => match self.open_stream(&call) {
                Ok((response, subject)) => {
                    about.subject = Some(subject.to_string());
                    response
                }
                Err(refusal) => refused(&mut about, refusal),
            },
            "download" => self.with(|state| state.download(&call, &mut about.id)),
            "transcript" => match self.with(|state| transcript(state, &call, &mut about)) {
                Ok(pdf) => answer(200, "application/pdf", pdf),
                Err(refusal) => refused(&mut about, refusal),
            },
            _ => {
                let upload = if endpoint == "file" { Some(Upload::read(&call).await) } else { None };
                match self.with(|state| rest(state, endpoint, &call, upload, &mut about)) {
                    Ok((204, _)) => answer(204, "application/json", ""),
                    Ok((status, body)) => json_answer(status, &body),
                    Err(refusal) => refused(&mut about, refusal),
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

fn rest(
    state: &mut State,
    endpoint: &str,
    call: &Call,
    upload: Option<Result<Upload, Refusal>>,
    about: &mut About,
) -> Reply {
    match endpoint {
        "token" => return Ok((200, auth::token(state, call, true)?)),
        "token_unverified" => return Ok((200, auth::token(state, call, false)?)),
        _ => {}
    }
    let token = auth::bearer(state, call)?;
    about.subject = Some(token.subject.to_string());
    match endpoint {
        "continuation" => return Ok((200, auth::continuation(state, &token)?)),
        "list" => return history::list(state, &token, call),
        "create" => return create(state, &token, call, about),
        _ => {}
    }
    let id = owned(state, &token, about)?;
    match endpoint {
        "get" => {
            let status = state.conversations.get(&id).map(Conversation::routing_status);
            Ok((200, json!({ "conversationId": id, "routingStatus": status })))
        }
        "entries" => history::entries(state, &id, call),
        "message" => message::message(state, &token, &id, &body(call)?, about),
        "file" => match upload {
            Some(upload) => message::file(state, &token, &id, upload?, about),
            None => Err(Refusal::parameter("fileData")),
        },
        "entry" => receipts::typing(state, &id, &body(call)?),
        "acknowledge" => receipts::acknowledge(state, &id, &body(call)?),
        "close" | "end_session" => end(state, &token, &id, call, endpoint == "close"),
        _ => Err(Refusal::not_found()),
    }
}

/// The conversation that it is about, if it is the caller's.
fn owned(state: &State, token: &Token, about: &About) -> Result<String, Refusal> {
    let id = about.conversation.clone().unwrap_or_default();
    let conversation = state.conversations.get(&id).ok_or_else(Refusal::not_found)?;
    if conversation.subject != token.subject {
        return Err(Refusal::new(403, "Forbidden", "FORBIDDEN"));
    }
    Ok(id)
}

fn transcript(state: &mut State, call: &Call, about: &mut About) -> Result<Vec<u8>, Refusal> {
    let token = auth::bearer(state, call)?;
    about.subject = Some(token.subject.to_string());
    let id = owned(state, &token, about)?;
    deployment(state, call.query.get("esDeveloperName").map(String::as_str))?;
    history::transcript(state, &id)
}

pub(super) fn deployment(state: &State, name: Option<&str>) -> Result<(), Refusal> {
    match name {
        Some(name) if name == state.config.es_developer_name => Ok(()),
        _ => Err(Refusal::parameter("esDeveloperName")),
    }
}

/// `routingAttributes`: an object of strings.
pub(super) fn attributes(
    state: &State,
    body: &Map<String, Value>,
) -> Result<BTreeMap<String, String>, Refusal> {
    let wrong = || Refusal::parameter("routingAttributes");
    let attributes: BTreeMap<String, String> = match body.get("routingAttributes") {
        None => BTreeMap::new(),
        Some(Value::Object(members)) => members
            .iter()
            .map(|(key, value)| Ok((key.clone(), value.as_str().ok_or_else(wrong)?.to_owned())))
            .collect::<Result<_, Refusal>>()?,
        Some(_) => return Err(wrong()),
    };
    let refused = state.config.strict_attributes.then(|| state.parameters(&attributes).1);
    match refused.as_deref() {
        Some([first, ..]) => Err(Refusal::parameter(&format!("routingAttributes.{first}"))),
        Some([]) | None => Ok(attributes),
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
    let body = body(call)?;
    known(&body, &["conversationId", "esDeveloperName", "routingAttributes", "language"])?;
    let id = body.get("conversationId").and_then(Value::as_str).unwrap_or_default().to_owned();
    about.conversation = Some(id.clone());
    if !is_lowercase_v4(&id) {
        let message = "Specify the conversationId in UUID format. The UUID must be in lowercase.";
        return Err(Refusal::new(400, message, "BAD_REQUEST"));
    }
    deployment(state, body.get("esDeveloperName").and_then(Value::as_str))?;
    let (attributes, language) = (attributes(state, &body)?, language(&body)?);
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
    let (limited, now) = (state.config.create_limit, state.now_ms());
    let user = state.users.entry(token.subject.clone()).or_default();
    if state.config.require_sse_before_create && user.streams.is_empty() {
        return Err(Refusal::new(400, "Open the event stream first", "BAD_REQUEST"));
    }
    if limited && !within(&mut user.creates, now, 30_000, 3) {
        state.violation("conversation starts", &token.subject);
        return Err(Refusal::too_many(state));
    }
    state.conversations.insert(id.clone(), Conversation::new(token.subject.clone(), now));
    state.order.push(id.clone());
    state.start_session(&id, attributes, language, true);
    Ok((201, json!({ "conversationId": id })))
}

/// `DELETE` of the conversation or of its session.
fn end(state: &mut State, token: &Token, id: &str, call: &Call, close: bool) -> Reply {
    deployment(state, call.query.get("esDeveloperName").map(String::as_str))?;
    if state.config.delete_needs_org {
        match call.header("x-org-id") {
            None => return Err(Refusal::new(400, "OrgId is required", "BAD_REQUEST")),
            Some(org) if org != state.config.org_id => {
                let message = "OrgId in the header and token must match";
                return Err(Refusal::new(400, message, "BAD_REQUEST"));
            }
            Some(_) => {}
        }
    }
    let conversation = state.conversations.get_mut(id).ok_or_else(Refusal::not_found)?;
    if conversation.closed_ms.is_some() {
        return Err(Refusal::not_found());
    }
    if !close {
        if conversation.live().is_none() {
            let message = "No active messaging session exists for the conversation";
            return Err(Refusal::new(417, message, "EXPECTATION_FAILED"));
        }
        state.finish(id, "EndUser");
        return Ok((204, Value::Null));
    }
    let now = state.now_ms();
    let name = state.name_of(&token.subject);
    let who = (&*token.subject, token.client.as_str(), name.as_str());
    state.add(id, Draft::customer(who, "CloseConversation", json!({ "timestamp": now })));
    state.finish(id, "EndUser");
    if let Some(conversation) = state.conversations.get_mut(id) {
        conversation.closed_ms = Some(now);
    }
    Ok((204, Value::Null))
}
