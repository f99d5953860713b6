//! `cargo xtask bench ingress`: ingress, a bare handler and a minimal one, side by side in one
//! run, on loopback with 64 connections, each with a NATS server of its own (JetStream on file
//! storage).

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use devstack::{Nats, Process};
use serde::Serialize;

use super::{
    figures::{count, mib, middle, progress, ratio},
    load::{self, Outcome},
    payload, process, release,
    server::SUBJECT,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Prints the figures as one JSON object.
    #[arg(long)]
    json: bool,
    /// Messages per measurement at the highest rate.
    #[arg(long, default_value_t = 20_000)]
    messages: usize,
    /// How often each measurement is taken, the servers in turns.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Seconds of steady load, at 1,000 messages a second.
    #[arg(long, default_value_t = 15)]
    steady_seconds: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    Bare,
    Minimal,
    Ingress,
}

/// All figures. Latencies in milliseconds, CPU in microseconds per message, memory in MiB.
#[derive(Debug, Serialize)]
struct Report {
    cpus: usize,
    connections: usize,
    messages_per_measurement: usize,
    bare: Figures,
    minimal: Figures,
    ingress: Figures,
    /// CPU per message of ingress against the minimal handler's, single messages; the middle of
    /// the rounds.
    ratio_to_minimal: f64,
    /// The same in batches of 20.
    ratio_to_minimal_batches: f64,
    /// Ingress at a steady 1,000 messages a second, open loop.
    steady: Steady,
    /// Ingress: batches of 1,000 messages in one body.
    thousands: Thousands,
}

#[derive(Debug, Serialize)]
struct Figures {
    single: Measurement,
    batch_of_20: Measurement,
    idle_rss_mib: f64,
    peak_rss_mib: f64,
}

#[derive(Debug, Clone, Default, Serialize)]
struct Measurement {
    messages_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    cpu_us: f64,
    nats_cpu_us: f64,
}

#[derive(Debug, Serialize)]
struct Steady {
    messages_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    rss_mib: f64,
}

#[derive(Debug, Serialize)]
struct Thousands {
    sent: u64,
    stored: u64,
    /// Bodies that were answered 503 and sent again, as Meta does.
    repeated: u64,
    p99_ms: f64,
    peak_rss_mib: f64,
}

pub async fn run(args: Args) -> Result<()> {
    if cfg!(debug_assertions) {
        return again_in_release(&args).await;
    }
    let report = measure(&args).await?;
    show(&args, &report)?;
    let lost = report.thousands.sent - report.thousands.stored.min(report.thousands.sent);
    if lost > 0 {
        bail!("{lost} messages were lost");
    }
    Ok(())
}

async fn again_in_release(args: &Args) -> Result<()> {
    let mut again = vec!["ingress".to_owned()];
    again.extend(["--messages".to_owned(), args.messages.to_string()]);
    again.extend(["--rounds".to_owned(), args.rounds.to_string()]);
    again.extend(["--steady-seconds".to_owned(), args.steady_seconds.to_string()]);
    again.extend(args.json.then(|| "--json".to_owned()));
    release::again(&["ingress"], &again).await
}

/// A server under load, and its broker.
struct Bench {
    variant: Variant,
    server: Process,
    nats: Option<Nats>,
    port: u16,
    idle_rss: u64,
    /// Makes the messages of each measurement new ones.
    runs: usize,
}

impl Bench {
    async fn start(variant: Variant) -> Result<Self> {
        let nats = if variant == Variant::Bare { None } else { Some(Nats::start().await?) };
        let url = nats.as_ref().map(Nats::url).unwrap_or_default();
        if variant == Variant::Minimal {
            minimal_stream(&url).await?;
        }
        let port = devstack::free_port()?;
        let (binary, arguments, environment) = match variant {
            Variant::Ingress => (release::beside("ingress")?, vec![], ingress_environment(port, &url)),
            Variant::Bare | Variant::Minimal => {
                let kind = if variant == Variant::Bare { "bare" } else { "minimal" };
                let arguments = ["bench-server", kind, "--port", &port.to_string(), "--nats-url", &url];
                (std::env::current_exe()?, arguments.map(str::to_owned).to_vec(), vec![])
            }
        };
        let log = tempfile::NamedTempFile::new()?;
        let name = format!("{variant:?}");
        let server = Process::spawn(&name, &binary, &arguments, &environment, Some(log.path()))?;
        devstack::wait_for_port(port, Duration::from_secs(20)).await.with_context(|| {
            let said = std::fs::read_to_string(log.path()).unwrap_or_default();
            format!("the {name} server did not come up; it said: {said}")
        })?;
        let mut bench = Self { variant, server, nats, port, idle_rss: 0, runs: 0 };
        // Connections, buffers and caches come into being.
        bench.closed_loop(2_000, 1).await?;
        bench.idle_rss = process::resident(bench.pid()?)?.0;
        Ok(bench)
    }

    fn pid(&self) -> Result<u32> {
        self.server.id().context("the server ended")
    }

    fn nats_cpu(&self) -> Result<Duration> {
        self.nats.as_ref().and_then(Nats::pid).map_or(Ok(Duration::ZERO), process::cpu_time)
    }

    fn requests(&mut self, messages: usize, batch: usize) -> Vec<Vec<u8>> {
        self.runs += 1;
        payload::requests(&format!("{:04}", self.runs), messages.div_ceil(batch), batch)
    }

    async fn closed_loop(&mut self, messages: usize, batch: usize) -> Result<(Measurement, Outcome)> {
        let requests = self.requests(messages, batch);
        let sent = count(requests.len() * batch);
        let (cpu, nats_cpu) = (process::cpu_time(self.pid()?)?, self.nats_cpu()?);
        let outcome = load::closed_loop(self.port, requests).await?;
        let per_message = |now: Duration, before: Duration| (now - before).as_secs_f64() * 1e6 / sent;
        let measurement = Measurement {
            messages_per_second: sent / outcome.took.as_secs_f64(),
            p50_ms: quantile(&outcome, 0.5),
            p99_ms: quantile(&outcome, 0.99),
            cpu_us: per_message(process::cpu_time(self.pid()?)?, cpu),
            nats_cpu_us: per_message(self.nats_cpu()?, nats_cpu),
        };
        self.all_accepted(&outcome)?;
        Ok((measurement, outcome))
    }

    fn all_accepted(&self, outcome: &Outcome) -> Result<()> {
        if outcome.refused > 0 {
            bail!("the {:?} server refused {} requests", self.variant, outcome.refused);
        }
        Ok(())
    }

    async fn steady(&mut self, seconds: usize) -> Result<Steady> {
        let requests = self.requests(seconds * 1000, 1);
        let sent = count(requests.len());
        let outcome = load::open_loop(self.port, requests, Duration::from_millis(1)).await?;
        self.all_accepted(&outcome)?;
        Ok(Steady {
            messages_per_second: sent / outcome.took.as_secs_f64(),
            p50_ms: quantile(&outcome, 0.5),
            p99_ms: quantile(&outcome, 0.99),
            max_ms: quantile(&outcome, 1.0),
            rss_mib: mib(process::resident(self.pid()?)?.0),
        })
    }

    async fn thousands(&mut self) -> Result<Thousands> {
        let before = self.stored().await?;
        let (_, outcome) = self.closed_loop(100_000, 1000).await?;
        Ok(Thousands {
            sent: 100_000,
            stored: self.stored().await? - before,
            repeated: outcome.repeated,
            p99_ms: quantile(&outcome, 0.99),
            peak_rss_mib: mib(process::resident(self.pid()?)?.1),
        })
    }

    /// Messages in the broker's streams.
    async fn stored(&self) -> Result<u64> {
        use futures::TryStreamExt as _;
        let nats = async_nats::connect(self.nats.as_ref().context("no broker")?.url()).await?;
        let streams: Vec<_> = async_nats::jetstream::new(nats).streams().try_collect().await?;
        // The log only: other streams hold copies of it.
        let of_the_log = |name: &str| name == "CONVERSATIONS" || name == SUBJECT;
        let streams = streams.iter().filter(|stream| of_the_log(&stream.config.name));
        Ok(streams.map(|stream| stream.state.messages).sum())
    }
}

async fn measure(args: &Args) -> Result<Report> {
    let mut benches = Vec::new();
    for variant in [Variant::Bare, Variant::Minimal, Variant::Ingress] {
        benches.push(Bench::start(variant).await?);
    }
    let (mut single, mut batches) = ([const { vec![] }; 3], [const { vec![] }; 3]);
    for round in 1..=args.rounds.max(1) {
        progress(args.json, &format!("round {round} of {}", args.rounds));
        // The same load one server after the other: a ratio is of neighbours in time.
        for (batch, results) in [(1, &mut single), (20, &mut batches)] {
            for (bench, results) in benches.iter_mut().zip(results) {
                results.push(bench.closed_loop(args.messages, batch).await?.0);
            }
        }
    }
    let [bare, minimal, ingress] =
        <[Bench; 3]>::try_from(benches).map_err(|_| anyhow::anyhow!("three servers"))?;
    let figures = |bench: &Bench, index: usize| -> Result<Figures> {
        Ok(Figures {
            single: median(&single[index]),
            batch_of_20: median(&batches[index]),
            idle_rss_mib: mib(bench.idle_rss),
            peak_rss_mib: mib(process::resident(bench.pid()?)?.1),
        })
    };
    let [bare_figures, minimal_figures, ingress_figures] =
        [figures(&bare, 0)?, figures(&minimal, 1)?, figures(&ingress, 2)?];
    drop((bare, minimal));
    // A process that has not been driven at its limit before.
    drop(ingress);
    let mut ingress = Bench::start(Variant::Ingress).await?;
    progress(args.json, "steady load");
    let steady = ingress.steady(args.steady_seconds.max(1)).await?;
    progress(args.json, "batches of 1,000");
    let thousands = ingress.thousands().await?;
    Ok(Report {
        cpus: std::thread::available_parallelism()?.get(),
        connections: load::CONNECTIONS,
        messages_per_measurement: args.messages,
        ratio_to_minimal: ratio(&single[2], &single[1], |m| m.cpu_us),
        ratio_to_minimal_batches: ratio(&batches[2], &batches[1], |m| m.cpu_us),
        bare: bare_figures,
        minimal: minimal_figures,
        ingress: ingress_figures,
        steady,
        thousands,
    })
}

/// Value by value, over the rounds.
fn median(rounds: &[Measurement]) -> Measurement {
    let of = |value: fn(&Measurement) -> f64| middle(rounds.iter().map(value));
    Measurement {
        messages_per_second: of(|m| m.messages_per_second),
        p50_ms: of(|m| m.p50_ms),
        p99_ms: of(|m| m.p99_ms),
        cpu_us: of(|m| m.cpu_us),
        nats_cpu_us: of(|m| m.nats_cpu_us),
    }
}

/// On file storage, like the log.
async fn minimal_stream(url: &str) -> Result<()> {
    let nats = async_nats::connect(url).await?;
    let config = async_nats::jetstream::stream::Config {
        name: SUBJECT.into(),
        subjects: vec![format!("{SUBJECT}.>")],
        storage: async_nats::jetstream::stream::StorageType::File,
        ..Default::default()
    };
    async_nats::jetstream::new(nats).create_stream(config).await?;
    Ok(())
}

fn ingress_environment(port: u16, nats_url: &str) -> Vec<(String, String)> {
    use secrecy::ExposeSecret as _;
    let secret = payload::app_secret();
    [
        ("LISTEN_ADDR", format!("127.0.0.1:{port}")),
        ("NATS_URL", nats_url.to_owned()),
        ("WHATSAPP_APP_SECRETS", secret.expose_secret().to_owned()),
        ("WHATSAPP_VERIFY_TOKEN", "bench".to_owned()),
        ("CONVERSATION_KEY_SECRET", "bench conversation key secret, 32 and more".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

fn quantile(outcome: &Outcome, quantile: f64) -> f64 {
    count(usize::try_from(outcome.latencies.value_at_quantile(quantile)).unwrap_or(usize::MAX)) / 1000.0
}

#[expect(clippy::print_stdout, reason = "the figures are what the command is for")]
fn show(args: &Args, report: &Report) -> Result<()> {
    if args.json {
        println!("{}", serde_json::to_string(report)?);
        return Ok(());
    }
    println!(
        "\n{} CPUs, {} connections, {} messages per measurement\n",
        report.cpus, report.connections, report.messages_per_measurement
    );
    println!("                     messages/s   p50 ms   p99 ms   CPU us/message   NATS us/message");
    for (name, figures) in
        [("bare", &report.bare), ("minimal", &report.minimal), ("ingress", &report.ingress)]
    {
        for (kind, m) in [("single", &figures.single), ("batch of 20", &figures.batch_of_20)] {
            println!(
                "{name:<8} {kind:<11} {:>11.0} {:>8.2} {:>8.2} {:>16.1} {:>17.1}",
                m.messages_per_second, m.p50_ms, m.p99_ms, m.cpu_us, m.nats_cpu_us
            );
        }
        println!(
            "{name:<8} resident memory: {:.1} MiB idle, {:.1} MiB at most",
            figures.idle_rss_mib, figures.peak_rss_mib
        );
    }
    println!(
        "\nCPU per message, ingress to minimal: {:.2} single, {:.2} in batches of 20",
        report.ratio_to_minimal, report.ratio_to_minimal_batches
    );
    let steady = &report.steady;
    println!(
        "steady: {:.0} messages/s, p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms, {:.1} MiB resident",
        steady.messages_per_second, steady.p50_ms, steady.p99_ms, steady.max_ms, steady.rss_mib
    );
    let thousands = &report.thousands;
    println!(
        "batches of 1,000: {} messages sent, {} stored, {} bodies sent again, p99 {:.0} ms, {:.1} MiB at most",
        thousands.sent, thousands.stored, thousands.repeated, thousands.p99_ms, thousands.peak_rss_mib
    );
    Ok(())
}
