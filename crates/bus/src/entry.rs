use async_nats::{
    HeaderMap,
    jetstream::{self, message::StreamMessage},
};
use bytes::Bytes;
use domain::{Millis, Seq};
use opentelemetry::{
    Context, global,
    propagation::{Extractor, Injector},
};
use proto::subjects::Address;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// An entry of the log.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its position.
    pub seq: Seq,
    pub subject: String,
    /// The subject, taken apart; none for entries outside conversations.
    pub address: Option<Address>,
    /// When the broker stored it.
    pub at: Millis,
    pub payload: Bytes,
    /// The trace it belongs to.
    pub trace: Context,
}

impl Entry {
    pub(crate) fn stored(message: StreamMessage) -> Self {
        Self {
            seq: message.sequence,
            address: message.subject.parse().ok(),
            subject: message.subject.to_string(),
            at: millis(message.time),
            payload: message.payload,
            trace: extract(Some(&message.headers)),
        }
    }

    /// A delivered message, its place in the consumer's own count, and how many are behind it.
    pub(crate) fn delivered(message: &jetstream::Message) -> Option<(Self, u64, u64)> {
        let info = message.info().ok()?;
        let entry = Self {
            seq: info.stream_sequence,
            address: message.subject.parse().ok(),
            subject: message.subject.to_string(),
            at: millis(info.published),
            payload: message.payload.clone(),
            trace: extract(message.headers.as_ref()),
        };
        Some((entry, info.consumer_sequence, info.pending))
    }
}

pub(crate) fn millis(time: impl Into<std::time::SystemTime>) -> Millis {
    let since = time.into().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|value| value.as_str())
    }

    fn keys(&self) -> Vec<&str> {
        Vec::new()
    }
}

fn extract(headers: Option<&HeaderMap>) -> Context {
    headers.map_or_else(Context::new, |headers| {
        global::get_text_map_propagator(|propagator| {
            propagator.extract_with_context(&Context::new(), &Headers(headers))
        })
    })
}

struct Carrier<'a>(&'a mut HeaderMap);

impl Injector for Carrier<'_> {
    fn set(&mut self, name: &str, value: String) {
        if !value.is_empty() {
            self.0.insert(name, value.as_str());
        }
    }
}

/// The current span, as headers.
pub(crate) fn trace_headers() -> HeaderMap {
    headers_of(&tracing::Span::current())
}

/// A span, as headers; none when nobody records spans.
pub(crate) fn headers_of(span: &tracing::Span) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if !span.is_none() {
        let context = span.context();
        global::get_text_map_propagator(|propagator| {
            propagator.inject_context(&context, &mut Carrier(&mut headers));
        });
    }
    headers
}
