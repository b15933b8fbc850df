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

/// What one node of a cluster knows; `None` if it does not answer.
pub(super) async fn cluster_view(monitor_port: u16) -> Option<ClusterView> {
    let body = get(monitor_port, "/jsz?streams=true").await?;
    let report: Report = serde_json::from_slice(&body).ok()?;
    let accounts = report.account_details.unwrap_or_default();
    let streams = accounts.into_iter().flat_map(|account| {
        let Account {
            name: account,
            stream_detail,
        } = account;
        let named = move |stream: Stream| {
            (
                format!("{account} {}", stream.name),
                stream.cluster.and_then(|group| group.leader),
            )
        };
        stream_detail.unwrap_or_default().into_iter().map(named)
    });
    let meta = report.meta_cluster?;
    let current_others = meta
        .replicas
        .iter()
        .filter(|replica| replica.current && !replica.offline)
        .count();
    Some(ClusterView {
        leader: meta.leader,
        current_others,
        streams: streams.collect(),
    })
}

/// A node's view of its cluster. Only the leader of a group knows for sure that it is: a follower names a dead one for a while.
pub(super) struct ClusterView {
    /// The name of the node that leads the cluster.
    pub(super) leader: Option<String>,
    /// How many other nodes it sees up to date. Only the leader's figure means something.
    pub(super) current_others: usize,
    /// The streams this node has a replica of, each with the name of the node that leads it.
    pub(super) streams: Vec<(String, Option<String>)>,
}

#[derive(Deserialize)]
struct Report {
    meta_cluster: Option<Group>,
    account_details: Option<Vec<Account>>,
}

#[derive(Deserialize)]
struct Group {
    leader: Option<String>,
    #[serde(default)]
    replicas: Vec<Replica>,
}

#[derive(Deserialize)]
struct Replica {
    current: bool,
    /// Also for as long as a node has not told the leader about itself: streams cannot be placed there.
    #[serde(default)]
    offline: bool,
}

#[derive(Deserialize)]
struct Account {
    name: String,
    stream_detail: Option<Vec<Stream>>,
}

#[derive(Deserialize)]
struct Stream {
    name: String,
    cluster: Option<Group>,
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
