//! A journal stream, a task stream with its consumer, and shorthands, for the tests of this crate.

use std::time::Duration;

use everstep_common::ports::{Broker, Delivery, Followed, Message, Puller};
use everstep_common::topology::{ConsumerSpec, Discard, Retention, Storage, StreamSpec};
use everstep_memory::MemoryBroker;
use futures::stream::{BoxStream, StreamExt};

/// A write-once stream of `cp.>`.
pub(crate) fn journal(replicas: usize) -> StreamSpec {
    StreamSpec {
        max_messages_per_subject: 1,
        discard: Discard::New,
        discard_new_per_subject: true,
        allow_atomic: true,
        ..StreamSpec::new("JOURNAL", ["cp.>".to_owned()], replicas)
    }
}

/// A memory-backed work queue of `task.>`.
pub(crate) fn tasks(replicas: usize) -> StreamSpec {
    StreamSpec {
        retention: Retention::WorkQueue,
        storage: Storage::Memory,
        ..StreamSpec::new("TASKS", ["task.>".to_owned()], replicas)
    }
}

/// The work queue's consumer.
pub(crate) fn worker_consumer() -> ConsumerSpec {
    ConsumerSpec {
        name: "workers".into(),
        filter: "task.>".into(),
        ack_wait: Duration::from_secs(30),
    }
}

/// Makes all three.
pub(crate) async fn provision(broker: &MemoryBroker, replicas: usize) -> anyhow::Result<()> {
    broker.ensure_stream(&journal(replicas)).await?;
    broker.ensure_stream(&tasks(replicas)).await?;
    broker.ensure_consumer("TASKS", &worker_consumer()).await?;
    Ok(())
}

/// Pulls up to `max`, waiting a second.
pub(crate) async fn pull(puller: &mut dyn Puller, max: usize) -> anyhow::Result<Vec<Delivery>> {
    Ok(puller.next(max, Duration::from_secs(1)).await?)
}

/// The next message followed, past the news of having caught up.
pub(crate) async fn next_message(followed: &mut BoxStream<'static, Followed>) -> anyhow::Result<Message> {
    loop {
        match followed.next().await {
            Some(Followed::Message(message)) => return Ok(message),
            Some(Followed::CaughtUp) => {}
            Some(Followed::Lost(reason)) => anyhow::bail!("lost: {reason}"),
            None => anyhow::bail!("the follow has ended"),
        }
    }
}
