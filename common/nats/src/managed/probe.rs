//! Asks a server's monitoring port how it is.
//!
//! Needs no credentials, whatever the configuration says about clients.

use std::net::Ipv4Addr;

use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Whether clients are served and JetStream has recovered what it stores (in a cluster: and is up to date with the leader).
pub(super) async fn is_healthy(monitor_port: u16) -> bool {
    get(monitor_port, "/healthz").await.is_some()
}

/// How many nodes of the cluster are up to date, the leader included, if the node called `name` leads it. Only the leader knows.
pub(super) async fn nodes_current_seen_by_leader(monitor_port: u16, name: &str) -> Option<usize> {
    let body = get(monitor_port, "/jsz").await?;
    let meta = serde_json::from_slice::<JetStream>(&body).ok()?.meta_cluster?;
    let others = meta.replicas.iter().filter(|replica| replica.current).count();
    (meta.leader.as_deref() == Some(name)).then_some(1 + others)
}

#[derive(Deserialize)]
struct JetStream {
    meta_cluster: Option<MetaCluster>,
}

#[derive(Deserialize)]
struct MetaCluster {
    leader: Option<String>,
    #[serde(default)]
    replicas: Vec<Replica>,
}

#[derive(Deserialize)]
struct Replica {
    current: bool,
}

/// The body of a 200 answer; `None` for anything else, a refused connection included.
async fn get(port: u16, path: &str) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
    // HTTP 1.0: the server closes the connection after the answer and sends no chunks.
    stream
        .write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())
        .await
        .ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    let is_ok = answer.starts_with(b"HTTP/1.0 200") || answer.starts_with(b"HTTP/1.1 200");
    let body = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    is_ok.then(|| answer.split_off(body))
}
