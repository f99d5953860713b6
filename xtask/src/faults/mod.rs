//! `cargo xtask faults`: many conversations while everything is killed, paused and emptied in turn;
//! then the checker judges the simulators' whole record.

mod campaign;
pub(crate) mod customers;
mod trouble;
pub(crate) mod watch;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use e2e::{
    check,
    sim::{AutoRep, ControlClient},
};
use serde_json::json;
pub use trouble::Trouble;

use campaign::Campaign;

use crate::{
    say,
    stack::{Options, Stack},
};

#[derive(Debug, Clone, Args)]
pub struct Faults {
    /// How long trouble goes on. Absent: each kind once.
    #[arg(long)]
    minutes: Option<u64>,
    /// Repeats a run's choices.
    #[arg(long)]
    seed: Option<u64>,
    /// How many customers write at the same time.
    #[arg(long, default_value_t = 200)]
    conversations: usize,
    /// Recipients of a campaign that goes on meanwhile.
    #[arg(long, default_value_t = 0)]
    campaign: usize,
    /// No trouble but an upgrade: every replica leaves on SIGTERM and comes back, one at a time.
    #[arg(long, conflicts_with = "minutes")]
    rolling: bool,
}

impl Faults {
    pub async fn run(&self) -> Result<()> {
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..));
        let replicas = Scenario::default().replicas;
        let troubles = match self.minutes {
            None if self.rolling => Trouble::rolling(replicas),
            None => Trouble::each_once(),
            Some(minutes) => Trouble::at_random(seed, Duration::from_secs(minutes * 60)),
        };
        let (conversations, campaign) = (self.conversations, self.campaign);
        let scenario = Scenario { conversations, seed, troubles, campaign, ..Scenario::default() };
        let outcome = scenario.run().await?;
        outcome.judge()
    }
}

/// A run, and what is done to it.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub seed: u64,
    pub conversations: usize,
    pub replicas: usize,
    pub troubles: Vec<Trouble>,
    /// Rounds of question, handoff, talk and end that each customer goes through at least; they go
    /// on as long as there is trouble.
    pub rounds: usize,
    /// Every webhook is delivered so many times at once.
    pub duplicates: u32,
    /// Safeguards that are switched off, for control runs.
    pub disable: Vec<&'static str>,
    /// Of the answers to our sends to WhatsApp, the share that is lost after acceptance.
    pub lost_answers: f64,
    /// How long customers wait for anything before the run is given up.
    pub patience: Duration,
    /// Recipients of a campaign that goes on meanwhile, at two a second.
    pub campaign: usize,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            seed: 1,
            conversations: 200,
            replicas: 2,
            troubles: Vec::new(),
            rounds: 1,
            duplicates: 2,
            disable: Vec::new(),
            lost_answers: 0.0,
            // Slow machines have slow troubles: what never comes is found out all the same.
            patience: Duration::from_secs(240),
            campaign: 0,
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    pub seed: u64,
    pub report: check::Report,
    /// Customers who gave up waiting, and for what.
    pub stuck: Vec<String>,
    pub silences: Vec<Silence>,
    pub took: Duration,
    logs: PathBuf,
}

/// What customers noticed of a trouble.
#[derive(Debug)]
pub struct Silence {
    pub trouble: String,
    /// How long the slowest customer heard nothing once it was over.
    pub afterwards: Duration,
    /// The longest that anybody waited for an answer, from its beginning until then. What they wait
    /// for without any trouble is in it.
    pub longest_wait: Duration,
}

impl Outcome {
    pub fn is_clean(&self) -> bool {
        self.report.violations.is_empty() && self.stuck.is_empty()
    }

    /// Prints it; an error when anything was wrong.
    pub fn judge(&self) -> Result<()> {
        for Silence { trouble, afterwards, longest_wait } in &self.silences {
            say(format_args!(
                "{trouble:<36} over after {:>5} ms; longest wait {:>5} ms",
                afterwards.as_millis(),
                longest_wait.as_millis()
            ));
        }
        say(serde_json::to_string_pretty(&self.report)?);
        self.stuck.iter().take(20).for_each(|stuck| say(format_args!("stuck: {stuck}")));
        say(format_args!("seed {}, {} s", self.seed, self.took.as_secs()));
        if !self.is_clean() {
            bail!(
                "{} violations, {} customers stuck; replay with --seed {}; logs are in {}",
                self.report.violations.len(),
                self.stuck.len(),
                self.seed,
                self.logs.display()
            );
        }
        let _ = std::fs::remove_dir_all(&self.logs);
        Ok(())
    }
}

impl Scenario {
    pub async fn run(&self) -> Result<Outcome> {
        let started = Instant::now();
        let logs = devstack::workspace_root().join(format!(
            ".baton/logs/faults-{}-{}",
            std::process::id(),
            self.seed
        ));
        // A send that was cut off before it reached WhatsApp waits for the grace: longer than the
        // longest pause here, shorter than in production.
        let mut env: Vec<(String, String)> =
            [("RUST_LOG", "info"), ("SEND_GRACE", "15s"), ("GRAPH_TIMEOUT", "4s")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into();
        // These customers chat faster than WhatsApp's rate for a pair lets them be answered, and come
        // back faster than Salesforce's rate for a conversation allows.
        let off = [&["pace"], self.disable.as_slice()].concat();
        env.push(("BATON_UNSAFE_DISABLE".into(), off.join(",")));
        let options =
            Options { replicas: self.replicas, logs: Some(logs.clone()), env, ..Options::default() };
        let mut stack = Stack::start(options).await?;
        self.prepare(&stack.control).await.context("prepare the simulators")?;

        let campaign = match self.campaign {
            0 => None,
            recipients => Some(Campaign::start(&stack, recipients).await.context("start the campaign")?),
        };
        let watch = watch::Watch::start(stack.control.clone());
        let (over, is_over) = tokio::sync::watch::channel(false);
        let customers = customers::start(self, stack.control.clone(), watch.clone(), is_over);
        let mut silences = Vec::new();
        customers.warm().await;
        let mut noticed = |customers: &customers::Customers, trouble: String, afterwards| {
            silences.push(Silence { trouble, afterwards, longest_wait: customers.longest_wait() });
        };
        // While everything started.
        customers.longest_wait();
        noticed(&customers, "nothing".to_owned(), customers.recovered().await);
        for trouble in &self.troubles {
            say(format_args!("{:>6} ms  {trouble}", started.elapsed().as_millis()));
            trouble.make(&mut stack).await.with_context(|| format!("make trouble: {trouble}"))?;
            // Until everybody has heard something again: the time that a customer notices.
            noticed(&customers, trouble.to_string(), customers.recovered().await);
        }
        over.send_replace(true);
        let stuck = customers.finish().await;
        if let Some(campaign) = &campaign {
            campaign.finished(self.patience).await?;
        }
        // What is on its way still arrives.
        watch.settled(Duration::from_secs(2), Duration::from_secs(60)).await;
        let extent = stack.control.extent().await?;
        let entries = watch.stop().await?;
        let mut report = check::check(&entries, extent.lost);
        report.violations.extend(campaign.iter().flat_map(|campaign| campaign.judge(&entries)));
        stack.stop().await.context("stop everything")?;
        Ok(Outcome { seed: self.seed, report, stuck, silences, took: started.elapsed(), logs })
    }

    pub(crate) async fn prepare(&self, control: &ControlClient) -> Result<()> {
        control
            .configure_whatsapp(json!({
                // What customers and reps do here is faster than people are.
                "pair_limit": false,
                "number_limit": false,
                "duplicates": self.duplicates,
                "retry_cap_ms": 1000,
                "webhook_timeout_ms": 5000,
            }))
            .await?;
        control.configure_salesforce(json!({ "message_limit": false, "ping_interval_ms": 5000 })).await?;
        let auto = AutoRep { end_after: Some(customers::REPLIES), ..AutoRep::default() };
        control.set_auto_rep(Some(&auto)).await?;
        if self.lost_answers > 0.0 {
            use e2e::sim::{Api, Fault, Rule};
            let rule =
                Rule::new("messages", Fault::LoseAnswer).with_probability(self.lost_answers, self.seed);
            control.add_fault(Api::WhatsApp, &rule).await?;
        }
        Ok(())
    }
}
