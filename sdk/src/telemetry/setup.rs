//! Setting the process's logs and traces up, and flushing them at the end.

use opentelemetry::global;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, MetricExporter, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, fmt};

use super::metrics;

/// Keeps exporters alive; dropping it flushes them.
#[derive(Debug)]
#[must_use = "telemetry ends when this is dropped"]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
    metrics: SdkMeterProvider,
}

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// A subscriber is set already.
    #[error("setting up logs")]
    Logs(#[from] TryInitError),
    /// The collector's address or settings are wrong.
    #[error("setting up the export to the collector")]
    Export(#[from] ExporterBuildError),
    /// The registry of metrics refuses.
    #[error("setting up metrics")]
    Metrics(#[from] opentelemetry_sdk::error::OTelSdkError),
}

impl Telemetry {
    /// Sets up logs, traces and metrics as the environment says.
    pub fn start() -> Result<Self, TelemetryError> {
        let export = std::env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT").is_some_and(|endpoint| !endpoint.is_empty());
        let resource = Resource::builder().with_service_name(service_name()).build();
        let traces = if export {
            Some(tracer_provider(resource.clone())?)
        } else {
            None
        };
        let exporter = if export {
            Some(MetricExporter::builder().with_http().build()?)
        } else {
            None
        };
        let metrics = metrics::provider(resource, exporter)?;
        global::set_meter_provider(metrics.clone());
        let layer = traces
            .as_ref()
            .map(|traces| tracing_opentelemetry::layer().with_tracer(traces.tracer("everstep")));
        let logs = fmt::layer().with_writer(std::io::stderr).with_filter_from_environment();
        tracing_subscriber::registry().with(layer).with(logs).try_init()?;
        Ok(Self { traces, metrics })
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(traces) = &self.traces
            && let Err(error) = traces.shutdown()
        {
            tracing::debug!(%error, "traces not flushed");
        }
        if let Err(error) = self.metrics.shutdown() {
            tracing::debug!(%error, "metrics not flushed");
        }
    }
}

fn tracer_provider(resource: Resource) -> Result<SdkTracerProvider, ExporterBuildError> {
    let exporter = SpanExporter::builder().with_http().build()?;
    Ok(SdkTracerProvider::builder()
        .with_resource(resource)
        .with_batch_exporter(exporter)
        .build())
}

/// `OTEL_SERVICE_NAME`, else the program's name.
fn service_name() -> String {
    let program = || {
        std::env::args()
            .next()
            .and_then(|path| Some(std::path::Path::new(&path).file_name()?.to_str()?.to_owned()))
    };
    std::env::var("OTEL_SERVICE_NAME")
        .ok()
        .filter(|name| !name.is_empty())
        .or_else(program)
        .unwrap_or_else(|| "everstep".to_owned())
}

trait WithFilter<S>: tracing_subscriber::Layer<S> + Sized
where
    S: tracing::Subscriber + for<'span> tracing_subscriber::registry::LookupSpan<'span>,
{
    fn with_filter_from_environment(self) -> tracing_subscriber::filter::Filtered<Self, EnvFilter, S> {
        let filter = EnvFilter::try_from_env("EVERSTEP_LOG").or_else(|_| EnvFilter::try_from_default_env());
        tracing_subscriber::Layer::with_filter(self, filter.unwrap_or_else(|_| EnvFilter::new("info")))
    }
}

impl<S, L> WithFilter<S> for L
where
    L: tracing_subscriber::Layer<S>,
    S: tracing::Subscriber + for<'span> tracing_subscriber::registry::LookupSpan<'span>,
{
}
