//! Customers with a script: ask the assistant, ask for a person, talk, be given back, again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use e2e::{
    check::{HUMAN, PING, PONG, marked},
    sim::{ControlClient, Customer, Say},
};
use tokio::{sync::watch, task::JoinSet};

use super::{Scenario, watch::Watch};
use crate::stack::NUMBER;

/// What customers write to a rep in a round.
const TALK: usize = 3;
/// A rep's answers in a session, after which it ends: to header, transcript and talk.
pub(crate) const REPLIES: u32 = 2 + TALK as u32;
/// Of `domain::settings::Texts::chat_ended`.
const ENDED: &str = "The chat with our team has ended.";

pub(crate) struct Customers {
    tasks: JoinSet<Option<String>>,
    progress: Arc<Progress>,
}

/// When each customer last got on, in milliseconds since the start.
struct Progress {
    started: Instant,
    last: Vec<AtomicU64>,
    rounds: AtomicUsize,
    /// The longest that anybody waited for anything since it was last asked, in milliseconds.
    longest: AtomicU64,
}

impl Progress {
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

pub(crate) fn start(
    scenario: &Scenario,
    control: ControlClient,
    watch: Watch,
    over: watch::Receiver<bool>,
) -> Customers {
    let progress = Arc::new(Progress {
        started: Instant::now(),
        last: (0..scenario.conversations).map(|_| AtomicU64::new(0)).collect(),
        rounds: AtomicUsize::new(0),
        longest: AtomicU64::new(0),
    });
    let mut tasks = JoinSet::new();
    for index in 0..scenario.conversations {
        let phone = format!("1555{index:07}");
        let mut person = Person {
            index,
            customer: Customer::phone(&phone, &format!("Customer {index}")),
            phone,
            written: 0,
            pings: 0,
            rounds: 0,
            replies: 0,
            random: fastrand::Rng::with_seed(scenario.seed ^ index as u64),
            control: control.clone(),
            watch: watch.clone(),
            patience: scenario.patience,
            progress: Arc::clone(&progress),
        };
        let (rounds, over) = (scenario.rounds, over.clone());
        tasks.spawn(async move {
            while person.rounds < rounds || !*over.borrow() {
                if let Err(waited_for) = person.round().await {
                    // Nobody waits for one who gave up.
                    person.progress.last[index].store(u64::MAX, Ordering::Relaxed);
                    return Some(format!("{} in round {}: {waited_for}", person.phone, person.rounds));
                }
            }
            person.progress.last[index].store(u64::MAX, Ordering::Relaxed);
            None
        });
    }
    Customers { tasks, progress }
}

impl Customers {
    /// Until as many rounds are done as there are customers: everything is under way.
    pub(crate) async fn warm(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.progress.rounds.load(Ordering::Relaxed) < self.progress.last.len() / 2
            && Instant::now() < deadline
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Until every customer has got on since now; how long the slowest took.
    pub(crate) async fn recovered(&self) -> Duration {
        let since = self.progress.now();
        let started = Instant::now();
        let behind = |last: &AtomicU64| last.load(Ordering::Relaxed) < since;
        while self.progress.last.iter().any(behind) && started.elapsed() < Duration::from_secs(90) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        started.elapsed()
    }

    /// The longest that a customer waited for an answer since this was last asked.
    pub(crate) fn longest_wait(&self) -> Duration {
        Duration::from_millis(self.progress.longest.swap(0, Ordering::Relaxed))
    }

    /// Until all are done; who gave up.
    pub(crate) async fn finish(mut self) -> Vec<String> {
        let mut stuck = Vec::new();
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok(None) => {}
                Ok(Some(waited_for)) => stuck.push(waited_for),
                Err(e) => stuck.push(format!("a customer panicked: {e}")),
            }
        }
        stuck
    }
}

struct Person {
    index: usize,
    customer: Customer,
    phone: String,
    written: usize,
    pings: usize,
    rounds: usize,
    replies: usize,
    random: fastrand::Rng,
    control: ControlClient,
    watch: Watch,
    patience: Duration,
    progress: Arc<Progress>,
}

impl Person {
    async fn round(&mut self) -> Result<(), String> {
        self.pause().await;
        self.write(PING).await?;
        self.pings += 1;
        let pings = self.pings;
        self.until("an answer of the assistant", |texts, _| count(texts, |t| t == PONG) >= pings).await?;

        self.write(HUMAN).await?;
        // The rep answers header and transcript as soon as it is there.
        let replies = self.replies + 2;
        self.until("a rep", |_, replied| replied >= replies).await?;
        for n in 0..TALK {
            self.write("About my order").await?;
            // Sometimes before the answer came.
            if n + 1 == TALK || self.random.bool() {
                let replies = replies + n + 1;
                self.until("a rep's answer", |_, replied| replied >= replies).await?;
            }
            self.pause().await;
        }
        self.replies += REPLIES as usize;
        self.rounds += 1;
        let rounds = self.rounds;
        self.until("the assistant's return", |texts, _| count(texts, |t| t.starts_with(ENDED)) >= rounds)
            .await?;
        self.progress.rounds.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Writes, and waits until the message was taken: Meta keeps no order between webhooks.
    async fn write(&mut self, text: &str) -> Result<(), String> {
        self.written += 1;
        let text = marked(text, &self.phone, self.written);
        let say = Say::text(NUMBER, &self.customer, &text);
        let since = self.progress.now();
        let wamid = self.control.say(&say).await.map_err(|e| format!("the simulator: {e:#}"))?;
        if !self.watch.until(self.patience, |watch| watch.is_accepted(&wamid)).await {
            return Err(format!("message {} was not accepted", self.written));
        }
        self.got_on(since);
        Ok(())
    }

    async fn until(&self, what: &str, holds: impl Fn(&[String], usize) -> bool) -> Result<(), String> {
        let since = self.progress.now();
        let there = |watch: &Watch| watch.phone(&self.phone, |phone| holds(&phone.texts, phone.replies));
        if !self.watch.until(self.patience, there).await {
            return Err(format!("waited for {what}"));
        }
        self.got_on(since);
        Ok(())
    }

    /// After waiting `since` then.
    fn got_on(&self, since: u64) {
        let now = self.progress.now();
        self.progress.last[self.index].store(now, Ordering::Relaxed);
        self.progress.longest.fetch_max(now.saturating_sub(since), Ordering::Relaxed);
    }

    /// People take their time.
    async fn pause(&mut self) {
        tokio::time::sleep(Duration::from_millis(self.random.u64(500..4000))).await;
    }
}

fn count(texts: &[String], is_it: impl Fn(&str) -> bool) -> usize {
    texts.iter().filter(|text| is_it(text)).count()
}
