//! What was: conversations, entries, the transcript (`miaw-api.md` §3.2, §8).

use serde_json::{Value, json};

use super::{
    Refusal,
    api::Reply,
    config::HistoryPayload,
    log::passing,
    state::{Conversation, State, StoredEntry, Token},
};
use crate::sim::server::Call;

pub(super) fn list(state: &State, token: &Token, call: &Call) -> Reply {
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

pub(super) fn entries(state: &State, id: &str, call: &Call) -> Reply {
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
            && !passing(&entry.entry_type)
            && types.as_ref().is_none_or(|types| types.contains(&&*entry.entry_type))
    };
    let string = state.config.history_payload == HistoryPayload::String;
    let show = |entry: &StoredEntry| {
        let payload = match string {
            true => Value::String(entry.payload.to_string()),
            false => entry.parsed(),
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

/// A PDF of one page, as the mobile SDK gets one.
pub(super) fn transcript(state: &State, id: &str) -> Result<Vec<u8>, Refusal> {
    if !state.config.transcript {
        return Err(Refusal::new(403, "Transcripts are not enabled", "FORBIDDEN"));
    }
    let conversation = state.conversations.get(id).ok_or_else(Refusal::not_found)?;
    let escape = |text: &str| text.replace('\\', "\\\\").replace('(', "\\(").replace(')', "\\)");
    let lines: String = conversation
        .entries
        .iter()
        .filter_map(|entry| {
            Some(format!("({}: {}) '\n", escape(&entry.sender_name), escape(entry.text.as_ref()?)))
        })
        .collect();
    let page = format!("BT /F1 10 Tf 12 TL 36 806 Td\n{lines}ET");
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R \
         /Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>"
            .to_owned(),
        format!("<< /Length {} >>\nstream\n{page}\nendstream", page.len()),
    ];
    let mut pdf = "%PDF-1.4\n".to_owned();
    let mut places = String::new();
    for (number, object) in (1..).zip(&objects) {
        places.push_str(&format!("{:010} 00000 n \n", pdf.len()));
        pdf.push_str(&format!("{number} 0 obj\n{object}\nendobj\n"));
    }
    let start = pdf.len();
    pdf.push_str(&format!("xref\n0 5\n0000000000 65535 f \n{places}"));
    pdf.push_str(&format!("trailer << /Size 5 /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n"));
    Ok(pdf.into_bytes())
}
