//! The messaging limit of a business portfolio: how many people it may open a conversation with in
//! rolling 24 hours (`whatsapp-cloud-api.md` §10). Pure.
//!
//! Counted by the hour, each recipient of a campaign as one: a little too many, never too few. What
//! reps' rescue templates open is not counted.

use std::collections::BTreeMap;

use domain::Millis;
use serde::{Deserialize, Serialize};

const HOUR_MS: Millis = 3_600_000;
const HOURS: Millis = 24;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Opened {
    /// By the hour of Unix time.
    hours: BTreeMap<Millis, u32>,
}

impl Opened {
    pub(crate) fn add(&mut self, now: Millis, count: u32) {
        self.forget(now);
        let opened = self.hours.entry(now.div_euclid(HOUR_MS)).or_default();
        *opened = opened.saturating_add(count);
    }

    /// How many more there may be. An hour that is partly within the day counts whole.
    pub(crate) fn left(&self, now: Millis, limit: Option<u32>) -> u32 {
        let Some(limit) = limit else { return u32::MAX };
        let from = now.div_euclid(HOUR_MS) - HOURS;
        let opened = self.hours.range(from..).map(|(_, count)| *count).fold(0_u32, u32::saturating_add);
        limit.saturating_sub(opened)
    }

    /// When the oldest hour that counts is over.
    pub(crate) fn more_at(&self, now: Millis) -> Millis {
        let from = now.div_euclid(HOUR_MS) - HOURS;
        let oldest = self.hours.range(from..).find(|(_, count)| **count > 0);
        oldest.map_or(now, |(hour, _)| (hour + HOURS + 1) * HOUR_MS)
    }

    fn forget(&mut self, now: Millis) {
        self.hours = self.hours.split_off(&(now.div_euclid(HOUR_MS) - HOURS));
    }
}

/// What Meta calls the limit (`TIER_250`, `TIER_2K`, `TIER_UNLIMITED`); `Err`: a word nobody knows.
pub(crate) fn tier(word: &str) -> Result<Option<u32>, ()> {
    match word.strip_prefix("TIER_").unwrap_or(word) {
        "" | "UNLIMITED" => Ok(None),
        number => {
            let (digits, times) = match number.strip_suffix('K') {
                Some(digits) => (digits, 1_000),
                None => (number, 1),
            };
            digits.parse::<u32>().map(|count| Some(count.saturating_mul(times))).map_err(|_| ())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_meta() {
        for (word, limit) in [
            ("TIER_250", Ok(Some(250))),
            ("TIER_2K", Ok(Some(2_000))),
            ("TIER_100K", Ok(Some(100_000))),
            ("TIER_UNLIMITED", Ok(None)),
            ("", Ok(None)),
            ("TIER_SOME", Err(())),
        ] {
            assert_eq!(tier(word), limit, "{word}");
        }
    }

    #[test]
    fn never_more_than_the_limit_in_any_day() {
        let mut opened = Opened::default();
        let mut taken: Vec<(Millis, u32)> = Vec::new();
        let mut now = 1_780_315_200_000;
        for step in 0..2_000 {
            now += (step * 7_919) % 1_800_000;
            let take = opened.left(now, Some(1_000)).min(97);
            opened.add(now, take);
            taken.push((now, take));
            let day: u32 =
                taken.iter().filter(|(at, _)| now - at < 24 * HOUR_MS).map(|(_, count)| count).sum();
            assert!(day <= 1_000);
            if take == 0 {
                assert!(opened.more_at(now) > now && opened.more_at(now) <= now + 25 * HOUR_MS);
                assert!(opened.left(opened.more_at(now), Some(1_000)) > 0);
            }
        }
        assert!(taken.iter().map(|(_, count)| count).sum::<u32>() > 5_000);
        assert_eq!(opened.left(now, None), u32::MAX);
    }
}
