//! A journal stream, a task stream with its consumer, for the tests of this crate.

use std::time::Duration;

use everstep_common::ports::Broker;
use everstep_common::topology::{ConsumerSpec, Discard, Retention, Storage, StreamSpec};
use everstep_memory::MemoryBroker;

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

/// Makes both, and the consumer.
pub(crate) async fn provision(broker: &MemoryBroker, journal: StreamSpec, tasks: StreamSpec) -> anyhow::Result<()> {
    broker.ensure_stream(&journal).await?;
    broker.ensure_stream(&tasks).await?;
    broker.ensure_consumer(&tasks.name, &worker_consumer()).await?;
    Ok(())
}
