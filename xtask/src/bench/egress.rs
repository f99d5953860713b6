//! `cargo xtask bench egress`: the delivery path at a steady rate over 50 numbers, beside a bare loop
//! that reads JetStream and POSTs, in turns in one run. Each has a NATS server of its own (JetStream
//! on file storage); what they POST to judges whether the pace is kept.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use async_nats::jetstream;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use devstack::{Nats, Process, Valkey};
use domain::{
    ConversationKey, PhoneNumberId, SendId,
    message::{Customer, Outgoing},
    session::{Conversation, Decision, Origin, Output, Send},
};
use proto::{StoredDecision, subjects};
use serde::Serialize;
use serde_json::json;
use tokio::task::JoinSet;

use super::{
    figures::{count, mib, middle, progress, ratio},
    graph::{self, Graph, Verdict},
    process, release,
    server::{LOOP, LOOP_CONSUMER},
};

const NUMBERS: usize = 50;
/// Messages go to so many customers in turns: each gets one in five seconds at 1,000 a second.
const CUSTOMERS: usize = 5_000;
/// Connections and buffers come into being.
const WARM_UP: usize = 2_000;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Prints the figures as one JSON object.
    #[arg(long)]
    json: bool,
    /// Messages a second, over all numbers.
    #[arg(long, default_value_t = 1_000)]
    rate: u32,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// How often each measurement is taken, in turns.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Measures this build as it is: whether the bench works, not what egress costs.
    #[arg(long, hide = true)]
    as_built: bool,
}

/// Latencies in milliseconds, from the moment before a message is given to the broker to its
/// arrival; CPU in microseconds per message.
#[derive(Debug, Serialize)]
struct Report {
    cpus: usize,
    numbers: usize,
    customers: usize,
    messages_per_measurement: usize,
    bare: Measurement,
    egress: Measurement,
    /// CPU per message of egress against the bare loop's; the middle of the rounds.
    ratio_to_bare: f64,
    egress_peak_rss_mib: f64,
    /// Of egress, over all rounds.
    broken: Verdict,
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Measurement {
    messages_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    cpu_us: f64,
    nats_cpu_us: f64,
    valkey_cpu_us: f64,
}

pub async fn run(args: Args) -> Result<()> {
    if cfg!(debug_assertions) && !args.as_built {
        let mut again = vec!["egress".to_owned()];
        again.extend(["--rate".to_owned(), args.rate.to_string()]);
        again.extend(["--seconds".to_owned(), args.seconds.to_string()]);
        again.extend(["--rounds".to_owned(), args.rounds.to_string()]);
        again.extend(args.json.then(|| "--json".to_owned()));
        return release::again(&["egress"], &again).await;
    }
    let report = measure(&args).await?;
    show(&args, &report)?;
    if !report.broken.is_clean() {
        bail!("a rule was broken: {:?}", report.broken);
    }
    Ok(())
}

/// A sender with what it sends from and to.
struct Bench {
    sender: Process,
    nats: Nats,
    valkey: Option<Valkey>,
    graph: Graph,
    log: jetstream::Context,
    /// Messages given to the log so far.
    given: usize,
    /// What the sender says.
    said: tempfile::NamedTempFile,
    _settings: tempfile::NamedTempFile,
}

impl Bench {
    async fn start(egress: bool, messages: usize) -> Result<Self> {
        let (nats, graph) = (Nats::start().await?, Graph::start(messages).await?);
        let valkey = if egress { Some(Valkey::start().await?) } else { None };
        let log = jetstream::new(async_nats::connect(nats.url()).await?);
        let (settings, said) = (tempfile::NamedTempFile::new()?, tempfile::NamedTempFile::new()?);
        let port = devstack::free_port()?;
        let (binary, arguments, environment) = if let Some(valkey) = &valkey {
            std::fs::write(settings.path(), channels().to_string())?;
            let path = settings.path().display().to_string();
            (release::beside("egress")?, vec![], egress_environment(port, &nats, valkey, &graph, path))
        } else {
            loop_stream(&log).await?;
            let arguments = ["bench-server", "loop", "--nats-url", &nats.url(), "--graph-url", &graph.url()]
                .map(str::to_owned);
            let port = ["--port".to_owned(), port.to_string()];
            (std::env::current_exe()?, [&arguments[..], &port].concat(), vec![])
        };
        let name = if egress { "egress" } else { "bare loop" };
        let sender = Process::spawn(name, &binary, &arguments, &environment, Some(said.path()))?;
        let mut bench = Self { sender, nats, valkey, graph, log, given: 0, said, _settings: settings };
        devstack::wait_for_port(port, Duration::from_secs(20)).await.with_context(|| {
            let said = std::fs::read_to_string(bench.said.path()).unwrap_or_default();
            format!("the {name} did not come up; it said: {said}")
        })?;
        if egress {
            bench.until_ready(port).await?;
        }
        bench.drive(1_000, WARM_UP).await?;
        Ok(bench)
    }

    /// It has claimed its partitions.
    async fn until_ready(&self, port: u16) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let answer = reqwest::get(format!("http://127.0.0.1:{port}/readyz")).await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("egress did not become ready");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn cpu(&self) -> Result<[Duration; 3]> {
        let of = |pid: Option<u32>| pid.map_or(Ok(Duration::ZERO), process::cpu_time);
        let sender = self.sender.id().context("the sender ended")?;
        Ok([
            process::cpu_time(sender)?,
            of(self.nats.pid())?,
            of(self.valkey.as_ref().and_then(Valkey::pid))?,
        ])
    }

    /// One message every `1/rate` seconds, whether or not the last ones went out; until all did.
    async fn drive(&mut self, rate: u32, messages: usize) -> Result<(Measurement, Verdict)> {
        let first = self.given;
        self.given += messages;
        let is_egress = self.valkey.is_some();
        let batch: Vec<_> = (first..self.given).map(|message| entry(is_egress, message)).collect();
        let before = self.cpu()?;
        let (started, pause) = (Instant::now(), Duration::from_secs(1) / rate.max(1));
        let (handing, log) = (self.graph.handing(), &self.log);
        let mut acks = JoinSet::new();
        let mut due = started;
        for (message, (subject, payload)) in (first..).zip(batch) {
            // Timers are as coarse as a millisecond: what is due by then goes together.
            tokio::time::sleep_until(due.into()).await;
            due += pause;
            handing.note(message);
            let ack = log.publish(subject, payload.into()).await?;
            acks.spawn(ack.into_future());
        }
        while let Some(ack) = acks.join_next().await {
            ack?.context("append")?;
        }
        let deadline = Instant::now() + graph::PATIENCE;
        while self.graph.arrivals() < messages {
            if Instant::now() > deadline {
                bail!("{} of {messages} messages arrived", self.graph.arrivals());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let took = started.elapsed();
        // Outcomes are still being recorded.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let after = self.cpu()?;
        let arrived = self.graph.take_arrived();
        let per_message = |index: usize| (after[index] - before[index]).as_secs_f64() * 1e6 / count(messages);
        let quantile = |quantile| {
            let micros = arrived.latencies.value_at_quantile(quantile);
            count(usize::try_from(micros).unwrap_or(usize::MAX)) / 1_000.0
        };
        let measurement = Measurement {
            messages_per_second: count(arrived.count) / took.as_secs_f64(),
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
            max_ms: quantile(1.0),
            cpu_us: per_message(0),
            nats_cpu_us: per_message(1),
            valkey_cpu_us: per_message(2),
        };
        Ok((measurement, arrived.verdict))
    }
}

async fn measure(args: &Args) -> Result<Report> {
    let messages = usize::try_from(args.rate.max(1).saturating_mul(args.seconds.max(1)))?;
    let rounds = args.rounds.max(1);
    let in_all = WARM_UP + rounds * messages;
    let mut bare = Bench::start(false, in_all).await?;
    let mut egress = Bench::start(true, in_all).await?;
    let (mut ours, mut least, mut broken) = (Vec::new(), Vec::new(), Verdict::default());
    for round in 1..=rounds {
        progress(args.json, &format!("round {round} of {rounds}"));
        least.push(bare.drive(args.rate, messages).await?.0);
        let (measurement, verdict) = egress.drive(args.rate, messages).await?;
        ours.push(measurement);
        broken.add(verdict);
    }
    let peak = process::resident(egress.sender.id().context("egress ended")?)?.1;
    Ok(Report {
        cpus: std::thread::available_parallelism()?.get(),
        numbers: NUMBERS,
        customers: CUSTOMERS,
        messages_per_measurement: messages,
        ratio_to_bare: ratio(&ours, &least, |m| m.cpu_us),
        bare: median(&least),
        egress: median(&ours),
        egress_peak_rss_mib: mib(peak),
        broken,
    })
}

fn number(index: usize) -> String {
    format!("2200112233{index:05}")
}

/// Subject and payload of a message: for egress a decision as handoff makes it, for the bare loop what
/// is to be POSTed.
fn entry(egress: bool, message: usize) -> (String, Vec<u8>) {
    let customer = message % CUSTOMERS;
    let (number, phone) = (number(customer % NUMBERS), format!("1555{customer:07}"));
    if !egress {
        let body = json!({
            "messaging_product": "whatsapp", "recipient_type": "individual", "to": phone,
            "type": "text", "text": { "body": graph::body(message) },
        });
        return (format!("{LOOP}.{number}.{message}"), body.to_string().into_bytes());
    }
    let key =
        ConversationKey::from_bytes(*domain::derive::uuid("bench", &[&customer.to_be_bytes()]).as_bytes());
    let id = SendId(domain::derive::uuid("bench-send", &[&message.to_be_bytes()]));
    let state = Conversation {
        customer: Customer { phone: Some(phone), ..Customer::default() },
        customer_wrote_at: runtime::now(),
        ..Conversation::new(PhoneNumberId::new(number))
    };
    let send = Send {
        id,
        body: Outgoing::Text(graph::body(message)),
        quotes: None,
        origin: Origin::Rep,
        mark: None,
        not_after: 0,
    };
    let decision = Decision { state, outputs: vec![Output::Send(send)] };
    let stored = StoredDecision { answers: 1, policy_version: 1, decision };
    (subjects::decision(&key), stored.encode().into())
}

fn channels() -> serde_json::Value {
    let channels: Vec<_> = (0..NUMBERS)
        .map(|index| {
            json!({
                "phone_number_id": number(index), "waba_id": "104857600000001",
                "display_phone_number": format!("+1 555 01{index:05}"), "name": format!("Line {index}"),
                "access_token": "bench-token",
            })
        })
        .collect();
    json!({ "channels": channels, "integrations": [] })
}

async fn loop_stream(log: &jetstream::Context) -> Result<()> {
    let config = jetstream::stream::Config {
        name: LOOP.into(),
        subjects: vec![format!("{LOOP}.>")],
        storage: jetstream::stream::StorageType::File,
        ..Default::default()
    };
    let stream = log.create_stream(config).await?;
    let consumer = jetstream::consumer::pull::Config {
        durable_name: Some(LOOP_CONSUMER.into()),
        max_ack_pending: 2_048,
        ..Default::default()
    };
    stream.create_consumer(consumer).await?;
    Ok(())
}

fn egress_environment(
    port: u16,
    nats: &Nats,
    valkey: &Valkey,
    graph: &Graph,
    settings: String,
) -> Vec<(String, String)> {
    [
        ("LISTEN_ADDR", format!("127.0.0.1:{port}")),
        ("NATS_URL", nats.url()),
        ("REDIS_URL", valkey.url()),
        ("GRAPH_URL", graph.url()),
        ("BATON_SETTINGS", settings),
        ("MASTER_KEY", format!("bench:{}", STANDARD.encode([7; 32]))),
        ("CONVERSATION_KEY_SECRET", "bench conversation key secret, 32 and more".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// Value by value, over the rounds.
fn median(rounds: &[Measurement]) -> Measurement {
    let of = |value: fn(&Measurement) -> f64| middle(rounds.iter().map(value));
    Measurement {
        messages_per_second: of(|m| m.messages_per_second),
        p50_ms: of(|m| m.p50_ms),
        p99_ms: of(|m| m.p99_ms),
        max_ms: of(|m| m.max_ms),
        cpu_us: of(|m| m.cpu_us),
        nats_cpu_us: of(|m| m.nats_cpu_us),
        valkey_cpu_us: of(|m| m.valkey_cpu_us),
    }
}

#[expect(clippy::print_stdout, reason = "the figures are what the command is for")]
fn show(args: &Args, report: &Report) -> Result<()> {
    if args.json {
        println!("{}", serde_json::to_string(report)?);
        return Ok(());
    }
    println!(
        "\n{} CPUs, {} numbers, {} customers, {} messages per measurement\n",
        report.cpus, report.numbers, report.customers, report.messages_per_measurement
    );
    println!("         messages/s   p50 ms   p99 ms   max ms   CPU us/message   NATS us   Valkey us");
    for (name, m) in [("bare", &report.bare), ("egress", &report.egress)] {
        println!(
            "{name:<8} {:>10.0} {:>8.2} {:>8.2} {:>8.2} {:>16.1} {:>9.1} {:>11.1}",
            m.messages_per_second, m.p50_ms, m.p99_ms, m.max_ms, m.cpu_us, m.nats_cpu_us, m.valkey_cpu_us
        );
    }
    println!(
        "\nCPU per message, egress to the bare loop: {:.2}; egress: {:.1} MiB resident at most; rules broken: {:?}",
        report.ratio_to_bare, report.egress_peak_rss_mib, report.broken
    );
    Ok(())
}
