//! What is counted. Labels are fixed words only.

use campaign::{Pause, progress::Mark};
use opentelemetry::{
    KeyValue, global,
    metrics::{Counter, Gauge},
};
use runtime::{fields, metrics as names};

use crate::planner::Waiting;

/// A campaign that sends waits for this.
const NOTHING: &str = "nothing";

#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    recipients: Counter<u64>,
    running: Gauge<u64>,
    stopped: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let meter = global::meter("campaigns");
        Self {
            recipients: meter
                .u64_counter(names::CAMPAIGN_RECIPIENTS)
                .with_description("Recipients of campaigns, by what became of them")
                .build(),
            running: meter
                .u64_gauge(names::CAMPAIGNS_RUNNING)
                .with_description("Campaigns that run, by what they wait for")
                .build(),
            stopped: meter
                .u64_counter(names::CAMPAIGNS_STOPPED)
                .with_description("Campaigns that were stopped, by why")
                .build(),
        }
    }

    /// Their facts are in the log.
    pub(crate) fn asked(&self, count: u32) {
        self.recipients.add(u64::from(count), &[KeyValue::new(names::attribute::OUTCOME, "asked")]);
    }

    pub(crate) fn counted(&self, mark: Mark) {
        let word = match mark {
            Mark::Accepted => "accepted",
            Mark::Sent => "sent",
            Mark::Delivered => "delivered",
            Mark::Read => "read",
            Mark::Failed => "failed",
            Mark::Replied => "replied",
            Mark::OptedOut => "opted_out",
            Mark::Withheld => "withheld",
        };
        self.recipients.add(1, &[KeyValue::new(names::attribute::OUTCOME, word)]);
    }

    pub(crate) fn stopped(&self, why: Pause) {
        self.stopped.add(1, &[KeyValue::new(fields::REASON, why.as_str())]);
    }

    /// What each of the running campaigns waits for; `None`: it sends.
    pub(crate) fn running(&self, waits: &[Option<String>]) {
        let words = Waiting::ALL.iter().map(|why| why.as_str()).chain([NOTHING]);
        for word in words {
            let count = waits.iter().filter(|wait| wait.as_deref().unwrap_or(NOTHING) == word).count();
            self.running
                .record(u64::try_from(count).unwrap_or(u64::MAX), &[KeyValue::new(fields::REASON, word)]);
        }
    }
}
