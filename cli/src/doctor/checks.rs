//! The server, the deployment's streams, who works on them, and the clocks.

use std::sync::Arc;
use std::time::Duration;

use everstep::QueueName;
use everstep_common::ports::{Broker, Clock, GetLast, ReadError, TopologyError};
use everstep_common::store::{Deployment, LEASES};
use everstep_common::subject::Names;
use everstep_common::topology::{ConsumerSpec, StreamSpec};
use everstep_common::wire;
use everstep_nats::{NatsBroker, TokioClock};
use futures::future::join_all;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::report::{Check, Verdict};
use crate::output::{between, count, lasted};

/// A clock that is wrong by more is worth a word. Nothing in Everstep goes by it but `sleep_until` dates that people compute.
const SKEW_MAX: Duration = Duration::from_secs(1);

/// An owner renews its lease several times a second.
const LEASE_SILENCE_MAX: Duration = Duration::from_secs(10);

/// The server's version, which connecting has checked.
pub(super) fn server(broker: &NatsBroker) -> Check {
    let server = broker.server();
    Check::ok(
        "server",
        format!("nats-server {}, messages up to {} bytes", server.version, server.max_payload),
    )
}

/// What the account may keep, which connecting has checked to be something.
pub(super) async fn jetstream(broker: &NatsBroker) -> Check {
    match broker.ask_jetstream("INFO", &json!({})).await {
        Ok(info) => {
            let number = |field: &str| info[field].as_u64().unwrap_or_default();
            let found = format!(
                "{} streams and {} consumers, {} bytes on disk, {} in memory",
                number("streams"),
                number("consumers"),
                number("storage"),
                number("memory")
            );
            Check::ok("jetstream", found)
        }
        Err(error) => Check::wrong("jetstream", error.to_string()).mend("allow these credentials to publish to $JS.API.INFO"),
    }
}

/// What was provisioned.
pub(super) fn deployment(deployment: &Deployment) -> Check {
    let Deployment {
        partitions,
        keyed_partitions,
        replicas,
        ack_wait,
        ..
    } = deployment;
    Check::ok(
        "deployment",
        format!(
            "{} ({keyed_partitions} keyed), {}, ack wait {ack_wait:?}",
            count(*partitions, "partition"),
            count(*replicas as u64, "replica")
        ),
    )
}

/// Each stream and consumer against its specification; one line if all is well.
pub(super) async fn streams(broker: &Arc<dyn Broker>, deployment: &Deployment) -> Vec<Check> {
    let names = Names::new(deployment.prefix.clone());
    let specs = deployment.streams();
    let streams = join_all(specs.iter().map(|spec| stream(broker, spec)));
    let consumers = join_all(deployment.all_partitions().map(|partition| {
        let (stream, spec) = (names.timer_stream(partition), deployment.timer_consumer(&names, partition));
        consumer(broker, stream, spec)
    }));
    let (streams, consumers) = futures::join!(streams, consumers);
    let mut wrong: Vec<_> = streams.into_iter().chain(consumers).flatten().collect();
    if wrong.is_empty() {
        wrong.push(Check::ok("streams", format!("all {} as they should be", specs.len())));
    }
    wrong
}

async fn stream(broker: &Arc<dyn Broker>, spec: &StreamSpec) -> Option<Check> {
    match broker.stream_info(&spec.name).await {
        // It exists, so this compares and makes nothing.
        Ok(Some(_)) => differing(broker.ensure_stream(spec).await),
        Ok(None) => Some(missing("stream", &spec.name)),
        Err(error) => Some(unread(&spec.name, &error)),
    }
}

async fn consumer(broker: &Arc<dyn Broker>, stream: String, spec: ConsumerSpec) -> Option<Check> {
    match broker.consumers(&stream).await {
        Ok(consumers) if consumers.contains(&spec.name) => differing(broker.ensure_consumer(&stream, &spec).await),
        Ok(_) => Some(missing("consumer", &format!("{stream}/{}", spec.name))),
        // Told with the stream.
        Err(ReadError::NoStream) => None,
        Err(error) => Some(unread(&stream, &error)),
    }
}

/// The queues' streams, which orchestrators make as they are needed.
pub(super) async fn queues(broker: &Arc<dyn Broker>, deployment: &Deployment, queues: &[QueueName]) -> Vec<Check> {
    let names = Names::new(deployment.prefix.clone());
    let mut checks = Vec::new();
    for queue in queues {
        let spec = deployment.task_stream(&names, queue);
        checks.push(match broker.stream_info(&spec.name).await {
            Ok(Some(info)) => differing(broker.ensure_stream(&spec).await).unwrap_or_else(|| {
                // The mark is a message too.
                let tasks = info.messages.saturating_sub(1);
                Check::ok("queue", format!("{queue}: {} queued or with workers", count(tasks, "task")))
            }),
            Ok(None) => Check::ok("queue", format!("{queue}: not made yet; the first task makes it")),
            Err(error) => unread(&spec.name, &error),
        });
    }
    checks
}

fn missing(what: &str, name: &str) -> Check {
    Check::wrong("streams", format!("{what} {name} is missing"))
        .mend("restore it from a backup if runs were lost with it; else `everstep provision` makes an empty one")
}

fn differing(ensured: Result<everstep_common::ports::Ensured, TopologyError>) -> Option<Check> {
    let error = ensured.err()?;
    let check = Check::wrong("streams", error.to_string());
    Some(match error {
        TopologyError::Differs { .. } => check.mend("`nats stream edit` or `nats consumer edit` to what is wanted"),
        _ => check.mend("ask again; if it stays, look at the server's log"),
    })
}

fn unread(name: &str, error: &ReadError) -> Check {
    Check::new("streams", Verdict::Unknown, format!("{name}: {error}"))
        .mend("allow these credentials $JS.API.STREAM.INFO.* and $JS.API.CONSUMER.LIST.*, or ask with others")
}

/// A lease, as far as it is read here.
#[derive(Deserialize)]
struct Lease {
    owner: Option<String>,
}

/// Whether every partition has somebody who drives it.
pub(super) async fn orchestrators(broker: &Arc<NatsBroker>, deployment: &Deployment) -> Check {
    let names = Names::new(deployment.prefix.clone());
    let request = GetLast {
        stream: names.bucket_stream(LEASES),
        subjects: vec![names.bucket_key(LEASES, "lease.*")],
        up_to: None,
        leader: true,
    };
    let (leases, now) = match (broker.get_last(request).await, server_time(broker, &names).await) {
        (Ok(leases), Some((now, _))) => (leases.messages, now),
        (Err(error), _) => return Check::new("orchestrators", Verdict::Unknown, error.to_string()),
        (_, None) => return Check::new("orchestrators", Verdict::Unknown, "the server's time cannot be asked"),
    };
    let alive = leases.iter().filter(|lease| between(lease.time, now) < LEASE_SILENCE_MAX);
    let mut owners: Vec<String> = alive
        .filter_map(|lease| wire::decode::<Lease>(&lease.payload).ok()?.owner)
        .collect();
    let driven = owners.len();
    owners.sort();
    owners.dedup();
    let found = format!(
        "{} alive, driving {driven} of {}",
        owners.len(),
        count(deployment.partitions, "partition")
    );
    if driven == deployment.partitions as usize {
        Check::ok("orchestrators", found)
    } else {
        Check::new("orchestrators", Verdict::Warning, found).mend("start an orchestrator of your application")
    }
}

/// How far this machine's clock is from the server's.
pub(super) async fn clock(broker: &Arc<NatsBroker>, deployment: &Deployment) -> Check {
    let names = Names::new(deployment.prefix.clone());
    let Some((server, ours)) = server_time(broker, &names).await else {
        return Check::new("clock", Verdict::Unknown, "the server's time cannot be asked");
    };
    let (skew, direction) = match server > ours {
        true => (between(ours, server), "behind"),
        false => (between(server, ours), "ahead of"),
    };
    let found = format!("this machine's is {} {direction} the server's", lasted(skew));
    if skew < SKEW_MAX {
        Check::ok("clock", found)
    } else {
        Check::new("clock", Verdict::Warning, found)
            .mend("run a time service (chrony, systemd-timesyncd) on both; runs are timed by the server's clock alone")
    }
}

/// The server's time, and ours in the middle of the asking.
async fn server_time(broker: &Arc<NatsBroker>, names: &Names) -> Option<(Timestamp, Timestamp)> {
    let verb = format!("STREAM.INFO.{}", names.bucket_stream(LEASES));
    let before = TokioClock.wall();
    let answer = broker.ask_jetstream(&verb, &json!({})).await.ok()?;
    let after = TokioClock.wall();
    let server = answer["ts"].as_str()?.parse().ok()?;
    Some((server, before.checked_add(between(before, after) / 2).ok()?))
}
