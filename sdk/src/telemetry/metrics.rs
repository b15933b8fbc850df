//! `/metrics` in the text format of Prometheus, and the export of the same figures to a collector.

use std::net::SocketAddr;
use std::sync::LazyLock;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use opentelemetry_otlp::MetricExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::proto::MetricType;
use prometheus::{Encoder, Registry, TextEncoder};
use serde_json::{Map, Value};

use super::TelemetryError;

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::new);

/// Where instruments report to: the registry behind `/metrics`, and the collector if there is one.
pub(super) fn provider(resource: Resource, exporter: Option<MetricExporter>) -> Result<SdkMeterProvider, OTelSdkError> {
    let reader = opentelemetry_prometheus::exporter().with_registry(REGISTRY.clone()).build()?;
    let mut provider = SdkMeterProvider::builder().with_resource(resource).with_reader(reader);
    if let Some(exporter) = exporter {
        provider = provider.with_periodic_exporter(exporter);
    }
    Ok(provider.build())
}

/// Serves `/metrics` in the background; the address it is served at.
pub(crate) async fn serve_metrics(address: SocketAddr) -> Result<SocketAddr, TelemetryError> {
    let failed = |source| TelemetryError::Serve { address, source };
    let listener = tokio::net::TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let routes = Router::new().route("/metrics", get(scraped));
    drop(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, routes).await {
            tracing::error!(%error, "/metrics is no longer served");
        }
    }));
    Ok(address)
}

async fn scraped() -> Response {
    match text() {
        Ok(text) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// The figures of a role as they are now, by name without `everstep_<role>_` and `_total`: those of all queues, partitions and outcomes together,
/// of times the longest. Without [`Telemetry`](super::Telemetry) nobody counts, and there are none.
pub(crate) fn figures(role: &str) -> Map<String, Value> {
    let prefix = format!("everstep_{role}_");
    let families = REGISTRY.gather();
    let of_role = families.iter().filter_map(|family| {
        let name = family.name().strip_prefix(&prefix)?;
        let values = family.get_metric().iter().map(|metric| match family.get_field_type() {
            MetricType::COUNTER => metric.get_counter().get_value(),
            _ => metric.get_gauge().get_value(),
        });
        let together = match name.ends_with("_seconds") {
            true => values.fold(0.0, f64::max),
            false => values.sum(),
        };
        Some((name.trim_end_matches("_total").to_owned(), number(together)))
    });
    of_role.collect()
}

/// A whole number as one.
fn number(value: f64) -> Value {
    match value.fract() == 0.0 && value >= 0.0 {
        true => Value::from(value as u64),
        false => Value::from(value),
    }
}

fn text() -> Result<String, prometheus::Error> {
    let mut text = Vec::new();
    TextEncoder::new().encode(&REGISTRY.gather(), &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
