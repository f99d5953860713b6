//! The pace of sending on WhatsApp, shared by all replicas: a number's throughput and what one
//! customer may be sent (`whatsapp-cloud-api.md` §10). Both are token buckets, taken from together
//! or not at all, in one script and one round trip, on the server's clock. The keys of buckets that
//! are full again expire.

mod local;
mod pacer;

use std::{sync::LazyLock, time::Duration};

use domain::{ConversationKey, PhoneNumberId};
pub use local::LocalPace;
pub use pacer::Pacer;
use redis::Script;

use crate::{Doing as _, Error, Store, millis, timed};

/// Messages that one customer may be sent at once; they are borrowed from the time that follows.
pub const PAIR_BURST: u32 = 45;
/// One more message to the same customer in so long: what is sustained, and how debt is paid back.
pub const PAIR_EVERY: Duration = Duration::from_secs(6);
/// A bucket that was full starts to refill so much later. Requests take unequal time on their way:
/// without it Meta could count one more than we did.
const SLACK: Duration = Duration::from_millis(250);
/// No hold is longer, whatever the caller believes.
const LONGEST_HOLD: Duration = Duration::from_secs(24 * 3600);

/// Who goes first when a number is busy. The others leave a part of its bucket to those before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// A person waits for another person's answer.
    Rep,
    Assistant,
    /// Ours, inside a conversation: place in the queue, nobody is there.
    Notice,
    /// To many, and nobody waits for it.
    Campaign,
}

impl Priority {
    /// The part of a number's bucket that must be left after it.
    const fn reserve(self) -> f64 {
        match self {
            Self::Rep => 0.0,
            Self::Assistant => 0.05,
            Self::Notice => 0.1,
            Self::Campaign => 0.25,
        }
    }
}

/// One message that wants to go.
#[derive(Debug, Clone, Copy)]
pub struct Pace<'a> {
    pub number: &'a PhoneNumberId,
    /// What the number may send a second: 80 unless Meta says otherwise, 20 in coexistence. Meta
    /// counts what is received too: leave room for that.
    pub per_second: u32,
    /// The customer, on this number.
    pub pair: &'a ConversationKey,
    pub priority: Priority,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacedBy {
    Pair,
    Number,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "what may not go yet must wait"]
pub enum Paced {
    /// It may go, and is counted.
    Go,
    /// Not now, nothing is counted. It is not worth asking again before so long.
    Wait(Duration, PacedBy),
}

/// What is held back.
#[derive(Debug, Clone, Copy)]
pub enum Hold<'a> {
    Number(&'a PhoneNumberId),
    Pair(&'a ConversationKey),
}

/// A bucket's shape, and how much of it a message must leave.
#[derive(Debug, Clone, Copy)]
struct Rule {
    capacity: f64,
    /// For one more token.
    every: Duration,
    floor: f64,
}

impl Rule {
    const PAIR: Self = Self { capacity: PAIR_BURST as f64, every: PAIR_EVERY, floor: 0.0 };

    fn number(per_second: u32, priority: Priority) -> Self {
        let capacity = f64::from(per_second.max(1));
        // However small the bucket: when it is full, anything may go.
        let floor = (capacity * priority.reserve()).min(capacity - 1.0);
        Self { capacity, every: Duration::from_secs(1) / per_second.max(1), floor }
    }

    fn every_ms(&self) -> f64 {
        self.every.as_secs_f64() * 1000.0
    }
}

static PACE: LazyLock<Script> = LazyLock::new(|| timed(include_str!("pace.lua")));
static HOLD: LazyLock<Script> = LazyLock::new(|| timed(include_str!("hold.lua")));

impl Store {
    /// Whether a message may go now. See [`Pacer`], which works without the cache too.
    pub async fn pace(&self, pace: &Pace<'_>) -> Result<Paced, Error> {
        let number = Rule::number(pace.per_second, pace.priority);
        let mut call = PACE.prepare_invoke();
        call.key(self.number_pace(pace.number)).key(self.pair_pace(pace.pair));
        call.arg(self.clock_arg()).arg(millis(SLACK));
        for rule in [number, Rule::PAIR] {
            call.arg(rule.capacity).arg(rule.every_ms()).arg(rule.floor);
        }
        let (wait, number): (u64, bool) =
            call.invoke_async(&mut self.connection()).await.doing("take from the pace")?;
        let by = if number { PacedBy::Number } else { PacedBy::Pair };
        Ok(if wait == 0 { Paced::Go } else { Paced::Wait(Duration::from_millis(wait), by) })
    }

    /// Holds a number or a pair back on all replicas, for at most a day: WhatsApp said that it is
    /// too fast (130429, 131056, 80007 …). How long, and how it grows, is the caller's. Afterwards
    /// there is no burst: the sustained pace from the first message on. Never shortens a hold.
    pub async fn block(&self, what: Hold<'_>, lasting: Duration) -> Result<(), Error> {
        let (key, refill) = match what {
            Hold::Number(number) => (self.number_pace(number), Duration::from_secs(1)),
            Hold::Pair(pair) => (self.pair_pace(pair), PAIR_EVERY * PAIR_BURST),
        };
        HOLD.key(key)
            .arg(self.clock_arg())
            .arg(millis(lasting.min(LONGEST_HOLD)))
            .arg(millis(refill))
            .invoke_async(&mut self.connection())
            .await
            .doing("hold the pace")
    }

    fn number_pace(&self, number: &PhoneNumberId) -> String {
        self.key("pace:number", number.as_str())
    }

    fn pair_pace(&self, pair: &ConversationKey) -> String {
        self.key("pace:pair", pair)
    }
}
