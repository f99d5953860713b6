//! What a reader tells about itself. Attributes are the service and the kind, never a conversation.

use std::time::Duration;

use domain::Partition;
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Histogram, UpDownCounter},
};

/// Which of a service's readers. Names are those of `runtime::metrics`, which adapters do not know:
/// a test there looks that they are the same.
const READER: &str = "baton.reader";

#[derive(Debug)]
pub(crate) struct Meters {
    partitions: UpDownCounter<i64>,
    held: UpDownCounter<i64>,
    lag: Gauge<u64>,
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
            lag: meter.u64_gauge("baton.reader.lag").build(),
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
        self.partitions.add(change, &[KeyValue::new(READER, service)]);
    }

    /// Entries received and not finished.
    pub(crate) fn entries(&self, service: &'static str, change: i64) {
        self.held.add(change, &[KeyValue::new(READER, service)]);
    }

    /// Entries of a partition that are not received yet.
    pub(crate) fn lag(&self, service: &'static str, partition: Partition, behind: u64) {
        let partition = i64::from(partition.0);
        self.lag
            .record(behind, &[KeyValue::new(READER, service), KeyValue::new("baton.partition", partition)]);
    }

    pub(crate) fn parked(&self, service: &'static str) {
        self.parked.add(1, &[KeyValue::new(READER, service)]);
    }

    pub(crate) fn expired(&self, service: &'static str) {
        self.expired.add(1, &[KeyValue::new(READER, service)]);
    }

    pub(crate) fn buried(&self, service: &'static str) {
        self.dead.add(1, &[KeyValue::new(READER, service)]);
    }

    pub(crate) fn retried(&self, service: &'static str) {
        self.retries.add(1, &[KeyValue::new(READER, service)]);
    }

    pub(crate) fn handled(&self, service: &'static str, kind: &'static str, took: Duration) {
        let attributes = [KeyValue::new(READER, service), KeyValue::new("baton.kind", kind)];
        self.duration.record(took.as_secs_f64(), &attributes);
    }
}
