//! `POST /conversation/{id}/message` and `/file`: what an end user may send, and what it sets in motion.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    Refusal,
    api::{About, Reply, attributes, deployment, is_uuid, language},
    config::{DupMessage, EchoId, FlagWhileLive, UrlSplit},
    content,
    files::Upload,
    known,
    log::Draft,
    session::Routing,
    state::{Conversation, State, Token, new_id, within},
    view::FileView,
    wheel::Due,
};

const MESSAGE: [&str; 5] =
    ["message", "esDeveloperName", "isNewMessagingSession", "routingAttributes", "language"];

/// What both calls have in common.
struct Submission {
    message_id: String,
    new_session: bool,
    attributes: BTreeMap<String, String>,
    language: Option<String>,
    message: Map<String, Value>,
}

fn submission(
    state: &State,
    body: &Map<String, Value>,
    members: &[&str],
    about: &mut About,
) -> Result<Submission, Refusal> {
    known(body, &MESSAGE)?;
    let Some(Value::Object(message)) = body.get("message") else {
        return Err(Refusal::parameter("message"));
    };
    if let Some(other) = message.keys().find(|key| !members.contains(&key.as_str())) {
        return Err(Refusal::parameter(&format!("message.{other}")));
    }
    let message_id = message.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    about.id = Some(message_id.clone());
    if !is_uuid(&message_id) {
        return Err(Refusal::parameter("message.id"));
    }
    deployment(state, body.get("esDeveloperName").and_then(Value::as_str))?;
    let new_session = match body.get("isNewMessagingSession") {
        None => false,
        Some(Value::Bool(flag)) => *flag,
        Some(_) => return Err(Refusal::parameter("isNewMessagingSession")),
    };
    let (attributes, language) = (attributes(state, body)?, language(body)?);
    Ok(Submission { message_id, new_session, attributes, language, message: message.clone() })
}

/// What becomes an entry.
enum Sent {
    Text(String),
    /// An `abstractMessage`, and what of it the rep reads.
    Answer {
        message: Value,
        text: String,
    },
    File {
        upload: Upload,
        file_id: String,
        caption: Option<String>,
    },
}

pub(super) fn message(
    state: &mut State,
    token: &Token,
    id: &str,
    body: &Map<String, Value>,
    about: &mut About,
) -> Reply {
    let members =
        ["id", "messageType", "inReplyToMessageId", "staticContent", "choicesResponse", "formResponse"];
    let submission = submission(state, body, &members, about)?;
    let message = &submission.message;
    let sent = match message.get("messageType").and_then(Value::as_str) {
        Some("StaticContentMessage") => text(state, message)?,
        Some("ChoicesResponseMessage") => choice(state, id, message)?,
        Some("FormResponseMessage") => form(state, id, message)?,
        _ => return Err(Refusal::parameter("message.messageType")),
    };
    submit(state, token, id, &submission, sent)
}

pub(super) fn file(state: &mut State, token: &Token, id: &str, upload: Upload, about: &mut About) -> Reply {
    let members = ["id", "fileId", "text", "inReplyToMessageId"];
    let submission = submission(state, &upload.entry, &members, about)?;
    let member = |name: &str| submission.message.get(name);
    let file_id = member("fileId").and_then(Value::as_str).filter(|id| is_uuid(id)).map(str::to_owned);
    let file_id = file_id.ok_or_else(|| Refusal::parameter("message.fileId"))?;
    let caption = match member("text") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(_) => return Err(Refusal::parameter("message.text")),
    };
    upload.check(state)?;
    submit(state, token, id, &submission, Sent::File { upload, file_id, caption })
}

fn text(state: &State, message: &Map<String, Value>) -> Result<Sent, Refusal> {
    let content = message.get("staticContent").and_then(Value::as_object);
    let content = content.ok_or_else(|| Refusal::parameter("message.staticContent"))?;
    if content.get("formatType") != Some(&"Text".into()) {
        return Err(Refusal::parameter("message.staticContent.formatType"));
    }
    let text = content.get("text").and_then(Value::as_str).unwrap_or_default();
    if text.is_empty() || text.len() > state.config.max_text_bytes {
        return Err(Refusal::parameter("message.staticContent.text"));
    }
    Ok(Sent::Text(text.to_owned()))
}

/// The message that is answered, of the given type.
fn asked<'a>(
    state: &'a State,
    id: &str,
    message: &Map<String, Value>,
    kind: &str,
) -> Result<(&'a str, Value), Refusal> {
    let wrong = || Refusal::parameter("message.inReplyToMessageId");
    let asked = message.get("inReplyToMessageId").and_then(Value::as_str).ok_or_else(wrong)?;
    let entries = &state.conversations.get(id).ok_or_else(Refusal::not_found)?.entries;
    let entry = entries.iter().find(|entry| entry.identifier == asked).ok_or_else(wrong)?;
    let payload = entry.parsed();
    let is_of_kind = payload["abstractMessage"]["messageType"] == kind;
    if is_of_kind { Ok((&entry.identifier, payload)) } else { Err(wrong()) }
}

fn choice(state: &State, id: &str, message: &Map<String, Value>) -> Result<Sent, Refusal> {
    let (asked, payload) = asked(state, id, message, "ChoicesMessage")?;
    let wrong = || Refusal::parameter("message.choicesResponse");
    let response = message.get("choicesResponse").ok_or_else(wrong)?;
    let selected = response["selectedOptions"].as_array().filter(|selected| !selected.is_empty());
    let selected = selected.filter(|_| response["formatType"] == "Selections").ok_or_else(wrong)?;
    let options = content::options(&payload);
    let title = |choice: &Value| {
        let id = choice["optionIdentifier"].as_str()?;
        options.iter().find(|(option, _)| option == id).map(|(_, title)| title.as_str())
    };
    let titles: Option<Vec<&str>> = selected.iter().map(title).collect();
    let text = titles.ok_or_else(wrong)?.join(", ");
    let message = json!({
        "messageType": "ChoicesResponseMessage", "inReplyToMessageId": asked, "choicesResponse": response,
    });
    Ok(Sent::Answer { message, text })
}

fn form(state: &State, id: &str, message: &Map<String, Value>) -> Result<Sent, Refusal> {
    let (asked, _) = asked(state, id, message, "FormMessage")?;
    let wrong = || Refusal::parameter("message.formResponse");
    let response = message.get("formResponse").ok_or_else(wrong)?;
    let values = response["inputValues"].as_array().filter(|_| response["formatType"] == "Inputs");
    let values: Vec<&str> =
        values.ok_or_else(wrong)?.iter().filter_map(|value| value["value"]["textValue"].as_str()).collect();
    let text = values.join(", ");
    let message = json!({
        "messageType": "FormResponseMessage", "inReplyToMessageId": asked, "formResponse": response,
    });
    Ok(Sent::Answer { message, text })
}

fn closed(status: u16) -> Refusal {
    let code = match status {
        404 => "NOT_FOUND",
        409 => "CONFLICT",
        _ => "BAD_REQUEST",
    };
    Refusal::new(status, "Conversation is closed", code)
}

fn submit(state: &mut State, token: &Token, id: &str, submission: &Submission, sent: Sent) -> Reply {
    let message_id = submission.message_id.as_str();
    let config = state.config.clone();
    let now = state.now_ms();
    let conversation = state.conversations.get_mut(id).ok_or_else(Refusal::not_found)?;
    if conversation.closed_ms.is_some() {
        return Err(closed(config.closed_send));
    }
    let accepted = |entry: &str, now: i64| {
        (202, json!({ "conversationEntries": [{ "id": entry, "clientTimestamp": now }] }))
    };
    let repeated = conversation.messages.get(message_id).cloned();
    if let Some(entry) = &repeated {
        match config.dup_message {
            DupMessage::Idempotent => return Ok(accepted(entry, now)),
            DupMessage::BadRequest => return Err(Refusal::parameter("message.id")),
            DupMessage::Conflict => return Err(Refusal::new(409, "Message already exists", "CONFLICT")),
            DupMessage::Duplicate => {}
        }
    }
    if config.message_limit && !within(&mut conversation.recent, now, 60_000, config.messages_per_minute) {
        state.violation("messages per minute", &token.subject);
        return Err(Refusal::too_many(state));
    }
    conversation.customer_typing = false;
    let status = conversation.live().map(|session| session.status);
    let start = match (status, submission.new_session) {
        (None, true) => true,
        (None, false) if config.per_session_prechat => {
            let message = "No active messaging session exists for the conversation";
            return Err(Refusal::new(417, message, "EXPECTATION_FAILED"));
        }
        (None, false) => true,
        (Some(_), true) => match config.flag_while_live {
            FlagWhileLive::Ignore => false,
            FlagWhileLive::NewSession => {
                state.finish(id, "System");
                true
            }
            FlagWhileLive::BadRequest => return Err(Refusal::parameter("isNewMessagingSession")),
        },
        (Some(_), false) => false,
    };
    if start {
        state.start_session(id, submission.attributes.clone(), submission.language.clone(), false);
    }
    let entry = show(state, token, id, (message_id, repeated.is_some()), sent);
    if let Some(conversation) = state.conversations.get_mut(id) {
        conversation.messages.insert(message_id.to_owned(), entry.clone());
        conversation.to_answer += 1;
    }
    state.due(Due::Reply(id.to_owned()));
    if status == Some("Inactive") && !start {
        state.set_status(id, "Waiting", None);
        state.route(id, &Routing::of("Initial"));
        state.due(Due::Accept(id.to_owned()));
    }
    Ok(accepted(&entry, state.now_ms()))
}

/// Puts it into the thread; gives the (first) entry's identifier.
fn show(state: &mut State, token: &Token, id: &str, (message, again): (&str, bool), sent: Sent) -> String {
    let echo = state.config.echo_id;
    // The entry's identifier, and the id of the message in it.
    let ids = |ours: bool| {
        let own = !ours || again || echo == EchoId::New;
        let identifier = if own { new_id() } else { message.to_owned() };
        let inner = if ours && echo == EchoId::New { message.to_owned() } else { identifier.clone() };
        (identifier, inner)
    };
    let mut shown = Vec::new();
    let mut add =
        |state: &mut State, ours: bool, body: Value, text: Option<String>, file: Option<FileView>| {
            let (identifier, inner) = ids(ours);
            let name = state.name_of(&token.subject);
            let who = (&*token.subject, token.client.as_str(), name.as_str());
            let draft = Draft::customer(who, "Message", content::wrap(&inner, body));
            shown.push(identifier.clone());
            state.add(id, Draft { identifier, text, file, message_id: Some(message.to_owned()), ..draft });
        };
    match sent {
        Sent::Text(text) => {
            let pieces = match state.config.url_split {
                UrlSplit::Off => vec![text.as_str()],
                UrlSplit::First | UrlSplit::Last | UrlSplit::Nowhere => split(&text),
            };
            let keeps = match state.config.url_split {
                _ if pieces.len() == 1 => Some(0),
                UrlSplit::Off | UrlSplit::First => Some(0),
                UrlSplit::Last => Some(pieces.len() - 1),
                UrlSplit::Nowhere => None,
            };
            for (at, piece) in pieces.into_iter().enumerate() {
                add(state, keeps == Some(at), content::text(piece), Some(piece.to_owned()), None);
            }
        }
        Sent::Answer { message, text } => add(state, true, message, Some(text), None),
        Sent::File { upload, file_id, caption } => {
            let (view, body) = state.take_upload(&file_id, upload, caption.as_deref());
            add(state, true, body, caption, Some(view));
        }
    }
    if state.config.rep_acknowledges {
        let live = state.conversations.get_mut(id).and_then(Conversation::live);
        if let Some(rep) = live.filter(|session| session.status == "Active").and_then(|s| s.rep.clone()) {
            shown.iter().for_each(|entry| state.receipt(id, &rep, "Delivery", entry));
        }
    }
    shown.swap_remove(0)
}

/// A text that begins or ends with a URL becomes several messages (`miaw-api.md` §4).
fn split(text: &str) -> Vec<&str> {
    let is_url = |word: &str| word.starts_with("http://") || word.starts_with("https://");
    let mut middle = text;
    let (mut first, mut last) = (None, None);
    let head = middle.trim_start();
    let end = head.find(char::is_whitespace).unwrap_or(head.len());
    if is_url(&head[..end]) {
        first = Some(&head[..end]);
        middle = &head[end..];
    }
    let tail = middle.trim_end();
    let start = tail.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    let start = tail.char_indices().map(|(at, _)| at).find(|at| *at >= start).unwrap_or(tail.len());
    if is_url(&tail[start..]) {
        last = Some(&tail[start..]);
        middle = &tail[..start];
    }
    if first.is_none() && last.is_none() {
        return vec![text];
    }
    let middle = Some(middle.trim()).filter(|middle| !middle.is_empty());
    first.into_iter().chain(middle).chain(last).collect()
}

pub(super) fn text_message(id: &str, text: &str) -> Value {
    content::wrap(id, content::text(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_split_at_urls_at_their_ends_only() {
        assert_eq!(
            split("no https://a.example in the middle splits"),
            ["no https://a.example in the middle splits"]
        );
        assert_eq!(split("see https://a.example"), ["see", "https://a.example"]);
        assert_eq!(split("https://a.example\nis it"), ["https://a.example", "is it"]);
        assert_eq!(split("http://a http://b"), ["http://a", "http://b"]);
        assert_eq!(split("http://a and\u{2003}http://b "), ["http://a", "and", "http://b"]);
        assert_eq!(split("https://a.example"), ["https://a.example"]);
        assert_eq!(split("héllo"), ["héllo"]);
    }
}
