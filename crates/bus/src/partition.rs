//! One partition: reads it in order, one lane per conversation, lanes side by side.

use std::{
    collections::{HashMap, VecDeque},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use async_nats::{
    HeaderMap,
    header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE,
    jetstream::{
        consumer::{DeliverPolicy, pull},
        kv,
        message::PublishMessage,
    },
};
use bytes::Bytes;
use domain::{ConversationKey, Partition, Seq};
use futures::{FutureExt as _, StreamExt as _};
use opentelemetry::KeyValue;
use proto::subjects;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::{
    Entry, Error, Failure, Handler, Lease, Retry,
    checkpoint::{Checkpoint, Cursor},
    reader::Shared,
};

/// Entries received and not finished, and finished above the floor: reading stops beyond.
const WINDOW: usize = 2_048;
/// Entries waiting in one lane before it is parked.
const LANE: usize = 256;
const CHECKPOINT_EVERY: Duration = Duration::from_millis(500);
const STRIKES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

pub(crate) struct Worker<H> {
    shared: Arc<Shared<H>>,
    partition: Partition,
    lease: Lease,
    release: CancellationToken,
    cursor: Cursor,
    revision: u64,
    lanes: HashMap<ConversationKey, Lane>,
    busy: usize,
    done: mpsc::UnboundedSender<Finished>,
    finished: mpsc::UnboundedReceiver<Finished>,
}

#[derive(Default)]
struct Lane {
    queue: VecDeque<Entry>,
    busy: bool,
    /// Positions of parked entries, oldest first. While there are any, the lane works on them, and
    /// what arrives is parked behind them.
    parked: VecDeque<Seq>,
}

struct Finished {
    key: ConversationKey,
    seq: Seq,
    how: How,
}

enum How {
    Done,
    /// Tried for too long: to be parked.
    Stuck,
    /// The lease was lost in the middle.
    Abandoned,
}

/// The partition is somebody else's, or cannot be worked on.
struct Stop;

impl<H: Handler> Worker<H> {
    pub(crate) fn new(
        shared: Arc<Shared<H>>,
        partition: Partition,
        lease: Lease,
        release: CancellationToken,
    ) -> Self {
        let (done, finished) = mpsc::unbounded_channel();
        Self {
            shared,
            partition,
            lease,
            release,
            cursor: Cursor::default(),
            revision: 0,
            lanes: HashMap::new(),
            busy: 0,
            done,
            finished,
        }
    }

    pub(crate) async fn run(mut self) {
        let lost = self.lease.lost.clone();
        // Losing the lease is like a crash: whatever is under way is dropped where it stands.
        let _ = lost.run_until_cancelled(self.work()).await;
        self.shared.handler.released(self.partition).await;
    }

    async fn work(&mut self) -> Result<(), Stop> {
        self.fence().await?;
        self.take_over().await?;
        let mut generation = self.shared.log.generation.clone();
        let mut messages: Option<pull::Stream> = None;
        let mut every = tokio::time::interval(CHECKPOINT_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut expected = 0;
        let mut reopen_at = Instant::now();
        while !self.release.is_cancelled() {
            let room = self.cursor.pending() + self.cursor.done() < WINDOW;
            if messages.is_none() && Instant::now() >= reopen_at {
                generation.borrow_and_update();
                match self.open().await {
                    Ok(opened) => {
                        messages = Some(opened);
                        expected = 1;
                    }
                    Err(e) => {
                        tracing::debug!(partition = %self.partition, error = %e, "consumer not created");
                        reopen_at = Instant::now() + Duration::from_millis(fastrand::u64(50..250));
                    }
                }
            }
            tokio::select! {
                biased;
                () = self.release.cancelled() => break,
                Some(finished) = self.finished.recv() => self.settle(finished).await?,
                _ = every.tick() => self.checkpoint().await?,
                _ = generation.changed() => messages = None,
                () = tokio::time::sleep_until(reopen_at), if messages.is_none() => {}
                message = next(&mut messages), if room && messages.is_some() => match message {
                    Some(Ok(message)) => match Entry::delivered(&message) {
                        Some((entry, count)) if count == expected => {
                            expected += 1;
                            self.receive(entry).await?;
                        }
                        // A gap: something was dropped on the way. Read again from where we are.
                        Some(_) | None => messages = None,
                    },
                    Some(Err(_)) | None => {
                        messages = None;
                        reopen_at = Instant::now() + Duration::from_millis(50);
                    }
                },
            }
        }
        drop(messages);
        self.drain().await
    }

    /// Writes the checkpoint with our epoch first: the owner before can write none after it, and
    /// whatever we read was not stale.
    async fn fence(&mut self) -> Result<(), Stop> {
        loop {
            match self.try_fence().await {
                Ok(Some(checkpoint)) => {
                    self.cursor = Cursor::resume(checkpoint);
                    return Ok(());
                }
                Ok(None) => return Err(Stop),
                Err(e) => {
                    tracing::debug!(partition = %self.partition, error = %e, "checkpoint not fenced yet");
                    tokio::time::sleep(Duration::from_millis(fastrand::u64(50..200))).await;
                }
            }
        }
    }

    async fn try_fence(&mut self) -> Result<Option<Checkpoint>, Error> {
        let broken = |e: Box<dyn std::error::Error + Send + Sync>| Error::broker("fence a checkpoint")(e);
        let store = &self.shared.log.checkpoints;
        let entry = store.entry(self.key()).await.map_err(|e| broken(e.into()))?;
        let (mut checkpoint, revision) = match entry {
            Some(entry) if entry.operation == kv::Operation::Put => {
                let checkpoint: Checkpoint =
                    serde_json::from_slice(&entry.value).map_err(|e| broken(e.into()))?;
                (checkpoint, entry.revision)
            }
            Some(entry) => (Checkpoint::default(), entry.revision),
            None => (Checkpoint::default(), 0),
        };
        if checkpoint.epoch > self.lease.epoch {
            return Ok(None);
        }
        checkpoint.epoch = self.lease.epoch;
        let value = serde_json::to_vec(&checkpoint).map_err(|e| broken(e.into()))?;
        self.revision =
            store.update(self.key(), value.into(), revision).await.map_err(|e| broken(e.into()))?;
        Ok(Some(checkpoint))
    }

    /// The handler gets ready, and the lanes that the owner before parked are parked again.
    async fn take_over(&mut self) -> Result<(), Stop> {
        let mut pause = FIRST_PAUSE;
        while let Err(failure) = self.shared.handler.claimed(self.partition, &self.lease).await {
            tracing::warn!(partition = %self.partition, error = %failure, "partition not ready yet");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        let filter = format!("park.{}.{}.>", self.shared.world, self.partition);
        let parked = loop {
            match self.shared.log.parked_subjects(&filter).await {
                Ok(parked) => break parked,
                Err(e) => {
                    tracing::warn!(partition = %self.partition, error = %e, "parked entries not read yet");
                    tokio::time::sleep(LONGEST_PAUSE.min(Duration::from_millis(200))).await;
                }
            }
        };
        for (key, seq) in parked {
            self.lanes.entry(key).or_default().parked.push_back(seq);
        }
        let keys: Vec<_> = self.lanes.keys().copied().collect();
        keys.into_iter().for_each(|key| self.start(key));
        Ok(())
    }

    async fn open(&self) -> Result<pull::Stream, Error> {
        let filters = self.shared.kinds.iter().map(|kind| subjects::filter(self.partition, *kind)).collect();
        let policy = DeliverPolicy::ByStartSequence { start_sequence: self.cursor.next() };
        self.shared.log.follow(filters, policy).await
    }

    async fn receive(&mut self, entry: Entry) -> Result<(), Stop> {
        let seq = entry.seq;
        if !self.cursor.received(seq) {
            return Ok(());
        }
        let Some(key) = entry.address.as_ref().map(|address| address.key) else {
            self.cursor.finished(seq);
            return Ok(());
        };
        let lane = self.lanes.entry(key).or_default();
        lane.queue.push_back(entry);
        if !lane.parked.is_empty() || lane.queue.len() > LANE {
            return self.park(key).await;
        }
        self.start(key);
        Ok(())
    }

    /// Starts the lane's next entry, unless one is being worked on.
    fn start(&mut self, key: ConversationKey) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        if lane.busy {
            return;
        }
        let job = match (lane.parked.front(), lane.queue.front()) {
            (Some(seq), _) => Job::Parked(*seq),
            (None, Some(entry)) => Job::Fresh(entry.clone()),
            (None, None) => {
                self.lanes.remove(&key);
                return;
            }
        };
        lane.busy = true;
        self.busy += 1;
        let attempt = Attempt {
            shared: Arc::clone(&self.shared),
            partition: self.partition,
            lease: self.lease.clone(),
            stop: self.release.clone(),
        };
        let done = self.done.clone();
        let seq = job.seq();
        self.shared.tasks.spawn(async move {
            let how = attempt.run(&key, job).await;
            let _ = done.send(Finished { key, seq, how });
        });
    }

    async fn settle(&mut self, Finished { key, seq, how }: Finished) -> Result<(), Stop> {
        self.busy -= 1;
        let Some(lane) = self.lanes.get_mut(&key) else { return Ok(()) };
        lane.busy = false;
        match how {
            How::Done => {
                if lane.parked.front() == Some(&seq) {
                    lane.parked.pop_front();
                } else {
                    lane.queue.pop_front();
                    self.cursor.finished(seq);
                }
                self.start(key);
                Ok(())
            }
            How::Stuck => {
                self.park(key).await?;
                self.start(key);
                Ok(())
            }
            // Only on the way out.
            How::Abandoned => Ok(()),
        }
    }

    /// Moves what waits in a lane into the broker: it takes no memory there, and the floor moves on.
    async fn park(&mut self, key: ConversationKey) -> Result<(), Stop> {
        let Some(lane) = self.lanes.get_mut(&key) else { return Ok(()) };
        // What is being worked on stays where it is until it is settled.
        let keep = usize::from(lane.busy && lane.parked.is_empty());
        let waiting: Vec<Seq> = lane.queue.drain(keep..).map(|entry| entry.seq).collect();
        for seq in waiting {
            let subject = format!("park.{}.{}.{key}.{seq}", self.shared.world, self.partition);
            let mut headers = HeaderMap::new();
            headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
            self.shared.log.keep_beside(&subject, Bytes::new(), headers, &self.lease).await.ok_or(Stop)?;
            if let Some(lane) = self.lanes.get_mut(&key)
                && !lane.parked.contains(&seq)
            {
                // An entry that got stuck stands before what was parked behind it.
                let at = lane.parked.partition_point(|parked| *parked < seq);
                lane.parked.insert(at, seq);
            }
            self.cursor.finished(seq);
            count("baton.parked", self.shared.service);
        }
        Ok(())
    }

    async fn checkpoint(&mut self) -> Result<(), Stop> {
        if !self.cursor.is_dirty() {
            return Ok(());
        }
        let checkpoint = self.cursor.checkpoint(self.lease.epoch);
        let Ok(value) = serde_json::to_vec(&checkpoint) else { return Err(Stop) };
        match self.shared.log.checkpoints.update(self.key(), value.into(), self.revision).await {
            Ok(revision) => {
                self.revision = revision;
                self.cursor.stored();
                Ok(())
            }
            // In doubt, or somebody else's: look before writing again.
            Err(e) => match self.shared.log.checkpoints.entry(self.key()).await {
                Ok(Some(entry)) => {
                    let known: Option<Checkpoint> = serde_json::from_slice(&entry.value).ok();
                    if known.is_some_and(|known| known.epoch == self.lease.epoch) {
                        self.revision = entry.revision;
                        return Ok(());
                    }
                    tracing::warn!(partition = %self.partition, "the checkpoint is another owner's: stopping");
                    Err(Stop)
                }
                Ok(None) | Err(_) => {
                    tracing::debug!(partition = %self.partition, error = %e, "checkpoint not written");
                    Ok(())
                }
            },
        }
    }

    /// Finishes what is being worked on, as far as the time allows, and writes the last checkpoint.
    async fn drain(&mut self) -> Result<(), Stop> {
        let deadline = Instant::now() + self.shared.options.drain;
        while self.busy > 0 {
            match tokio::time::timeout_at(deadline, self.finished.recv()).await {
                Ok(Some(Finished { key, seq, how: How::Done })) => {
                    self.busy -= 1;
                    let parked = self.lanes.get(&key).is_some_and(|lane| lane.parked.front() == Some(&seq));
                    if !parked {
                        self.cursor.finished(seq);
                    }
                }
                Ok(Some(Finished { how: How::Stuck | How::Abandoned, .. })) => self.busy -= 1,
                Ok(None) => break,
                Err(_) => {
                    // Whoever is still at work is cut off, as by a crash.
                    self.lease.lost.cancel();
                    return Err(Stop);
                }
            }
        }
        self.checkpoint().await
    }

    fn key(&self) -> String {
        format!("{}.{}", self.shared.world, self.partition)
    }
}

async fn next(
    messages: &mut Option<pull::Stream>,
) -> Option<Result<async_nats::jetstream::Message, pull::MessagesError>> {
    match messages {
        Some(messages) => messages.next().await,
        None => std::future::pending().await,
    }
}

enum Job {
    Fresh(Entry),
    /// Only its position is kept: it is read again when it is its turn.
    Parked(Seq),
}

impl Job {
    fn seq(&self) -> Seq {
        match self {
            Self::Fresh(entry) => entry.seq,
            Self::Parked(seq) => *seq,
        }
    }
}

/// Tries one entry until it is finished, stuck or dead.
struct Attempt<H> {
    shared: Arc<Shared<H>>,
    partition: Partition,
    lease: Lease,
    /// Hand-over: no further try.
    stop: CancellationToken,
}

impl<H: Handler> Attempt<H> {
    async fn run(self, key: &ConversationKey, job: Job) -> How {
        let lost = self.lease.lost.clone();
        lost.run_until_cancelled(self.attempt(key, job)).await.unwrap_or(How::Abandoned)
    }

    async fn attempt(&self, key: &ConversationKey, job: Job) -> How {
        let (entry, parked) = match job {
            Job::Fresh(entry) => (entry, false),
            Job::Parked(seq) => match self.read_parked(key, seq).await {
                Some(entry) => (entry, true),
                None => return How::Done,
            },
        };
        let started = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut strikes = 0;
        loop {
            let failure = match self.once(&entry).await {
                Ok(()) => break,
                Err(failure) => failure,
            };
            let wait = match failure.retry {
                Retry::Never => {
                    strikes += 1;
                    if strikes >= STRIKES {
                        self.bury(key, &entry, &failure).await;
                        break;
                    }
                    FIRST_PAUSE
                }
                Retry::Soon => pause,
                Retry::After(pause) => pause,
            };
            tracing::warn!(
                service = self.shared.service,
                conversation = %key,
                seq = entry.seq,
                error = %failure,
                "entry not finished, again in {wait:?}",
            );
            if !parked
                && failure.retry != Retry::Never
                && started.elapsed() + wait > self.shared.options.park_after
            {
                return How::Stuck;
            }
            tokio::select! {
                () = tokio::time::sleep(wait.mul_f64(0.8 + fastrand::f64() * 0.4)) => {}
                () = self.stop.cancelled() => return How::Abandoned,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        if parked {
            let subject = format!("park.{}.{}.{key}.{}", self.shared.world, self.partition, entry.seq);
            self.shared.log.unpark(&subject).await;
        }
        How::Done
    }

    async fn once(&self, entry: &Entry) -> Result<(), Failure> {
        let _permit = self.shared.permits.acquire().await.map_err(Failure::soon)?;
        if !self.lease.is_held() {
            return Err(Failure::soon("the membership is not renewed"));
        }
        let span = tracing::info_span!(
            "entry",
            otel.name = format!(
                "{} {}",
                self.shared.service,
                entry.address.as_ref().map_or("entry", |address| address.kind.as_str())
            ),
            messaging.system = "nats",
            messaging.operation.name = "process",
            seq = entry.seq,
        );
        let _ = span.set_parent(entry.trace.clone());
        let work = AssertUnwindSafe(self.shared.handler.handle(entry, &self.lease)).catch_unwind();
        work.instrument(span).await.unwrap_or_else(|_| Err(Failure::never("the handler panicked")))
    }

    async fn read_parked(&self, key: &ConversationKey, seq: Seq) -> Option<Entry> {
        loop {
            match self.shared.log.get(seq).await {
                Ok(Some(entry)) => return Some(entry),
                Ok(None) => {
                    // The log's horizon passed over it while it was parked.
                    tracing::error!(conversation = %key, seq, "a parked entry is gone from the log");
                    count("baton.parked.expired", self.shared.service);
                    return None;
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }

    /// Into the dead letters, with the reason; people have to look.
    async fn bury(&self, key: &ConversationKey, entry: &Entry, failure: &Failure) {
        tracing::error!(
            service = self.shared.service,
            conversation = %key,
            seq = entry.seq,
            error = %failure,
            "entry cannot be handled: moved to the dead letters",
        );
        count("baton.dead_letters", self.shared.service);
        let subject = format!("dlq.{}.{}.{key}.{}", self.shared.service, self.partition, entry.seq);
        let mut headers = HeaderMap::new();
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
        let reason: String =
            failure.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).take(1000).collect();
        headers.insert("Baton-Reason", reason.as_str());
        headers.insert("Baton-Subject", entry.subject.as_str());
        // Without the lease this waits for the loss, which ends it.
        let _ = self.shared.log.keep_beside(&subject, entry.payload.clone(), headers, &self.lease).await;
    }
}

fn count(name: &'static str, service: &'static str) {
    opentelemetry::global::meter("bus")
        .u64_counter(name)
        .build()
        .add(1, &[KeyValue::new("service", service)]);
}

impl crate::Log {
    /// Stores beside the log, until it is stored or the lease is lost.
    async fn keep_beside(
        &self,
        subject: &str,
        payload: Bytes,
        headers: HeaderMap,
        lease: &Lease,
    ) -> Option<()> {
        use async_nats::jetstream::context::PublishErrorKind::WrongLastSequence;
        loop {
            if lease.lost.is_cancelled() {
                return None;
            }
            let message = PublishMessage::build().payload(payload.clone()).headers(headers.clone());
            let attempt = async { self.context.send_publish(subject.to_owned(), message).await?.await };
            match attempt.await {
                Ok(_) => return Some(()),
                Err(e) if e.kind() == WrongLastSequence => return Some(()),
                Err(_) => tokio::time::sleep(Duration::from_millis(fastrand::u64(50..300))).await,
            }
        }
    }

    /// What is parked, oldest first.
    async fn parked_subjects(&self, filter: &str) -> Result<Vec<(ConversationKey, Seq)>, Error> {
        let broken = |e: Box<dyn std::error::Error + Send + Sync>| Error::broker("read parked entries")(e);
        let mut subjects = self.parked.info_with_subjects(filter).await.map_err(|e| broken(e.into()))?;
        let mut parked = Vec::new();
        while let Some(subject) = subjects.next().await {
            let (subject, _) = subject.map_err(|e| broken(e.into()))?;
            let mut tokens = subject.rsplit('.');
            let seq = tokens.next().and_then(|token| token.parse().ok());
            let key = tokens.next().and_then(|token| token.parse().ok());
            parked.extend(key.zip(seq));
        }
        parked.sort_by_key(|(_, seq): &(ConversationKey, Seq)| *seq);
        Ok(parked)
    }

    async fn unpark(&self, subject: &str) {
        // Not deleted: it is tried once more after a take-over, which is harmless.
        if let Err(e) = self.parked.purge().filter(subject).await {
            tracing::debug!(error = %e, "parked entry not removed");
        }
    }
}
