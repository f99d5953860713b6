//! Broker, cache, handoff and the egress replicas.

use std::{
    collections::VecDeque,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use async_nats::jetstream::{self, context::PublishAckFuture};
use devstack::{Nats, Process, Valkey};
use domain::{
    Cause, ConversationKey, PhoneNumberId, SessionId,
    message::Customer,
    session::{Conversation, Decision, Owner, Session, Thread},
};
use proto::{StoredDecision, subjects};
use serde_json::json;
use store::Store;

use super::{
    super::{
        graph::{self, Graph},
        process, release,
    },
    PATIENCE,
    org::{Org, Threads, contact},
};

const NUMBERS: usize = 50;
/// Appends that are not acknowledged yet.
const ACKS: usize = 512;
const MASTER_KEY: &str = "bench:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

struct Egress {
    process: Process,
    /// Where it tells its metrics.
    metrics: String,
}

pub(super) struct Plant {
    pub(super) graph: Graph,
    pub(super) store: Store,
    nats: Nats,
    valkey: Valkey,
    handoff: Process,
    egress: [Option<Egress>; 2],
    environment: Vec<(String, String)>,
    dir: tempfile::TempDir,
}

impl Plant {
    /// Everything but egress, for so many messages.
    pub(super) async fn start(org: &Org, threads: usize, messages: usize) -> Result<Self> {
        let (nats, valkey, graph) =
            (Nats::start().await?, Valkey::start().await?, Graph::start(messages).await?);
        let dir = tempfile::tempdir()?;
        let settings = dir.path().join("settings.json");
        let written = json!({ "channels": channels(), "integrations": [org.integration()] });
        std::fs::write(&settings, written.to_string())?;
        let mut environment: Vec<_> = [
            ("NATS_URL", nats.url()),
            ("REDIS_URL", valkey.url()),
            ("GRAPH_URL", graph.url()),
            ("BATON_SETTINGS", settings.display().to_string()),
            ("MASTER_KEY", MASTER_KEY.to_owned()),
            ("CONVERSATION_KEY_SECRET", "bench conversation key secret, 32 and more".to_owned()),
            ("MAX_STREAMS", threads.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        environment.extend(org.environment());
        let store = Store::connect(&store::Config {
            redis_url: valkey.url().into(),
            redis_prefix: "baton".into(),
            master_key: MASTER_KEY.to_owned().into(),
        })?;
        let handoff = spawn("handoff", 0, &environment, dir.path().join("handoff.log")).await?;
        Ok(Self { graph, store, nats, valkey, handoff, egress: [None, None], environment, dir })
    }

    pub(super) async fn start_egress(&mut self, replica: usize) -> Result<()> {
        let log = self.dir.path().join(format!("egress-{replica}.log"));
        let admin = format!("127.0.0.1:{}", devstack::free_port()?);
        let mut environment = self.environment.clone();
        environment.push(("ADMIN_ADDR".to_owned(), admin.clone()));
        let process = spawn("egress", replica, &environment, log).await?;
        self.egress[replica] = Some(Egress { process, metrics: format!("http://{admin}/metrics") });
        Ok(())
    }

    /// `kill -9`.
    pub(super) async fn kill_egress(&mut self, replica: usize) -> Result<()> {
        self.egress[replica].take().context("no such replica")?.process.kill().await
    }

    pub(super) fn egress_pid(&self, replica: usize) -> Result<u32> {
        self.egress[replica].as_ref().and_then(|egress| egress.process.id()).context("egress ended")
    }

    /// Of the first egress, handoff, NATS and Valkey.
    pub(super) fn cpu(&self) -> Result<[Duration; 4]> {
        let of = |pid: Option<u32>| process::cpu_time(pid.context("a process ended")?);
        Ok([
            of(self.egress_pid(0).ok())?,
            of(self.handoff.id())?,
            of(self.nats.pid())?,
            of(self.valkey.pid())?,
        ])
    }

    /// Each thread is live, as a decision of handoff says it.
    pub(super) async fn follow(&self, live: &Threads) -> Result<()> {
        let log = jetstream::new(async_nats::connect(self.nats.url()).await?);
        // The client lets so many acks be awaited, and no more.
        let mut acks: VecDeque<PublishAckFuture> = VecDeque::with_capacity(ACKS);
        for (index, thread) in live.all().iter().enumerate() {
            let key = ConversationKey::from_bytes(
                *domain::derive::uuid("bench-streams", &[&index.to_be_bytes()]).as_bytes(),
            );
            let now = runtime::now();
            let follow = Cause { answers: 1, index: 0 };
            let session = Session {
                id: SessionId(domain::derive::uuid("bench-session", &[&index.to_be_bytes()])),
                opened_at: now,
                first: 1,
                handoffs: 1,
                human_until: None,
                shown_through: 1,
            };
            let state = Conversation {
                customer: Customer { phone: Some(format!("1555{index:07}")), ..Customer::default() },
                contact: Some(contact(index)),
                customer_wrote_at: now,
                thread: Some(*thread),
                thread_created: true,
                session: Some(session),
                epoch: 1,
                owner: Owner::Live(Thread::new(*thread, follow)),
                ..Conversation::new(PhoneNumberId::new(number(index % NUMBERS)))
            };
            let decision = Decision { state, outputs: Vec::new() };
            let stored = StoredDecision { answers: 1, policy_version: 1, decision };
            if acks.len() == ACKS
                && let Some(ack) = acks.pop_front()
            {
                ack.await.context("append")?;
            }
            acks.push_back(log.publish(subjects::decision(&key), stored.encode()).await?);
        }
        for ack in acks {
            ack.await.context("append")?;
        }
        Ok(())
    }

    pub(super) async fn until_arrived(&self, messages: usize) -> Result<()> {
        let deadline = Instant::now() + graph::PATIENCE.max(PATIENCE);
        while self.graph.arrivals() < messages {
            if Instant::now() > deadline {
                bail!("{} of {messages} messages arrived", self.graph.arrivals());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Until what the new streams brought has been dealt with: the broker has little to do any more. The
    /// others never rest, with so many heartbeats.
    pub(super) async fn until_quiet(&self) -> Result<()> {
        const LOOK: Duration = Duration::from_secs(1);
        let deadline = Instant::now() + PATIENCE;
        let broker = || process::cpu_time(self.nats.pid().context("the broker ended")?);
        let mut before = broker()?;
        loop {
            tokio::time::sleep(LOOK).await;
            let now = broker()?;
            if now.saturating_sub(before) < LOOK / 10 {
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < deadline, "it does not become quiet");
            before = now;
        }
    }

    /// Until the second replica has its share of the streams, and none is missing.
    pub(super) async fn until_shared(&self, org: &Org, threads: usize) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let second = self.egress[1].as_ref().context("there is no second replica")?;
        loop {
            // A share is about half of them.
            let has = streams(&reqwest::get(&second.metrics).await?.text().await?);
            if has >= threads / 3 && org.open_streams().await? >= threads {
                return self.until_quiet().await;
            }
            anyhow::ensure!(Instant::now() < deadline, "the second replica has {has} streams");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// That are up, as a replica's metrics tell.
fn streams(metrics: &str) -> usize {
    let value = |line: &str| {
        let sample = line.strip_prefix("baton_streams")?;
        let (labels, value) = sample.rsplit_once(' ')?;
        (labels.is_empty() || labels.starts_with('{')).then(|| value.parse::<usize>().ok())?
    };
    metrics.lines().filter_map(value).sum()
}

async fn spawn(
    name: &str,
    replica: usize,
    environment: &[(String, String)],
    log: PathBuf,
) -> Result<Process> {
    let port = devstack::free_port()?;
    let mut environment = environment.to_vec();
    environment.push(("LISTEN_ADDR".to_owned(), format!("127.0.0.1:{port}")));
    let process = Process::spawn(name, &release::beside(name)?, &[], &environment, Some(&log))?;
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = reqwest::get(format!("http://127.0.0.1:{port}/readyz")).await;
        if answer.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(process);
        }
        if Instant::now() > deadline {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            bail!("replica {replica} of {name} did not become ready; it said: {said}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn number(index: usize) -> String {
    format!("2200112233{index:05}")
}

fn channels() -> serde_json::Value {
    let channel = |index| {
        json!({
            "phone_number_id": number(index), "waba_id": "104857600000001",
            "display_phone_number": format!("+1 555 01{index:05}"), "name": format!("Line {index}"),
            "access_token": "bench-token", "integration": "main",
        })
    };
    (0..NUMBERS).map(channel).collect()
}
