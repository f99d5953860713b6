//! Logs to stdout; traces and metrics by OTLP when a collector is named.
//!
//! | variable | meaning |
//! |---|---|
//! | `RUST_LOG` | filter of the logs, default `info` |
//! | `LOG_FORMAT` | `json` (default) or `pretty` |
//! | `OTEL_EXPORTER_OTLP_ENDPOINT` | the collector's OTLP/HTTP base URL; none: nothing is exported |
//! | `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*`, `OTEL_METRIC_EXPORT_INTERVAL` … | as OpenTelemetry defines them |

use anyhow::{Context as _, Result};
use opentelemetry::{KeyValue, global, trace::TracerProvider as _};
use opentelemetry_otlp::{Protocol, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource, metrics::SdkMeterProvider, propagation::TraceContextPropagator, trace::SdkTracerProvider,
};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// The target of spans that tell nothing beyond their trace, for places where many are made: logs
/// leave them out, so that without a collector they cost nothing.
pub const TRACE_ONLY: &str = "trace_only";

/// Sends what is still held when it is dropped. Keep it until the end of `main`.
#[derive(Debug)]
#[must_use = "dropping it ends telemetry"]
pub struct Telemetry(Option<Export>);

#[derive(Debug)]
struct Export {
    traces: SdkTracerProvider,
    metrics: SdkMeterProvider,
}

/// Sets up logs, traces and metrics for the process; `service` is the OpenTelemetry `service.name`.
///
/// # Errors
/// When called twice, or when a variable makes no sense. A collector that is away is no error:
/// what it misses is dropped.
pub fn init(service: &'static str) -> Result<Telemetry> {
    global::set_text_map_propagator(TraceContextPropagator::new());
    let export = match std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT") {
        Ok(endpoint) if !endpoint.trim().is_empty() => Some(Export::new(service).context("set up OTLP")?),
        Ok(_) | Err(_) => None,
    };
    // Without a collector no layer at all, rather than one that is told of everything.
    let mut layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> = Vec::new();
    if let Some(export) = &export {
        // Its own filter: RUST_LOG=warn must not cut traces to pieces. The exporter's own HTTP
        // calls are left out, or each export would cause another.
        let filter = Targets::new()
            .with_default(LevelFilter::INFO)
            .with_targets(["hyper", "hyper_util", "reqwest", "h2", "rustls"].map(|t| (t, LevelFilter::OFF)))
            .with_target("opentelemetry", LevelFilter::OFF);
        layers.push(
            tracing_opentelemetry::layer()
                .with_tracer(export.traces.tracer(service))
                .with_filter(filter)
                .boxed(),
        );
    }
    let filter = match std::env::var("RUST_LOG") {
        Ok(directives) if !directives.trim().is_empty() => {
            EnvFilter::try_new(directives).context("read RUST_LOG")?
        }
        Ok(_) | Err(_) => EnvFilter::new("info"),
    };
    let logs = match std::env::var("LOG_FORMAT").as_deref() {
        Ok("pretty") => fmt::layer().boxed(),
        Ok("json" | "") | Err(_) => fmt::layer().json().flatten_event(true).with_current_span(false).boxed(),
        Ok(_) => anyhow::bail!("LOG_FORMAT is json or pretty"),
    };
    let filter = filter.add_directive(format!("{TRACE_ONLY}=off").parse()?);
    layers.push(logs.with_filter(filter).boxed());
    tracing_subscriber::registry().with(layers).try_init().context("set the process's logger")?;
    tracing::info!(service, version = crate::VERSION, "starting");
    Ok(Telemetry(export))
}

impl Export {
    fn new(service: &'static str) -> Result<Self> {
        crate::init_crypto(); // the collector may be https
        let resource = Resource::builder()
            .with_service_name(service)
            .with_attributes([
                KeyValue::new("service.version", crate::VERSION),
                KeyValue::new("service.instance.id", instance()),
            ])
            .build();
        let spans = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .build()
            .context("build the span exporter")?;
        let metrics = opentelemetry_otlp::MetricExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .build()
            .context("build the metric exporter")?;
        let traces = SdkTracerProvider::builder()
            .with_batch_exporter(spans) // bounded: OTEL_BSP_MAX_QUEUE_SIZE, 2048 spans
            .with_resource(resource.clone())
            .build();
        let metrics =
            SdkMeterProvider::builder().with_periodic_exporter(metrics).with_resource(resource).build();
        global::set_tracer_provider(traces.clone());
        global::set_meter_provider(metrics.clone());
        Ok(Self { traces, metrics })
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        let Some(export) = &self.0 else { return };
        // Exporting happens on threads of their own, so waiting here blocks no runtime they need.
        if let Err(error) = export.traces.shutdown() {
            tracing::warn!(error = crate::error_chain(&error), "the last spans were not exported");
        }
        if let Err(error) = export.metrics.shutdown() {
            tracing::warn!(error = crate::error_chain(&error), "the last metrics were not exported");
        }
    }
}

/// Tells replicas apart, also on one host: host name and process id.
fn instance() -> String {
    let host = std::env::var("HOSTNAME")
        .or_else(|_| std::fs::read_to_string("/proc/sys/kernel/hostname"))
        .unwrap_or_else(|_| "host".into());
    format!("{}-{}", host.trim(), std::process::id())
}
