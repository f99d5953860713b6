//! The same rules within one process.

use std::{collections::HashMap, hash::Hash, time::Duration};

use domain::{ConversationKey, PhoneNumberId};
use tokio::time::Instant;

use super::{Hold, LONGEST_HOLD, PAIR_BURST, PAIR_EVERY, Pace, Paced, PacedBy, Rule, SLACK};

/// Customers whose debt is remembered: about 80 bytes each.
const MOST_PAIRS: usize = 100_000;
const MOST_NUMBERS: usize = 1_000;
/// Full buckets are looked for at most so often.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Buckets of one process; the time is the caller's. Bounded: when there are too many, those that
/// are full are forgotten, and who is not known then is not paced.
#[derive(Debug)]
pub struct LocalPace {
    numbers: Table<PhoneNumberId>,
    pairs: Table<ConversationKey>,
}

impl Default for LocalPace {
    fn default() -> Self {
        Self::bounded(MOST_PAIRS, MOST_NUMBERS)
    }
}

impl LocalPace {
    fn bounded(pairs: usize, numbers: usize) -> Self {
        Self { numbers: Table::new(numbers), pairs: Table::new(pairs) }
    }

    /// Takes from both buckets, or from neither.
    pub fn pace(&mut self, pace: &Pace<'_>, now: Instant) -> Paced {
        let answer = self.ask(pace, now);
        if answer == Paced::Go {
            self.count(pace, now);
        }
        answer
    }

    /// What [`Self::pace`] would answer.
    pub fn ask(&self, pace: &Pace<'_>, now: Instant) -> Paced {
        let number = self.numbers.wait(pace.number, &Rule::number(pace.per_second, pace.priority), now);
        let pair = self.pairs.wait(pace.pair, &Rule::PAIR, now);
        if number.is_zero() && pair.is_zero() {
            Paced::Go
        } else if number > pair {
            Paced::Wait(number, PacedBy::Number)
        } else {
            Paced::Wait(pair, PacedBy::Pair)
        }
    }

    /// Counts a message that goes, whether or not it might.
    pub fn count(&mut self, pace: &Pace<'_>, now: Instant) {
        let rule = Rule::number(pace.per_second, pace.priority);
        self.numbers.change(pace.number, &rule, now, |bucket| bucket.take(&rule, now));
        self.pairs.change(pace.pair, &Rule::PAIR, now, |bucket| bucket.take(&Rule::PAIR, now));
    }

    /// What another counter answered to `pace` is believed here: asking it again sooner is in vain.
    pub fn learn(&mut self, pace: &Pace<'_>, wait: Duration, by: PacedBy, now: Instant) {
        match by {
            PacedBy::Number => {
                let rule = Rule::number(pace.per_second, pace.priority);
                self.numbers.change(pace.number, &rule, now, |bucket| bucket.learn(&rule, wait, now));
            }
            PacedBy::Pair => {
                self.pairs.change(pace.pair, &Rule::PAIR, now, |bucket| {
                    bucket.learn(&Rule::PAIR, wait, now);
                });
            }
        }
    }

    /// As [`Store::block`](crate::Store::block), for this process.
    pub fn block(&mut self, what: Hold<'_>, lasting: Duration, now: Instant) {
        let until = now + lasting.min(LONGEST_HOLD);
        // The capacity matters only to a bucket that is not known yet, and a hold empties it.
        let rule = Rule { capacity: f64::from(PAIR_BURST), every: PAIR_EVERY, floor: 0.0 };
        match what {
            Hold::Number(number) => self.numbers.change(number, &rule, now, |bucket| bucket.hold(until)),
            Hold::Pair(pair) => self.pairs.change(pair, &rule, now, |bucket| bucket.hold(until)),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    level: f64,
    /// When the level was right, or will be: it refills from then on.
    at: Instant,
    held: Instant,
    /// It is certainly full then.
    full: Instant,
}

impl Bucket {
    fn refill(&mut self, rule: &Rule, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.level = (self.level + passed / rule.every.as_secs_f64()).min(rule.capacity);
        self.at = self.at.max(now);
    }

    fn wait(mut self, rule: &Rule, now: Instant) -> Duration {
        self.refill(rule, now);
        let held = self.held.saturating_duration_since(now);
        let lacking = rule.floor + 1.0 - self.level;
        if lacking <= 0.0 {
            return held;
        }
        // Whole milliseconds, as the script counts.
        let refilled = (self.at - now).as_secs_f64() + lacking * rule.every.as_secs_f64();
        held.max(Duration::from_secs_f64((refilled * 1000.0 - 1e-6).ceil().max(1.0) / 1000.0))
    }

    fn take(&mut self, rule: &Rule, now: Instant) {
        self.refill(rule, now);
        if self.level >= rule.capacity {
            self.at = now + SLACK;
        }
        self.level -= 1.0;
        self.full = self.at + rule.every.mul_f64((rule.capacity - self.level).max(0.0));
    }

    fn learn(&mut self, rule: &Rule, wait: Duration, now: Instant) {
        self.refill(rule, now);
        let from = self.at - now;
        let lacking = wait.saturating_sub(from).as_secs_f64() / rule.every.as_secs_f64();
        self.level = self.level.min(rule.floor + 1.0 - lacking);
        self.full = self.at + rule.every.mul_f64((rule.capacity - self.level).max(0.0));
    }

    fn hold(&mut self, until: Instant) {
        self.held = self.held.max(until);
        self.at = self.held;
        self.level = self.level.min(1.0);
        self.full = self.held + PAIR_EVERY * PAIR_BURST;
    }
}

#[derive(Debug)]
struct Table<K> {
    buckets: HashMap<K, Bucket>,
    most: usize,
    swept: Option<Instant>,
}

impl<K: Hash + Eq + Clone> Table<K> {
    fn new(most: usize) -> Self {
        Self { buckets: HashMap::new(), most, swept: None }
    }

    fn wait(&self, of: &K, rule: &Rule, now: Instant) -> Duration {
        self.buckets.get(of).map_or(Duration::ZERO, |bucket| bucket.wait(rule, now))
    }

    fn change(&mut self, of: &K, rule: &Rule, now: Instant, change: impl FnOnce(&mut Bucket)) {
        if let Some(bucket) = self.buckets.get_mut(of) {
            return change(bucket);
        }
        if self.buckets.len() >= self.most {
            if self.swept.is_some_and(|swept| now < swept + SWEEP_EVERY) {
                return;
            }
            self.swept = Some(now);
            self.buckets.retain(|_, bucket| bucket.full > now);
            if self.buckets.len() >= self.most {
                return;
            }
        }
        let mut bucket = Bucket { level: rule.capacity, at: now, held: now, full: now };
        change(&mut bucket);
        self.buckets.insert(of.clone(), bucket);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Priority, *};

    struct World {
        local: LocalPace,
        number: PhoneNumberId,
        now: Instant,
    }

    fn world() -> World {
        World { local: LocalPace::default(), number: PhoneNumberId::new("1"), now: Instant::now() }
    }

    impl World {
        fn pace(&mut self, pair: u32, per_second: u32, priority: Priority) -> Paced {
            let pair = customer(pair);
            let pace = Pace { number: &self.number, per_second, pair: &pair, priority };
            self.local.pace(&pace, self.now)
        }

        fn rep(&mut self, pair: u32) -> Paced {
            self.pace(pair, 80, Priority::Rep)
        }

        fn pass(&mut self, millis: u64) {
            self.now += Duration::from_millis(millis);
        }
    }

    fn customer(n: u32) -> ConversationKey {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        ConversationKey::from_bytes(bytes)
    }

    fn wait(millis: u64, by: PacedBy) -> Paced {
        Paced::Wait(Duration::from_millis(millis), by)
    }

    #[test]
    fn a_burst_of_45_to_one_customer_is_paid_back_at_one_in_six_seconds() {
        let mut w = world();
        for _ in 0..45 {
            assert_eq!(w.rep(1), Paced::Go);
        }
        assert_eq!(w.rep(1), wait(6_250, PacedBy::Pair));
        assert_eq!(w.rep(2), Paced::Go, "another customer is not delayed");
        w.pass(6_249);
        assert_eq!(w.rep(1), wait(1, PacedBy::Pair));
        for _ in 0..100 {
            w.pass(1);
            assert_eq!(w.rep(1), Paced::Go);
            assert_eq!(w.rep(1), wait(6_000, PacedBy::Pair));
            w.pass(5_999);
        }
        w.pass(45 * 6_000);
        for _ in 0..45 {
            assert_eq!(w.rep(1), Paced::Go);
        }
        assert!(matches!(w.rep(1), Paced::Wait(_, PacedBy::Pair)));
    }

    #[test]
    fn campaigns_leave_a_quarter_of_the_number_to_those_who_answer_people() {
        let mut w = world();
        let sent = |w: &mut World, from: u32, priority| {
            (from..from + 200).take_while(|n| w.pace(*n, 80, priority) == Paced::Go).count()
        };
        assert_eq!(sent(&mut w, 0, Priority::Campaign), 60);
        assert_eq!(sent(&mut w, 1_000, Priority::Notice), 12);
        assert_eq!(sent(&mut w, 2_000, Priority::Assistant), 4);
        assert_eq!(sent(&mut w, 3_000, Priority::Rep), 4);
        // 250 ms of slack, then 12.5 ms each: one for the rep, 20 more for the campaign.
        assert_eq!(w.rep(4_000), wait(263, PacedBy::Number));
        assert_eq!(w.pace(4_000, 80, Priority::Campaign), wait(513, PacedBy::Number));
    }

    #[test]
    fn a_busy_number_never_sends_more_than_its_pace() {
        let mut w = world();
        let mut sent = 0;
        for pair in 0..10_000 {
            w.pass(1);
            sent += u32::from(w.rep(pair) == Paced::Go);
        }
        assert_eq!(sent, 80 + (10_000 - 250) * 80 / 1_000 - 1);
    }

    #[test]
    fn the_smallest_number_sends_campaigns_too() {
        let mut w = world();
        assert_eq!(w.pace(1, 1, Priority::Campaign), Paced::Go);
        assert_eq!(w.pace(1, 0, Priority::Campaign), wait(1_250, PacedBy::Number));
    }

    #[test]
    fn nothing_is_taken_from_the_number_when_the_pair_must_wait() {
        let mut w = world();
        for _ in 0..45 {
            assert_eq!(w.rep(1), Paced::Go);
        }
        for _ in 0..1_000 {
            assert!(matches!(w.rep(1), Paced::Wait(_, PacedBy::Pair)));
        }
        for pair in 2..37 {
            assert_eq!(w.rep(pair), Paced::Go);
        }
        assert!(matches!(w.rep(99), Paced::Wait(_, PacedBy::Number)));
    }

    #[test]
    fn what_whatsapp_holds_back_goes_on_without_a_burst() {
        let mut w = world();
        let (number, now) = (w.number.clone(), w.now);
        w.local.block(Hold::Pair(&customer(1)), Duration::from_secs(4), now);
        w.local.block(Hold::Pair(&customer(1)), Duration::from_secs(1), now);
        assert_eq!(w.rep(1), wait(4_000, PacedBy::Pair));
        assert_eq!(w.rep(2), Paced::Go);
        w.pass(4_000);
        assert_eq!(w.rep(1), Paced::Go);
        assert_eq!(w.rep(1), wait(6_000, PacedBy::Pair));
        let now = w.now;
        w.local.block(Hold::Number(&number), Duration::from_secs(2), now);
        assert_eq!(w.rep(2), wait(2_000, PacedBy::Number));
        w.pass(2_000);
        assert_eq!(w.rep(2), Paced::Go);
        assert_eq!(w.rep(2), wait(13, PacedBy::Number));
    }

    #[test]
    fn what_was_learnt_is_waited_for() {
        let mut w = world();
        let (number, pair) = (w.number.clone(), customer(1));
        let rep = Pace { number: &number, per_second: 80, pair: &pair, priority: Priority::Rep };
        w.local.learn(&rep, Duration::from_millis(500), PacedBy::Number, w.now);
        assert_eq!(w.rep(1), wait(500, PacedBy::Number));
        w.pass(500);
        w.local.learn(&rep, Duration::from_secs(60), PacedBy::Pair, w.now);
        assert_eq!(w.rep(2), Paced::Go);
        assert_eq!(w.rep(1), wait(60_000, PacedBy::Pair));
    }

    #[test]
    fn it_remembers_no_more_than_it_may_and_those_in_debt_first() {
        let mut w = world();
        w.local = LocalPace::bounded(10, 10);
        for pair in 0..1_000 {
            let _ = w.pace(pair, 10_000, Priority::Rep);
        }
        assert_eq!(w.local.pairs.buckets.len(), 10);
        for _ in 0..44 {
            assert_eq!(w.pace(1, 10_000, Priority::Rep), Paced::Go);
        }
        w.pass(7_000); // all but customer 1 are full again
        assert_eq!(w.pace(2_000, 10_000, Priority::Rep), Paced::Go);
        assert_eq!(w.local.pairs.buckets.len(), 2);
        assert_eq!(w.pace(1, 10_000, Priority::Rep), Paced::Go);
        assert!(matches!(w.pace(1, 10_000, Priority::Rep), Paced::Wait(_, PacedBy::Pair)));
    }
}
