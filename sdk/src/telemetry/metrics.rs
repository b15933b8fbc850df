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
use prometheus::{Encoder, Registry, TextEncoder};

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

fn text() -> Result<String, prometheus::Error> {
    let mut text = Vec::new();
    TextEncoder::new().encode(&REGISTRY.gather(), &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
