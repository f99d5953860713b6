//! The partitioned reader's edge: keeps the membership, starts and stops partitions.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::jetstream::kv;
use domain::Partition;
use proto::subjects::Kind;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Entry, Error, Failure, Lease, Log,
    membership::{Beat, Holdings, Observer, Table},
    partition::Worker,
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
    /// How long a partition may take to finish what it works on before it is handed over.
    pub drain: Duration,
}

impl Default for ReaderOptions {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(3),
            concurrency: 512,
            park_after: Duration::from_secs(30),
            drain: Duration::from_secs(5),
        }
    }
}

/// Shared by a reader's partitions.
pub(crate) struct Shared<H> {
    pub(crate) log: Log,
    pub(crate) service: &'static str,
    /// Under which membership, checkpoints and parked entries are kept: the service's name.
    pub(crate) world: String,
    pub(crate) kinds: &'static [Kind],
    pub(crate) options: ReaderOptions,
    pub(crate) handler: H,
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) tasks: TaskTracker,
}

#[derive(Debug)]
pub struct Reader {
    log: Log,
    service: &'static str,
    kinds: &'static [Kind],
    options: ReaderOptions,
    ready: Option<tokio::sync::watch::Sender<bool>>,
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
        Self { log, service, kinds, options, ready: None }
    }

    /// Tells when the first look at the membership succeeded: a service is ready then.
    pub fn notify_ready(mut self, ready: tokio::sync::watch::Sender<bool>) -> Self {
        self.ready = Some(ready);
        self
    }

    /// Works until `shutdown`, then hands everything over.
    pub async fn run<H: Handler>(self, handler: H, shutdown: CancellationToken) -> Result<(), Error> {
        let ttl = self.options.ttl;
        let me = format!("{}-{:x}", std::process::id(), fastrand::u64(..));
        // Without leases everybody is alone in a world of his own: two owners of everything.
        let world =
            if self.log.has_leases() { self.service.to_owned() } else { format!("{}-{me}", self.service) };
        let mut observer = Observer::new(me, ttl);
        let beat = Arc::new(Beat::new(ttl));
        let shared = Arc::new(Shared {
            permits: Arc::new(Semaphore::new(self.options.concurrency)),
            log: self.log.clone(),
            service: self.service,
            world: world.clone(),
            kinds: self.kinds,
            options: self.options.clone(),
            handler,
            tasks: TaskTracker::new(),
        });
        let (ended, mut endings) = mpsc::unbounded_channel();
        let mut running: BTreeMap<Partition, Running> = BTreeMap::new();
        let mut holdings = Holdings::default();
        let mut tick = tokio::time::interval(ttl / 6);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = shutdown.cancelled(), if !holdings.leaving => holdings.leaving = true,
                Some((partition, epoch)) = endings.recv() => {
                    forget(&mut running, &mut holdings, partition, epoch);
                    // Several end together: one write for all.
                    while let Ok((partition, epoch)) = endings.try_recv() {
                        forget(&mut running, &mut holdings, partition, epoch);
                    }
                }
            }
            if beat.age() > ttl && !running.is_empty() {
                tracing::warn!(
                    service = self.service,
                    "membership not renewed in time: dropping all partitions"
                );
                running.values().for_each(|one| one.lost.cancel());
            }
            holdings.held = running.iter().map(|(partition, one)| (*partition, one.epoch)).collect();
            let at = Instant::now();
            let plan = match self.renew(&world, &mut observer, &holdings).await {
                Ok(plan) => plan,
                Err(e) => {
                    tracing::warn!(service = self.service, error = %e, "membership not renewed");
                    continue;
                }
            };
            beat.renewed(at);
            if let Some(ready) = &self.ready {
                ready.send_replace(true);
            }
            holdings.released.clear();
            for partition in plan.lost {
                if let Some(one) = running.get(&partition) {
                    one.lost.cancel();
                }
            }
            for partition in plan.shed {
                if let Some(one) = running.get(&partition) {
                    one.release.cancel();
                }
            }
            for (partition, epoch) in plan.claim {
                let one =
                    Running { epoch, lost: CancellationToken::new(), release: CancellationToken::new() };
                let lease = Lease { epoch, beat: Arc::clone(&beat), lost: one.lost.clone() };
                let worker = Worker::new(Arc::clone(&shared), partition, lease, one.release.clone());
                let ended = ended.clone();
                shared.tasks.spawn(async move {
                    worker.run().await;
                    let _ = ended.send((partition, epoch));
                });
                running.insert(partition, one);
            }
            if holdings.leaving && running.is_empty() {
                shared.tasks.close();
                shared.tasks.wait().await;
                return Ok(());
            }
        }
    }

    /// Looks at the table and writes what it should be.
    async fn renew(
        &self,
        world: &str,
        observer: &mut Observer,
        holdings: &Holdings,
    ) -> Result<crate::membership::Plan, Error> {
        let broken = |e: Box<dyn std::error::Error + Send + Sync>| Error::broker("renew the membership")(e);
        for _ in 0..8 {
            let entry = self.log.membership.entry(world).await.map_err(|e| broken(e.into()))?;
            let (table, revision) = match &entry {
                Some(entry) if entry.operation == kv::Operation::Put => {
                    let table: Table = serde_json::from_slice(&entry.value).map_err(|e| broken(e.into()))?;
                    (table, entry.revision)
                }
                Some(entry) => (Table::default(), entry.revision),
                None => (Table::default(), 0),
            };
            let plan = observer.plan(&table, holdings, Instant::now());
            let value = serde_json::to_vec(&plan.table).map_err(|e| broken(e.into()))?;
            match self.log.membership.update(world, value.into(), revision).await {
                Ok(_) => return Ok(plan),
                Err(e) if e.kind() == kv::UpdateErrorKind::WrongLastRevision => {}
                Err(e) => return Err(broken(e.into())),
            }
        }
        Err(broken("others write all the time".into()))
    }
}

fn forget(
    running: &mut BTreeMap<Partition, Running>,
    holdings: &mut Holdings,
    partition: Partition,
    epoch: u64,
) {
    if running.get(&partition).is_some_and(|one| one.epoch == epoch) {
        let one = running.remove(&partition);
        // Lost ones are not ours to give up.
        if one.is_some_and(|one| !one.lost.is_cancelled()) {
            holdings.released.insert(partition);
        }
    }
}
