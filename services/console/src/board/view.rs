//! A row as it is shown.

use askama::Template;
use domain::Millis;
use serde::Serialize;

use super::row::{By, Row};
use crate::timeline::time;

/// For the list, and for programs; the words of the last message are shown on the page only.
#[derive(Serialize, schemars::JsonSchema)]
pub(crate) struct RowView {
    /// `OpencxSessionId`.
    pub(crate) id: String,
    /// The conversation's key: what stands in subjects, logs and traces.
    pub(crate) conversation: String,
    /// waiting, with_rep, assistant or closed.
    pub(crate) state: &'static str,
    /// The same, finer: assistant, opening, waiting, live, inactive or closed.
    pub(crate) owner: &'static str,
    pub(crate) owner_since: String,
    /// Since when the customer waits for a rep.
    pub(crate) waiting_since: Option<String>,
    pub(crate) opened_at: String,
    /// The business number at Meta.
    pub(crate) phone_number_id: String,
    /// The customer's profile name.
    pub(crate) name: Option<String>,
    /// The Salesforce conversation.
    pub(crate) thread: Option<String>,
    pub(crate) handoffs: u32,
    pub(crate) last_message: Option<LastView>,
    #[serde(skip)]
    pub(crate) label: &'static str,
    /// Its place in the list.
    #[serde(skip)]
    pub(crate) order: String,
    #[serde(skip)]
    pub(crate) owned: Ago,
    #[serde(skip)]
    pub(crate) waits: Option<Ago>,
}

#[derive(Serialize, schemars::JsonSchema)]
pub(crate) struct LastView {
    pub(crate) at: String,
    /// in: from the customer; out: to the customer.
    pub(crate) direction: &'static str,
    /// customer, assistant, rep, bot, baton, colleague or other.
    pub(crate) by: &'static str,
    #[serde(skip)]
    pub(crate) label: &'static str,
    #[serde(skip)]
    pub(crate) said: Ago,
    #[serde(skip)]
    pub(crate) text: Option<String>,
}

/// A time, and how long ago that is. The page's script keeps the words current.
pub(crate) struct Ago {
    pub(crate) at: String,
    pub(crate) at_ms: Millis,
    pub(crate) words: String,
}

impl Ago {
    pub(crate) fn new(at: Millis, now: Millis) -> Self {
        Self { at: time(at), at_ms: at, words: ago(now - at) }
    }
}

#[derive(Template)]
#[template(path = "sessions_row.html")]
struct Html<'a> {
    row: &'a RowView,
}

impl RowView {
    /// `None` for rows that are not shown.
    pub(crate) fn of(row: &Row, now: Millis) -> Option<Self> {
        Some(Self {
            id: row.session?.to_string(),
            conversation: row.key.to_string(),
            state: row.state.group().as_str(),
            owner: row.state.as_str(),
            owner_since: time(row.owner_since),
            waiting_since: row.waiting_since.map(time),
            opened_at: time(row.opened_at),
            phone_number_id: row.number.as_str().to_owned(),
            name: row.name.clone(),
            thread: row.thread.map(|thread| thread.to_string()),
            handoffs: row.handoffs,
            last_message: row.last.as_ref().map(|last| LastView {
                at: time(last.at),
                direction: if last.by == By::Customer { "in" } else { "out" },
                by: last.by.as_str(),
                label: last.by.label(),
                said: Ago::new(last.at, now),
                text: last.text.clone(),
            }),
            label: row.state.label(),
            order: row.order().to_string(),
            owned: Ago::new(row.owner_since, now),
            waits: row.waiting_since.map(|since| Ago::new(since, now)),
        })
    }

    /// The row of the table.
    pub(crate) fn html(&self) -> Result<String, askama::Error> {
        Html { row: self }.render()
    }
}

/// In words, one unit or two.
pub(crate) fn ago(ms: Millis) -> String {
    let seconds = ms.max(0) / 1_000;
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}
