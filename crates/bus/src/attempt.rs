//! Tries one entry until it is finished, stuck or dead.

use std::{panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration};

use domain::{ConversationKey, Seq};
use futures::FutureExt as _;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::{
    Entry, Failure, Handler, Lease, Retry,
    beside::{Beside, Lost},
    lanes::Job,
    reader::Shared,
};

/// Refusals and panics before an entry is a dead letter.
const STRIKES: u32 = 3;
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(50);
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a parked lane tries before it is the next one's turn.
const TURN: Duration = Duration::from_secs(15);
/// A suspect that did no harm for so long lets the next one run: what takes a process down (memory,
/// the stack) does it soon, and a slow peer must not make the suspects wait for one another.
const ALONE_FOR: Duration = Duration::from_secs(3);

pub(crate) struct Attempt<H> {
    pub(crate) shared: Arc<Shared<H>>,
    pub(crate) beside: Beside,
    pub(crate) lease: Lease,
    /// Hand-over: no further try.
    pub(crate) release: CancellationToken,
    /// Stop where it stands.
    pub(crate) cut: CancellationToken,
    /// What it holds while it runs alone.
    pub(crate) alone: Option<Alone>,
    /// It took its process down too often: straight to the dead letters.
    pub(crate) condemned: bool,
}

/// The only suspect that runs in this process.
pub(crate) struct Alone {
    pub(crate) permit: OwnedSemaphorePermit,
    pub(crate) seq: Seq,
    pub(crate) worker: mpsc::UnboundedSender<Word>,
}

impl Alone {
    fn harmless(self) {
        let _ = self.worker.send(Word::Harmless(self.seq));
        drop(self.permit);
    }
}

/// What an attempt tells its partition's worker.
pub(crate) enum Word {
    /// A suspect that ran alone did not take the process down. It may still be tried.
    Harmless(Seq),
    Finished(ConversationKey, Seq, How),
}

pub(crate) enum How {
    Done,
    /// Tried for too long: to be parked, and not tried again before the pause.
    Stuck(Duration),
    /// Cut off, or not tried again because of a hand-over.
    Abandoned,
}

impl From<Lost> for How {
    fn from(Lost: Lost) -> Self {
        Self::Abandoned
    }
}

impl<H: Handler> Attempt<H> {
    pub(crate) async fn run(mut self, key: ConversationKey, job: Job<Entry>) -> How {
        let cut = self.cut.clone();
        cut.run_until_cancelled(self.job(&key, job)).await.unwrap_or(How::Abandoned)
    }

    async fn job(&mut self, key: &ConversationKey, job: Job<Entry>) -> How {
        match job {
            Job::Fresh(_, entry) => self.attempt(key, &entry, self.shared.options.park_after).await,
            Job::Parked(seq, pause) => {
                if self.wait(pause.min(TURN)).await.is_none() {
                    return How::Abandoned;
                }
                if pause > TURN {
                    return How::Stuck(pause - TURN);
                }
                let how = match self.read(key, seq).await {
                    Some(entry) => self.attempt(key, &entry, TURN).await,
                    None => How::Done,
                };
                match how {
                    How::Done => self.beside.unpark(key, seq).await.map_or_else(How::from, |()| How::Done),
                    How::Stuck(_) | How::Abandoned => how,
                }
            }
        }
    }

    async fn attempt(&mut self, key: &ConversationKey, entry: &Entry, patience: Duration) -> How {
        let service = self.shared.service;
        if self.condemned {
            return self.bury(key, entry, "its process died while it was handled, again and again").await;
        }
        let started = Instant::now();
        let mut pause = FIRST_PAUSE;
        let (mut tries, mut strikes) = (0, 0);
        loop {
            let Err(failure) = self.once(entry).await else { return How::Done };
            tries += 1;
            self.lease.first_try = false;
            let wait = match failure.retry {
                Retry::Never => {
                    strikes += 1;
                    if strikes >= STRIKES {
                        return self.bury(key, entry, &failure.to_string()).await;
                    }
                    FIRST_PAUSE
                }
                Retry::Soon => pause,
                Retry::After(pause) => pause,
            };
            // Once for each entry: an outage must not drown the log.
            if tries == 1 {
                tracing::warn!(
                    service, baton.conversation = %key, baton.seq = entry.seq, error = %failure,
                    "entry not finished, trying again",
                );
            } else {
                tracing::debug!(
                    service, baton.conversation = %key, baton.seq = entry.seq, tries, error = %failure,
                    "entry not finished, trying again",
                );
            }
            self.shared.meters.retried(service);
            if failure.retry != Retry::Never && started.elapsed() + wait > patience {
                return How::Stuck(wait);
            }
            if self.wait(wait.mul_f64(0.8 + fastrand::f64() * 0.4)).await.is_none() {
                return How::Abandoned;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn once(&mut self, entry: &Entry) -> Result<(), Failure> {
        // An outage of the broker is nobody's failure: wait until the lease is renewed, or lost.
        while !self.lease.is_held() {
            tokio::time::sleep(FIRST_PAUSE).await;
        }
        let alone = self.alone.take();
        let _permit = self.shared.permits.acquire().await.map_err(Failure::soon)?;
        let service = self.shared.service;
        let kind = entry.address.as_ref().map_or("entry", |address| address.kind.as_str());
        let span = tracing::info_span!(
            "entry",
            otel.name = format!("{service} {kind}"),
            otel.kind = "consumer",
            messaging.system = "nats",
            messaging.operation.name = "process",
            baton.seq = entry.seq,
        );
        let _ = span.set_parent(entry.trace.clone());
        let started = Instant::now();
        // Boxed: it is wrapped several times, and many lanes wait at the same time.
        let work = Box::pin(self.shared.handler.handle(entry, &self.lease));
        let work = AssertUnwindSafe(work).catch_unwind();
        let work = tokio::time::timeout(self.shared.options.handle_within, work).instrument(span);
        let result = match watched(work, alone).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Failure::never("the handler panicked")),
            Err(_) => Err(Failure::soon("the handler took too long")),
        };
        self.shared.meters.handled(service, kind, started.elapsed());
        result
    }

    /// None at a hand-over.
    async fn wait(&self, pause: Duration) -> Option<()> {
        self.release.run_until_cancelled(tokio::time::sleep(pause)).await
    }

    async fn read(&self, key: &ConversationKey, seq: Seq) -> Option<Entry> {
        loop {
            match self.shared.log.get(seq).await {
                Ok(Some(entry)) => return Some(entry),
                Ok(None) => {
                    // The log's horizon passed over it while it was parked.
                    tracing::error!(
                        service = self.shared.service, baton.conversation = %key, baton.seq = seq,
                        "a parked entry is gone from the log",
                    );
                    self.shared.meters.expired(self.shared.service);
                    return None;
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }

    /// Into the dead letters, with the reason; people have to look.
    async fn bury(&self, key: &ConversationKey, entry: &Entry, reason: &str) -> How {
        tracing::error!(
            service = self.shared.service, baton.conversation = %key, baton.seq = entry.seq, error = reason,
            "entry cannot be handled: moved to the dead letters",
        );
        self.shared.meters.buried(self.shared.service);
        self.beside.bury(key, entry, reason).await.map_or_else(How::from, |()| How::Done)
    }
}

/// A suspect runs alone until it is seen to do no harm.
async fn watched<T>(work: impl Future<Output = T>, alone: Option<Alone>) -> T {
    let Some(alone) = alone else { return work.await };
    let mut work = pin!(work);
    let done = tokio::time::timeout(ALONE_FOR, &mut work).await;
    alone.harmless();
    match done {
        Ok(done) => done,
        Err(_) => work.await,
    }
}
