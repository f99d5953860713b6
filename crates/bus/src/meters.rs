//! What a reader tells about itself. Attributes are the service and the kind, never a conversation.

use std::time::Duration;

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Histogram, UpDownCounter},
};

#[derive(Debug)]
pub(crate) struct Meters {
    partitions: UpDownCounter<i64>,
    held: UpDownCounter<i64>,
    parked: Counter<u64>,
    expired: Counter<u64>,
    dead: Counter<u64>,
    retries: Counter<u64>,
    duration: Histogram<f64>,
}

impl Meters {
    pub(crate) fn new() -> Self {
        let meter = opentelemetry::global::meter("bus");
        Self {
            partitions: meter.i64_up_down_counter("baton.reader.partitions").build(),
            held: meter.i64_up_down_counter("baton.reader.entries").build(),
            parked: meter.u64_counter("baton.parked").build(),
            expired: meter.u64_counter("baton.parked.expired").build(),
            dead: meter.u64_counter("baton.dead_letters").build(),
            retries: meter.u64_counter("baton.reader.retries").build(),
            duration: meter.f64_histogram("messaging.process.duration").with_unit("s").build(),
        }
    }

    /// Partitions that this process works on.
    pub(crate) fn partitions(&self, service: &'static str, change: i64) {
        self.partitions.add(change, &[KeyValue::new("service", service)]);
    }

    /// Entries received and not finished.
    pub(crate) fn entries(&self, service: &'static str, change: i64) {
        self.held.add(change, &[KeyValue::new("service", service)]);
    }

    pub(crate) fn parked(&self, service: &'static str) {
        self.parked.add(1, &[KeyValue::new("service", service)]);
    }

    pub(crate) fn expired(&self, service: &'static str) {
        self.expired.add(1, &[KeyValue::new("service", service)]);
    }

    pub(crate) fn buried(&self, service: &'static str) {
        self.dead.add(1, &[KeyValue::new("service", service)]);
    }

    pub(crate) fn retried(&self, service: &'static str) {
        self.retries.add(1, &[KeyValue::new("service", service)]);
    }

    pub(crate) fn handled(&self, service: &'static str, kind: &'static str, took: Duration) {
        let attributes = [KeyValue::new("service", service), KeyValue::new("kind", kind)];
        self.duration.record(took.as_secs_f64(), &attributes);
    }
}
