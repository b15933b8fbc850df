//! Taking tasks back of what is over by the orchestrator's own word, and saying so.

use bytes::Bytes;
use everstep_common::ids::{FunctionName, QueueName, RunId};
use everstep_common::journal::{Entry, EntryKey};
use everstep_common::key::StepKey;
use everstep_common::ports::{CoreMessage, Headers};
use everstep_common::task::Task;

use super::effect::{Performed, Performer};

impl Performer {
    /// The tasks go first: once the entry stands nobody would look for them, and in a queue that is not served they would wait for a worker
    /// that does what is over. A successor that finds no entry does all of it again. If a task may still be under way, they go once more
    /// after the entry: whoever publishes one later than that finds the entry.
    pub(super) async fn take_back(
        &self,
        queue: QueueName,
        run: RunId,
        key: StepKey,
        attempt: Option<(FunctionName, u32)>,
        entry: Option<Box<Entry>>,
        under_way: bool,
    ) -> Performed {
        let names = self.store.names();
        let (tasks, over) = match attempt {
            None => (names.step_tasks(&queue, &run, &key), EntryKey::Step(key)),
            Some((function, attempt)) => (
                names.task(&queue, &function, &run, &key, attempt),
                EntryKey::Try(key, attempt),
            ),
        };
        self.purge_tasks(&queue, &tasks).await;
        let payload = Bytes::from(format!("{run}.{over}"));
        let performed = match entry {
            Some(entry) => self.create(run, over, *entry).await,
            None => Performed::Done,
        };
        if under_way {
            self.purge_tasks(&queue, &tasks).await;
        }
        self.store.broker().send(CoreMessage {
            subject: names.cancelled(&queue),
            headers: Headers::new(),
            payload,
            reply: None,
        });
        performed
    }

    /// Whether the outcome of the task's step stands in the journal.
    pub(super) async fn is_over(&self, task: &Task) -> bool {
        let outcome = EntryKey::Step(task.key.clone());
        matches!(self.store.read_entry(&task.run, &outcome).await, Ok(Some(_)))
    }

    /// Removes whatever task the step still has.
    pub(super) async fn purge_step(&self, queue: &QueueName, run: &RunId, key: &StepKey) {
        let tasks = self.store.names().step_tasks(queue, run, key);
        self.purge_tasks(queue, &tasks).await;
    }

    async fn purge_tasks(&self, queue: &QueueName, tasks: &str) {
        let stream = self.store.names().task_stream(queue);
        if let Err(error) = self.store.broker().purge(&stream, tasks).await {
            tracing::debug!(tasks, %error, "a task of what is over is left in its queue");
        }
    }
}
