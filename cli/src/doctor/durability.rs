//! Whether the server syncs its writes as the deployment says it does.
//!
//! No ordinary account can ask for that. It is read from the monitoring port if that is named, else asked of the server, which answers
//! credentials of the system account alone.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use everstep_common::ports::Broker;
use everstep_common::store::Deployment;
use everstep_common::topology::Durability;
use everstep_nats::NatsBroker;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::report::{Check, Verdict};

/// How long servers have to answer.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);

/// How long the monitoring port has.
const MONITOR_WITHIN: Duration = Duration::from_secs(5);

/// The longest interval that still counts as relaxed: it is what a power cut loses.
const RELAXED_INTERVAL_MAX: Duration = Duration::from_secs(1);

/// How a server syncs its writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Syncs {
    Always,
    Every(Duration),
}

/// The recorded level against what the server does.
pub(super) async fn check(broker: &Arc<NatsBroker>, deployment: &Deployment, monitor: Option<&str>) -> Check {
    let configurations = match monitor {
        Some(monitor) => match from_monitor(monitor).await {
            Ok(configuration) => vec![configuration],
            Err(error) => {
                return Check::new("durability", Verdict::Unknown, format!("{monitor}/jsz: {error}"))
                    .mend("name the server's monitoring address with --monitor, such as http://127.0.0.1:8222");
            }
        },
        None => from_system_account(broker).await,
    };
    let syncs: Vec<Syncs> = configurations.iter().filter_map(syncs_of).collect();
    judged(deployment.durability, &syncs)
}

fn judged(recorded: Durability, servers: &[Syncs]) -> Check {
    let Some(worst) = servers.iter().copied().max_by_key(lost) else {
        let found = format!("recorded as {recorded}; what the server does cannot be asked with these credentials");
        return Check::new("durability", Verdict::Unknown, found)
            .mend("name the server's monitoring address with --monitor, or look for `sync_interval` in its configuration");
    };
    let does = match worst {
        Syncs::Always => "every write is synced".to_owned(),
        Syncs::Every(interval) => format!("writes are synced every {interval:?}"),
    };
    let found = format!("recorded as {recorded}; {does}");
    match recorded {
        Durability::Strict if worst != Syncs::Always => Check::wrong("durability", found)
            .mend("write `sync_interval: always` into the server's `jetstream` block and restart it"),
        Durability::Relaxed if lost(&worst) > RELAXED_INTERVAL_MAX => Check::wrong("durability", found)
            .mend("write `sync_interval: 100ms` into the server's `jetstream` block and restart it"),
        _ => Check::ok("durability", found),
    }
}

/// What a power cut takes.
fn lost(syncs: &Syncs) -> Duration {
    match syncs {
        Syncs::Always => Duration::ZERO,
        Syncs::Every(interval) => *interval,
    }
}

/// From the `config` of a server's `/jsz`.
fn syncs_of(configuration: &Value) -> Option<Syncs> {
    if configuration["sync_always"].as_bool() == Some(true) {
        return Some(Syncs::Always);
    }
    configuration["sync_interval"]
        .as_u64()
        .map(|nanos| Syncs::Every(Duration::from_nanos(nanos)))
}

async fn from_system_account(broker: &Arc<NatsBroker>) -> Vec<Value> {
    let question = Bytes::from_static(br#"{"config":true}"#);
    let answers = broker.ask("$SYS.REQ.SERVER.PING.JSZ", question, ANSWER_WITHIN).await;
    let parsed = answers
        .into_iter()
        .filter_map(|answer| serde_json::from_slice::<Value>(&answer.payload).ok());
    parsed.map(|answer| answer["data"]["config"].clone()).collect()
}

async fn from_monitor(monitor: &str) -> io::Result<Value> {
    let fetched = tokio::time::timeout(MONITOR_WITHIN, fetch(monitor)).await;
    let body = fetched.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    let answer: Value = serde_json::from_slice(&body)?;
    Ok(answer["config"].clone())
}

/// One plain request: the monitoring port speaks HTTP/1.0 to whoever does.
async fn fetch(monitor: &str) -> io::Result<Vec<u8>> {
    let address = monitor.trim_start_matches("http://").trim_end_matches('/');
    let mut socket = TcpStream::connect(address).await?;
    let request = format!("GET /jsz?config=true HTTP/1.0\r\nHost: {address}\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await?;
    let end_of_head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    end_of_head
        .map(|at| answer.split_off(at + 4))
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_that_loses_most_is_held_against_the_record() {
        let check = |recorded, servers: &[Syncs], expected| assert_eq!(judged(recorded, servers).verdict, expected, "{servers:?}");
        let every = |millis| Syncs::Every(Duration::from_millis(millis));
        check(Durability::Strict, &[], Verdict::Unknown);
        check(Durability::Strict, &[Syncs::Always, Syncs::Always], Verdict::Ok);
        check(Durability::Strict, &[Syncs::Always, every(100)], Verdict::Wrong);
        check(Durability::Relaxed, &[every(100)], Verdict::Ok);
        check(Durability::Relaxed, &[Syncs::Always], Verdict::Ok);
        check(Durability::Relaxed, &[every(120_000)], Verdict::Wrong);
    }
}
