//! Buckets (`whatsapp-cloud-api.md` §10). The 45 and the payback are documented, the shape is
//! inferred.

/// Of sums of sixths.
const ROUNDING: f64 = 1e-6;

/// A token bucket whose clock is the simulator's.
#[derive(Debug)]
pub(super) struct Bucket {
    tokens: f64,
    at_ms: f64,
    /// Until all that was borrowed is paid back.
    closed: bool,
}

/// How it fills.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    pub(super) capacity: u32,
    pub(super) per_second: f64,
    pub(super) payback: bool,
}

impl Bucket {
    pub(super) fn full(rate: Rate, now_ms: f64) -> Self {
        Self { tokens: f64::from(rate.capacity), at_ms: now_ms, closed: false }
    }

    fn refill(&mut self, rate: Rate, now_ms: f64) {
        let gained = (now_ms - self.at_ms).max(0.0) / 1_000.0 * rate.per_second;
        self.tokens = (self.tokens + gained).min(f64::from(rate.capacity));
        self.at_ms = now_ms;
        self.closed &= self.tokens + ROUNDING < f64::from(rate.capacity);
    }

    /// Takes one if there is one.
    pub(super) fn take(&mut self, rate: Rate, now_ms: f64) -> bool {
        self.refill(rate, now_ms);
        if self.closed || self.tokens + ROUNDING < 1.0 {
            self.closed = rate.payback;
            return false;
        }
        self.tokens = (self.tokens - 1.0).max(0.0);
        true
    }

    /// Takes one, also where there is none.
    pub(super) fn force(&mut self, rate: Rate, now_ms: f64) {
        self.refill(rate, now_ms);
        self.tokens = (self.tokens - 1.0).max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_paid_back_one_by_one_or_as_a_whole() {
        let mut rate = Rate { capacity: 45, per_second: 1.0 / 6.0, payback: false };
        let mut bucket = Bucket::full(rate, 0.0);
        assert_eq!((0..100).filter(|_| bucket.take(rate, 0.0)).count(), 45);
        assert!(!bucket.take(rate, 5_900.0) && bucket.take(rate, 6_000.0) && !bucket.take(rate, 6_001.0));

        rate.payback = true;
        let mut bucket = Bucket::full(rate, 0.0);
        assert_eq!((0..100).filter(|_| bucket.take(rate, 0.0)).count(), 45);
        assert!(!bucket.take(rate, 269_000.0) && bucket.take(rate, 270_000.0));
    }
}
