//! Flow control as the partition does it: tasks enter the gate, the records of limits are written, and what has passed is published.

use bytes::Bytes;
use everstep_common::flow::{Flow, LimitName, RunFlow, Usage};
use everstep_common::ids::{QueueName, RunId};
use everstep_common::ports::Instant;
use everstep_common::store::{Backoff, LIMITS, PutError, Store};
use everstep_common::task::Task;
use everstep_common::wire;

use super::Partition;
use super::drive::Origin;
use super::flow::{Now, Passing, What, Write, Written};
use super::io::Input;

/// The sequence of no entry: those of a stream begin with 1.
const NO_ENTRY: u64 = 0;

impl Partition {
    /// Publishes a task, or has it wait for its place if its function or queue has a limit.
    pub(super) fn admit(&mut self, queue: QueueName, task: Task, input: Bytes, flow: Flow, origin: &Origin) {
        if self.gate.is_open_to(&flow) {
            return self.dispatch(queue, task, input, origin);
        }
        let of_run = self.slots.live(&task.run).map_or(0, |live| live.about.priority);
        let priority = i16::from(of_run) + i16::from(flow.priority);
        let limits = [
            (LimitName::Queue(queue.clone()), RunFlow::default()),
            (LimitName::Function(task.function.clone()), flow.limit.into()),
        ];
        let passing = Passing::task(queue, task, input, flow.key, priority);
        let now = self.store.clock().now();
        let passed = self.gate.enter(passing, limits, now);
        if let Some(Passing {
            what: What::Task { queue, task, input },
            ..
        }) = passed
        {
            self.dispatch(queue, *task, input, origin);
        }
    }

    /// Publishes what has passed, and writes what limits are to say.
    pub(super) fn keep_flowing(&mut self, now: Instant) {
        if self.stopping || self.gate.look_at().is_none_or(|look_at| look_at > now) {
            return;
        }
        let Some(time) = self.server_clock.at(now) else { return };
        let knows_all = self.knows_all_in_flight();
        let slots = &self.slots;
        let stands_still = |run: &RunId| slots.parked(run).is_some() || slots.is_loading(run);
        let at = Now {
            time,
            now,
            knows_all,
            stands_still: &stands_still,
        };
        for write in self.gate.writes(&at) {
            let store = self.store.clone();
            self.io
                .begin(Box::pin(async move { Input::LimitWritten(perform(&store, write).await) }));
        }
        for Passing { slot, what, .. } in self.gate.passed() {
            match what {
                // The entry that it follows from is long done with; the run stays in memory until it is published all the same.
                What::Task { queue, task, input } => self.dispatch(queue, *task, input, &Some((slot.run, NO_ENTRY))),
                What::Run { .. } => self.create_timer(&slot.run, slot.step, time),
            }
        }
        self.make_way();
    }
}

/// Makes the write, or finds out what stands instead.
async fn perform(store: &Store, write: Write) -> Written {
    let Write { name, usage, revision } = write;
    let key = name.usage_key();
    let written = match wire::encode(&usage) {
        Ok(value) => store.put_record(LIMITS, &key, value, revision).await,
        Err(error) => Err(PutError::Rejected(error.to_string())),
    };
    match written {
        Ok(revision) => {
            return Written {
                name,
                usage,
                revision,
                ours: true,
            };
        }
        Err(PutError::Conflict) => {}
        Err(error) => {
            tracing::warn!(%name, %error, "a limit's record was not written; tasks wait");
            store.clock().sleep(Backoff::MAX).await;
        }
    }
    let mut backoff = Backoff::new();
    loop {
        let found = match store.get_record(LIMITS, &key).await {
            Ok(Some(record)) => wire::decode::<Usage>(&record.value)
                .map(|usage| (usage, record.revision))
                .ok(),
            Ok(None) => Some((Usage::default(), 0)),
            Err(error) => {
                tracing::debug!(%name, %error, "a limit's record was not read yet");
                None
            }
        };
        if let Some((usage, revision)) = found {
            return Written {
                name,
                usage,
                revision,
                ours: false,
            };
        }
        store.clock().sleep(backoff.delay()).await;
    }
}
