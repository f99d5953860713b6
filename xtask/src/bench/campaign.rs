//! `cargo xtask bench campaign`: customers who write and are answered (webhook, decision, the
//! assistant's answer, send) alone, then beside campaigns on the same numbers, in one run. The simulator
//! enforces the numbers' limits, and its record tells who got what and when.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use campaign::{Campaigns, State};
use domain::outreach::CampaignId;
use e2e::sim::{ControlClient, Customer, Say, What};
use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use super::{
    figures::{count, mib, progress},
    process, release,
};
use crate::{
    offer::{self, Offer, WORDS},
    stack::{Options, Stack, number},
};

/// Recipients' phone numbers begin here; nobody else's do.
const FIRST_RECIPIENT: u64 = 4_915_100_000_000;
/// Connections and conversations come into being.
const WARM_UP: Duration = Duration::from_secs(5);
/// For what is still on its way.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of the record, and of the service's memory.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Of a number's rate that is used: clocks and buckets differ a little.
const PART_PERCENT: u32 = 95;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Prints the figures as one JSON object.
    #[arg(long)]
    json: bool,
    #[arg(long, default_value_t = 20)]
    numbers: usize,
    /// Of the large campaigns, over all numbers.
    #[arg(long, default_value_t = 100_000)]
    recipients: usize,
    /// Of the small campaigns before them, over all numbers.
    #[arg(long, default_value_t = 2_000)]
    few: usize,
    /// Messages a second that customers write, over all numbers.
    #[arg(long, default_value_t = 200)]
    live: u32,
    /// Who write them, in turns.
    #[arg(long, default_value_t = 2_000)]
    customers: usize,
    /// Of each measurement without a campaign: before it and after it.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Messages a second that the simulator lets a number send and receive.
    #[arg(long, default_value_t = 80)]
    per_number: u32,
    /// Measures this build as it is: whether the bench works, not what a campaign costs.
    #[arg(long, hide = true)]
    as_built: bool,
}

/// Latencies in milliseconds, from the moment a customer writes until the answer is in their chat.
#[derive(Debug, Serialize)]
struct Report {
    cpus: usize,
    numbers: usize,
    live_per_second: u32,
    without: Live,
    with: Live,
    /// The p99 of live messages with the campaign against that without.
    ratio_p99: f64,
    few: Sent,
    many: Sent,
    /// Messages that the simulator refused because a number sent too fast; they are sent again.
    refused_by_rate: usize,
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Live {
    messages: u64,
    p50_ms: u64,
    p99_ms: u64,
    max_ms: u64,
}

/// What became of the campaigns of one size.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Sent {
    recipients: usize,
    seconds: f64,
    per_second: f64,
    /// Of the service `campaigns`: resident memory at its highest while they were sent.
    rss_mib: f64,
    once: usize,
    twice: usize,
    never: usize,
}

pub async fn run(args: Args) -> Result<()> {
    if !args.as_built && (cfg!(debug_assertions) || std::env::var_os(crate::stack::BUILT).is_none()) {
        let mut again = vec!["campaign".to_owned()];
        for (name, value) in [
            ("--numbers", args.numbers.to_string()),
            ("--recipients", args.recipients.to_string()),
            ("--few", args.few.to_string()),
            ("--live", args.live.to_string()),
            ("--customers", args.customers.to_string()),
            ("--seconds", args.seconds.to_string()),
            ("--per-number", args.per_number.to_string()),
        ] {
            again.extend([name.to_owned(), value]);
        }
        again.extend(args.json.then(|| "--json".to_owned()));
        let packages = ["ingress", "handoff", "assistant", "egress", "campaigns", "e2e"];
        return release::again(&packages, &again).await;
    }
    let report = measure(&args).await?;
    show(&args, &report)?;
    for sent in [report.few, report.many] {
        if sent.twice + sent.never > 0 {
            bail!("{} recipients were reached twice, {} never", sent.twice, sent.never);
        }
    }
    Ok(())
}

/// What the simulator's record told so far.
struct Watched {
    next: u64,
    /// When each customer's unanswered messages were written, in the simulator's milliseconds.
    said: HashMap<String, VecDeque<u64>>,
    unanswered: usize,
    latencies: Histogram<u64>,
    /// By recipient of both sizes.
    reached: Vec<u8>,
    refused_by_rate: usize,
}

impl Watched {
    async fn look(&mut self, control: &ControlClient) -> Result<()> {
        for entry in control.record(self.next).await? {
            self.next = entry.seq + 1;
            if let What::CustomerSaid { customer, .. } = entry.what {
                self.said.entry(customer).or_default().push_back(entry.at_ms);
                self.unanswered += 1;
            } else if let What::Shown { customer, text, .. } = entry.what {
                self.shown(&customer, &text, entry.at_ms);
            } else if let What::WaViolation { rule, .. } = entry.what {
                self.refused_by_rate += usize::from(rule == "number");
            }
        }
        Ok(())
    }

    fn shown(&mut self, customer: &str, text: &str, at_ms: u64) {
        if text.starts_with(WORDS) {
            let place = customer.parse().ok().and_then(|phone: u64| phone.checked_sub(FIRST_RECIPIENT));
            let place = place.and_then(|place| usize::try_from(place).ok());
            if let Some(times) = place.and_then(|place| self.reached.get_mut(place)) {
                *times = times.saturating_add(1);
            }
        } else if let Some(said_at) = self.said.get_mut(customer).and_then(VecDeque::pop_front) {
            self.unanswered -= 1;
            self.latencies.saturating_record(at_ms.saturating_sub(said_at).max(1));
        }
    }
}

struct Bench<'a> {
    args: &'a Args,
    stack: Stack,
    campaigns: Campaigns,
    watched: Watched,
    /// Messages that customers wrote so far.
    written: usize,
}

impl<'a> Bench<'a> {
    async fn start(args: &'a Args) -> Result<Self> {
        let inbound = args.live.div_ceil(u32::try_from(args.numbers.max(1))?);
        let rate = (args.per_number * PART_PERCENT / 100).saturating_sub(inbound).max(1);
        let options = Options {
            services: vec!["handoff", "assistant", "egress", "campaigns", "ingress"],
            numbers: args.numbers.max(1),
            // What a number receives counts too.
            channel: json!({ "messages_per_second": rate }),
            ..Options::default()
        };
        let stack = Stack::start(options).await?;
        // Many statuses in one POST when many are there, as Meta does.
        let config = json!({ "number_per_second": args.per_number, "batch": 100, "read_after_ms": null });
        stack.control.configure_whatsapp(config).await?;
        for index in 0..args.numbers.max(1) {
            let unlimited = json!({ "messaging_limit": "TIER_UNLIMITED" });
            stack.control.set_setup(&number(index), unlimited).await?;
        }
        offer::set_template(&stack.control).await?;
        let log = bus::connect(&bus::Config::at(&stack.nats.url())).await.context("connect")?;
        let campaigns = Campaigns::open(&log).await.context("open the campaigns")?;
        let watched = Watched {
            next: 1,
            said: HashMap::new(),
            unanswered: 0,
            latencies: histogram(),
            reached: vec![0; args.few + args.recipients],
            refused_by_rate: 0,
        };
        Ok(Self { args, stack, campaigns, watched, written: 0 })
    }

    /// Customers write until `over` says so; what they waited for each answer.
    async fn live(&mut self, mut over: impl Over) -> Result<Histogram<u64>> {
        self.watched.latencies = histogram();
        let mut tick = interval(Duration::from_secs(1) / self.args.live.max(1));
        // One every so often, whether or not the last ones were answered.
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut says = JoinSet::new();
        let mut looked = Instant::now();
        loop {
            tick.tick().await;
            let customer = self.written % self.args.customers.max(1);
            self.written += 1;
            let control = self.stack.control.clone();
            let phone = format!("1555{customer:07}");
            let say = Say::text(
                &number(customer % self.args.numbers.max(1)),
                &Customer::phone(&phone, "Live"),
                "What are your opening hours?",
            );
            says.spawn(async move { control.say(&say).await });
            while let Some(said) = says.try_join_next() {
                said?.context("write")?;
            }
            if looked.elapsed() >= LOOK_EVERY {
                looked = Instant::now();
                self.watched.look(&self.stack.control).await?;
                if over.look(&self.campaigns, &mut self.stack).await? {
                    break;
                }
            }
        }
        while let Some(said) = says.join_next().await {
            said?.context("write")?;
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.watched.look(&self.stack.control).await?;
            if self.watched.unanswered == 0 {
                break;
            }
            if Instant::now() > deadline {
                bail!("{} customers were not answered", self.watched.unanswered);
            }
            sleep(Duration::from_millis(100)).await;
        }
        Ok(std::mem::replace(&mut self.watched.latencies, histogram()))
    }

    /// A campaign of each number, beside live messages.
    async fn campaigns(&mut self, first: usize, recipients: usize) -> Result<(Histogram<u64>, Sent)> {
        let (numbers, mut made) = (self.args.numbers.max(1), Vec::new());
        let share = |place: usize| recipients * place / numbers;
        for place in 0..numbers {
            let number = number(place);
            let offer = Offer {
                number: &number,
                first_phone: FIRST_RECIPIENT + u64::try_from(first + share(place))?,
                recipients: share(place + 1) - share(place),
                per_minute: None,
                who: "bench",
            };
            let id = offer.make(&self.campaigns).await?;
            offer.start(&self.campaigns, id).await?;
            made.push(id);
        }
        let mut sending = Sending { left: made, started: Instant::now(), took: Duration::ZERO, highest: 0 };
        let latencies = self.live(&mut sending).await?;
        let reached = &self.watched.reached[first..first + recipients];
        let sent = Sent {
            recipients,
            seconds: sending.took.as_secs_f64(),
            per_second: count(recipients) / sending.took.as_secs_f64().max(0.001),
            rss_mib: mib(sending.highest),
            once: reached.iter().filter(|times| **times == 1).count(),
            twice: reached.iter().filter(|times| **times > 1).count(),
            never: reached.iter().filter(|times| **times == 0).count(),
        };
        Ok((latencies, sent))
    }
}

/// When a measurement is over.
trait Over {
    async fn look(&mut self, campaigns: &Campaigns, stack: &mut Stack) -> Result<bool>;
}

impl Over for Instant {
    async fn look(&mut self, _: &Campaigns, _: &mut Stack) -> Result<bool> {
        Ok(*self <= Instant::now())
    }
}

/// Until all of these campaigns are finished.
struct Sending {
    left: Vec<CampaignId>,
    started: Instant,
    took: Duration,
    /// Bytes.
    highest: u64,
}

impl Over for &mut Sending {
    async fn look(&mut self, campaigns: &Campaigns, stack: &mut Stack) -> Result<bool> {
        let pid = stack.service("campaigns", 0).pid().context("campaigns ended")?;
        self.highest = self.highest.max(process::resident(pid)?.0);
        while let Some(id) = self.left.last() {
            let stored = campaigns.get(*id).await?.context("a campaign is gone")?;
            match stored.definition.state {
                State::Finished => self.left.pop(),
                State::Paused { why } => bail!("a campaign was paused: {why:?}"),
                State::Cancelled => bail!("a campaign was cancelled"),
                State::Draft if !stored.definition.problems.is_empty() => {
                    bail!("a campaign cannot start: {:?}", stored.definition.problems)
                }
                State::Draft
                | State::Validating { .. }
                | State::Ready
                | State::Scheduled
                | State::Running => return Ok(false),
            };
        }
        self.took = self.started.elapsed();
        Ok(true)
    }
}

async fn measure(args: &Args) -> Result<Report> {
    let mut bench = Bench::start(args).await?;
    let say = |what: &str| progress(args.json, what);
    say("warming up");
    bench.live(Instant::now() + WARM_UP).await?;
    say("live messages alone");
    let alone = Duration::from_secs(args.seconds);
    let mut without = bench.live(Instant::now() + alone).await?;
    say("small campaigns");
    let few = bench.campaigns(0, args.few).await?.1;
    say("large campaigns");
    let (with, many) = bench.campaigns(args.few, args.recipients).await?;
    say("live messages alone");
    without.add(bench.live(Instant::now() + alone).await?)?;
    let (without, with) = (Live::of(&without), Live::of(&with));
    let refused_by_rate = bench.watched.refused_by_rate;
    bench.stack.stop().await?;
    #[expect(clippy::cast_precision_loss, reason = "milliseconds")]
    let ratio_p99 = with.p99_ms as f64 / without.p99_ms.max(1) as f64;
    Ok(Report {
        cpus: std::thread::available_parallelism()?.get(),
        numbers: args.numbers,
        live_per_second: args.live,
        without,
        with,
        ratio_p99,
        few,
        many,
        refused_by_rate,
    })
}

impl Live {
    fn of(latencies: &Histogram<u64>) -> Self {
        Self {
            messages: latencies.len(),
            p50_ms: latencies.value_at_quantile(0.5),
            p99_ms: latencies.value_at_quantile(0.99),
            max_ms: latencies.max(),
        }
    }
}

/// Milliseconds, up to two minutes.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(120_000, 3).expect("the bounds are fine")
}

#[expect(clippy::print_stdout, reason = "the figures are what the command is for")]
fn show(args: &Args, report: &Report) -> Result<()> {
    if args.json {
        println!("{}", serde_json::to_string(report)?);
        return Ok(());
    }
    println!(
        "\n{} CPUs, {} numbers, {} live messages a second\n",
        report.cpus, report.numbers, report.live_per_second
    );
    println!("                    messages   p50 ms   p99 ms   max ms");
    for (name, live) in [("without a campaign", report.without), ("with a campaign", report.with)] {
        println!("{name:<18} {:>9} {:>8} {:>8} {:>8}", live.messages, live.p50_ms, live.p99_ms, live.max_ms);
    }
    println!("p99 with against without: {:.2} (goal: 1.5)\n", report.ratio_p99);
    println!("recipients   seconds   a second   campaigns' MiB      once   twice   never");
    for sent in [report.few, report.many] {
        println!(
            "{:>10} {:>9.1} {:>10.0} {:>16.1} {:>9} {:>7} {:>7}",
            sent.recipients, sent.seconds, sent.per_second, sent.rss_mib, sent.once, sent.twice, sent.never
        );
    }
    println!("{} sends were refused for the number's rate, and sent again", report.refused_by_rate);
    Ok(())
}
