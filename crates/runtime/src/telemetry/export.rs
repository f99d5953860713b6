//! Where traces, metrics and logs go.

use anyhow::{Context as _, Result};
use opentelemetry::{KeyValue, global};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{Protocol, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource, logs::SdkLoggerProvider, metrics::SdkMeterProvider, trace::SdkTracerProvider,
};
use tracing_subscriber::{Layer, Registry};

use crate::metrics;

#[derive(Debug)]
pub(super) struct Export {
    pub(super) traces: Option<SdkTracerProvider>,
    logs: Option<SdkLoggerProvider>,
    metrics: Option<SdkMeterProvider>,
    /// What Prometheus is told.
    pub(super) registry: prometheus::Registry,
}

impl Export {
    /// `otlp`: to the collector that the environment names. `scraped`: for Prometheus.
    pub(super) fn new(service: &'static str, otlp: bool, scraped: bool) -> Result<Self> {
        let mut export =
            Self { traces: None, logs: None, metrics: None, registry: prometheus::Registry::new() };
        if !otlp && !scraped {
            return Ok(export);
        }
        let resource = Resource::builder()
            .with_service_name(service)
            .with_attributes([
                KeyValue::new("service.namespace", "baton"),
                KeyValue::new("service.version", crate::VERSION),
                KeyValue::new("service.instance.id", instance()),
            ])
            .build();
        let mut meters =
            SdkMeterProvider::builder().with_resource(resource.clone()).with_view(metrics::in_seconds);
        if scraped {
            let exporter = opentelemetry_prometheus::exporter().with_registry(export.registry.clone());
            meters = meters.with_reader(exporter.build().context("set up Prometheus")?);
        }
        if otlp {
            crate::init_crypto(); // the collector may be https
            meters = meters.with_periodic_exporter(
                opentelemetry_otlp::MetricExporter::builder()
                    .with_http()
                    .with_protocol(Protocol::HttpBinary)
                    .build()
                    .context("build the metric exporter")?,
            );
            let spans = opentelemetry_otlp::SpanExporter::builder()
                .with_http()
                .with_protocol(Protocol::HttpBinary)
                .build()
                .context("build the span exporter")?;
            let lines = opentelemetry_otlp::LogExporter::builder()
                .with_http()
                .with_protocol(Protocol::HttpBinary)
                .build()
                .context("build the log exporter")?;
            let traces = SdkTracerProvider::builder()
                .with_batch_exporter(spans) // bounded: OTEL_BSP_MAX_QUEUE_SIZE, 2048 spans
                .with_resource(resource.clone())
                .build();
            global::set_tracer_provider(traces.clone());
            export.traces = Some(traces);
            let logs = SdkLoggerProvider::builder()
                .with_batch_exporter(lines) // bounded: OTEL_BLRP_MAX_QUEUE_SIZE, 2048 lines
                .with_resource(resource)
                .build();
            export.logs = Some(logs);
        }
        let meters = meters.build();
        global::set_meter_provider(meters.clone());
        export.metrics = Some(meters);
        Ok(export)
    }

    pub(super) fn log_layer(&self) -> Option<Box<dyn Layer<Registry> + Send + Sync>> {
        Some(OpenTelemetryTracingBridge::new(self.logs.as_ref()?).boxed())
    }

    pub(super) fn shut_down(&self) {
        let shut = [
            self.traces.as_ref().map(|traces| ("spans", traces.shutdown())),
            self.metrics.as_ref().map(|metrics| ("metrics", metrics.shutdown())),
            self.logs.as_ref().map(|logs| ("logs", logs.shutdown())),
        ];
        for (what, ended) in shut.into_iter().flatten() {
            if let Err(error) = ended {
                tracing::warn!(what, error = crate::error_chain(&error), "the last ones were not exported");
            }
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
