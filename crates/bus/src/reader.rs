//! The partitioned reader's edge: keeps the membership, starts and stops partitions.

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::AtomicUsize},
    time::{Duration, Instant},
};

use async_nats::jetstream::kv;
use domain::Partition;
use futures::{FutureExt as _, StreamExt as _};
use proto::subjects::Kind;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::MissedTickBehavior,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Entry, Error, Failure, Lease, Log,
    membership::{Beat, Holdings, Observer, Plan, Table},
    meters::Meters,
    partition::{Ended, Worker},
};

/// Works on entries. An entry may be handed over more than once (after a crash or a take-over), in
/// order, one at a time per conversation: effects must be idempotent.
pub trait Handler: Send + Sync + 'static {
    fn handle(&self, entry: &Entry, lease: &Lease) -> impl Future<Output = Result<(), Failure>> + Send;

    /// A partition is ours, and nothing of it was handled yet.
    fn claimed(
        &self,
        _partition: Partition,
        _lease: &Lease,
    ) -> impl Future<Output = Result<(), Failure>> + Send {
        async { Ok(()) }
    }

    /// A partition is ours no more; nothing of it is being handled.
    fn released(&self, _partition: Partition) -> impl Future<Output = ()> + Send {
        async {}
    }
}

#[derive(Debug, Clone)]
pub struct ReaderOptions {
    /// A member that does not beat for this long loses its partitions.
    pub ttl: Duration,
    /// Entries worked on at the same time, over all partitions.
    pub concurrency: usize,
    /// After this long without success a conversation is parked in the broker, so that it takes no
    /// memory; it is tried again from there, in order.
    pub park_after: Duration,
    /// How long a partition may take to finish what it works on before it is handed over. What is
    /// not finished by then is cut off, and done again by the next owner.
    pub drain: Duration,
    /// A handler that takes longer with one entry is cut off, and tries again. A bound against
    /// hanging for ever, not a time limit to rely on.
    pub handle_within: Duration,
}

impl Default for ReaderOptions {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(3),
            concurrency: 512,
            park_after: Duration::from_secs(30),
            drain: Duration::from_secs(5),
            handle_within: Duration::from_secs(600),
        }
    }
}

/// Shared by a reader's partitions.
pub(crate) struct Shared<H> {
    pub(crate) log: Log,
    pub(crate) service: &'static str,
    /// Under which membership, checkpoints and parked entries are kept: the service's name.
    pub(crate) world: String,
    /// This member's name.
    pub(crate) me: String,
    pub(crate) kinds: &'static [Kind],
    pub(crate) options: ReaderOptions,
    pub(crate) handler: H,
    pub(crate) permits: Arc<Semaphore>,
    /// Held by an entry that may be what kills the process.
    pub(crate) alone: Arc<Semaphore>,
    /// Entries received and not finished, over all partitions.
    pub(crate) held: AtomicUsize,
    pub(crate) meters: Meters,
    pub(crate) tasks: TaskTracker,
}

#[derive(Debug)]
pub struct Reader {
    log: Log,
    service: &'static str,
    kinds: &'static [Kind],
    options: ReaderOptions,
    ready: Option<watch::Sender<bool>>,
    members: Option<watch::Sender<usize>>,
}

struct Running {
    epoch: u64,
    /// Cancelled: stop at once, it is somebody else's.
    lost: CancellationToken,
    /// Cancelled: finish what is being worked on, checkpoint, end.
    release: CancellationToken,
}

impl Reader {
    pub(crate) fn new(
        log: Log,
        service: &'static str,
        kinds: &'static [Kind],
        options: ReaderOptions,
    ) -> Self {
        Self { log, service, kinds, options, ready: None, members: None }
    }

    /// Tells whether this process takes part: its membership is renewed in time.
    pub fn notify_ready(mut self, ready: watch::Sender<bool>) -> Self {
        self.ready = Some(ready);
        self
    }

    /// Tells how many processes share the work, this one included, whenever it changes.
    pub fn notify_members(mut self, members: watch::Sender<usize>) -> Self {
        self.members = Some(members);
        self
    }

    /// Works until `shutdown`, then hands everything over. If the broker cannot be reached then, it
    /// ends after the time for draining all the same: the others take over after the TTL.
    pub async fn run<H: Handler>(self, handler: H, shutdown: CancellationToken) -> Result<(), Error> {
        let ttl = self.options.ttl;
        let me = format!("{}-{:x}", std::process::id(), fastrand::u64(..));
        // Without leases everybody is alone in a world of his own: two owners of everything.
        let world =
            if self.log.has_leases() { self.service.to_owned() } else { format!("{}-{me}", self.service) };
        let shared = Arc::new(Shared {
            log: self.log.clone(),
            service: self.service,
            world,
            me: me.clone(),
            kinds: self.kinds,
            permits: Arc::new(Semaphore::new(self.options.concurrency)),
            alone: Arc::new(Semaphore::new(1)),
            held: AtomicUsize::new(0),
            meters: Meters::new(),
            options: self.options.clone(),
            handler,
            tasks: TaskTracker::new(),
        });
        let (ended, endings) = mpsc::unbounded_channel();
        let session = Session {
            observer: Observer::new(me, ttl),
            beat: Arc::new(Beat::new(ttl)),
            partitions: BTreeMap::new(),
            holdings: Holdings::default(),
            ended,
            endings,
            leave_by: None,
            ready: self.ready,
            members: self.members,
            shared,
        };
        session.run(shutdown).await;
        Ok(())
    }
}

/// One process's part in the membership, from joining to leaving.
struct Session<H> {
    shared: Arc<Shared<H>>,
    observer: Observer,
    beat: Arc<Beat>,
    partitions: BTreeMap<Partition, Running>,
    holdings: Holdings,
    /// Unbounded, but a partition ends once.
    ended: mpsc::UnboundedSender<Ending>,
    endings: mpsc::UnboundedReceiver<Ending>,
    leave_by: Option<Instant>,
    ready: Option<watch::Sender<bool>>,
    members: Option<watch::Sender<usize>>,
}

struct Ending {
    partition: Partition,
    epoch: u64,
    how: Ended,
}

impl<H: Handler> Session<H> {
    async fn run(mut self, shutdown: CancellationToken) {
        let options = self.shared.options.clone();
        let mut tick = tokio::time::interval(options.ttl / 6);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = None;
        loop {
            if told.is_none() {
                let news = self.news();
                let subscribe = self.shared.log.subscribe(&news);
                told = tokio::time::timeout(options.ttl / 6, subscribe).await.ok().and_then(Result::ok);
            }
            tokio::select! {
                _ = tick.tick() => {}
                () = shutdown.cancelled(), if !self.holdings.leaving => {
                    self.holdings.leaving = true;
                    self.leave_by = Some(Instant::now() + options.drain + options.ttl);
                }
                Some(ending) = self.endings.recv() => self.forget(&ending),
                news = next_news(&mut told) => match news {
                    Some(message) if message.payload == self.shared.me => continue,
                    Some(_) => {}
                    None => told = None,
                }
            }
            // Several end together: one write for all.
            while let Ok(ending) = self.endings.try_recv() {
                self.forget(&ending);
            }
            self.renew().await;
            if self.holdings.leaving && self.partitions.is_empty() && self.holdings.released.is_empty() {
                break;
            }
            if self.leave_by.is_some_and(|by| Instant::now() > by) {
                tracing::warn!(
                    service = self.shared.service,
                    "leaving without handing over: the broker cannot be reached",
                );
                self.drop_all();
                break;
            }
        }
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    /// Says that we are there, and does what the table asks of us.
    async fn renew(&mut self) {
        self.holdings.held = self.partitions.iter().map(|(partition, one)| (*partition, one.epoch)).collect();
        let at = Instant::now();
        let must_drop = self.partitions.values().any(|one| !one.lost.is_cancelled());
        let overdue = self.beat.left();
        let written = write_table(&self.shared, &mut self.observer, &self.holdings);
        let written = tokio::select! {
            written = written => written,
            // Before anybody else can conclude that we are gone.
            () = tokio::time::sleep(overdue), if must_drop => {
                tracing::warn!(
                    service = self.shared.service,
                    "membership not renewed in time: dropping all partitions",
                );
                self.drop_all();
                return;
            }
        };
        let plan = match written {
            Ok(plan) => plan,
            Err(e) => {
                tracing::debug!(service = self.shared.service, error = %e, "membership not renewed");
                return;
            }
        };
        self.beat.renewed(at);
        self.holdings.released.clear();
        if let Some(ready) = &self.ready {
            ready.send_if_modified(|ready| !std::mem::replace(ready, true));
        }
        if let Some(members) = &self.members {
            let count = plan.table.members.len();
            members.send_if_modified(|known| std::mem::replace(known, count) != count);
        }
        for partition in &plan.lost {
            if let Some(one) = self.partitions.get(partition) {
                one.lost.cancel();
            }
        }
        for partition in &plan.shed {
            if let Some(one) = self.partitions.get(partition) {
                one.release.cancel();
            }
        }
        for (partition, epoch) in &plan.claim {
            self.start(*partition, *epoch);
        }
        if plan.tell || !plan.claim.is_empty() {
            // Only saves time: whoever misses it looks half a second later.
            let _ = self.shared.log.client.publish(self.news(), self.shared.me.clone().into()).await;
        }
    }

    fn start(&mut self, partition: Partition, epoch: u64) {
        let one = Running { epoch, lost: CancellationToken::new(), release: CancellationToken::new() };
        let lease = Lease { epoch, beat: Arc::clone(&self.beat), lost: one.lost.clone(), first_try: false };
        let worker = Worker::new(Arc::clone(&self.shared), partition, lease, one.release.clone());
        let (ended, lost) = (self.ended.clone(), one.lost.clone());
        self.shared.tasks.spawn(async move {
            let how = AssertUnwindSafe(worker.run()).catch_unwind().await.unwrap_or_else(|_| {
                tracing::error!(baton.partition = %partition, "a partition's worker panicked: beginning it again");
                lost.cancel();
                Ended::Lost
            });
            let _ = ended.send(Ending { partition, epoch, how });
        });
        self.partitions.insert(partition, one);
    }

    fn forget(&mut self, ending: &Ending) {
        let Ending { partition, epoch, how } = ending;
        if self.partitions.get(partition).is_none_or(|one| one.epoch != *epoch) {
            return;
        }
        self.partitions.remove(partition);
        match how {
            Ended::HandedOver => {
                self.holdings.released.insert(*partition);
            }
            // Not ours to give up. If the table says that it is still ours, it is claimed anew.
            Ended::Lost => {}
            Ended::Behind(epoch) => self.holdings.newest = self.holdings.newest.max(*epoch),
        }
    }

    fn drop_all(&self) {
        self.partitions.values().for_each(|one| one.lost.cancel());
        if let Some(ready) = &self.ready {
            ready.send_if_modified(|ready| std::mem::replace(ready, false));
        }
    }

    /// Where members tell one another that the table changed.
    fn news(&self) -> String {
        format!("baton.members.{}", self.shared.world)
    }
}

async fn next_news(told: &mut Option<async_nats::Subscriber>) -> Option<async_nats::Message> {
    match told {
        Some(told) => told.next().await,
        None => std::future::pending().await,
    }
}

/// Epochs tell owners apart, also those that are each alone in a world of their own.
fn first_table(log: &Log) -> Table {
    let epoch = if log.has_leases() { 0 } else { fastrand::u64(1 << 32..1 << 52) };
    Table { epoch, ..Table::default() }
}

/// Looks at the table and writes what it should be.
async fn write_table<H>(
    shared: &Shared<H>,
    observer: &mut Observer,
    holdings: &Holdings,
) -> Result<Plan, Error> {
    let broken = |e: Box<dyn std::error::Error + Send + Sync>| Error::broker("renew the membership")(e);
    let store = &shared.log.membership;
    for _ in 0..16 {
        let Some(entry) = shared.log.until_reconnect(store.entry(&shared.world)).await else { continue };
        let entry = entry.map_err(|e| broken(e.into()))?;
        let (table, revision) = match &entry {
            Some(entry) if entry.operation == kv::Operation::Put => {
                let table: Table = serde_json::from_slice(&entry.value).map_err(|e| broken(e.into()))?;
                (table, entry.revision)
            }
            Some(entry) => (first_table(&shared.log), entry.revision),
            None => (first_table(&shared.log), 0),
        };
        let plan = observer.plan(&table, holdings, Instant::now());
        let value = serde_json::to_vec(&plan.table).map_err(|e| broken(e.into()))?;
        match shared.log.until_reconnect(store.update(&shared.world, value.into(), revision)).await {
            Some(Ok(_)) => return Ok(plan),
            Some(Err(e)) if e.kind() == kv::UpdateErrorKind::WrongLastRevision => {
                // Somebody else was faster; not in step with him again.
                tokio::time::sleep(Duration::from_millis(fastrand::u64(0..20))).await;
            }
            Some(Err(e)) => return Err(broken(e.into())),
            None => {}
        }
    }
    Err(broken("others write all the time".into()))
}
