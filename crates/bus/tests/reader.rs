//! The partitioned reader, against a real broker.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bus::{Config, Entry, Failure, Handler, Lease, Log, ReaderOptions};
use devstack::Nats;
use domain::ConversationKey;
use proto::subjects::{self, Kind};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const KINDS: &[Kind] = &[Kind::WhatsApp];

/// What was handled, by whom, in which order per conversation.
#[derive(Clone)]
struct Journal {
    seen: Arc<Mutex<HashMap<ConversationKey, Vec<String>>>>,
    count: watch::Sender<usize>,
}

impl Journal {
    fn new() -> Self {
        Self { seen: Arc::default(), count: watch::Sender::new(0) }
    }

    fn saw(&self, entry: &Entry) {
        let text = String::from_utf8(entry.payload.to_vec()).unwrap();
        self.seen.lock().unwrap().entry(entry.address.as_ref().unwrap().key).or_default().push(text);
        self.count.send_modify(|count| *count += 1);
    }

    /// Without repeats, which a take-over may cause.
    fn firsts(&self) -> BTreeMap<ConversationKey, Vec<String>> {
        let seen = self.seen.lock().unwrap();
        seen.iter()
            .map(|(key, texts)| {
                let mut firsts: Vec<String> = Vec::new();
                for text in texts {
                    if !firsts.contains(text) {
                        firsts.push(text.clone());
                    }
                }
                (*key, firsts)
            })
            .collect()
    }

    async fn until(&self, what: &str, enough: impl Fn(&Self) -> bool) {
        let mut count = self.count.subscribe();
        let waited = tokio::time::timeout(Duration::from_secs(40), async {
            while !enough(self) {
                let _ = tokio::time::timeout(Duration::from_millis(200), count.changed()).await;
            }
        });
        assert!(waited.await.is_ok(), "{what}: {:?}", self.count.borrow());
    }

    fn total(&self) -> usize {
        self.firsts().values().map(Vec::len).sum()
    }
}

struct Plain(Journal);

impl Handler for Plain {
    async fn handle(&self, entry: &Entry, _lease: &Lease) -> Result<(), Failure> {
        self.0.saw(entry);
        Ok(())
    }
}

fn key(n: usize) -> ConversationKey {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&(n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    ConversationKey::from_bytes(bytes)
}

async fn append(log: &Log, conversation: usize, n: usize) {
    let subject = subjects::fact(&key(conversation), Kind::WhatsApp, &n.to_string());
    log.append_fact(&subject, n.to_string().into(), None).await.unwrap();
}

async fn append_all(log: &Log, conversations: usize, range: std::ops::Range<usize>) {
    for n in range {
        futures::future::join_all((0..conversations).map(|conversation| append(log, conversation, n))).await;
    }
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|n| n.to_string()).collect()
}

/// A reader in a task of its own.
struct Running {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Running {
    async fn start<H: Handler>(nats: &Nats, handler: H, options: ReaderOptions) -> Self {
        let log = bus::connect(&Config::at(&nats.url())).await.unwrap();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let stopped = stop.clone();
        tasks.spawn(async move { log.reader("test", KINDS, options).run(handler, stopped).await.unwrap() });
        tasks.close();
        Self { stop, tasks }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

#[tokio::test]
async fn one_process_reads_everything_in_order_and_resumes_where_it_stopped() {
    let nats = Nats::start().await.unwrap();
    let log = bus::connect(&Config::at(&nats.url())).await.unwrap();
    append_all(&log, 100, 0..5).await;
    let journal = Journal::new();
    let reader = Running::start(&nats, Plain(journal.clone()), ReaderOptions::default()).await;
    append_all(&log, 100, 5..10).await;
    journal.until("all read", |journal| journal.total() == 1000).await;
    assert!(journal.firsts().values().all(|texts| *texts == numbers(10)));
    reader.stop().await;

    let second = Journal::new();
    let reader = Running::start(&nats, Plain(second.clone()), ReaderOptions::default()).await;
    append_all(&log, 100, 10..11).await;
    second.until("the new ones", |journal| journal.total() == 100).await;
    assert!(second.firsts().values().all(|texts| *texts == ["10"]), "a graceful stop repeats nothing");
    reader.stop().await;
}

#[tokio::test]
async fn partitions_move_to_a_second_process_and_back_without_loss_or_disorder() {
    let nats = Nats::start().await.unwrap();
    let log = bus::connect(&Config::at(&nats.url())).await.unwrap();
    let journal = Journal::new();
    let first = Running::start(&nats, Plain(journal.clone()), ReaderOptions::default()).await;
    append_all(&log, 50, 0..5).await;
    let others = Journal::new();
    let second = Running::start(&nats, Plain(others.clone()), ReaderOptions::default()).await;
    let mut n = 5;
    while others.total() == 0 {
        append_all(&log, 50, n..n + 1).await;
        n += 1;
        assert!(n < 5000, "the second process never got anything");
    }
    first.stop().await;
    append_all(&log, 50, n..n + 5).await;
    let all = (n + 5) * 50;
    others.until("everything", |others| others.total() + journal.total() >= all).await;
    let (mut before, after) = (journal.firsts(), others.firsts());
    for (key, texts) in after {
        before.entry(key).or_default().extend(texts);
    }
    for texts in before.values() {
        assert_eq!(*texts, numbers(n + 5));
    }
    second.stop().await;
}

#[tokio::test]
async fn a_broker_that_dies_and_returns_loses_nothing() {
    let mut nats = Nats::start().await.unwrap();
    let log = bus::connect(&Config::at(&nats.url())).await.unwrap();
    let journal = Journal::new();
    let reader = Running::start(&nats, Plain(journal.clone()), ReaderOptions::default()).await;
    append_all(&log, 20, 0..5).await;
    journal.until("before", |journal| journal.total() == 100).await;
    for round in 1..4 {
        nats.kill().await.unwrap();
        nats.restart().await.unwrap();
        append_all(&log, 20, round * 5..round * 5 + 5).await;
        journal.until("after a restart", |journal| journal.total() == (round + 1) * 100).await;
    }
    assert!(journal.firsts().values().all(|texts| *texts == numbers(20)));
    reader.stop().await;
}

/// Fails one conversation until it is told to work.
struct Outage {
    journal: Journal,
    works: Arc<AtomicBool>,
    tries: Arc<AtomicUsize>,
}

impl Handler for Outage {
    async fn handle(&self, entry: &Entry, _lease: &Lease) -> Result<(), Failure> {
        if entry.address.as_ref().unwrap().key == key(0) && !self.works.load(Ordering::SeqCst) {
            self.tries.fetch_add(1, Ordering::SeqCst);
            return Err(Failure::soon("down"));
        }
        self.journal.saw(entry);
        Ok(())
    }
}

#[tokio::test]
async fn an_outage_parks_its_conversation_and_drains_it_in_order_also_in_another_process() {
    let nats = Nats::start().await.unwrap();
    let log = bus::connect(&Config::at(&nats.url())).await.unwrap();
    let options = ReaderOptions { park_after: Duration::from_millis(100), ..ReaderOptions::default() };
    let (works, tries) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let outage = |journal: &Journal| Outage {
        journal: journal.clone(),
        works: Arc::clone(&works),
        tries: Arc::clone(&tries),
    };
    let journal = Journal::new();
    let first = Running::start(&nats, outage(&journal), options.clone()).await;
    append_all(&log, 10, 0..400).await;
    journal.until("the others go on", |journal| journal.total() == 9 * 400).await;
    let parked = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let parked = async || parked.get_stream("PARKED").await.unwrap().get_info().await.unwrap().state.messages;
    while parked().await < 400 {
        tokio::task::yield_now().await;
    }
    first.stop().await;

    let journal = Journal::new();
    let second = Running::start(&nats, outage(&journal), options).await;
    append_all(&log, 1, 400..405).await;
    works.store(true, Ordering::SeqCst);
    journal.until("drained", |journal| journal.total() == 405).await;
    assert_eq!(journal.firsts()[&key(0)], numbers(405));
    while parked().await > 0 {
        tokio::task::yield_now().await;
    }
    assert!(tries.load(Ordering::SeqCst) > 0);
    second.stop().await;
}

/// Panics on one entry and refuses another.
struct Poison(Journal);

impl Handler for Poison {
    async fn handle(&self, entry: &Entry, _lease: &Lease) -> Result<(), Failure> {
        assert!(entry.payload != "3", "poison");
        if entry.payload == "5" {
            return Err(Failure::never("cannot be read"));
        }
        self.0.saw(entry);
        Ok(())
    }
}

#[tokio::test]
async fn poison_goes_to_the_dead_letters_with_its_reason_and_its_neighbours_go_on() {
    let nats = Nats::start().await.unwrap();
    let log = bus::connect(&Config::at(&nats.url())).await.unwrap();
    let journal = Journal::new();
    let reader = Running::start(&nats, Poison(journal.clone()), ReaderOptions::default()).await;
    append_all(&log, 1, 0..8).await;
    journal.until("the rest", |journal| journal.total() == 6).await;
    assert_eq!(journal.firsts()[&key(0)], ["0", "1", "2", "4", "6", "7"]);
    let context = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let dead = context.get_stream("DEADLETTERS").await.unwrap();
    let reasons = [1, 2].map(|seq| {
        let dead = dead.clone();
        async move {
            let message = dead.get_raw_message(seq).await.unwrap();
            message.headers.get("Baton-Reason").unwrap().to_string()
        }
    });
    let reasons = futures::future::join_all(reasons).await;
    assert_eq!(reasons, ["the handler panicked", "cannot be read"]);
    reader.stop().await;
}
