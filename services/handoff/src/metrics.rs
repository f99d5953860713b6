//! What an operator wants to know about deciding.

use bus::Entry;
use domain::session::{Decision, Output};
use opentelemetry::{
    KeyValue, global,
    metrics::{Counter, Histogram},
};
use runtime::{fields, metrics as names};

pub(crate) struct Metrics {
    decisions: Counter<u64>,
    handoffs: Counter<u64>,
    /// From the fact being stored to the decision being stored.
    lateness: Histogram<f64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let meter = global::meter("handoff");
        Self {
            decisions: meter.u64_counter(names::DECISIONS).build(),
            handoffs: meter.u64_counter(names::HANDOFFS).build(),
            lateness: meter.f64_histogram(names::DECISION_LATENESS).with_unit("s").build(),
        }
    }

    pub(crate) fn decided(&self, decision: &Decision, entry: &Entry) {
        let kind = entry.address.as_ref().map_or("?", |address| address.kind.as_str());
        self.decisions.add(1, &[KeyValue::new(fields::KIND, kind)]);
        if decision.outputs.iter().any(|output| matches!(output, Output::Follow { .. })) {
            self.handoffs.add(1, &[]);
        }
        let now = runtime::now();
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of lateness fit a double")]
        self.lateness.record((now - entry.at).max(0) as f64 / 1000.0, &[]);
    }
}
