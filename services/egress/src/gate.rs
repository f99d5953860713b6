//! Holds everybody back while WhatsApp takes nothing, and lets one at a time try whether it does
//! again. Without it an outage would cost every waiting conversation two ledger records a try.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use domain::PhoneNumberId;
use tokio::time::Instant;

const FIRST_REST: Duration = Duration::from_millis(250);
const LONGEST_REST: Duration = Duration::from_secs(5);
/// Between two looks whether an operator has mended a number.
const LONGEST_STOP: Duration = crate::ledger::LONGEST_REST;
/// A try that has not told its outcome by then (GRAPH_TIMEOUT is 10 s) never will: its worker was
/// cut off.
const LONGEST_TRY: Duration = Duration::from_secs(12);

/// What a closed gate holds back.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// Nothing gets through to the Graph API.
    All,
    /// A number is to slow down, or it or its token is not in order.
    Number(PhoneNumberId),
}

#[derive(Debug, Default)]
pub(crate) struct Gates(Mutex<HashMap<Scope, Closed>>);

/// A gate that is not in the map is open.
#[derive(Debug)]
struct Closed {
    /// When the next one may try.
    until: Instant,
    rounds: u32,
}

impl Gates {
    /// Whether a send of this number may be tried now; if not, how long to wait before asking again.
    pub(crate) fn enter(&self, number: &PhoneNumberId, now: Instant) -> Result<(), Duration> {
        let mut gates = self.lock();
        let scopes = [Scope::All, Scope::Number(number.clone())];
        let wait = scopes.iter().filter_map(|scope| gates.get(scope)).map(|closed| closed.until - now).max();
        match wait {
            Some(wait) if wait > Duration::ZERO => Err(wait),
            Some(_) => {
                // This one tries; the others wait for what comes of it.
                for scope in &scopes {
                    if let Some(closed) = gates.get_mut(scope) {
                        closed.until = now + LONGEST_TRY;
                    }
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// It took one: of this number, so everything is in order.
    pub(crate) fn open(&self, number: &PhoneNumberId) {
        let mut gates = self.lock();
        gates.remove(&Scope::All);
        gates.remove(&Scope::Number(number.clone()));
    }

    /// Nothing of the number goes until an operator has acted: one looks after `first`, then after
    /// pauses that double.
    pub(crate) fn stop(&self, number: &PhoneNumberId, first: Duration, now: Instant, jitter: f64) {
        let scope = Scope::Number(number.clone());
        let rounds = self.lock().get(&scope).map_or(0, |closed| closed.rounds);
        let rest = first.saturating_mul(1 << rounds.min(8)).min(LONGEST_STOP.max(first));
        self.close(scope, Some(rest), now, jitter);
    }

    /// It took none. `rest`: what it asks for, if it does.
    pub(crate) fn close(&self, scope: Scope, rest: Option<Duration>, now: Instant, jitter: f64) {
        let mut gates = self.lock();
        let rounds = gates.get(&scope).map_or(0, |closed| closed.rounds);
        let backoff = FIRST_REST.saturating_mul(1 << rounds.min(8)).min(LONGEST_REST);
        // Never less than what it asks for.
        let least = rest.unwrap_or_else(|| backoff.mul_f64(0.8));
        let rest = least + rest.unwrap_or(backoff).mul_f64(0.4 * jitter.clamp(0.0, 1.0));
        gates.insert(scope, Closed { until: now + rest, rounds: rounds.saturating_add(1) });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Scope, Closed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers() -> [PhoneNumberId; 2] {
        ["1", "2"].map(PhoneNumberId::new)
    }

    #[test]
    fn while_it_is_closed_one_at_a_time_tries() {
        let (gates, start, [one, two]) = (Gates::default(), Instant::now(), numbers());
        assert!(gates.enter(&one, start).is_ok());
        gates.close(Scope::All, None, start, 0.5);
        assert_eq!(gates.enter(&one, start), Err(FIRST_REST));
        assert_eq!(gates.enter(&two, start), Err(FIRST_REST));
        let later = start + FIRST_REST;
        assert!(gates.enter(&two, later).is_ok());
        assert_eq!(gates.enter(&one, later), Err(LONGEST_TRY));
        // It failed, too: the next has to wait longer.
        gates.close(Scope::All, None, later, 0.5);
        assert_eq!(gates.enter(&one, later), Err(FIRST_REST * 2));
        gates.open(&two);
        assert!(gates.enter(&one, later).is_ok() && gates.enter(&one, later).is_ok());
    }

    #[test]
    fn a_number_in_trouble_holds_no_other_back() {
        let (gates, start, [one, two]) = (Gates::default(), Instant::now(), numbers());
        gates.close(Scope::Number(one.clone()), Some(Duration::from_secs(30)), start, 0.0);
        assert_eq!(gates.enter(&one, start), Err(Duration::from_secs(30)));
        assert!(gates.enter(&two, start).is_ok());
        gates.open(&two);
        assert!(gates.enter(&one, start).is_err());
    }

    #[test]
    fn a_stopped_number_is_looked_at_less_and_less_often() {
        let (gates, mut now, [one, two]) = (Gates::default(), Instant::now(), numbers());
        for seconds in [30, 60, 120, 240, 300, 300] {
            gates.stop(&one, Duration::from_secs(30), now, 0.0);
            assert_eq!(gates.enter(&one, now), Err(Duration::from_secs(seconds)));
            assert!(gates.enter(&two, now).is_ok());
            now += Duration::from_secs(seconds);
            assert!(gates.enter(&one, now).is_ok());
        }
        gates.open(&one);
        gates.stop(&one, Duration::from_secs(30), now, 0.0);
        assert_eq!(gates.enter(&one, now), Err(Duration::from_secs(30)));
    }

    #[test]
    fn a_try_that_was_cut_off_blocks_nobody_for_ever() {
        let (gates, start, [one, _]) = (Gates::default(), Instant::now(), numbers());
        gates.close(Scope::All, None, start, 0.5);
        let later = start + FIRST_REST;
        assert!(gates.enter(&one, later).is_ok());
        assert!(gates.enter(&one, later + LONGEST_TRY).is_ok());
    }
}
