//! Logs to stdout; traces, metrics and logs by OTLP when a collector is named; metrics for
//! Prometheus, and the logs' filter, at an address for operators.
//!
//! | variable | meaning |
//! |---|---|
//! | `RUST_LOG` | filter of the logs, default `info`; changed at run time by `PUT /log-filter` |
//! | `LOG_FORMAT` | `json` (default) or `pretty` |
//! | `ADMIN_ADDR` | where `GET /metrics` and `/log-filter` are served; none: nowhere |
//! | `OTEL_EXPORTER_OTLP_ENDPOINT` | the collector's OTLP/HTTP base URL; none: nothing is exported |
//! | `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*`, `OTEL_METRIC_EXPORT_INTERVAL` … | as OpenTelemetry defines them |
//!
//! Sampling here decides at the head of a trace; to keep what failed or was slow, record all and let
//! the collector choose (`deploy/observe/collector.yaml`).

mod admin;
mod export;

use admin::Admin;
use anyhow::{Context as _, Result};
use export::Export;
use opentelemetry::{global, trace::TracerProvider as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt as _,
    reload,
    util::SubscriberInitExt as _,
};

/// The target of spans that tell nothing beyond their trace, for places where many are made: logs
/// leave them out, so that without a collector they cost nothing.
pub const TRACE_ONLY: &str = "trace_only";

/// What is read here, with its default and meaning; the rest is OpenTelemetry's own.
pub const VARIABLES: [(&str, &str, &str); 5] = [
    ("RUST_LOG", "`info`", "Filter of the logs; changed at run time with `baton log-filter`."),
    ("LOG_FORMAT", "`json`", "`json` or `pretty`."),
    (
        "ADMIN_ADDR",
        "none",
        "Where `/metrics` (Prometheus) and `/log-filter` are served. Keep it inside the network.",
    ),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "none", "A collector's OTLP/HTTP base URL. None: nothing is exported."),
    (
        "OTEL_TRACES_SAMPLER",
        "`parentbased_always_on`",
        "This and the other `OTEL_*` variables mean what OpenTelemetry says.",
    ),
];

/// What an export must not tell of: its own HTTP calls, or each would cause another.
const EXPORTERS: [&str; 6] = ["hyper", "hyper_util", "reqwest", "h2", "rustls", "opentelemetry"];

/// Sends what is still held when it is dropped. Keep it until the end of `main`.
#[derive(Debug)]
#[must_use = "dropping it ends telemetry"]
pub struct Telemetry {
    export: Export,
    _admin: Option<Admin>,
}

/// Sets up logs, traces and metrics for the process; `service` is the OpenTelemetry `service.name`.
///
/// # Errors
/// When called twice, or when a variable makes no sense. A collector that is away is no error:
/// what it misses is dropped.
pub fn init(service: &'static str) -> Result<Telemetry> {
    global::set_text_map_propagator(TraceContextPropagator::new());
    let admin =
        variable("ADMIN_ADDR").map(|address| address.parse()).transpose().context("read ADMIN_ADDR")?;
    let export = Export::new(service, variable("OTEL_EXPORTER_OTLP_ENDPOINT").is_some(), admin.is_some())?;
    // Without a collector no layer at all, rather than one that is told of everything.
    let mut layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> = Vec::new();
    if let Some(traces) = &export.traces {
        // Its own filter: RUST_LOG=warn must not cut traces to pieces.
        let filter = Targets::new()
            .with_default(LevelFilter::INFO)
            .with_targets(EXPORTERS.map(|target| (target, LevelFilter::OFF)));
        layers.push(
            tracing_opentelemetry::layer().with_tracer(traces.tracer(service)).with_filter(filter).boxed(),
        );
    }
    let directives = variable("RUST_LOG").unwrap_or_else(|| "info".into());
    let (filter, handle) = reload::Layer::new(log_filter(&directives).context("read RUST_LOG")?);
    let logs = match std::env::var("LOG_FORMAT").as_deref() {
        Ok("pretty") => fmt::layer().boxed(),
        Ok("json" | "") | Err(_) => fmt::layer().json().flatten_event(true).with_current_span(false).boxed(),
        Ok(_) => anyhow::bail!("LOG_FORMAT is json or pretty"),
    };
    layers.push(logs.with_filter(filter).boxed());
    if let Some(logs) = export.log_layer() {
        // The same lines, but at a level of its own: what is sent costs whoever keeps it.
        let filter = Targets::new()
            .with_default(LevelFilter::INFO)
            .with_targets(EXPORTERS.map(|target| (target, LevelFilter::OFF)));
        layers.push(logs.with_filter(filter).boxed());
    }
    tracing_subscriber::registry().with(layers).try_init().context("set the process's logger")?;
    let admin = admin.map(|address| Admin::start(address, export.registry.clone(), directives, handle));
    let admin = admin.transpose().context("serve ADMIN_ADDR")?;
    tracing::info!(service, version = crate::VERSION, "starting");
    Ok(Telemetry { export, _admin: admin })
}

/// What a variable says, unless nothing.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

fn log_filter(directives: &str) -> Result<EnvFilter> {
    let filter = EnvFilter::try_new(directives)?;
    Ok(filter.add_directive(format!("{TRACE_ONLY}=off").parse()?))
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        // Exporting happens on threads of their own, so waiting here blocks no runtime they need.
        self.export.shut_down();
    }
}
