//! How far back to look after a stream was away, and what was seen already.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use domain::Millis;

/// Entries are looked for again from this long before the last one: `transcriptedTimestamp`s are
/// not strictly in the order of the stream, and whether `startTimestamp` is inclusive is not public
/// (`miaw-api.md` §7.3, §8).
const OVERLAP: Duration = Duration::from_secs(60);
/// Where only the broker's time is known: its clock and Salesforce's may differ by this much.
const CLOCK_SKEW: Duration = Duration::from_secs(300);
/// Never further back than the log remembers (7 days, with a day to spare): what it has forgotten
/// would be taken for new, and old messages would be sent to the customer again.
const HORIZON: Duration = Duration::from_secs(6 * 24 * 3600);

/// What is known about the last entry that reached the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastKnown {
    /// Its `transcriptedTimestamp`.
    Entry(Millis),
    /// Only when the log stored something from which on the thread matters.
    Log(Millis),
    /// Nothing: as far back as the log remembers.
    Nothing,
}

/// The `startTimestamp` to read `/entries` from. `now`: our clock.
pub fn since(last: LastKnown, now: Millis) -> Millis {
    let horizon = now.saturating_sub(millis(HORIZON));
    match last {
        LastKnown::Entry(at) => at.saturating_sub(millis(OVERLAP)).max(horizon),
        LastKnown::Log(at) => at.saturating_sub(millis(CLOCK_SKEW)).max(horizon),
        LastKnown::Nothing => horizon,
    }
}

/// The newest entries that are in the log for sure. Spares appends that would only be refused; the
/// log is what really keeps anything from being stored twice.
#[derive(Debug)]
pub struct Recent {
    limit: usize,
    order: VecDeque<String>,
    known: HashSet<String>,
}

impl Recent {
    pub fn new(limit: usize) -> Self {
        Self { limit, order: VecDeque::new(), known: HashSet::new() }
    }

    pub fn contains(&self, id: &str) -> bool {
        self.known.contains(id)
    }

    pub fn insert(&mut self, id: &str) {
        if !self.known.insert(id.to_owned()) {
            return;
        }
        self.order.push_back(id.to_owned());
        if self.order.len() > self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

pub(crate) fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_overlaps_and_never_reaches_behind_the_log() {
        let day = 24 * 3_600_000;
        let now = 100 * day;
        assert_eq!(since(LastKnown::Entry(now - 5_000), now), now - 65_000);
        assert_eq!(since(LastKnown::Log(now - 5_000), now), now - 305_000);
        for last in [LastKnown::Entry(now - 30 * day), LastKnown::Log(0), LastKnown::Nothing] {
            assert_eq!(since(last, now), now - 6 * day);
        }
    }

    #[test]
    fn the_recent_are_few() {
        let mut recent = Recent::new(2);
        for id in ["a", "b", "b", "c"] {
            recent.insert(id);
        }
        assert!(!recent.contains("a") && recent.contains("b") && recent.contains("c"));
        assert_eq!(recent.order.len(), 2);
    }
}
