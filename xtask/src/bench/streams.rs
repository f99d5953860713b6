//! `cargo xtask bench streams`: one egress process that follows many live threads of the simulated
//! org: memory per thread, CPU while reps write, the time from a rep's event to WhatsApp's POST, and how
//! long it takes until a second replica has everything after `kill -9` of the first.

mod org;
mod plant;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use tokio::task::JoinSet;

use super::{
    figures::{count, mib, progress},
    graph::Verdict,
    process, release,
};
use org::{Org, Threads};
use plant::Plant;

/// Files a process needs beside its event streams.
const OTHER_FILES: usize = 300;
/// Orders to reps that are under way.
const ORDERS_AT_ONCE: usize = 64;
/// Streams come back within this time, or never.
const PATIENCE: Duration = Duration::from_secs(180);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Prints the figures as one JSON object.
    #[arg(long)]
    json: bool,
    /// Live threads. Fewer where a process may not open as many files.
    #[arg(long, default_value_t = 20_000)]
    threads: usize,
    /// Event streams over TLS and HTTP/2, many on a connection, instead of HTTP/1.1 without TLS.
    #[arg(long)]
    h2: bool,
    /// What all reps together write in a second.
    #[arg(long, default_value_t = 300)]
    rate: u32,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 30)]
    seconds: u32,
    /// Measures this build as it is: whether the bench works, not what egress costs.
    #[arg(long, hide = true)]
    as_built: bool,
}

/// Times in milliseconds, CPU in microseconds per message, memory as resident.
#[derive(Debug, Serialize)]
struct Report {
    cpus: usize,
    threads: usize,
    h2: bool,
    /// From the first decision that asks for a thread to the last stream.
    connected_in_s: f64,
    egress_idle_mib: f64,
    egress_mib: f64,
    /// What each thread adds to egress.
    kib_per_thread: f64,
    /// With one event per thread and minute.
    trickle: Measurement,
    /// At `rate`.
    steady: Measurement,
    takeover: Takeover,
    restart: Restart,
    broken: Verdict,
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Measurement {
    messages: usize,
    messages_per_second: f64,
    /// From before the order to the simulated rep to WhatsApp's POST: the simulators' own time and the
    /// order's way are in it.
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    egress_cpu_us: f64,
    handoff_cpu_us: f64,
    nats_cpu_us: f64,
    valkey_cpu_us: f64,
    /// Of one core.
    egress_cpu_percent: f64,
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Takeover {
    /// Streams that the killed replica had.
    lost_streams: usize,
    /// From the kill until as many streams are up as before.
    streams_back_s: f64,
    /// What a rep wrote meanwhile was late by so much at most.
    longest_delay_s: f64,
    messages: usize,
}

/// The only replica is killed, and started again: nothing is up, nothing is remembered but what is stored.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Restart {
    /// From the kill.
    streams_back_s: f64,
    longest_delay_s: f64,
    /// Answers of the org that said: too many requests. Its limits are on.
    throttled: u64,
}

pub async fn run(args: Args) -> Result<()> {
    if cfg!(debug_assertions) && !args.as_built {
        let mut again = vec!["streams".to_owned()];
        again.extend(["--threads".to_owned(), args.threads.to_string()]);
        again.extend(["--rate".to_owned(), args.rate.to_string()]);
        again.extend(["--seconds".to_owned(), args.seconds.to_string()]);
        again.extend(args.json.then(|| "--json".to_owned()));
        again.extend(args.h2.then(|| "--h2".to_owned()));
        return release::again(&["egress", "handoff", "e2e"], &again).await;
    }
    let report = measure(&args).await?;
    show(&args, &report)?;
    if !report.broken.is_clean() {
        bail!("a rule was broken: {:?}", report.broken);
    }
    Ok(())
}

async fn measure(args: &Args) -> Result<Report> {
    // Each stream a file, but for HTTP/2.
    let files = if args.h2 { usize::MAX } else { open_files()? };
    let threads = args.threads.clamp(1, files.saturating_sub(OTHER_FILES).max(1));
    if threads < args.threads {
        progress(args.json, &format!("{files} open files are allowed: {threads} threads"));
    }
    let per_minute = u32::try_from(threads.div_ceil(60))?;
    let messages = |rate: u32| usize::try_from(rate.max(1).saturating_mul(args.seconds.max(1)));
    let in_all = messages(per_minute)? + messages(args.rate)? + 2 * takeover_messages(args.rate);

    progress(args.json, "starting");
    let org = Org::start(args.h2).await?;
    let mut plant = Plant::start(&org, threads, in_all).await?;
    progress(args.json, &format!("opening {threads} threads"));
    let live = org.open(&plant, threads).await?;

    // The first replica alone has all of them: what a thread costs is its.
    plant.start_egress(0).await?;
    let idle = process::resident(plant.egress_pid(0)?)?.0;
    progress(args.json, "connecting");
    let started = Instant::now();
    plant.follow(&live).await?;
    org.until_open(threads, PATIENCE).await?;
    let connected_in_s = started.elapsed().as_secs_f64();
    plant.until_quiet().await?;
    let resident = process::resident(plant.egress_pid(0)?)?.0;

    let mut writing = Writing { org: &org, live: &live, next: 0 };
    let mut broken = Verdict::default();
    progress(args.json, "one event per thread and minute");
    let trickle = writing.measure(&plant, per_minute, args.seconds, &mut broken).await?;
    progress(args.json, &format!("{} messages a second", args.rate));
    let steady = writing.measure(&plant, args.rate, args.seconds, &mut broken).await?;

    progress(args.json, "a second replica, and the end of the first");
    plant.start_egress(1).await?;
    plant.until_shared(&org, threads).await?;
    let takeover = writing.takeover(&mut plant, args.rate, &mut broken).await?;
    plant.until_quiet().await?;

    progress(args.json, "the end of the second, and the first comes back");
    org.limit().await?;
    let before = org.throttled().await?;
    plant.kill_egress(1).await?;
    let killed = Instant::now();
    let back = async {
        plant.start_egress(0).await?;
        writing.recovery(&plant, &killed, threads, args.rate, &mut broken).await
    };
    let Takeover { streams_back_s, longest_delay_s, .. } = back.await?;
    let throttled = org.throttled().await? - before;
    let restart = Restart { streams_back_s, longest_delay_s, throttled };
    let extra = resident.saturating_sub(idle);
    Ok(Report {
        cpus: std::thread::available_parallelism()?.get(),
        threads,
        h2: args.h2,
        connected_in_s,
        egress_idle_mib: mib(idle),
        egress_mib: mib(resident),
        kib_per_thread: mib(extra) * 1024.0 / count(threads),
        trickle,
        steady,
        takeover,
        restart,
        broken,
    })
}

/// Enough to be writing while streams come back.
fn takeover_messages(rate: u32) -> usize {
    rate.max(1).saturating_mul(10).try_into().unwrap_or(usize::MAX)
}

/// Reps who write to one thread after the other.
struct Writing<'a> {
    org: &'a Org,
    live: &'a Threads,
    /// Messages so far.
    next: usize,
}

impl Writing<'_> {
    /// `rate` messages a second for `seconds`, and until all have arrived.
    async fn measure(
        &mut self,
        plant: &Plant,
        rate: u32,
        seconds: u32,
        broken: &mut Verdict,
    ) -> Result<Measurement> {
        let messages = usize::try_from(rate.max(1).saturating_mul(seconds.max(1)))?;
        let before = plant.cpu()?;
        let started = Instant::now();
        self.write(plant, rate, messages).await?;
        plant.until_arrived(messages).await?;
        let took = started.elapsed();
        let after = plant.cpu()?;
        let arrived = plant.graph.take_arrived();
        broken.add(arrived.verdict);
        let each = |index: usize| (after[index] - before[index]).as_secs_f64() * 1e6 / count(messages);
        let quantile = |quantile| {
            let micros = arrived.latencies.value_at_quantile(quantile);
            count(usize::try_from(micros).unwrap_or(usize::MAX)) / 1_000.0
        };
        Ok(Measurement {
            messages: arrived.count,
            messages_per_second: count(arrived.count) / took.as_secs_f64(),
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
            max_ms: quantile(1.0),
            egress_cpu_us: each(0),
            handoff_cpu_us: each(1),
            nats_cpu_us: each(2),
            valkey_cpu_us: each(3),
            egress_cpu_percent: (after[0] - before[0]).as_secs_f64() / took.as_secs_f64() * 100.0,
        })
    }

    async fn write(&mut self, plant: &Plant, rate: u32, messages: usize) -> Result<()> {
        let (mut due, pause) = (Instant::now(), Duration::from_secs(1) / rate.max(1));
        let handing = plant.graph.handing();
        let mut orders = JoinSet::new();
        for message in self.next..self.next + messages {
            tokio::time::sleep_until(due.into()).await;
            due += pause;
            while orders.len() >= ORDERS_AT_ONCE {
                orders.join_next().await.context("an order")???;
            }
            handing.note(message);
            orders.spawn(self.org.say(self.live, message));
        }
        self.next += messages;
        while let Some(ordered) = orders.join_next().await {
            ordered??;
        }
        Ok(())
    }

    /// Reps write on while the first replica is killed and the second takes over.
    async fn takeover(&mut self, plant: &mut Plant, rate: u32, broken: &mut Verdict) -> Result<Takeover> {
        let before = self.org.open_streams().await?;
        plant.kill_egress(0).await?;
        let killed = Instant::now();
        self.recovery(plant, &killed, before, rate, broken).await
    }

    /// Reps write on until all streams are back.
    async fn recovery(
        &mut self,
        plant: &Plant,
        killed: &Instant,
        before: usize,
        rate: u32,
        broken: &mut Verdict,
    ) -> Result<Takeover> {
        let messages = takeover_messages(rate);
        let mut fewest = before;
        let recovered = async {
            loop {
                let open = self.org.open_streams().await?;
                fewest = fewest.min(open);
                if fewest < before && open >= before {
                    return anyhow::Ok(killed.elapsed());
                }
                if killed.elapsed() > PATIENCE {
                    bail!("{open} of {before} streams are back");
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let mut writing = Writing { org: self.org, live: self.live, next: self.next };
        let (recovered, written) = tokio::join!(recovered, writing.write(plant, rate, messages));
        self.next = writing.next;
        let streams_back_s = recovered?.as_secs_f64();
        written?;
        plant.until_arrived(messages).await?;
        let arrived = plant.graph.take_arrived();
        broken.add(arrived.verdict);
        Ok(Takeover {
            lost_streams: before - fewest,
            streams_back_s,
            longest_delay_s: Duration::from_micros(arrived.latencies.max()).as_secs_f64(),
            messages: arrived.count,
        })
    }
}

/// How many files a process may have open.
fn open_files() -> Result<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").context("read /proc/self/limits")?;
    let line = limits.lines().find(|line| line.starts_with("Max open files")).context("no limit of files")?;
    let soft = line.split_whitespace().nth(3).context("no limit of files")?;
    Ok(soft.parse().unwrap_or(usize::MAX))
}

#[expect(clippy::print_stdout, reason = "the figures are what the command is for")]
fn show(args: &Args, report: &Report) -> Result<()> {
    if args.json {
        println!("{}", serde_json::to_string(report)?);
        return Ok(());
    }
    let Report { cpus, threads, takeover, restart, .. } = report;
    println!(
        "\n{cpus} CPUs, {threads} live threads on {}; all streams up in {:.1} s",
        if args.h2 { "HTTP/2 with TLS" } else { "HTTP/1.1 without TLS" },
        report.connected_in_s
    );
    println!(
        "egress: {:.1} MiB with none, {:.1} MiB with all: {:.1} KiB per thread\n",
        report.egress_idle_mib, report.egress_mib, report.kib_per_thread
    );
    println!(
        "                  messages/s   p50 ms   p99 ms   max ms   CPU us/message: egress  handoff  NATS  Valkey"
    );
    for (name, m) in [("one a minute each", &report.trickle), ("steady", &report.steady)] {
        println!(
            "{name:<17} {:>10.0} {:>8.2} {:>8.2} {:>8.2} {:>23.0} {:>8.0} {:>5.0} {:>7.0}",
            m.messages_per_second,
            m.p50_ms,
            m.p99_ms,
            m.max_ms,
            m.egress_cpu_us,
            m.handoff_cpu_us,
            m.nats_cpu_us,
            m.valkey_cpu_us
        );
    }
    println!(
        "\nkill -9 of the replica with {} streams: all back after {:.1} s; of {} messages written meanwhile the latest \
         came {:.1} s late\nkill -9 of the only replica, and started again: all back after {:.1} s, the latest {:.1} s late, \
         answers 429: {}\nrules broken: {:?}",
        takeover.lost_streams,
        takeover.streams_back_s,
        takeover.messages,
        takeover.longest_delay_s,
        restart.streams_back_s,
        restart.longest_delay_s,
        restart.throttled,
        report.broken
    );
    Ok(())
}
