use std::time::Duration;

/// The official sample waits 1 s × 1.5ⁿ, at most 30 s (§7.3). We spread it over the whole of that
/// (full jitter), so that the streams of a process do not all come back at once.
const FIRST: Duration = Duration::from_secs(1);
const FACTOR: f64 = 1.5;
const MOST: Duration = Duration::from_secs(30);
/// Of the server's own wish.
const MOST_ASKED: Duration = Duration::from_secs(300);

/// How long to wait before connecting again. Chance comes from outside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
    asked: Duration,
}

impl Backoff {
    pub fn new() -> Self {
        Self::default()
    }

    /// The pause after one more failure. `random` is in 0..1.
    pub fn pause(&mut self, random: f64) -> Duration {
        let exponent = i32::try_from(self.failures.min(32)).unwrap_or(32);
        let most = FIRST.mul_f64(FACTOR.powi(exponent)).min(MOST);
        self.failures = self.failures.saturating_add(1);
        self.asked + most.mul_f64(random.clamp(0.0, 1.0))
    }

    /// The stream's `retry:`. No pause is shorter from now on.
    pub fn server_asks(&mut self, retry: Option<Duration>) {
        if let Some(retry) = retry {
            self.asked = retry.min(MOST_ASKED);
        }
    }

    /// After something arrived. What the server asked for stays.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_by_half_up_to_30_seconds() {
        let mut backoff = Backoff::new();
        let pauses: Vec<u128> = (0..12).map(|_| backoff.pause(1.0).as_millis()).collect();
        assert_eq!(pauses[..4], [1000, 1500, 2250, 3375]);
        assert_eq!(pauses[11], 30_000);
        backoff.reset();
        assert_eq!(backoff.pause(0.5), Duration::from_millis(500));
    }

    #[test]
    fn what_the_server_asks_for_is_the_least() {
        let mut backoff = Backoff::new();
        backoff.server_asks(Some(Duration::from_secs(5)));
        backoff.server_asks(None);
        assert_eq!(backoff.pause(0.0), Duration::from_secs(5));
        backoff.server_asks(Some(Duration::from_secs(86_400)));
        assert_eq!(backoff.pause(0.0), MOST_ASKED);
    }
}
