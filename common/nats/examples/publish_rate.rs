//! How fast creates go out, and what they cost this process, through the port and through async-nats' own JetStream layer.
//!
//! `cargo run --release -p everstep-nats --example publish_rate [creates] [outstanding]`
//!
//! Starts a relaxed nats-server of its own; one current-thread runtime, as an orchestrator's partition has.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use async_nats::jetstream;
use everstep_common::ports::{Ack, Broker, From, GetLast, Publish};
use everstep_common::topology::{ConsumerSpec, Discard, Durability, Retention, Storage, StreamSpec};
use everstep_nats::managed::{ManagedServer, Options};
use everstep_nats::{ConnectOptions, NatsBroker};
use futures::StreamExt;
use tokio::time::Instant;

const BODY: [u8; 256] = [7; 256];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse());
    let creates: usize = arguments.next().transpose()?.unwrap_or(400_000);
    let outstanding: usize = arguments.next().transpose()?.unwrap_or(1_000);
    let server = ManagedServer::start(Options::with_durability(Durability::Relaxed)).await?;
    let broker = NatsBroker::connect(ConnectOptions::to(server.url())).await?;
    for stream in ["PORT", "PLAIN", "ALONE"] {
        broker.ensure_stream(&journal(stream)).await?;
    }
    for round in 0..3 {
        measure("port: publish", creates, through_port(&broker, round, creates, outstanding)).await?;
        measure(
            "async-nats: send_publish",
            creates,
            through_context(&server, round, creates, outstanding),
        )
        .await?;
    }
    measure("port: one at a time", 5_000, one_at_a_time(&broker, 5_000)).await?;
    for entries in [1, 10, 100] {
        measure(&format!("port: read {entries}"), 2_000, read(&broker, entries, 2_000)).await?;
    }
    measure("port: follow", creates, follow(&broker, creates)).await?;
    measure("port: pull and ack", creates, pull(&broker, creates, outstanding)).await?;
    Ok(())
}

fn journal(name: &str) -> StreamSpec {
    StreamSpec {
        max_messages_per_subject: 1,
        discard: Discard::New,
        discard_new_per_subject: true,
        ..StreamSpec::new(name, [format!("{name}.>")], 1)
    }
}

async fn measure(what: &str, count: usize, work: impl Future<Output = Result<()>>) -> Result<()> {
    let (begun, cpu) = (Instant::now(), cpu_time()?);
    work.await?;
    let (took, cpu) = (begun.elapsed(), cpu_time()? - cpu);
    let each = |total: Duration| total.as_secs_f64() * 1e6 / count as f64;
    println!(
        "{what:28} {:8.0} msg/s, {:6.2} us each, client CPU {:5.2} us each",
        count as f64 / took.as_secs_f64(),
        each(took),
        each(cpu)
    );
    Ok(())
}

/// What this process has used so far, to the hundredth of a second.
fn cpu_time() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().context("stat")?.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 10))
}

async fn through_port(broker: &NatsBroker, round: usize, creates: usize, outstanding: usize) -> Result<()> {
    let mut pending = VecDeque::with_capacity(outstanding);
    for n in 0..creates {
        if pending.len() == outstanding {
            pending.pop_front().context("nothing pending")?.await?;
        }
        let create = Publish::new(format!("PORT.{round}.{n}"), BODY.to_vec()).with_header("Everstep-Nonce", "0123456789abcdef");
        pending.push_back(broker.publish(create.create_only()));
    }
    for stored in pending {
        stored.await?;
    }
    Ok(())
}

async fn through_context(server: &ManagedServer, round: usize, creates: usize, outstanding: usize) -> Result<()> {
    let client = async_nats::ConnectOptions::new()
        .client_capacity(65_536)
        .connect(server.url())
        .await?;
    let context = jetstream::context::ContextBuilder::new()
        .max_ack_inflight(65_536)
        .build(client);
    let mut pending = VecDeque::with_capacity(outstanding);
    for n in 0..creates {
        if pending.len() == outstanding {
            let stored: jetstream::context::PublishAckFuture = pending.pop_front().context("nothing pending")?;
            stored.await?;
        }
        let create = jetstream::message::PublishMessage::build()
            .payload(BODY.to_vec().into())
            .header("Everstep-Nonce", "0123456789abcdef")
            .expected_last_subject_sequence(0);
        pending.push_back(context.send_publish(format!("PLAIN.{round}.{n}"), create).await?);
    }
    for stored in pending {
        stored.await?;
    }
    Ok(())
}

async fn one_at_a_time(broker: &Arc<NatsBroker>, creates: usize) -> Result<()> {
    for n in 0..creates {
        broker
            .publish(Publish::new(format!("ALONE.{n}"), BODY.to_vec()).create_only())
            .await?;
    }
    Ok(())
}

async fn read(broker: &Arc<NatsBroker>, entries: usize, times: usize) -> Result<()> {
    for n in 0..entries {
        broker
            .publish(Publish::new(format!("ALONE.run{entries}.{n}"), BODY.to_vec()).create_only())
            .await?;
    }
    for _ in 0..times {
        let subjects = vec![format!("ALONE.run{entries}.*")];
        let snapshot = broker
            .get_last(GetLast {
                stream: "ALONE".into(),
                subjects,
                up_to: None,
                leader: false,
            })
            .await?;
        anyhow::ensure!(snapshot.messages.len() == entries, "{} came", snapshot.messages.len());
    }
    Ok(())
}

async fn follow(broker: &Arc<NatsBroker>, count: usize) -> Result<()> {
    let brought = broker.follow("PORT", "PORT.>", From::Sequence(1)).take(count).count().await;
    anyhow::ensure!(brought == count, "{brought} came");
    Ok(())
}

async fn pull(broker: &Arc<NatsBroker>, count: usize, outstanding: usize) -> Result<()> {
    let queue = StreamSpec {
        retention: Retention::WorkQueue,
        storage: Storage::Memory,
        ..StreamSpec::new("TASKS", ["TASKS.>".to_owned()], 1)
    };
    broker.ensure_stream(&queue).await?;
    let consumer = ConsumerSpec {
        name: "c".to_owned(),
        filter: "TASKS.>".to_owned(),
        ack_wait: Duration::from_secs(30),
    };
    broker.ensure_consumer("TASKS", &consumer).await?;
    let publishes = futures::stream::iter(0..count).map(|n| broker.publish(Publish::new(format!("TASKS.{n}"), BODY.to_vec())));
    publishes
        .buffer_unordered(outstanding)
        .for_each(|stored| async move { assert!(stored.is_ok()) })
        .await;
    let begun = Instant::now();
    let mut puller = broker.pull("TASKS", "c").await?;
    let mut pulled = 0;
    while pulled < count {
        for delivery in puller.next(outstanding, Duration::from_secs(5)).await? {
            broker.ack(&delivery.ack, Ack::Done);
            pulled += 1;
        }
    }
    println!("  pulling alone: {:.0} msg/s", count as f64 / begun.elapsed().as_secs_f64());
    Ok(())
}
