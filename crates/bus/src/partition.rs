//! One partition: reads it in order, hands its entries to lanes, keeps its checkpoint.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_nats::jetstream::{
    Message,
    consumer::{DeliverPolicy, pull},
    kv,
};
use domain::{ConversationKey, Partition, Seq};
use futures::StreamExt as _;
use proto::subjects;
use tokio::{
    sync::mpsc,
    time::{Instant, Interval, MissedTickBehavior},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Entry, Error, Handler, Lease,
    attempt::{Alone, Attempt, FIRST_PAUSE, How, LONGEST_PAUSE, Word},
    beside::{Beside, Lost},
    checkpoint::{Care, Checkpoint, Cursor},
    lanes::{Job, Lanes},
    reader::Shared,
};

/// Entries of one partition received and not finished: reading stops beyond.
const WINDOW: usize = 1_024;
/// The same over all partitions of a reader. A partition that holds nothing may always read.
const HELD: usize = 16_384;
const CHECKPOINT_EVERY: Duration = Duration::from_millis(500);

pub(crate) struct Worker<H> {
    shared: Arc<Shared<H>>,
    partition: Partition,
    lease: Lease,
    /// Finish what is being worked on, hand over.
    release: CancellationToken,
    /// Ends attempts where they stand: the lease is lost, or the time for draining is over.
    cut: CancellationToken,
    beside: Beside,
    cursor: Cursor,
    revision: u64,
    lanes: Lanes<Entry>,
    /// Not started before a checkpoint names them.
    unrecorded: Vec<(ConversationKey, Job<Entry>)>,
    /// To be run alone, one after the other.
    suspects: VecDeque<(ConversationKey, Job<Entry>)>,
    /// When the next checkpoint is due.
    every: Interval,
    tasks: TaskTracker,
    running: usize,
    /// Unbounded, but an attempt says two words at most, and the attempts are bounded by the window.
    tell: mpsc::UnboundedSender<Word>,
    told: mpsc::UnboundedReceiver<Word>,
    counted: usize,
}

/// How a partition's work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// In good order, the checkpoint is written.
    HandedOver,
    /// It is somebody else's, or cannot be worked on.
    Lost,
    /// Its checkpoint is from a later epoch than ours.
    Behind(u64),
}

impl From<Lost> for Ended {
    fn from(Lost: Lost) -> Self {
        Self::Lost
    }
}

impl<H: Handler> Worker<H> {
    pub(crate) fn new(
        shared: Arc<Shared<H>>,
        partition: Partition,
        lease: Lease,
        release: CancellationToken,
    ) -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        let cut = lease.lost.child_token();
        // Not all partitions at once: what they write would queue before what people wait for.
        let first = Instant::now() + CHECKPOINT_EVERY.mul_f64(fastrand::f64());
        let mut every = tokio::time::interval_at(first, CHECKPOINT_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            beside: Beside::new(shared.log.clone(), &shared.world, partition, lease.lost.clone()),
            shared,
            partition,
            lease,
            release,
            cut,
            cursor: Cursor::default(),
            revision: 0,
            lanes: Lanes::default(),
            unrecorded: Vec::new(),
            suspects: VecDeque::new(),
            every,
            tasks: TaskTracker::new(),
            running: 0,
            tell,
            told,
            counted: 0,
        }
    }

    pub(crate) async fn run(mut self) -> Ended {
        let service = self.shared.service;
        self.shared.meters.partitions(service, 1);
        let lost = self.lease.lost.clone();
        // Losing the lease is like a crash: whatever is under way is dropped where it stands.
        let ended = match lost.run_until_cancelled(self.work()).await {
            Some(Ok(())) => Ended::HandedOver,
            Some(Err(ended)) => ended,
            None => Ended::Lost,
        };
        self.cut.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.count(0);
        self.shared.meters.lag(service, self.partition, 0);
        self.shared.meters.partitions(service, -1);
        self.shared.handler.released(self.partition).await;
        ended
    }

    async fn work(&mut self) -> Result<(), Ended> {
        self.fence().await?;
        self.take_over().await;
        let mut generation = self.shared.log.generation.clone();
        let service = self.shared.service;
        let mut messages: Option<pull::Stream> = None;
        let mut expected = 0;
        let mut reopen_at = Instant::now();
        while !self.release.is_cancelled() {
            if messages.is_none() && Instant::now() >= reopen_at {
                generation.borrow_and_update();
                match self.open().await {
                    Ok(opened) => {
                        messages = Some(opened);
                        expected = 1;
                    }
                    Err(e) => {
                        tracing::debug!(baton.partition = %self.partition, error = %e, "consumer not created");
                        reopen_at = Instant::now() + Duration::from_millis(fastrand::u64(50..250));
                    }
                }
            }
            let room = self.has_room();
            tokio::select! {
                biased;
                () = self.release.cancelled() => break,
                _ = self.every.tick() => self.tick().await?,
                // What was under way on the old connection is gone.
                _ = generation.changed() => messages = None,
                Some(word) = self.told.recv() => self.heard(word).await?,
                () = tokio::time::sleep_until(reopen_at), if messages.is_none() => {}
                message = next(&mut messages), if room && messages.is_some() => {
                    let delivered = message.and_then(|message| Entry::delivered(&message.ok()?));
                    match delivered {
                        Some((entry, count, behind)) if count == expected => {
                            expected += 1;
                            self.shared.meters.lag(service, self.partition, behind);
                            self.receive(entry).await?;
                        }
                        // An error, or a gap: something was dropped on the way. Read again from
                        // where we are.
                        Some(_) | None => {
                            messages = None;
                            reopen_at = Instant::now() + Duration::from_millis(50);
                        }
                    }
                },
            }
        }
        drop(messages);
        self.hand_over().await
    }

    fn has_room(&self) -> bool {
        let pending = self.cursor.pending();
        pending == 0 || (pending < WINDOW && self.shared.held.load(Ordering::Relaxed) < HELD)
    }

    /// Tells the others how much this partition holds.
    fn count(&mut self, now: usize) {
        let before = std::mem::replace(&mut self.counted, now);
        self.shared.held.fetch_add(now, Ordering::Relaxed);
        self.shared.held.fetch_sub(before, Ordering::Relaxed);
        let change = i64::try_from(now).unwrap_or(0) - i64::try_from(before).unwrap_or(0);
        if change != 0 {
            self.shared.meters.entries(self.shared.service, change);
        }
    }

    /// Writes the checkpoint with our epoch first: the owner before can write none after it, and
    /// whatever we read was not stale.
    async fn fence(&mut self) -> Result<(), Ended> {
        loop {
            let attempt = self.shared.log.until_reconnect(self.try_fence()).await;
            match attempt {
                Some(Ok(Ok((cursor, revision)))) => {
                    (self.cursor, self.revision) = (cursor, revision);
                    return Ok(());
                }
                Some(Ok(Err(ended))) => return Err(ended),
                Some(Err(e)) => {
                    tracing::debug!(baton.partition = %self.partition, error = %e, "checkpoint not fenced yet");
                }
                None => {}
            }
            tokio::time::sleep(Duration::from_millis(fastrand::u64(20..100))).await;
        }
    }

    async fn try_fence(&self) -> Result<Result<(Cursor, u64), Ended>, Error> {
        let broken = |e: Box<dyn std::error::Error + Send + Sync>| Error::broker("fence a checkpoint")(e);
        let log = &self.shared.log;
        let entry = log.checkpoints.entry(self.key()).await.map_err(|e| broken(e.into()))?;
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
            return Ok(Err(Ended::Behind(checkpoint.epoch)));
        }
        let end = log.stream.get_info().await.map_err(|e| broken(e.into()))?.state.last_sequence;
        if checkpoint.through > end {
            tracing::error!(
                service = self.shared.service, baton.partition = %self.partition, through = checkpoint.through, end,
                "the log ends before this checkpoint: it was restored or made anew",
            );
            checkpoint.through = end;
            checkpoint.open.retain(|seq| *seq <= end);
        }
        let cursor = Cursor::resume(checkpoint, &self.shared.me, end);
        let fenced = cursor.checkpoint(self.lease.epoch, Some(&self.shared.me));
        let value = serde_json::to_vec(&fenced).map_err(|e| broken(e.into()))?;
        let revision =
            log.checkpoints.update(self.key(), value.into(), revision).await.map_err(|e| broken(e.into()))?;
        Ok(Ok((cursor, revision)))
    }

    /// The handler gets ready, and the lanes that the owner before parked are parked again.
    async fn take_over(&mut self) {
        let mut pause = FIRST_PAUSE;
        while let Err(failure) = self.shared.handler.claimed(self.partition, &self.lease).await {
            tracing::warn!(baton.partition = %self.partition, error = %failure, "partition not ready yet");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        let parked = loop {
            match self.shared.log.until_reconnect(self.beside.parked()).await {
                Some(Ok(parked)) => break parked,
                Some(Err(e)) => {
                    tracing::debug!(baton.partition = %self.partition, error = %e, "parked entries not read yet");
                }
                None => {}
            }
            tokio::time::sleep(Duration::from_millis(fastrand::u64(50..200))).await;
        };
        for (key, seq) in parked {
            self.cursor.is_parked(seq);
            self.lanes.parked_before(key, seq);
        }
        self.probe();
    }

    async fn open(&self) -> Result<pull::Stream, Error> {
        let filters = self.shared.kinds.iter().map(|kind| subjects::filter(self.partition, *kind)).collect();
        let policy = DeliverPolicy::ByStartSequence { start_sequence: self.cursor.next() };
        self.shared.log.follow(filters, policy).await
    }

    async fn receive(&mut self, entry: Entry) -> Result<(), Ended> {
        let seq = entry.seq;
        if !self.cursor.received(seq) {
            return Ok(());
        }
        self.count(self.cursor.pending());
        let Some(key) = entry.address.as_ref().map(|address| address.key) else {
            self.cursor.finished(seq);
            return Ok(());
        };
        let waiting = self.lanes.arrived(key, seq, entry);
        self.park(key, waiting).await?;
        self.start(key);
        Ok(())
    }

    /// Starts the lane's next entry, unless one is being worked on.
    fn start(&mut self, key: ConversationKey) {
        if let Some(job) = self.lanes.start(key) {
            self.begin(key, job);
        }
        self.probe();
    }

    fn probe(&mut self) {
        while let Some((key, job)) = self.lanes.next_probe() {
            self.cursor.probe(job.seq());
            self.begin(key, job);
        }
    }

    fn begin(&mut self, key: ConversationKey, job: Job<Entry>) {
        match self.cursor.care(job.seq()) {
            Care::None => self.spawn(key, job, None, false),
            Care::Recorded => {
                // The next checkpoint starts it: soon, but not each one by itself.
                if self.unrecorded.is_empty() {
                    self.every.reset_after(Duration::from_millis(10));
                }
                self.unrecorded.push((key, job));
            }
            Care::Alone => self.suspects.push_back((key, job)),
            Care::Dead => self.spawn(key, job, None, true),
        }
    }

    fn spawn(&mut self, key: ConversationKey, job: Job<Entry>, alone: Option<Alone>, condemned: bool) {
        let first_try = matches!(job, Job::Fresh(..)) && self.cursor.is_new(job.seq());
        let attempt = Attempt {
            shared: Arc::clone(&self.shared),
            beside: self.beside.clone(),
            lease: Lease { first_try, ..self.lease.clone() },
            release: self.release.clone(),
            cut: self.cut.clone(),
            alone,
            condemned,
        };
        let tell = self.tell.clone();
        let seq = job.seq();
        self.running += 1;
        self.tasks.spawn(async move {
            let how = attempt.run(key, job).await;
            let _ = tell.send(Word::Finished(key, seq, how));
        });
    }

    async fn heard(&mut self, word: Word) -> Result<(), Ended> {
        match word {
            Word::Harmless(seq) => {
                self.cursor.harmless(seq);
                // The next suspect need not wait for long.
                if !self.suspects.is_empty() {
                    self.every.reset_after(Duration::from_millis(10));
                }
                Ok(())
            }
            Word::Finished(key, seq, how) => self.settle(key, seq, how).await,
        }
    }

    async fn settle(&mut self, key: ConversationKey, seq: Seq, how: How) -> Result<(), Ended> {
        self.running -= 1;
        self.cursor.ran(seq);
        match how {
            How::Done => {
                self.lanes.finished(key);
                self.cursor.finished(seq);
                self.count(self.cursor.pending());
            }
            How::Stuck(pause) => {
                let waiting = self.lanes.stuck(key, pause);
                self.park(key, waiting).await?;
            }
            // Only on the way out.
            How::Abandoned => return Ok(()),
        }
        self.start(key);
        Ok(())
    }

    /// Moves what waits in a lane into the broker: it takes no memory here, and the checkpoint goes
    /// on.
    async fn park(&mut self, key: ConversationKey, waiting: Vec<Seq>) -> Result<(), Ended> {
        for seq in waiting {
            self.beside.park(&key, seq).await?;
            self.lanes.parked(key, seq);
            self.cursor.finished(seq);
            self.shared.meters.parked(self.shared.service);
        }
        self.count(self.cursor.pending());
        Ok(())
    }

    /// Writes the checkpoint, and starts what waited for it.
    async fn tick(&mut self) -> Result<(), Ended> {
        if !self.checkpoint(false).await? {
            return Ok(());
        }
        for (key, job) in std::mem::take(&mut self.unrecorded) {
            self.spawn(key, job, None, false);
        }
        // One suspect at a time in the whole process: whatever kills it is found out.
        let Some((key, job)) = self.suspects.pop_front() else { return Ok(()) };
        let permit = Arc::clone(&self.shared.alone).try_acquire_owned().ok();
        if let Some(permit) = permit {
            let seq = job.seq();
            self.cursor.run_alone(seq);
            if self.checkpoint(false).await? {
                let alone = Alone { permit, seq, worker: self.tell.clone() };
                self.spawn(key, job, Some(alone), false);
                return Ok(());
            }
            self.cursor.not_alone(seq);
        }
        self.suspects.push_front((key, job));
        Ok(())
    }

    /// Whether everything is stored.
    async fn checkpoint(&mut self, last_word: bool) -> Result<bool, Ended> {
        if !self.cursor.is_dirty() && !last_word {
            return Ok(true);
        }
        let owner = (!last_word).then_some(self.shared.me.as_str());
        let checkpoint = self.cursor.checkpoint(self.lease.epoch, owner);
        let Ok(value) = serde_json::to_vec(&checkpoint) else { return Err(Ended::Lost) };
        let log = &self.shared.log;
        let written =
            log.until_reconnect(log.checkpoints.update(self.key(), value.into(), self.revision)).await;
        if let Some(Ok(revision)) = written {
            self.revision = revision;
            self.cursor.stored();
            return Ok(true);
        }
        // In doubt, or somebody else's: look before writing again.
        match log.until_reconnect(log.checkpoints.entry(self.key())).await {
            Some(Ok(Some(entry))) => {
                let known: Option<Checkpoint> = serde_json::from_slice(&entry.value).ok();
                if known.is_some_and(|known| known.epoch == self.lease.epoch) {
                    // A follower may answer with an old revision: the next write tells.
                    self.revision = self.revision.max(entry.revision);
                    return Ok(false);
                }
                tracing::warn!(baton.partition = %self.partition, "the checkpoint is another owner's: stopping");
                Err(Ended::Lost)
            }
            Some(Ok(None) | Err(_)) | None => {
                tracing::debug!(baton.partition = %self.partition, "checkpoint not written");
                Ok(false)
            }
        }
    }

    /// Finishes what is being worked on, as far as the time allows, and writes the last checkpoint.
    async fn hand_over(&mut self) -> Result<(), Ended> {
        let deadline = Instant::now() + self.shared.options.drain;
        while self.running > 0 {
            match tokio::time::timeout_at(deadline, self.told.recv()).await {
                Ok(Some(word)) => self.note(&word),
                Ok(None) => break,
                Err(_) => {
                    // Whoever is still at work is cut off, and done again by the next owner.
                    self.cut.cancel();
                    self.tasks.close();
                    self.tasks.wait().await;
                    while let Ok(word) = self.told.try_recv() {
                        self.note(&word);
                    }
                    break;
                }
            }
        }
        for _ in 0..10 {
            if self.checkpoint(true).await? {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // The next owner repeats a little, and takes our entries for half-finished.
        Ok(())
    }

    fn note(&mut self, word: &Word) {
        match word {
            Word::Harmless(seq) => self.cursor.harmless(*seq),
            Word::Finished(_, seq, how) => {
                self.running -= 1;
                match how {
                    How::Done => self.cursor.finished(*seq),
                    How::Stuck(_) | How::Abandoned => self.cursor.ran(*seq),
                }
            }
        }
    }

    fn key(&self) -> String {
        format!("{}.{}", self.shared.world, self.partition)
    }
}

async fn next(messages: &mut Option<pull::Stream>) -> Option<Result<Message, pull::MessagesError>> {
    match messages {
        Some(messages) => messages.next().await,
        None => std::future::pending().await,
    }
}
