//! Changes of the board, pushed to open pages as server-sent events.
//!
//! `rows`: rows that changed, as HTML, and the counts. `reload`: too much happened; fetch the page
//! again. An event's id is the board's version, so that a connection that broke goes on from there.

use std::{
    convert::Infallible,
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::response::{
    IntoResponse, Response,
    sse::{Event, KeepAlive, Sse},
};
use domain::{PhoneNumberId, SessionId};
use futures::{StreamExt as _, stream};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, broadcast};

use super::{
    Board, Counts, Group, now,
    row::Row,
    rows::{Rows, Wanted},
    view::RowView,
};
use crate::error::RouteError;

/// Changes are told together, at most this often.
const PACE: Duration = Duration::from_millis(400);
/// With more rows than these, a page is better fetched anew.
const MOST_ROWS: usize = 200;
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Then the page connects again, and whoever may no longer look is turned away.
const LONGEST: Duration = Duration::from_secs(600);

/// What changed between two versions; rendered once, for all who listen.
pub(super) struct News {
    through: u64,
    counts: Counts,
    /// None: too many.
    rows: Option<Vec<Change>>,
}

struct Change {
    key: String,
    group: Group,
    number: PhoneNumberId,
    /// None: no longer shown.
    session: Option<SessionId>,
    order: String,
    html: String,
}

/// Which changes somebody wants to hear of.
pub(crate) struct Interest {
    pub(crate) wanted: Wanted,
    /// This session only.
    pub(crate) session: Option<SessionId>,
}

#[derive(Serialize)]
struct Told<'a> {
    counts: [(&'static str, usize); 4],
    rows: Vec<ToldRow<'a>>,
}

#[derive(Serialize)]
struct ToldRow<'a> {
    key: &'a str,
    order: &'a str,
    /// None: it does not belong to this list (any more).
    html: Option<&'a str>,
}

/// Tells subscribers what changed; never ends.
pub(super) async fn tell(board: &Board) -> Infallible {
    let mut changed = board.0.changed.subscribe();
    let mut told = 0;
    loop {
        // The sender is the board's own.
        let _ = changed.changed().await;
        if board.0.news.receiver_count() > 0 {
            let news = board.read(|rows| News::since(rows, told));
            told = news.through;
            // Nobody left to hear it is fine.
            let _ = board.0.news.send(Arc::new(news));
        } else {
            told = *changed.borrow_and_update();
        }
        board.measure();
        tokio::time::sleep(PACE).await;
    }
}

/// A stream of what changes after `mark` ([`Board::mark`]).
pub(crate) fn subscribe(board: &Board, mark: Option<&str>, interest: Interest) -> Response {
    let Ok(place) = Arc::clone(&board.0.places).try_acquire_owned() else {
        return RouteError::Crowded.into_response();
    };
    // Before the look: what changes in between is told by both.
    let news = board.0.news.subscribe();
    board.measure();
    let since = mark.and_then(|mark| {
        let (started, version) = mark.split_once('-')?;
        (started.parse() == Ok(board.0.started)).then(|| u64::from_str(version).ok()).flatten()
    });
    let missed = board.read(|rows| News::since(rows, since.unwrap_or(rows.version)));
    // A page of another process, or of another log, knows nothing that is worth going on from.
    let missed = if mark.is_some() && since.is_none() { missed.unknown() } else { missed };
    let subscriber = Subscriber {
        board: board.clone(),
        interest,
        news,
        through: missed.through,
        missed: Some(missed),
        until: Instant::now() + LONGEST,
        _place: place,
    };
    let events = stream::unfold(subscriber, |mut subscriber| async move {
        let event = subscriber.next().await?;
        Some((Ok::<_, Infallible>(event), subscriber))
    });
    let events = events.take_until(board.0.shutdown.clone().cancelled_owned());
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

struct Subscriber {
    board: Board,
    interest: Interest,
    news: broadcast::Receiver<Arc<News>>,
    missed: Option<News>,
    through: u64,
    until: Instant,
    _place: OwnedSemaphorePermit,
}

impl Subscriber {
    /// `None` ends the stream.
    async fn next(&mut self) -> Option<Event> {
        if let Some(missed) = self.missed.take() {
            return Some(self.event(&missed));
        }
        loop {
            let news = tokio::time::timeout_at(self.until.into(), self.news.recv()).await.ok()?;
            match news {
                Ok(news) if news.through <= self.through => {}
                Ok(news) => {
                    self.through = news.through;
                    return Some(self.event(&news));
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    self.through = self.board.read(|rows| rows.version);
                    return Some(self.reload(self.through));
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    fn event(&self, news: &News) -> Event {
        let Some(rows) = &news.rows else { return self.reload(news.through) };
        let rows = rows.iter().filter(|row| self.interest.hears(row));
        let told = Told {
            counts: Group::ALL.map(|group| (group.as_str(), news.counts.of(group))),
            rows: rows
                .map(|row| ToldRow {
                    key: &row.key,
                    order: &row.order,
                    html: self.interest.shows(row).then_some(&row.html),
                })
                .collect(),
        };
        let event = Event::default().event("rows").id(self.board.mark(news.through));
        event.json_data(told).unwrap_or_else(|_| self.reload(news.through))
    }

    fn reload(&self, version: u64) -> Event {
        Event::default().event("reload").id(self.board.mark(version)).data("")
    }
}

impl News {
    fn since(rows: &Rows, version: u64) -> Self {
        let changed: Vec<&Row> = rows.changed_since(version).take(MOST_ROWS + 1).collect();
        let few = changed.len() <= MOST_ROWS && version >= rows.begun;
        Self {
            through: rows.version,
            counts: rows.counts(),
            rows: few.then(|| changed.into_iter().map(Change::of).collect()),
        }
    }

    fn unknown(self) -> Self {
        Self { rows: None, ..self }
    }
}

impl Change {
    fn of(row: &Row) -> Self {
        let html = RowView::of(row, now()).map(|view| view.html().unwrap_or_default());
        Self {
            key: row.key.to_string(),
            group: row.state.group(),
            number: row.number.clone(),
            session: row.session.filter(|_| html.is_some()),
            order: row.order().to_string(),
            html: html.unwrap_or_default(),
        }
    }
}

impl Interest {
    fn hears(&self, row: &Change) -> bool {
        self.session.is_none() || self.session == row.session
    }

    fn shows(&self, row: &Change) -> bool {
        row.session.is_some()
            && self.wanted.group.is_none_or(|group| group == row.group)
            && self.wanted.number.as_ref().is_none_or(|number| *number == row.number)
    }
}
