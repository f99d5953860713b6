//! One pace for whoever sends, with the cache or without.

use std::{
    num::NonZeroU32,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, timeout};

use super::{Hold, LocalPace, Pace, Paced};
use crate::{Error, PATIENCE, Store};

/// How long nobody asks a cache that failed. After that one caller tries, the others still do
/// without.
const AWAY: Duration = Duration::from_secs(1);

/// Paces all replicas together while the cache is there, and each for itself while it is not.
///
/// It also keeps count by itself, so that what must wait is not asked for again and again, a cache
/// that comes back empty lifts nothing, and the fallback starts from what this process has sent.
#[derive(Debug)]
pub struct Pacer {
    store: Store,
    local: Mutex<LocalPace>,
    away: Mutex<Option<Instant>>,
    replicas: AtomicU32,
}

impl Pacer {
    pub fn new(store: Store) -> Self {
        Self { store, local: Mutex::default(), away: Mutex::default(), replicas: AtomicU32::new(1) }
    }

    /// How many processes send: without the cache each takes that part of a number's throughput.
    pub fn set_replicas(&self, replicas: NonZeroU32) {
        self.replicas.store(replicas.get(), Ordering::Relaxed);
    }

    /// Whether a message may go now. Answers within half a second, and at once while the cache is
    /// known to be away.
    pub async fn pace(&self, pace: &Pace<'_>) -> Paced {
        if let wait @ Paced::Wait(..) = self.local().ask(pace, Instant::now()) {
            return wait;
        }
        if !self.may_ask() {
            return self.alone(pace);
        }
        match timeout(PATIENCE, self.store.pace(pace)).await {
            Ok(Ok(answer)) => {
                self.is_there();
                let now = Instant::now();
                match answer {
                    Paced::Go => self.local().count(pace, now),
                    Paced::Wait(wait, by) => self.local().learn(pace, wait, by, now),
                }
                answer
            }
            Ok(Err(_)) | Err(_) => {
                self.is_gone();
                self.alone(pace)
            }
        }
    }

    /// Holds a number or a pair back, as [`Store::block`] does. It always holds in this process;
    /// an error means that the other replicas were not told.
    pub async fn block(&self, what: Hold<'_>, lasting: Duration) -> Result<(), Error> {
        self.local().block(what, lasting, Instant::now());
        let told = timeout(PATIENCE, self.store.block(what, lasting)).await.unwrap_or(Err(Error::Away));
        if told.is_err() {
            self.is_gone();
        }
        told
    }

    /// Whether this process paces by itself, because the cache failed a moment ago.
    pub fn is_alone(&self) -> bool {
        self.away().is_some()
    }

    fn alone(&self, pace: &Pace<'_>) -> Paced {
        let replicas = self.replicas.load(Ordering::Relaxed).max(1);
        let share = Pace { per_second: (pace.per_second / replicas).max(1), ..*pace };
        self.local().pace(&share, Instant::now())
    }

    fn may_ask(&self) -> bool {
        let now = Instant::now();
        let mut away = self.away();
        match *away {
            None => true,
            Some(until) if now < until => false,
            Some(_) => {
                *away = Some(now + AWAY);
                true
            }
        }
    }

    fn is_there(&self) {
        *self.away() = None;
    }

    fn is_gone(&self) {
        *self.away() = Some(Instant::now() + AWAY);
    }

    fn local(&self) -> MutexGuard<'_, LocalPace> {
        self.local.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn away(&self) -> MutexGuard<'_, Option<Instant>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
