//! The two streams of the loop, configured as the engine's are.

use std::time::Duration;

use anyhow::Context;
use everstep_common::ports::Broker;
use everstep_common::topology::{ConsumerSpec, Discard, Retention, Storage, StreamSpec};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::body::Step;

/// As the engine's.
const ACK_WAIT: Duration = Duration::from_secs(30);

/// The consumer that the worker pulls from.
pub const CONSUMER: &str = "workers";

/// The names of one measurement's streams, of its own on whatever server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Streams {
    id: String,
}

impl Streams {
    /// Names that nobody has used.
    pub fn fresh() -> Self {
        let id = Uuid::new_v4().simple().to_string()[..8].to_owned();
        Self { id }
    }

    /// The task stream's name.
    pub fn tasks(&self) -> String {
        format!("FLOOR_{}_TASKS", self.id)
    }

    /// The journal's name.
    pub fn journal(&self) -> String {
        format!("KV_floor_{}", self.id)
    }

    /// All tasks.
    pub fn task_filter(&self) -> String {
        format!("floor_{}.task.>", self.id)
    }

    /// All results.
    pub fn journal_filter(&self) -> String {
        format!("$KV.floor_{}.>", self.id)
    }

    /// One task's subject, as long and as deep as the engine's.
    pub fn task(&self, Step { run, step }: Step) -> String {
        format!("floor_{}.task.default.work.0-{run:032x}.s{step}.1", self.id)
    }

    /// One result's subject, as long and as deep as the engine's.
    pub fn result(&self, Step { run, step }: Step) -> String {
        format!("$KV.floor_{}.0-{run:032x}.step.s{step}", self.id)
    }

    /// Makes both streams and the worker's consumer.
    pub async fn make(&self, broker: &dyn Broker) -> anyhow::Result<()> {
        let tasks = StreamSpec {
            retention: Retention::WorkQueue,
            storage: Storage::Memory,
            ..write_once(self.tasks(), self.task_filter())
        };
        let journal = StreamSpec {
            allow_atomic: true,
            deny_delete: true,
            ..write_once(self.journal(), self.journal_filter())
        };
        let consumer = ConsumerSpec {
            name: CONSUMER.to_owned(),
            filter: self.task_filter(),
            ack_wait: ACK_WAIT,
        };
        broker.ensure_stream(&tasks).await?;
        broker.ensure_stream(&journal).await?;
        broker.ensure_consumer(&self.tasks(), &consumer).await?;
        Ok(())
    }

    /// Leaves nothing in them: on a server that is not ours they stay behind, empty.
    pub async fn empty(&self, broker: &dyn Broker) -> anyhow::Result<()> {
        for (stream, filter) in [(self.tasks(), self.task_filter()), (self.journal(), self.journal_filter())] {
            broker
                .purge(&stream, &filter)
                .await
                .with_context(|| format!("emptying {stream}"))?;
        }
        Ok(())
    }
}

fn write_once(name: String, subjects: String) -> StreamSpec {
    StreamSpec {
        max_messages_per_subject: 1,
        discard: Discard::New,
        discard_new_per_subject: true,
        ..StreamSpec::new(name, [subjects], 1)
    }
}
