//! What egress counts. Labels are fixed words only.

use opentelemetry::{
    KeyValue, global,
    metrics::{Counter, Histogram, UpDownCounter},
};
use runtime::{fields, metrics as names};

#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    sends: Counter<u64>,
    send_seconds: Histogram<f64>,
    paced: Counter<u64>,
    blind_resends: Counter<u64>,
    visible_duplicates: Counter<u64>,
    streams: UpDownCounter<i64>,
    reconnects: Counter<u64>,
    gap_filled: Counter<u64>,
    entries: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let meter = global::meter("egress");
        Self {
            sends: meter
                .u64_counter(names::SENDS)
                .with_description("POSTs and settled doubts, by what became of them")
                .build(),
            send_seconds: meter
                .f64_histogram(names::SEND_DURATION)
                .with_unit("s")
                .with_description("How long a POST took")
                .build(),
            paced: meter
                .u64_counter(names::SENDS_PACED)
                .with_description("Waits for a turn, by whose rate was used up")
                .build(),
            blind_resends: meter
                .u64_counter(names::SENDS_BLIND)
                .with_description("Sends repeated without knowing whether the first one arrived")
                .build(),
            visible_duplicates: meter
                .u64_counter(names::SENDS_DOUBLED)
                .with_description("Sends that a customer may have seen twice")
                .build(),
            streams: meter
                .i64_up_down_counter(names::STREAMS)
                .with_description("Event streams that are up")
                .build(),
            reconnects: meter
                .u64_counter(names::STREAM_ENDS)
                .with_description("Event streams that ended, by reason")
                .build(),
            gap_filled: meter
                .u64_counter(names::GAP_FILLED)
                .with_description("Entries that no stream had brought")
                .build(),
            entries: meter
                .u64_counter(names::THREAD_ENTRIES)
                .with_description("Entries of followed threads, by what was done with them")
                .build(),
        }
    }

    pub(crate) fn sent(&self, outcome: &'static str) {
        self.sends.add(1, &[KeyValue::new(names::attribute::OUTCOME, outcome)]);
    }

    /// A send has to wait for its turn.
    pub(crate) fn paced(&self, by: store::PacedBy) {
        let by = match by {
            store::PacedBy::Pair => "pair",
            store::PacedBy::Number => "number",
        };
        self.paced.add(1, &[KeyValue::new(names::attribute::BUDGET, by)]);
    }

    pub(crate) fn posted(&self, took: std::time::Duration) {
        self.send_seconds.record(took.as_secs_f64(), &[]);
    }

    pub(crate) fn blind_resend(&self) {
        self.blind_resends.add(1, &[]);
    }

    pub(crate) fn visible_duplicate(&self) {
        self.visible_duplicates.add(1, &[]);
    }

    /// Counts as long as the answer lives.
    pub(crate) fn stream_up(&self) -> StreamUp {
        self.streams.add(1, &[]);
        StreamUp(self.streams.clone())
    }

    pub(crate) fn stream_ended(&self, reason: &'static str) {
        self.reconnects.add(1, &[KeyValue::new(fields::REASON, reason)]);
    }

    pub(crate) fn gap_filled(&self) {
        self.gap_filled.add(1, &[]);
    }

    pub(crate) fn entry(&self, done: &'static str) {
        self.entries.add(1, &[KeyValue::new(names::attribute::OUTCOME, done)]);
    }
}

pub(crate) struct StreamUp(UpDownCounter<i64>);

impl Drop for StreamUp {
    fn drop(&mut self) {
        self.0.add(-1, &[]);
    }
}
