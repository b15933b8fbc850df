//! A collector: takes what is exported over OTLP (protobuf over HTTP) and keeps the spans.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One span as it was exported.
#[derive(Clone, Debug)]
pub struct Exported {
    /// Who exported it: the process's `service.name`.
    pub service: String,
    /// Its name.
    pub name: String,
    /// The trace it is part of, in hex.
    pub trace: String,
    /// Its id, in hex.
    pub id: String,
    /// Its parent's id; empty for the first of a trace.
    pub parent: String,
    /// Its attributes as text.
    pub attributes: BTreeMap<String, String>,
    /// Whether its status is an error.
    pub is_error: bool,
}

/// The running collector.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<Exported>>>,
}

impl Collector {
    /// Listens on a free loopback port.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let spans = Arc::new(Mutex::new(Vec::new()));
        let taken = spans.clone();
        drop(tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                drop(tokio::spawn(take(connection, taken.clone())));
            }
        }));
        Ok(Self { address, spans })
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` is to be.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The spans of a trace that have come.
    pub fn trace(&self, trace: &str) -> Vec<Exported> {
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        spans.iter().filter(|span| span.trace == trace).cloned().collect()
    }
}

/// Takes one request, for whatever: metrics come too and are let go.
async fn take(mut connection: TcpStream, spans: Arc<Mutex<Vec<Exported>>>) -> anyhow::Result<()> {
    let mut request = Vec::new();
    let (head, body) = loop {
        anyhow::ensure!(connection.read_buf(&mut request).await? > 0, "it hung up");
        if let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break (String::from_utf8_lossy(&request[..end]).to_ascii_lowercase(), end + 4);
        }
    };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.context("no length")?.trim().parse()?;
    while request.len() < body + length {
        anyhow::ensure!(connection.read_buf(&mut request).await? > 0, "it hung up");
    }
    if head.starts_with("post /v1/traces ") {
        let request = ExportTraceServiceRequest::decode(&request[body..])?;
        let exported = request.resource_spans.into_iter().flat_map(exported);
        spans.lock().unwrap_or_else(PoisonError::into_inner).extend(exported);
    }
    connection
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .await?;
    Ok(())
}

fn exported(resource: ResourceSpans) -> Vec<Exported> {
    let attributes = resource
        .resource
        .map(|resource| texts(resource.attributes))
        .unwrap_or_default();
    let service = attributes.get("service.name").cloned().unwrap_or_default();
    let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
    spans
        .map(|span| Exported {
            service: service.clone(),
            name: span.name,
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            attributes: texts(span.attributes),
            is_error: span.status.is_some_and(|status| status.code == 2),
        })
        .collect()
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: AnyValue| match value.value? {
        Value::StringValue(text) => Some(text),
        Value::IntValue(number) => Some(number.to_string()),
        Value::BoolValue(truth) => Some(truth.to_string()),
        Value::DoubleValue(number) => Some(number.to_string()),
        _ => None,
    };
    attributes
        .into_iter()
        .filter_map(|attribute| Some((attribute.key, text(attribute.value?)?)))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
