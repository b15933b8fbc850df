//! Setting the process's logs and traces up, and flushing them at the end.

use std::io::IsTerminal;
use std::net::SocketAddr;

use opentelemetry::global;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, MetricExporter, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, fmt};

use super::metrics;

/// What is logged. The NATS client's word for each connection that it makes would bury what is said of the work.
const LOGS_BY_DEFAULT: &str = "info,async_nats=warn";

/// The spans that are exported: everything Everstep traces, and of other crates what is worth a log line. Without a filter each entry
/// applied would ask every crate's innermost spans along.
const TRACES_BY_DEFAULT: &str = "info,everstep=debug";

/// Logs, traces and metrics of a process, for as long as this lives; dropping it flushes what is to be exported.
///
/// Logs go to standard error: `EVERSTEP_LOG`, else `RUST_LOG`, says which, in the syntax of `tracing_subscriber::EnvFilter`; `info,async_nats=warn`
/// if neither is set. Traces (`EVERSTEP_TRACES`, in the same syntax; `info,everstep=debug`) and metrics are exported if `OTEL_EXPORTER_OTLP_ENDPOINT` is
/// set, under the name `OTEL_SERVICE_NAME`, else that of the program.
///
/// [`App::main`](crate::App::main) and [`App::run`](crate::App::run) set it up by themselves.
///
/// ```no_run
/// use everstep::prelude::*;
/// use everstep::{AppOptions, ConnectOptions, Telemetry};
///
/// #[tokio::main]
/// async fn main() -> anyhow::Result<()> {
///     let telemetry = Telemetry::start()?;
///     telemetry.serve_metrics("127.0.0.1:9464".parse()?).await?;
///     let mut running = App::new().start(AppOptions::new(ConnectOptions::default())).await?;
///     running.ended().await?;
///     Ok(())
/// }
/// ```
#[derive(Debug)]
#[must_use = "telemetry ends when this is dropped"]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
    metrics: SdkMeterProvider,
}

/// Why telemetry could not be set up.
///
/// ```no_run
/// use everstep::{Telemetry, TelemetryError};
///
/// /// In a program that may log already.
/// fn telemetry() -> Result<Option<Telemetry>, TelemetryError> {
///     match Telemetry::start() {
///         Err(TelemetryError::Logs(_)) => Ok(None),
///         started => started.map(Some),
///     }
/// }
/// ```
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
    /// The address for `/metrics` is taken, or not this machine's.
    #[error("serving /metrics at {address}")]
    Serve {
        /// Where it was to be served.
        address: SocketAddr,
        /// What the operating system says.
        source: std::io::Error,
    },
}

impl Telemetry {
    /// Sets up logs, traces and metrics as the environment says. Once in a process.
    ///
    /// # Errors
    ///
    /// [`TelemetryError::Logs`] if a subscriber of `tracing` is set already, [`TelemetryError::Export`] if the collector's settings are wrong,
    /// [`TelemetryError::Metrics`] if the metrics cannot be registered. A collector that does not answer is no error.
    ///
    /// ```
    /// # fn main() -> Result<(), everstep::TelemetryError> {
    /// let _telemetry = everstep::Telemetry::start()?;
    /// tracing::info!("ready");
    /// # Ok(())
    /// # }
    /// ```
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
        let layer = traces.as_ref().map(|traces| {
            global::set_tracer_provider(traces.clone());
            let layer = tracing_opentelemetry::layer().with_tracer(traces.tracer("everstep"));
            // Where in the source and on which thread a span was made would be most of what is sent.
            let layer = layer.with_location(false).with_threads(false).with_tracked_inactivity(false);
            layer.with_filter(filter(&["EVERSTEP_TRACES"], TRACES_BY_DEFAULT))
        });
        // Colours are for people: a file or the journal keeps plain text.
        let logs = fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal());
        let logs = logs.with_filter(filter(&["EVERSTEP_LOG", EnvFilter::DEFAULT_ENV], LOGS_BY_DEFAULT));
        tracing_subscriber::registry().with(layer).with(logs).try_init()?;
        Ok(Self { traces, metrics })
    }

    /// Serves `/metrics`, in the text format of Prometheus, for as long as the process lives; returns the address, whose port is chosen if `address`
    /// has port 0.
    ///
    /// [`App::run`](crate::App::run) does so by itself if the command line asks for it; this is for programs that call
    /// [`App::start`](crate::App::start).
    ///
    /// # Errors
    ///
    /// [`TelemetryError::Serve`] if the port is taken, or the address is not this machine's.
    ///
    /// ```no_run
    /// # async fn example(telemetry: everstep::Telemetry) -> anyhow::Result<()> {
    /// let address = telemetry.serve_metrics("127.0.0.1:0".parse()?).await?;
    /// println!("http://{address}/metrics");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn serve_metrics(&self, address: SocketAddr) -> Result<SocketAddr, TelemetryError> {
        metrics::serve_metrics(address).await
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

/// What the first of these variables that is set and can be read says, else `default`.
fn filter(variables: &[&str], default: &str) -> EnvFilter {
    let said = variables.iter().find_map(|name| EnvFilter::try_from_env(name).ok());
    said.unwrap_or_else(|| EnvFilter::new(default))
}
