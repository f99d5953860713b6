//! The partitioned reader when processes die, hang, or find their own records gone.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bus::{Config, Entry, Failure, Handler, Lease, Log, ReaderOptions};
use devstack::Nats;
use domain::{ConversationKey, PARTITIONS, Partition};
use proto::subjects::{self, Kind};
use tokio::{
    process::{Child, Command},
    sync::watch,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const PATIENCE: Duration = Duration::from_secs(40);
/// Where a worker process finds its broker.
const WORKER: &str = "BUS_TEST_WORKER";

/// Short, so that a dead process is missed soon.
fn options() -> ReaderOptions {
    ReaderOptions { ttl: Duration::from_millis(900), ..ReaderOptions::default() }
}

fn key(n: u64) -> ConversationKey {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    ConversationKey::from_bytes(bytes)
}

async fn connect(nats: &Nats) -> Log {
    bus::connect(&Config::at(&nats.url())).await.unwrap()
}

async fn append(log: &Log, conversation: u64, text: &str) {
    let subject = subjects::fact(&key(conversation), Kind::WhatsApp, text);
    log.append_fact(&subject, text.to_owned().into(), None).await.unwrap();
}

/// Runs a reader in a task. Dropping it is like `kill -9`.
struct Running {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    async fn start<H: Handler>(nats: &Nats, handler: H, options: ReaderOptions) -> Self {
        let log = connect(nats).await;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = TaskTracker::new().spawn(async move {
            log.reader("test", &[Kind::WhatsApp], options).run(handler, stopped).await.unwrap();
        });
        Self { stop, task }
    }

    async fn stop(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.task).await.unwrap().unwrap();
    }
}

/// Counts what it handled and claimed.
#[derive(Clone)]
struct Counting {
    handled: watch::Sender<usize>,
    claimed: watch::Sender<usize>,
}

impl Counting {
    fn new() -> Self {
        Self { handled: watch::Sender::new(0), claimed: watch::Sender::new(0) }
    }
}

async fn until(count: &watch::Sender<usize>, enough: usize) {
    let mut count = count.subscribe();
    let reached = timeout(PATIENCE, count.wait_for(|count| *count >= enough)).await.map(|r| r.map(|_| ()));
    assert!(reached.is_ok(), "{} of {enough}", *count.borrow());
}

impl Handler for Counting {
    async fn handle(&self, _entry: &Entry, _lease: &Lease) -> Result<(), Failure> {
        self.handled.send_modify(|count| *count += 1);
        Ok(())
    }

    async fn claimed(&self, _partition: Partition, _lease: &Lease) -> Result<(), Failure> {
        self.claimed.send_modify(|count| *count += 1);
        Ok(())
    }
}

#[tokio::test]
async fn a_single_process_owns_every_partition_at_once() {
    let nats = Nats::start().await.unwrap();
    let counting = Counting::new();
    let started = Instant::now();
    let reader = Running::start(&nats, counting.clone(), ReaderOptions::default()).await;
    until(&counting.claimed, PARTITIONS.into()).await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    reader.stop().await;
}

#[tokio::test]
async fn whoever_loses_the_table_of_claims_goes_on_with_later_epochs() {
    let nats = Nats::start().await.unwrap();
    let log = connect(&nats).await;
    let counting = Counting::new();
    let reader = Running::start(&nats, counting.clone(), options()).await;
    append(&log, 1, "before").await;
    until(&counting.handled, 1).await;
    let context = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    context.get_key_value("BATON_MEMBERSHIP").await.unwrap().purge("test").await.unwrap();
    until(&counting.claimed, 2 * usize::from(PARTITIONS)).await;
    append(&log, 1, "after").await;
    until(&counting.handled, 2).await;
    reader.stop().await;
}

#[tokio::test]
async fn an_owner_whose_checkpoint_was_taken_stops_at_once() {
    let nats = Nats::start().await.unwrap();
    let log = connect(&nats).await;
    let counting = Counting::new();
    let reader = Running::start(&nats, counting.clone(), options()).await;
    until(&counting.claimed, PARTITIONS.into()).await;
    append(&log, 1, "first").await;
    until(&counting.handled, 1).await;
    // Somebody else claims behind its back.
    let context = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let checkpoints = context.get_key_value("BATON_CHECKPOINTS").await.unwrap();
    let at = format!("test.{}", key(1).partition());
    let taken = serde_json::json!({"epoch": 1_000_000, "owner": "somebody", "through": 1});
    checkpoints.put(&at, taken.to_string().into()).await.unwrap();
    append(&log, 1, "second").await;
    // It notices, claims again under a later epoch, and carries on.
    until(&counting.claimed, usize::from(PARTITIONS) + 1).await;
    until(&counting.handled, 2).await;
    reader.stop().await;
    let stored: serde_json::Value =
        serde_json::from_slice(&checkpoints.get(&at).await.unwrap().unwrap()).unwrap();
    assert!(stored["epoch"].as_u64().unwrap() > 1_000_000, "{stored}");
    assert_eq!(stored["owner"], serde_json::Value::Null, "handed over in good order");
}

/// Never finishes.
#[derive(Clone)]
struct Hanging(Arc<AtomicUsize>);

impl Handler for Hanging {
    async fn handle(&self, _entry: &Entry, _lease: &Lease) -> Result<(), Failure> {
        self.0.fetch_add(1, Ordering::SeqCst);
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_handler_that_hangs_stops_no_hand_over() {
    let nats = Nats::start().await.unwrap();
    let log = connect(&nats).await;
    for n in 0..PARTITIONS {
        append(&log, n.into(), "hangs").await;
    }
    let hanging = Hanging(Arc::default());
    let short = ReaderOptions { drain: Duration::from_millis(100), ..options() };
    let first = Running::start(&nats, hanging.clone(), short).await;
    while hanging.0.load(Ordering::SeqCst) < PARTITIONS.into() {
        tokio::task::yield_now().await;
    }
    let counting = Counting::new();
    let second = Running::start(&nats, counting.clone(), options()).await;
    // Its share comes while the first still runs, the rest when that one leaves.
    until(&counting.handled, 8).await;
    first.stop().await;
    until(&counting.handled, PARTITIONS.into()).await;
    second.stop().await;
}

/// Entries that two owners vanished with, in a partition each.
async fn suspects(nats: &Nats, log: &Log, count: u64) {
    let context = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let checkpoints = context.get_key_value("BATON_CHECKPOINTS").await.unwrap();
    for n in 1..=count {
        append(log, n, "suspect").await;
        let left = serde_json::json!({
            "epoch": 0, "owner": "vanished", "through": n, "open": [n], "strikes": {n.to_string(): 1},
        });
        checkpoints.put(format!("test.{}", key(n).partition()), left.to_string().into()).await.unwrap();
    }
}

/// Waits for something that is slow to come.
#[derive(Clone)]
struct Unavailable {
    tried: Counting,
    hangs: bool,
}

impl Handler for Unavailable {
    async fn handle(&self, entry: &Entry, lease: &Lease) -> Result<(), Failure> {
        self.tried.handle(entry, lease).await?;
        if self.hangs {
            std::future::pending().await
        } else {
            Err(Failure::after(Duration::from_secs(20), std::io::Error::other("no budget")))
        }
    }
}

/// A peer that is away, and then two owners that vanish: the suspects are many, and innocent.
#[tokio::test]
async fn suspects_that_wait_for_something_do_not_wait_for_one_another() {
    for (hangs, count) in [(false, 4), (true, 2)] {
        let nats = Nats::start().await.unwrap();
        let log = connect(&nats).await;
        suspects(&nats, &log, count).await;
        let tried = Counting::new();
        let handler = Unavailable { tried: tried.clone(), hangs };
        let short = ReaderOptions { drain: Duration::from_millis(100), ..options() };
        let reader = Running::start(&nats, handler, short).await;
        let started = Instant::now();
        until(&tried.handled, usize::try_from(count).unwrap()).await;
        let took = started.elapsed();
        assert!(took < Duration::from_secs(15), "one after the other: {took:?}");
        reader.stop().await;
    }
}

#[tokio::test]
async fn leaving_does_not_wait_for_a_broker_that_is_gone() {
    let mut nats = Nats::start().await.unwrap();
    let counting = Counting::new();
    let short = ReaderOptions { drain: Duration::from_millis(100), ..options() };
    let reader = Running::start(&nats, counting.clone(), short).await;
    until(&counting.claimed, PARTITIONS.into()).await;
    nats.kill().await.unwrap();
    let started = Instant::now();
    reader.stop().await;
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

/// Ends its process on one entry: no panic that could be caught.
struct Deadly(Log);

impl Handler for Deadly {
    async fn handle(&self, entry: &Entry, _lease: &Lease) -> Result<(), Failure> {
        if entry.payload == "3" {
            std::process::abort();
        }
        let address = entry.address.as_ref().unwrap();
        self.0.append_fact(&subjects::fact(&address.key, Kind::Thread, &address.id), "".into(), None).await?;
        Ok(())
    }
}

/// A process of its own, started by the test below.
#[tokio::test]
#[ignore = "not a test: what the tests here run as a process"]
async fn worker() {
    let Ok(url) = std::env::var(WORKER) else { return };
    let log = bus::connect(&Config::at(&url)).await.unwrap();
    let reader = log.reader("test", &[Kind::WhatsApp], options());
    reader.run(Deadly(log), CancellationToken::new()).await.unwrap();
}

fn spawn(nats: &Nats) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "worker", "--ignored"])
        .env(WORKER, nats.url())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn an_entry_that_kills_its_process_again_and_again_is_a_dead_letter() {
    let nats = Nats::start().await.unwrap();
    let log = connect(&nats).await;
    for n in 0..8 {
        append(&log, 1, &n.to_string()).await;
        append(&log, 2, &format!("other-{n}")).await;
    }
    let context = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let dead = context.get_stream("DEADLETTERS").await.unwrap();
    let mut deaths = 0;
    timeout(PATIENCE, async {
        let mut process = spawn(&nats);
        while dead.get_info().await.unwrap().state.messages == 0 {
            if process.try_wait().unwrap().is_some() {
                deaths += 1;
                process = spawn(&nats);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The rest goes on behind it, in both conversations.
        let filter = [1, 2].map(|n| format!("conv.*.{}.th.*", key(n))).to_vec();
        while log.read(filter.clone(), 1, u64::MAX, 100).await.unwrap().len() < 15 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap();
    let letter = dead.get_raw_message(1).await.unwrap();
    assert_eq!(letter.payload, "3");
    assert!(letter.subject.starts_with("dlq.test."), "{}", letter.subject);
    assert!(letter.headers.get("Baton-Reason").unwrap().as_str().contains("died"));
    assert!((3..=6).contains(&deaths), "{deaths} deaths");
}
