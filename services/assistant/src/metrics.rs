//! What an operator wants to know about answering. Fixed words only.

use domain::{mask::Masked, session::Answer};
use opentelemetry::{
    KeyValue, global,
    metrics::{Counter, Histogram},
};
use runtime::metrics;

#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    answers: Counter<u64>,
    cancelled: Counter<u64>,
    fallbacks: Counter<u64>,
    tokens: Counter<u64>,
    masked: Counter<u64>,
    thinking: Histogram<f64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let meter = global::meter("assistant");
        Self {
            answers: meter.u64_counter(metrics::ANSWERS).build(),
            cancelled: meter.u64_counter(metrics::ANSWERS_CANCELLED).build(),
            fallbacks: meter.u64_counter(metrics::FALLBACKS).build(),
            tokens: meter.u64_counter(metrics::TOKENS).build(),
            masked: meter.u64_counter(metrics::ASSISTANT_MASKED).build(),
            thinking: meter.f64_histogram(metrics::THINKING).with_unit("s").build(),
        }
    }

    pub(crate) fn answered(&self, answer: &Answer, by: &'static str, took: std::time::Duration) {
        let what = match answer {
            Answer::Reply { .. } => "reply",
            Answer::Handoff(_) => "handoff",
            Answer::Close { .. } => "close",
            Answer::Silence => "silence",
        };
        self.answers.add(1, &[KeyValue::new("what", what), KeyValue::new("by", by)]);
        self.thinking.record(took.as_secs_f64(), &[KeyValue::new("by", by)]);
    }

    pub(crate) fn cancelled(&self) {
        self.cancelled.add(1, &[]);
    }

    pub(crate) fn fell_back(&self, reason: &'static str) {
        self.fallbacks.add(1, &[KeyValue::new(runtime::fields::REASON, reason)]);
    }

    pub(crate) fn spent(&self, tokens: u32) {
        self.tokens.add(tokens.into(), &[]);
    }

    pub(crate) fn masked(&self, masked: &Masked) {
        for (kind, count) in masked.counts() {
            self.masked.add(count.into(), &[KeyValue::new("kind", kind)]);
        }
    }
}
