//! Everything of a person as one JSON document, written as it is read: no more than a page of one
//! conversation is in memory.

use std::collections::VecDeque;

use axum::{
    body::Body,
    http::header,
    response::{IntoResponse, Response},
};
use bus::Entry;
use domain::{ContactId, ConversationKey, Seq};
use futures::stream;
use proto::subjects;
use serde_json::json;

use super::{
    Contact,
    find::{Depth, person},
};
use crate::{
    Console,
    access::Caller,
    error::RouteError,
    timeline::{Record, time, told},
};

/// Entries that are read at once.
const PAGE: usize = 500;

/// What is still to be written.
enum Piece {
    Text(String),
    /// What only the history has: before `until` in the log, behind `after` in the history.
    Past {
        key: ConversationKey,
        after: Seq,
        until: Seq,
        first: bool,
    },
    /// What the log has.
    Present {
        key: ConversationKey,
        from: Seq,
        first: bool,
    },
}

pub(super) async fn export(
    console: &Console,
    caller: &Caller,
    asked: ContactId,
) -> Result<Response, RouteError> {
    let person = person(console, asked, Depth::Whole).await?;
    tracing::info!(by = caller.name(), contact = %person.contact, "a contact was exported");
    let contact = Contact::of(console, &person).await?;
    let mut pieces = VecDeque::new();
    let about = serde_json::to_string(&contact).map_err(|_| RouteError::Internal)?;
    let now = time(crate::board::now());
    pieces.push_back(Piece::Text(format!(
        "{{\"exported_at\":{},\"contact\":{about},\"conversations\":[",
        json!(now)
    )));
    for (at, (key, _)) in person.conversations.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        pieces.push_back(Piece::Text(format!(
            "{comma}{{\"conversation\":{},\"entries\":[",
            json!(key.to_string())
        )));
        let first = console.lookup.log().read(vec![subjects::conversation(key)], 1, Seq::MAX, 1).await?;
        let until = first.first().map_or(Seq::MAX, |entry| entry.seq);
        pieces.push_back(Piece::Past { key: *key, after: 0, until, first: true });
    }
    pieces.push_back(Piece::Text("]}\n".into()));
    let writer = Writer { console: console.clone(), pieces };
    let body = stream::unfold(writer, |mut writer| async move {
        let written = writer.next().await?;
        if written.is_err() {
            // The connection breaks: nobody takes half a document for a whole one.
            writer.pieces.clear();
        }
        Some((written, writer))
    });
    let name = format!("attachment; filename=\"contact-{}.json\"", person.contact);
    let headers =
        [(header::CONTENT_TYPE, "application/json".to_owned()), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, Body::from_stream(body)).into_response())
}

struct Writer {
    console: Console,
    pieces: VecDeque<Piece>,
}

impl Writer {
    async fn next(&mut self) -> Option<Result<String, std::io::Error>> {
        let written = match self.pieces.pop_front()? {
            Piece::Text(text) => Ok(text),
            Piece::Past { key, after, until, first } => self.past(key, after, until, first).await,
            Piece::Present { key, from, first } => self.present(key, from, first).await,
        };
        Some(written.map_err(|error| {
            tracing::warn!(error = runtime::error_chain(&error), "an export was cut short");
            std::io::Error::other("the log does not answer")
        }))
    }

    async fn past(
        &mut self,
        key: ConversationKey,
        after: Seq,
        until: Seq,
        first: bool,
    ) -> Result<String, bus::Error> {
        let found = self.console.lookup.log().history(&key, after, PAGE).await?;
        let last = found.last().map(|(at, _)| *at);
        let older: Vec<Entry> =
            found.into_iter().map(|(_, entry)| entry).filter(|entry| entry.seq < until).collect();
        let (text, first) = lines(&older, first);
        self.pieces.push_front(match last {
            Some(last) => Piece::Past { key, after: last, until, first },
            None => Piece::Present { key, from: 1, first },
        });
        Ok(text)
    }

    async fn present(&mut self, key: ConversationKey, from: Seq, first: bool) -> Result<String, bus::Error> {
        let everything = vec![subjects::conversation(&key)];
        let found = self.console.lookup.log().read(everything, from, Seq::MAX, PAGE).await?;
        let (text, first) = lines(&found, first);
        self.pieces.push_front(match found.last() {
            Some(last) => Piece::Present { key, from: last.seq + 1, first },
            None => Piece::Text("]}".into()),
        });
        Ok(text)
    }
}

/// Behind what is written already; and whether nothing is, still.
fn lines(entries: &[Entry], mut first: bool) -> (String, bool) {
    let records: Vec<Record> = entries.iter().filter_map(Record::of).collect();
    let mut text = String::new();
    for line in told(&records) {
        let Ok(line) = serde_json::to_string(&line) else { continue };
        if !std::mem::take(&mut first) {
            text.push(',');
        }
        text.push_str(&line);
    }
    (text, first)
}
