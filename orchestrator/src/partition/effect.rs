//! Effects as data, and the one place that performs them; [`dispatch`](super::dispatch), [`schedule`](super::schedule),
//! [`take_back`](super::take_back) and [`children`](super::children) say how.
//!
//! Each is derived from the journal and may be performed again at any time: creates are refused the second time, tasks are refused while
//! they are queued, schedules replace each other, purges find nothing.

use std::sync::Arc;

use bytes::Bytes;
use everstep_common::digest::InputDigest;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::ids::{FunctionName, ProcessId, QueueName, RunId};
use everstep_common::journal::{
    Continuation, Ended, Entry, EntryKey, InboundKind, Local, LocalKind, Parent, RunOutcome, StepResult,
};
use everstep_common::key::StepKey;
use everstep_common::payload::Payload;
use everstep_common::store::{Backoff, CreateError, Created, PayloadError, RUNS, ReadAt, Store, TaskPublished};
use everstep_common::subject::TimerSort;
use everstep_common::subscription::{EventPlace, Subscription};
use everstep_common::task::Task;
use everstep_common::trace::TraceLinks;
use everstep_core::{ChildSpec, RunEnd};
use futures::future::BoxFuture;
use tracing::Instrument;

use super::events::Found;
use super::journal::{self, Journal, Unread};
use super::queues::Queues;
use super::schedule::Scheduled;
use super::slots::{About, Load};
use crate::metrics::metrics;

/// Something to be done outside the core.
pub(crate) enum Effect {
    /// Publish a task; its input is still whole.
    Dispatch { queue: QueueName, task: Task, input: Bytes },
    /// Create an entry as it stands.
    Create { run: RunId, key: EntryKey, entry: Entry },
    /// Create a `local` entry: a closure's result, a question, or the answer to an update.
    RecordLocal {
        run: RunId,
        key: StepKey,
        kind: LocalKind,
        result: Result<Bytes, Failure>,
    },
    /// Create the run's end.
    End { run: RunId, outcome: RunEnd },
    /// Have the server wake the run at a time; `attempt` is what a retry is to make, else 0.
    Schedule {
        run: RunId,
        sort: TimerSort,
        key: StepKey,
        scheduled: Scheduled,
    },
    /// Create the `in` entry of the next event of a subscription.
    Hear(Found),
    /// Take a schedule back.
    Unschedule { run: RunId, sort: TimerSort, key: StepKey },
    /// Take back the tasks of a step, or that of one attempt, record why, and tell the workers.
    TakeBack {
        queue: QueueName,
        run: RunId,
        key: StepKey,
        /// The function and number of the one attempt that is meant.
        attempt: Option<(FunctionName, u32)>,
        /// The outcome of the step or the attempt, unless it is recorded, or follows from the end of the run.
        entry: Option<Box<Entry>>,
        /// A task of the run may be about to be published.
        under_way: bool,
    },
    /// Start a child, under the trace of its parent.
    StartChild {
        run: RunId,
        key: StepKey,
        child: Box<ChildSpec>,
        traceparent: Option<String>,
    },
    /// Ask a child to cancel, which is started first if it was not.
    CancelChild {
        run: RunId,
        key: StepKey,
        child: Box<ChildSpec>,
        traceparent: Option<String>,
    },
    /// Tell a parent how its child ended.
    TellParent {
        run: RunId,
        about: Arc<About>,
        parent: Parent,
        outcome: RunOutcome,
    },
    /// Start the run in which another one goes on.
    Continue { run: RunId },
    /// Cancel a run whose key another one is at work for, if that is so.
    Reject { run: RunId, holder: RunId },
    /// Have the children end that a run has left behind.
    EndChildren { run: RunId, how: InboundKind },
    /// Take all schedules of a run back.
    UnscheduleRun { run: RunId },
    /// Take the summary of a run away that is no more.
    Unlist { run: RunId },
    /// Read a run's journal, large values included.
    Load { run: RunId, load: Load, at: ReadAt },
    /// Read the journal of a run that has ended once more, to be compared.
    Reread { run: RunId, fingerprint: u64, at: ReadAt },
    /// Fetch the large value that an entry refers to.
    Fetch { run: RunId, sequence: u64, payload: Payload },
}

/// What an effect brought.
pub(crate) enum Performed {
    /// It is acknowledged.
    Done,
    /// A task was published (or was there already).
    Dispatched {
        run: RunId,
        key: StepKey,
        published: TaskPublished,
    },
    /// The server will wake the run.
    Scheduled { run: RunId },
    /// The run has heard the event that stands there before, from another place: it was published more than once.
    HeardBefore {
        run: RunId,
        what: Arc<Subscription>,
        place: EventPlace,
    },
    /// The run that was to be rejected waits for its place: the one at work for its key has ended.
    WaitsAfterAll { run: RunId },
    /// The server refuses it for good, with the reason.
    Refused { run: RunId, reason: String },
    /// The journal of a run with its large values, or why it cannot be read.
    Loaded {
        run: RunId,
        load: Load,
        journal: Result<Journal, Unread>,
    },
    /// The journal of a run that has ended, and what it left the first time.
    Reread {
        run: RunId,
        fingerprint: u64,
        journal: Result<Journal, Unread>,
    },
    /// The large value of the run's next entry.
    Fetched {
        run: RunId,
        sequence: u64,
        value: Result<Bytes, PayloadError>,
    },
}

/// What effects are performed with.
#[derive(Clone, Debug)]
pub(crate) struct Performer {
    pub store: Store,
    pub queues: Queues,
    pub process: ProcessId,
    pub trace: TraceLinks,
}

impl Performer {
    /// Performs one effect, for as long as it takes. Sent at its first poll.
    ///
    /// Each sort is boxed by itself: one future as large as the largest of them would make every dispatch a slow allocation.
    pub(crate) fn perform(self, effect: Effect) -> BoxFuture<'static, Performed> {
        match effect {
            Effect::Dispatch { queue, mut task, input } => {
                let span = self.dispatch_span(&queue, &mut task);
                if span.is_disabled() {
                    return Box::pin(self.dispatch(queue, task, input));
                }
                Box::pin(self.dispatch(queue, task, input).instrument(span))
            }
            Effect::Create { run, key, entry } => Box::pin(async move { self.create(run, key, entry).await }),
            Effect::RecordLocal { run, key, kind, result } => {
                Box::pin(async move { self.record_local(run, key, kind, result).await })
            }
            Effect::End { run, outcome } => Box::pin(async move { self.end(run, outcome).await }),
            Effect::Schedule {
                run,
                sort,
                key,
                scheduled,
            } => Box::pin(async move { self.schedule(run, sort, key, scheduled).await }),
            Effect::Hear(found) => Box::pin(async move { self.hear(found).await }),
            Effect::Unschedule { run, sort, key } => {
                let filter = self.store.names().timer(&run, sort, &key);
                Box::pin(async move { self.purge_timers(run, filter).await })
            }
            Effect::UnscheduleRun { run } => {
                let filter = self.store.names().run_timers(&run);
                Box::pin(async move { self.purge_timers(run, filter).await })
            }
            Effect::TakeBack {
                queue,
                run,
                key,
                attempt,
                entry,
                under_way,
            } => Box::pin(async move { self.take_back(queue, run, key, attempt, entry, under_way).await }),
            Effect::StartChild {
                run,
                key,
                child,
                traceparent,
            } => Box::pin(async move { done(self.start_child(&run, &key, &child, traceparent).await, run) }),
            Effect::CancelChild {
                run,
                key,
                child,
                traceparent,
            } => Box::pin(async move { done(self.cancel_child(&run, &key, &child, traceparent).await, run) }),
            Effect::TellParent {
                run,
                about,
                parent,
                outcome,
            } => Box::pin(async move { done(self.tell_parent(&run, &about.workflow, &parent, outcome).await, run) }),
            Effect::Continue { run } => Box::pin(async move { done(self.continue_run(&run).await, run) }),
            Effect::Reject { run, holder } => Box::pin(async move { self.reject(run, holder).await }),
            Effect::EndChildren { run, how } => Box::pin(async move { done(self.end_children(&run, how).await, run) }),
            Effect::Unlist { run } => Box::pin(async move { self.unlist(run).await }),
            Effect::Load { run, load, at } => Box::pin(async move {
                let journal = journal::read(&self.store, &run, at).await;
                if let Err(Unread::Unavailable(_)) = journal {
                    // It is asked for again at once.
                    self.store.clock().sleep(Backoff::MAX).await;
                }
                Performed::Loaded { run, load, journal }
            }),
            Effect::Reread { run, fingerprint, at } => Box::pin(async move {
                let journal = journal::read(&self.store, &run, at).await;
                Performed::Reread {
                    run,
                    fingerprint,
                    journal,
                }
            }),
            Effect::Fetch { run, sequence, payload } => Box::pin(async move {
                let value = self.store.get_payload(&run, &payload).await;
                Performed::Fetched { run, sequence, value }
            }),
        }
    }

    pub(super) async fn create(&self, run: RunId, key: EntryKey, entry: Entry) -> Performed {
        let created = self.store.create(&run, key, &entry).await;
        self.created(run, created)
    }

    pub(super) fn created(&self, run: RunId, created: Result<Created, CreateError>) -> Performed {
        match created {
            Ok(Created::Ours { .. }) | Err(CreateError::Gone { .. }) => Performed::Done,
            Ok(Created::Theirs(_)) => {
                metrics().refused.add(1, &[]);
                Performed::Done
            }
            Err(error) => Performed::Refused {
                run,
                reason: error.to_string(),
            },
        }
    }

    async fn record_local(&self, run: RunId, key: StepKey, kind: LocalKind, result: Result<Bytes, Failure>) -> Performed {
        let result = match result {
            Ok(value) => match self.store.put_payload(&run, key.token(), value).await {
                Ok(payload) => StepResult::Value(payload),
                Err(error) => StepResult::Failure(Failure::new(FailureKind::Invalid, error.to_string())),
            },
            Err(failure) => StepResult::Failure(failure),
        };
        let entry = Entry::Local(Local { kind, result });
        self.create(run, EntryKey::Local(key), entry).await
    }

    async fn end(&self, run: RunId, outcome: RunEnd) -> Performed {
        let outcome = match outcome {
            RunEnd::Completed(value) => match self.store.put_payload(&run, "end", value).await {
                Ok(payload) => RunOutcome::Completed(payload),
                Err(error) => RunOutcome::Failed(Failure::new(FailureKind::Invalid, error.to_string())),
            },
            RunEnd::Failed(failure) => RunOutcome::Failed(failure),
            RunEnd::Cancelled(failure) => RunOutcome::Cancelled(failure),
            RunEnd::Terminated(failure) => RunOutcome::Terminated(failure),
            RunEnd::Continued {
                input,
                decided,
                listened,
            } => {
                let digest = InputDigest::of(&input);
                match self.store.put_payload(&run, "end", input).await {
                    Ok(input) => RunOutcome::Continued(Continuation {
                        run: run.successor(),
                        input,
                        digest,
                        decided: Some(decided),
                        listened,
                    }),
                    Err(error) => RunOutcome::Failed(Failure::new(FailureKind::Invalid, error.to_string())),
                }
            }
        };
        let entry = Entry::End(Ended {
            outcome,
            by: self.process.clone(),
        });
        self.create(run, EntryKey::End, entry).await
    }

    /// One try: later it might be the summary of a run that was started anew under the same key. The next sweep finds what is left.
    async fn unlist(&self, run: RunId) -> Performed {
        let names = self.store.names();
        let summary = names.bucket_key(RUNS, run.as_str());
        if let Err(error) = self.store.broker().purge(&names.bucket_stream(RUNS), &summary).await {
            tracing::debug!(%run, %error, "the summary of a run that is no more was not taken away yet");
        }
        Performed::Done
    }
}

/// What came of an effect that is done or refused.
fn done(done: Result<(), String>, run: RunId) -> Performed {
    match done {
        Ok(()) => Performed::Done,
        Err(reason) => Performed::Refused { run, reason },
    }
}
