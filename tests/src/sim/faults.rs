//! Trouble on order. A rule names an endpoint (or `*`), what goes wrong, and how often: a count,
//! or a probability drawn from a seed, so that a run can be repeated.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Answered with this status, without being processed. 503 is the gateway's HTML page.
    Status {
        status: u16,
        /// The header, in seconds. Absent: no header.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<u64>,
    },
    /// WhatsApp only: refused with this Graph error code, in the shape of the real answer.
    Graph { code: i64 },
    /// Read, never processed, never answered. The connection stays until the caller gives up.
    Timeout,
    /// Read, not processed, the connection dropped.
    Refuse,
    /// Processed, then the connection dropped instead of the answer.
    LoseAnswer,
    /// Processed at once, answered after this pause: its effects are seen first.
    SlowAnswer { ms: u64 },
    /// Processed after this pause; other rules still apply.
    Delay { ms: u64 },
}

/// A fault with the circumstances in which it strikes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// An endpoint's name as the record shows it, or `*`.
    pub endpoint: String,
    pub fault: Fault,
    /// How many times it strikes in all. Absent: without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// How many matching requests pass before the first.
    #[serde(default)]
    pub skip: u32,
    /// 0.0 to 1.0. Absent: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Of the draws for `probability`.
    #[serde(default)]
    pub seed: u64,
}

impl Rule {
    pub fn new(endpoint: &str, fault: Fault) -> Self {
        Self { endpoint: endpoint.to_owned(), fault, count: None, skip: 0, probability: None, seed: 0 }
    }

    pub fn times(self, count: u32) -> Self {
        Self { count: Some(count), ..self }
    }

    pub fn after(self, skip: u32) -> Self {
        Self { skip, ..self }
    }

    pub fn with_probability(self, probability: f64, seed: u64) -> Self {
        Self { probability: Some(probability), seed, ..self }
    }
}

/// The rules of one API, with the state of their counts and draws.
#[derive(Debug, Default)]
pub(super) struct Faults {
    rules: Vec<Armed>,
}

#[derive(Debug)]
struct Armed {
    rule: Rule,
    draws: fastrand::Rng,
}

/// What strikes one request.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Verdict {
    pub(super) delay: Duration,
    pub(super) fault: Option<Fault>,
}

impl Verdict {
    /// As the record names it.
    pub(super) fn name(&self) -> Option<String> {
        match &self.fault {
            None if self.delay.is_zero() => None,
            None => Some("delay".to_owned()),
            Some(Fault::Status { status, .. }) => Some(format!("status {status}")),
            Some(Fault::Graph { code }) => Some(format!("graph {code}")),
            Some(Fault::Timeout) => Some("timeout".to_owned()),
            Some(Fault::Refuse) => Some("refuse".to_owned()),
            Some(Fault::LoseAnswer) => Some("lose_answer".to_owned()),
            Some(Fault::SlowAnswer { .. }) => Some("slow_answer".to_owned()),
            Some(Fault::Delay { .. }) => Some("delay".to_owned()),
        }
    }
}

impl Faults {
    pub(super) fn add(&mut self, rule: Rule) {
        self.rules.push(Armed { draws: fastrand::Rng::with_seed(rule.seed), rule });
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
    }

    pub(super) fn rules(&self) -> Vec<Rule> {
        self.rules.iter().map(|armed| armed.rule.clone()).collect()
    }

    /// The first rule that strikes wins; delays before it add up.
    pub(super) fn decide(&mut self, endpoint: &str) -> Verdict {
        let mut verdict = Verdict::default();
        for armed in &mut self.rules {
            let rule = &mut armed.rule;
            if rule.endpoint != "*" && rule.endpoint != endpoint {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            if rule.count == Some(0) || rule.probability.is_some_and(|p| armed.draws.f64() >= p) {
                continue;
            }
            rule.count = rule.count.map(|left| left - 1);
            if let Fault::Delay { ms } = rule.fault {
                verdict.delay += Duration::from_millis(ms);
            } else {
                verdict.fault = Some(rule.fault.clone());
                break;
            }
        }
        self.rules.retain(|armed| armed.rule.count != Some(0));
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_strikes_as_often_as_ordered_and_no_more() {
        let mut faults = Faults::default();
        faults.add(Rule::new("message", Fault::Timeout).after(1).times(2));
        let struck: Vec<bool> = (0..5).map(|_| faults.decide("message").fault.is_some()).collect();
        assert_eq!(struck, [false, true, true, false, false]);
        assert_eq!(faults.rules(), []);
    }

    #[test]
    fn the_same_seed_draws_the_same_faults() {
        let run = || {
            let mut faults = Faults::default();
            faults.add(Rule::new("*", Fault::Refuse).with_probability(0.3, 7));
            (0..100).map(|_| faults.decide("any").fault.is_some()).collect::<Vec<_>>()
        };
        assert_eq!(run(), run());
        assert!((15..50).contains(&run().iter().filter(|struck| **struck).count()));
    }

    #[test]
    fn delays_add_to_what_follows() {
        let mut faults = Faults::default();
        faults.add(Rule::new("*", Fault::Delay { ms: 5 }));
        faults.add(Rule::new("message", Fault::LoseAnswer));
        let verdict = faults.decide("message");
        assert_eq!(verdict.delay, Duration::from_millis(5));
        assert_eq!(verdict.fault, Some(Fault::LoseAnswer));
    }
}
