//! What an operator wants to know about receiving.

use std::time::Duration;

use opentelemetry::{
    KeyValue, global,
    metrics::{Counter, Histogram},
};
use runtime::{fields, metrics as names};

#[derive(Debug)]
pub(crate) struct Metrics {
    webhooks: Counter<u64>,
    entries: Counter<u64>,
    foreign: Counter<u64>,
    answer_time: Histogram<f64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let meter = global::meter("ingress");
        Self {
            webhooks: meter
                .u64_counter(names::WEBHOOKS)
                .with_description("webhooks, by what they were answered")
                .build(),
            entries: meter
                .u64_counter(names::ENTRIES)
                .with_description("log entries, by kind and whether they were new")
                .build(),
            foreign: meter
                .u64_counter(names::FOREIGN)
                .with_description("events of business numbers that are not configured: not stored")
                .build(),
            answer_time: meter
                .f64_histogram(names::WEBHOOK_DURATION)
                .with_unit("s")
                .with_description("from the head of a request to its answer")
                .build(),
        }
    }

    /// `outcome`: one word of a fixed set.
    pub(crate) fn answered(&self, outcome: &'static str, took: Duration) {
        self.webhooks.add(1, &[KeyValue::new(fields::REASON, outcome)]);
        self.answer_time.record(took.as_secs_f64(), &[]);
    }

    pub(crate) fn stored(&self, kind: &'static str, new: bool) {
        let outcome = if new { "new" } else { "duplicate" };
        self.entries.add(1, &[KeyValue::new(fields::KIND, kind), KeyValue::new(fields::REASON, outcome)]);
    }

    pub(crate) fn foreign(&self, events: usize) {
        self.foreign.add(u64::try_from(events).unwrap_or(u64::MAX), &[]);
    }
}
