//! Taking tasks back of what is over by the orchestrator's own word, and saying so.

use bytes::Bytes;
use everstep_common::ids::{FunctionName, QueueName, RunId};
use everstep_common::journal::{Entry, EntryKey};
use everstep_common::key::StepKey;
use everstep_common::ports::{CoreMessage, Headers};

use super::effect::{Performed, Performer};

impl Performer {
    /// The tasks go first: once the entry stands nobody would look for them, and in a queue that is not served they would wait for a worker
    /// that does what is over. A successor that finds no entry does all of it again.
    pub(super) async fn take_back(
        &self,
        queue: QueueName,
        run: RunId,
        key: StepKey,
        attempt: Option<(FunctionName, u32)>,
        entry: Option<Box<Entry>>,
    ) -> Performed {
        let names = self.store.names();
        let (tasks, over) = match attempt {
            None => (names.step_tasks(&queue, &run, &key), EntryKey::Step(key)),
            Some((function, attempt)) => (
                names.task(&queue, &function, &run, &key, attempt),
                EntryKey::Try(key, attempt),
            ),
        };
        if let Err(error) = self.store.broker().purge(&names.task_stream(&queue), &tasks).await {
            tracing::debug!(tasks, %error, "a task of what is over is left in its queue");
        }
        let payload = Bytes::from(format!("{run}.{over}"));
        let performed = match entry {
            Some(entry) => self.create(run, over, *entry).await,
            None => Performed::Done,
        };
        self.store.broker().send(CoreMessage {
            subject: names.cancelled(&queue),
            headers: Headers::new(),
            payload,
            reply: None,
        });
        performed
    }
}
