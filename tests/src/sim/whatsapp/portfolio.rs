//! What a business may send on its own (`whatsapp-cloud-api.md` §7.4, §10): how many users it may write to
//! first, and how much marketing one user gets.

use std::collections::{HashMap, HashSet, VecDeque};

use super::send::DAY_MS;

/// Of all numbers: here they are of one portfolio.
#[derive(Debug, Default)]
pub(super) struct Portfolio {
    /// Users that were written to outside a window, and when, the oldest first.
    opened: HashSet<usize>,
    in_order: VecDeque<(i64, usize)>,
    /// When each user got marketing, the oldest first.
    marketed: HashMap<usize, VecDeque<i64>>,
}

impl Portfolio {
    /// Counts a user that is written to outside a window. False: `most` others were in the last 24 h.
    pub(super) fn open(&mut self, customer: usize, most: u32, now_ms: i64) -> bool {
        while let Some((_, gone)) = self.in_order.pop_front_if(|(at, _)| now_ms - *at >= DAY_MS) {
            self.opened.remove(&gone);
        }
        if self.opened.contains(&customer) {
            return true;
        }
        if self.opened.len() >= most as usize {
            return false;
        }
        self.opened.insert(customer);
        self.in_order.push_back((now_ms, customer));
        true
    }

    /// Counts marketing to a user. False: they had `most` in the last 24 h.
    pub(super) fn market(&mut self, customer: usize, most: u32, now_ms: i64) -> bool {
        let had = self.marketed.entry(customer).or_default();
        had.retain(|at| now_ms - *at < DAY_MS);
        if had.len() >= most as usize {
            return false;
        }
        had.push_back(now_ms);
        true
    }
}

/// `TIER_2K` as a number; none: unlimited, or not a tier.
pub(super) fn tier(name: &str) -> Option<u32> {
    let tier = name.strip_prefix("TIER_")?;
    match tier.strip_suffix('K') {
        Some(thousands) => thousands.parse::<u32>().ok()?.checked_mul(1_000),
        None => tier.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_counted_once_a_day() {
        let mut portfolio = Portfolio::default();
        assert!(portfolio.open(1, 2, 0) && portfolio.open(2, 2, 1_000) && portfolio.open(1, 2, 2_000));
        assert!(!portfolio.open(3, 2, 2_000), "two of two");
        assert!(portfolio.open(3, 2, DAY_MS), "the first was a day ago");
        assert!(portfolio.market(1, 1, 0) && !portfolio.market(1, 1, 1) && portfolio.market(2, 1, 1));
        assert!(portfolio.market(1, 1, DAY_MS));
        assert_eq!(
            (tier("TIER_250"), tier("TIER_2K"), tier("TIER_UNLIMITED")),
            (Some(250), Some(2_000), None)
        );
    }
}
