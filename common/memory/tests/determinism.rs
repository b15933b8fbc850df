//! Equal seeds, equal histories: everything random happens twice and is compared byte by byte.

mod common;

use std::time::Duration;

use anyhow::ensure;
use common::{provision, worker_consumer};
use everstep_common::ports::{Ack, Broker, Clock, Followed, From, GetLast, Publish, PublishError};
use everstep_memory::{Faults, MemoryBroker, MemoryServer, Nodes, When, simulate};
use futures::StreamExt;

/// Steps in one random workload.
const STEPS: u64 = 60;

/// A workload in which several clients do everything at once under faults: some write and read, some work on tasks, one follows, one
/// is killed, and the server is restarted. Its history.
fn history(nodes: Nodes, seed: u64) -> String {
    simulate(async {
        let server = MemoryServer::start(nodes, seed, Faults::none());
        let replicas = if nodes == Nodes::One { 1 } else { 3 };
        provision(&server.connect("setup"), common::journal(replicas), common::tasks(replicas))
            .await
            .expect("nothing goes wrong yet");
        server.set_faults(Faults::swarm(seed));
        let mut tasks = tokio::task::JoinSet::new();
        for name in ["writer-1", "writer-2"] {
            tasks.spawn(write(server.connect(name)));
        }
        for name in ["worker-1", "worker-2"] {
            tasks.spawn(work(server.connect(name)));
        }
        tasks.spawn(follow(server.connect("reader")));
        server.crash_at("worker-2", 5 + seed % 20, When::After);
        server.clock().sleep(Duration::from_secs(3)).await;
        server.restart();
        server.clock().sleep(Duration::from_secs(120)).await;
        tasks.shutdown().await;
        server.history()
    })
}

async fn write(broker: MemoryBroker) {
    for step in 0..STEPS {
        let nonce = format!("{}-{step}", broker.name());
        let entry = Publish::new(format!("cp.{}", step / 2), nonce.clone()).create_only();
        let task = Publish::new(format!("task.{step}"), nonce).create_only();
        let result = broker.publish(entry).await;
        // What came of it is in the history; what matters here is that it is the same twice.
        let (_, _) = futures::join!(broker.publish(task), async {
            if matches!(result, Err(PublishError::Unknown(_) | PublishError::Refused)) {
                let request = GetLast {
                    stream: "JOURNAL".into(),
                    subjects: vec!["cp.*".into()],
                    up_to: None,
                    leader: step % 3 == 0,
                };
                let _ = broker.get_last(request).await;
            }
        });
        broker.clock().sleep(Duration::from_millis(step * 7 % 50)).await;
    }
}

async fn work(broker: MemoryBroker) {
    let Ok(mut puller) = broker.pull("TASKS", "workers").await else {
        return;
    };
    loop {
        let Ok(deliveries) = puller.next(4, Duration::from_secs(1)).await else {
            let _ = broker.ensure_stream(&common::tasks(1)).await;
            let _ = broker.ensure_consumer("TASKS", &worker_consumer()).await;
            broker.clock().sleep(Duration::from_millis(100)).await;
            continue;
        };
        for delivery in deliveries {
            let ack = match delivery.sequence % 4 {
                0 if delivery.delivery < 3 => Ack::Retry(Duration::from_millis(300)),
                1 if delivery.delivery < 2 => Ack::InProgress,
                2 => Ack::Terminate,
                _ => Ack::Done,
            };
            broker.ack(&delivery.ack, ack);
        }
    }
}

async fn follow(broker: MemoryBroker) {
    let mut followed = broker.follow("JOURNAL", "cp.>", From::LastPerSubject);
    while let Some(item) = followed.next().await {
        if let Followed::Message(message) = item {
            let _ = broker.purge("JOURNAL", &message.subject).await;
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_history_byte_for_byte() -> anyhow::Result<()> {
    let first: u64 = std::env::var("EVERSTEP_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(1);
    for seed in first..first + 40 {
        for nodes in [Nodes::One, Nodes::Three] {
            let (once, again) = (history(nodes, seed), history(nodes, seed));
            ensure!(
                once == again,
                "EVERSTEP_SEED={seed} {nodes:?} differ at line {}",
                first_difference(&once, &again)
            );
            ensure!(once.lines().count() > 100, "EVERSTEP_SEED={seed}: almost nothing happened");
        }
    }
    Ok(())
}

#[test]
fn another_seed_gives_another_history() {
    assert_ne!(history(Nodes::Three, 1), history(Nodes::Three, 2));
}

fn first_difference(one: &str, other: &str) -> String {
    let mut lines = one.lines().zip(other.lines()).enumerate();
    match lines.find(|(_, (one, other))| one != other) {
        Some((number, (one, other))) => format!("{number}:\n{one}\n{other}"),
        None => "the end".into(),
    }
}
