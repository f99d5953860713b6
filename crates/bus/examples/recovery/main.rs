//! How long a single fault is felt: `cargo run -p bus --example recovery [rounds] [cluster]`. With
//! `cluster` against three brokers and three copies, always the one killed that leads the log.
//!
//! Two worker processes read 64 conversations into which an entry goes every 20 ms. For each fault
//! it prints, in milliseconds from the fault: the first append that succeeded, the last partition
//! claimed anew (if any had to be), and the first entry appended after the fault that was read in
//! the conversation that waited longest. Then the broker is killed again and again, and the lateness
//! of every entry is printed: when it was read, less when it should have been appended.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

mod brokers;

use std::{
    collections::HashMap,
    process::Stdio,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use brokers::Brokers;
use bus::{Config, Entry, Failure, Handler, Lease, Log, ReaderOptions};
use devstack::Nats;
use domain::{ConversationKey, Partition};
use proto::subjects::{self, Kind};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const CONVERSATIONS: u64 = 64;
const EVERY: Duration = Duration::from_millis(20);

fn key(n: u64) -> ConversationKey {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    ConversationKey::from_bytes(bytes)
}

struct Echo;

impl Handler for Echo {
    async fn handle(&self, entry: &Entry, _lease: &Lease) -> Result<(), Failure> {
        println!("read {}", String::from_utf8_lossy(&entry.payload));
        Ok(())
    }

    async fn claimed(&self, partition: Partition, _lease: &Lease) -> Result<(), Failure> {
        println!("claimed {partition}");
        Ok(())
    }
}

/// What the workers tell, and what was appended.
#[derive(Default)]
struct Seen {
    /// Entry (`conversation.n`) to when it was first read.
    read: HashMap<String, Instant>,
    claimed: Option<Instant>,
    /// When it should have been appended, and when it was.
    appended: Vec<(String, Instant, Instant)>,
}

struct World {
    brokers: Brokers,
    workers: Vec<Child>,
    seen: Arc<Mutex<Seen>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl World {
    async fn start(three: bool) -> Result<Self> {
        let brokers = Brokers::start(three).await?;
        let mut world = Self {
            brokers,
            workers: Vec::new(),
            seen: Arc::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        let nats_replicas = world.brokers.replicas();
        let log = bus::connect(&Config { nats_replicas, ..Config::at(&world.brokers.urls()) }).await?;
        for _ in 0..2 {
            let worker = world.spawn()?;
            world.workers.push(worker);
        }
        for conversation in 0..CONVERSATIONS {
            let (log, seen, stop) = (log.clone(), Arc::clone(&world.seen), world.stop.clone());
            world.tasks.spawn(async move { stop.run_until_cancelled(append(log, seen, conversation)).await });
        }
        // Both have their share when nothing has moved for a while.
        world.calm().await;
        Ok(world)
    }

    fn spawn(&self) -> Result<Child> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["worker", &self.brokers.urls()])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let seen = Arc::clone(&self.seen);
        self.tasks.spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let now = Instant::now();
                let mut seen = seen.lock().expect("no panics while held");
                match line.split_once(' ') {
                    Some(("read", entry)) => {
                        seen.read.entry(entry.to_owned()).or_insert(now);
                    }
                    Some(("claimed", _)) => seen.claimed = Some(now),
                    _ => {}
                }
            }
        });
        Ok(child)
    }

    /// Until no partition has been claimed for five seconds and all that was appended is read.
    async fn calm(&self) {
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let seen = self.seen.lock().expect("no panics while held");
            let quiet = seen.claimed.is_some_and(|at| at.elapsed() > Duration::from_secs(5));
            let old = |at: &Instant| at.elapsed() > Duration::from_secs(1);
            if quiet
                && seen
                    .appended
                    .iter()
                    .filter(|(_, _, at)| old(at))
                    .all(|(id, ..)| seen.read.contains_key(id))
            {
                return;
            }
        }
    }

    /// Milliseconds from `fault` to the first append, the last claim, and the slowest
    /// conversation's first new entry.
    fn measure(&self, fault: Instant) -> [Option<u128>; 3] {
        let seen = self.seen.lock().expect("no panics while held");
        let since = |at: Instant| at.saturating_duration_since(fault).as_millis();
        let append = seen.appended.iter().filter(|(.., at)| *at > fault).map(|(.., at)| since(*at)).min();
        let claim = seen.claimed.filter(|at| *at > fault).map(since);
        let read = (0..CONVERSATIONS)
            .filter_map(|conversation| {
                let prefix = format!("{conversation}.");
                seen.appended
                    .iter()
                    .filter(|(id, _, at)| id.starts_with(&prefix) && *at > fault)
                    .filter_map(|(id, ..)| seen.read.get(id).map(|at| since(*at)))
                    .min()
            })
            .max();
        [append, claim, read]
    }

    /// In milliseconds, of what was appended as the `first`-th entry and later.
    fn lateness(&self, first: usize) -> Vec<u128> {
        let seen = self.seen.lock().expect("no panics while held");
        seen.appended[first..]
            .iter()
            .filter_map(|(id, due, _)| Some(seen.read.get(id)?.saturating_duration_since(*due).as_millis()))
            .collect()
    }

    async fn end(mut self) -> Result<()> {
        self.stop.cancel();
        for worker in &mut self.workers {
            worker.kill().await?;
        }
        Ok(())
    }
}

async fn append(log: Log, seen: Arc<Mutex<Seen>>, conversation: u64) {
    let pace = EVERY * u32::try_from(CONVERSATIONS).unwrap_or(1);
    let mut due = Instant::now() + EVERY * u32::try_from(conversation).unwrap_or(0);
    for n in 0.. {
        tokio::time::sleep_until(due.into()).await;
        let id = format!("{conversation}.{n}");
        let subject = subjects::fact(&key(conversation), Kind::WhatsApp, &id.replace('.', "-"));
        if log.append_fact(&subject, id.clone().into(), None).await.is_ok() {
            seen.lock().expect("no panics while held").appended.push((id, due, Instant::now()));
        }
        due += pace;
    }
}

fn signal(child: &Child, name: &str) -> Result<()> {
    let id = child.id().context("the worker has ended")?;
    std::process::Command::new("kill").arg(format!("-{name}")).arg(id.to_string()).status()?;
    Ok(())
}

/// User and system time of a process, in clock ticks of 10 ms.
fn ticks(process: &str) -> Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let field = |n: usize| fields.get(n).and_then(|text| text.parse::<u64>().ok()).context("no such field");
    Ok(field(11)? + field(12)?)
}

struct Idle;

impl Handler for Idle {
    async fn handle(&self, _entry: &Entry, _lease: &Lease) -> Result<(), Failure> {
        Ok(())
    }
}

async fn idle() -> Result<()> {
    const WATCHED: Duration = Duration::from_secs(30);
    let nats = Nats::start().await?;
    let tasks = TaskTracker::new();
    for service in ["one", "two", "three"] {
        let log = bus::connect(&Config::at(&nats.url())).await?;
        let reader = log.reader(service, &Kind::FACTS, ReaderOptions::default());
        tasks.spawn(reader.run(Idle, CancellationToken::new()));
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let broker = nats.pid().context("no broker")?.to_string();
    let before = (ticks("self")?, ticks(&broker)?);
    tokio::time::sleep(WATCHED).await;
    let after = (ticks("self")?, ticks(&broker)?);
    let share = |ticks: u64| ticks * 1000 / (WATCHED.as_secs() * 100);
    println!(
        "three idle services, 192 consumers: {} per mille of a core, the broker {}",
        share(after.0 - before.0),
        share(after.1 - before.1)
    );
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    if let [_, worker, url] = &args[..]
        && worker == "worker"
    {
        let log = bus::connect(&Config::at(url)).await?;
        log.reader("recovery", &[Kind::WhatsApp], ReaderOptions::default())
            .run(Echo, CancellationToken::new())
            .await?;
        return Ok(());
    }
    if args.get(1).is_some_and(|arg| arg == "idle") {
        return idle().await;
    }
    let rounds: usize = args.iter().skip(1).find_map(|n| n.parse().ok()).unwrap_or(3);
    let three = args.iter().any(|arg| arg == "cluster");
    println!("{:<28} {:>10} {:>10} {:>10}   ms after the fault", "fault", "append", "claim", "read");
    for fault in [
        "worker killed",
        "worker paused for 10 s",
        "broker killed, back at once",
        "broker down for 2 s",
        "broker stopped for 2 s",
    ] {
        for _ in 0..rounds {
            let mut world = World::start(three).await?;
            world.brokers.aim().await?;
            let at = Instant::now();
            match fault {
                "worker killed" => world.workers[0].kill().await?,
                "worker paused for 10 s" => {
                    signal(&world.workers[0], "STOP")?;
                    tokio::time::sleep(Duration::from_secs(10)).await;
                    signal(&world.workers[0], "CONT")?;
                }
                "broker killed, back at once" => {
                    world.brokers.kill().await?;
                    world.brokers.restart().await?;
                }
                _ => {
                    if fault.starts_with("broker stopped") {
                        world.brokers.stop().await?;
                    } else {
                        world.brokers.kill().await?;
                    }
                    tokio::time::sleep(Duration::from_secs(2)).await;
                    world.brokers.restart().await?;
                }
            }
            let paused = fault.starts_with("worker paused");
            tokio::time::sleep(Duration::from_secs(if paused { 0 } else { 12 })).await;
            let [append, claim, read] = world.measure(at);
            let show = |ms: Option<u128>| ms.map_or("–".into(), |ms| ms.to_string());
            println!("{fault:<28} {:>10} {:>10} {:>10}", show(append), show(claim), show(read));
            world.end().await?;
        }
    }

    let mut world = World::start(three).await?;
    let first = world.seen.lock().expect("no panics while held").appended.len();
    for _ in 0..8 {
        world.brokers.aim_at_next();
        world.brokers.kill().await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.brokers.restart().await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    world.calm().await;
    let mut late = world.lateness(first);
    late.sort_unstable();
    let at = |share: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index"
        )]
        let index = ((late.len() - 1) as f64 * share) as usize;
        late[index]
    };
    println!(
        "\nbroker killed every 3 s, 8 times, down for 1 s: lateness of {} entries: p50 {} ms, p90 {} ms, p99 {} ms, max {} ms",
        late.len(),
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
    world.end().await
}
