//! A small OTLP receiver (http/protobuf): what a collector would have got, for tests to look at.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value, trace::v1::Span as WireSpan,
};
use prost::Message as _;
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A span as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    pub service: String,
    pub name: String,
    /// Hexadecimal.
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub attributes: Vec<(String, String)>,
}

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<Span>>>,
    arrived: watch::Receiver<usize>,
    _stop: DropGuard,
}

#[derive(Clone)]
struct Inbox {
    spans: Arc<Mutex<Vec<Span>>>,
    arrived: watch::Sender<usize>,
}

impl Receiver {
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let spans = Arc::new(Mutex::new(Vec::new()));
        let (sender, arrived) = watch::channel(0);
        let inbox = Inbox { spans: Arc::clone(&spans), arrived: sender };
        let router = Router::new()
            .route("/v1/traces", post(traces))
            .route("/v1/metrics", post(async || StatusCode::OK))
            .with_state(inbox);
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        #[expect(clippy::disallowed_methods, reason = "ends with the handle; nothing to drain")]
        tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(stopped).await });
        Ok(Self { address, spans, arrived, _stop: stop.drop_guard() })
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn spans(&self) -> Vec<Span> {
        self.spans.lock().expect("no panics while held").clone()
    }

    /// Until `enough` says so about all spans so far, or the deadline passes; then what there is.
    pub async fn wait_for(
        &mut self,
        deadline: std::time::Duration,
        enough: impl Fn(&[Span]) -> bool,
    ) -> Vec<Span> {
        let until = tokio::time::Instant::now() + deadline;
        loop {
            let spans = self.spans();
            if enough(&spans) || tokio::time::timeout_at(until, self.arrived.changed()).await.is_err() {
                return spans;
            }
        }
    }
}

async fn traces(State(inbox): State<Inbox>, body: Bytes) -> StatusCode {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else { return StatusCode::BAD_REQUEST };
    let mut spans = inbox.spans.lock().expect("no panics while held");
    for resource in request.resource_spans {
        let attributes = resource.resource.map(|resource| resource.attributes).unwrap_or_default();
        let service = attributes
            .into_iter()
            .find(|attribute| attribute.key == "service.name")
            .and_then(|attribute| text(attribute.value?.value?))
            .unwrap_or_default();
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(received(service.clone(), span));
        }
    }
    let count = spans.len();
    drop(spans);
    inbox.arrived.send_replace(count);
    StatusCode::OK
}

fn received(service: String, span: WireSpan) -> Span {
    Span {
        service,
        name: span.name,
        trace: hex::encode(span.trace_id),
        id: hex::encode(span.span_id),
        parent: hex::encode(span.parent_span_id),
        attributes: span
            .attributes
            .into_iter()
            .filter_map(|attribute| Some((attribute.key, text(attribute.value?.value?)?)))
            .collect(),
    }
}

fn text(value: any_value::Value) -> Option<String> {
    match value {
        any_value::Value::StringValue(text) => Some(text),
        any_value::Value::BoolValue(value) => Some(value.to_string()),
        any_value::Value::IntValue(value) => Some(value.to_string()),
        any_value::Value::DoubleValue(value) => Some(value.to_string()),
        any_value::Value::ArrayValue(_)
        | any_value::Value::KvlistValue(_)
        | any_value::Value::BytesValue(_)
        | any_value::Value::StringValueStrindex(_) => None,
    }
}
