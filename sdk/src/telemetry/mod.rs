//! Logs, traces and metrics of a process.
//!
//! Logs go to standard error (`EVERSTEP_LOG`, else `RUST_LOG`, in the syntax of `tracing_subscriber::EnvFilter`; default `info,async_nats=warn`). Traces
//! (`EVERSTEP_TRACES`, in the same syntax; default `info,everstep=debug`) and metrics go to a collector if `OTEL_EXPORTER_OTLP_ENDPOINT` is
//! set; metrics can also be scraped from `/metrics`.

mod metrics;
mod setup;
mod trace;

pub(crate) use metrics::{figures, serve_metrics};
pub(crate) use trace::{trace_links, traceparent};

pub use setup::{Telemetry, TelemetryError};
