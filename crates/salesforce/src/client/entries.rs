//! History: the answer to every gap in the event stream (§7.3, §8).

use std::collections::HashSet;

use domain::{EntryId, Millis, ThreadId};
use http::Method;
use uuid::Uuid;

use super::{Client, wire};
use crate::{AccessToken, Error, event::ConversationEntry};

const ENDPOINT: &str = "GET /conversation/{id}/entries";
/// Salesforce's maximum (§8).
const PAGE: usize = 50;
/// The default page size, in case `limit` is not heeded: a page with fewer entries is the last.
const SHORT_PAGE: usize = 20;
/// A page of 50 long entries is larger than other answers.
const MAX_PAGE_BYTES: usize = 8 * 1024 * 1024;
/// Pages that [`Client::entries_since`] reads at most.
const MAX_PAGES: usize = 40;
/// How far back [`Client::send_text`] looks for a message that was refused as a repeat.
const MAX_PAGES_BACK: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Newest first: Salesforce's default.
    #[default]
    FromEnd,
    FromStart,
}

/// A window of a conversation's history. Whether its ends are inclusive is not public: overlap.
#[derive(Debug, Clone, Default)]
pub struct EntriesQuery {
    /// 1 to 50; 0 for Salesforce's default of 20.
    pub limit: usize,
    pub start: Option<Millis>,
    pub end: Option<Millis>,
    pub direction: Direction,
    /// `Message`, `ParticipantChanged` …; all when empty.
    pub entry_types: Vec<&'static str>,
}

/// Entries in order of `transcriptedTimestamp`, none twice.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub entries: Vec<ConversationEntry>,
    /// Whether it goes on to the present. If not, ask again from the last entry's timestamp.
    pub complete: bool,
}

impl Client {
    /// One page, in Salesforce's order.
    pub async fn entries(
        &self,
        token: &AccessToken,
        id: ThreadId,
        query: &EntriesQuery,
    ) -> Result<Vec<ConversationEntry>, Error> {
        let mut parameters = Vec::new();
        if query.limit > 0 {
            parameters.push(("limit", query.limit.min(PAGE).to_string()));
        }
        if let Some(start) = query.start {
            parameters.push(("startTimestamp", start.max(0).to_string()));
        }
        if let Some(end) = query.end {
            parameters.push(("endTimestamp", end.max(0).to_string()));
        }
        let direction = match query.direction {
            Direction::FromEnd => "FromEnd",
            Direction::FromStart => "FromStart",
        };
        parameters.push(("direction", direction.into()));
        if !query.entry_types.is_empty() {
            parameters.push(("entryTypeFilter", query.entry_types.join(",")));
        }
        let url = self.url(&["conversation", &id.to_string(), "entries"]);
        let call = self.request(Method::GET, url, token).query(&parameters);
        let answer: wire::EntriesAnswer = self.bounded_call(ENDPOINT, call, MAX_PAGE_BYTES).await?.json()?;
        Ok(answer.entries())
    }

    /// Everything from `start` on, oldest first, page by page: at most 2,000 entries, then
    /// [`History::complete`] is false. There is no cursor: the next page starts where the last
    /// one ended, overlapping by a millisecond.
    pub async fn entries_since(
        &self,
        token: &AccessToken,
        id: ThreadId,
        start: Millis,
    ) -> Result<History, Error> {
        let mut seen: HashSet<EntryId> = HashSet::new();
        let mut entries: Vec<ConversationEntry> = Vec::new();
        let mut from = start;
        let mut complete = false;
        for _ in 0..MAX_PAGES {
            let query = EntriesQuery {
                limit: PAGE,
                start: Some(from),
                direction: Direction::FromStart,
                ..EntriesQuery::default()
            };
            let page = self.entries(token, id, &query).await?;
            let short = page.len() < SHORT_PAGE;
            let newest = page.iter().map(|entry| entry.transcripted_timestamp).max();
            let known = entries.len();
            entries.extend(page.into_iter().filter(|entry| seen.insert(entry.identifier.clone())));
            let Some(newest) = newest.filter(|_| !short && entries.len() > known) else {
                complete = true;
                break;
            };
            // A full page within one millisecond: go on behind it, or we stand still.
            from = if newest - 1 > from { newest - 1 } else { newest + 1 };
        }
        entries.sort_by_key(|entry| entry.transcripted_timestamp);
        Ok(History { entries, complete })
    }

    /// Whether a message of ours is in the thread: the last 200 messages are searched.
    pub async fn has_message(
        &self,
        token: &AccessToken,
        id: ThreadId,
        message_id: Uuid,
    ) -> Result<bool, Error> {
        let mut end = None;
        for _ in 0..MAX_PAGES_BACK {
            let query =
                EntriesQuery { limit: PAGE, end, entry_types: vec!["Message"], ..EntriesQuery::default() };
            let page = self.entries(token, id, &query).await?;
            if page.iter().any(|entry| entry.is_message(message_id)) {
                return Ok(true);
            }
            let oldest = page.iter().map(|entry| entry.transcripted_timestamp).min();
            match oldest.filter(|_| page.len() >= PAGE) {
                // Overlapping by a millisecond, but never standing still.
                Some(oldest) => end = Some(oldest + i64::from(end != Some(oldest + 1))),
                None => return Ok(false),
            }
        }
        Ok(false)
    }
}
