//! All live conversations, always current: what the list of sessions shows. In memory, fed from the
//! log, bounded; made anew at every start.

mod feed;
mod minutes;
mod row;
mod rows;
mod stream;
#[cfg(test)]
mod tests;
mod view;

use std::{
    convert::Infallible,
    sync::{Arc, PoisonError, RwLock},
};

use bus::Log;
use domain::{ConversationKey, Millis};
use opentelemetry::{global, metrics::Gauge};
use tokio::sync::{Semaphore, broadcast, watch};
use tokio_util::sync::CancellationToken;

use self::stream::News;
pub(crate) use self::{
    minutes::Minute,
    row::{Group, Row},
    rows::{Counts, Rows, Wanted},
    stream::{Interest, subscribe},
    view::{Ago, RowView},
};

/// Conversations that it holds, the newest by their last activity. A row takes less than 1 KiB.
pub(crate) const MOST_CONVERSATIONS: usize = 20_000;
/// Pages that are kept current at once.
const MOST_SUBSCRIBERS: usize = 256;
/// Pieces of news that a slow subscriber may be behind.
const MOST_NEWS: usize = 16;

#[derive(Clone)]
pub(crate) struct Board(Arc<Shared>);

struct Shared {
    rows: RwLock<Rows>,
    /// The rows' version.
    changed: watch::Sender<u64>,
    news: broadcast::Sender<Arc<News>>,
    places: Arc<Semaphore>,
    /// Versions are this process's own.
    started: Millis,
    shutdown: CancellationToken,
    meters: Meters,
}

struct Meters {
    conversations: Gauge<u64>,
    listeners: Gauge<u64>,
}

impl Board {
    pub(crate) fn new(shutdown: CancellationToken) -> Self {
        Self(Arc::new(Shared {
            rows: RwLock::new(Rows::new(MOST_CONVERSATIONS, 0)),
            changed: watch::Sender::new(0),
            news: broadcast::Sender::new(MOST_NEWS),
            places: Arc::new(Semaphore::new(MOST_SUBSCRIBERS)),
            started: now(),
            shutdown,
            meters: Meters {
                conversations: global::meter("console")
                    .u64_gauge(runtime::metrics::BOARD_CONVERSATIONS)
                    .build(),
                listeners: global::meter("console").u64_gauge(runtime::metrics::BOARD_LISTENERS).build(),
            },
        }))
    }

    /// A conversation was erased: open pages take it off.
    pub(crate) fn forget(&self, key: ConversationKey) {
        self.write(|rows| rows.forget(key));
    }

    /// Keeps it current and tells subscribers; never ends.
    pub(crate) async fn follow(&self, log: &Log) -> Infallible {
        tokio::select! {
            never = feed::follow(self, log) => never,
            never = stream::tell(self) => never,
        }
    }

    pub(crate) fn read<T>(&self, look: impl FnOnce(&Rows) -> T) -> T {
        // Whoever panicked while writing left at worst one row half changed.
        look(&self.0.rows.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, change: impl FnOnce(&mut Rows)) {
        let version = {
            let mut rows = self.0.rows.write().unwrap_or_else(PoisonError::into_inner);
            change(&mut rows);
            rows.version
        };
        self.0.changed.send_replace(version);
    }

    /// What was read anew takes the place of everything.
    fn begin(&self, mut fresh: Rows) {
        fresh.ready = true;
        fresh.version += 1;
        fresh.begun = fresh.version;
        self.write(|rows| *rows = fresh);
    }

    fn most(&self) -> usize {
        self.read(Rows::most)
    }

    fn measure(&self) {
        let count = |n| u64::try_from(n).unwrap_or(u64::MAX);
        self.0.meters.conversations.record(count(self.read(Rows::len)), &[]);
        self.0.meters.listeners.record(count(self.0.news.receiver_count()), &[]);
    }

    /// What a page was made of, for the stream to go on from.
    pub(crate) fn mark(&self, version: u64) -> String {
        format!("{}-{version}", self.0.started)
    }
}

/// Waits are shown up to now; nothing is decided by this clock.
pub(crate) fn now() -> Millis {
    jiff::Timestamp::now().as_millisecond()
}
