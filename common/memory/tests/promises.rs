//! What the ports promise holds whatever goes wrong, over many seeds.
//!
//! 1. What was acknowledged is stored, under its writer's nonce, and stays over restarts.
//! 2. A subject of a write-once stream is stored once.
//! 3. A refused publish is not stored; a publish whose acknowledgement is lost may be.
//! 4. A follower is brought every message once, in order.
//! 5. A task is delivered until it is answered, and then gone.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, ensure};
use everstep_common::ports::{Ack, Broker, Clock, Followed, From, Publish, PublishError};
use everstep_common::topology::{Storage, StreamSpec};
use everstep_memory::{Faults, MemoryBroker, MemoryServer, Nodes, simulate};
use futures::StreamExt;
use futures::future::join_all;

/// Subjects that the writers compete for.
const SUBJECTS: u64 = 40;

/// When everything that went wrong has passed: longer than any pause, stall and `ack_wait` together.
const CALM: Duration = Duration::from_secs(600);

#[test]
fn the_ports_keep_their_promises_whatever_goes_wrong() -> anyhow::Result<()> {
    let first: u64 = std::env::var("EVERSTEP_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(1);
    for seed in first..first + 60 {
        for nodes in [Nodes::One, Nodes::Three] {
            simulate(check(nodes, seed)).with_context(|| format!("EVERSTEP_SEED={seed} {nodes:?}"))?;
        }
    }
    Ok(())
}

async fn check(nodes: Nodes, seed: u64) -> anyhow::Result<()> {
    let server = MemoryServer::start(nodes, seed, Faults::none());
    let setup = server.connect("setup");
    let replicas = if nodes == Nodes::One { 1 } else { 3 };
    // On disk, or the restarts would take the tasks.
    let tasks = StreamSpec {
        storage: Storage::File,
        ..common::tasks(replicas)
    };
    common::provision(&setup, common::journal(replicas), tasks).await?;
    server.set_faults(Faults::swarm(seed));
    let following = tokio::spawn(follow(server.connect("reader")));
    let working = tokio::spawn(work(server.connect("worker")));
    let writers = ["writer-1", "writer-2", "writer-3"].map(|name| tokio::spawn(write(server.connect(name))));
    for _ in 0..3 {
        server.clock().sleep(Duration::from_secs(4)).await;
        server.restart();
    }
    let mut written = Vec::new();
    for writer in join_all(writers).await {
        written.extend(writer?);
    }
    server.set_faults(Faults::none());
    server.clock().sleep(CALM).await;
    are_written(&server, &written)?;
    working.abort();
    ensure!(server.messages("TASKS").is_empty(), "promise 5: a task is left");
    setup.publish(Publish::new("cp.last", "")).await?;
    let followed = following.await??;
    let stored: Vec<u64> = server.messages("JOURNAL").iter().map(|message| message.sequence).collect();
    ensure!(followed == stored, "promise 4: {followed:?} of {stored:?}");
    Ok(())
}

fn are_written(server: &MemoryServer, written: &[Written]) -> anyhow::Result<()> {
    let stored = server.messages("JOURNAL");
    let subjects: BTreeSet<&str> = stored.iter().map(|message| message.subject.as_str()).collect();
    ensure!(subjects.len() == stored.len(), "promise 2: a subject is stored twice");
    let nonces: BTreeSet<&[u8]> = stored.iter().map(|message| &*message.payload).collect();
    for Written { nonce, result } in written {
        let is_stored = nonces.contains(nonce.as_bytes());
        match result {
            Ok(_) => ensure!(is_stored, "promise 1: {nonce} was acknowledged and is not stored"),
            Err(PublishError::Unknown(_)) => {}
            Err(error) => ensure!(!is_stored, "promise 3: {nonce} is stored, though {error}"),
        }
    }
    Ok(())
}

struct Written {
    nonce: String,
    result: Result<u64, PublishError>,
}

async fn write(broker: MemoryBroker) -> Vec<Written> {
    let mut written = Vec::new();
    for subject in 0..SUBJECTS {
        let nonce = format!("{}-{subject}", broker.name());
        let entry = Publish::new(format!("cp.{subject}"), nonce.clone()).create_only();
        let task = Publish::new(format!("task.{subject}"), nonce.clone()).create_only();
        let (entry, _) = futures::join!(broker.publish(entry), broker.publish(task));
        let result = entry.map(|stored| stored.sequence);
        written.push(Written { nonce, result });
        broker.clock().sleep(Duration::from_millis(subject * 13 % 400)).await;
    }
    written
}

async fn work(broker: MemoryBroker) {
    loop {
        let Ok(mut puller) = broker.pull("TASKS", "workers").await else {
            continue;
        };
        while let Ok(deliveries) = puller.next(3, Duration::from_secs(5)).await {
            for delivery in deliveries {
                let ack = if delivery.delivery < 2 && delivery.sequence % 5 == 0 {
                    Ack::Retry(Duration::ZERO)
                } else {
                    Ack::Done
                };
                broker.ack(&delivery.ack, ack);
            }
        }
    }
}

async fn follow(broker: MemoryBroker) -> anyhow::Result<Vec<u64>> {
    let mut followed = broker.follow("JOURNAL", "cp.>", From::Sequence(1));
    let mut sequences = Vec::new();
    while let Some(item) = followed.next().await {
        match item {
            Followed::Message(message) => {
                sequences.push(message.sequence);
                if message.subject == "cp.last" {
                    return Ok(sequences);
                }
            }
            Followed::CaughtUp => {}
            Followed::Lost(reason) => anyhow::bail!("promise 4: lost: {reason}"),
        }
    }
    anyhow::bail!("promise 4: the follow has ended")
}
