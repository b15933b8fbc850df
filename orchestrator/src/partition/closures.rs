//! Closures of `ctx.run`: they run off the partition's thread and outlive the eviction of their run.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use bytes::Bytes;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::ids::RunId;
use everstep_common::journal::LocalKind;
use everstep_common::key::StepKey;
use everstep_common::store::Store;
use everstep_core::Closure;
use futures::FutureExt;
use futures::channel::mpsc;
use futures::future::{AbortHandle, Abortable, Either, select};

/// How long a closure may take unless the workflow says otherwise. A longer job is a step.
pub(crate) const CLOSURE_TIMEOUT: Duration = Duration::from_secs(60);

/// What a closure's end is told with.
pub(crate) type Results = mpsc::UnboundedSender<Finished>;

/// Something to be done off the partition's thread.
pub(crate) struct Work {
    /// As what its result is recorded.
    pub kind: LocalKind,
    pub closure: Closure,
    /// How long it may take, if not [`CLOSURE_TIMEOUT`].
    pub timeout: Option<Duration>,
}

/// It is done.
pub(crate) struct Finished {
    pub run: RunId,
    pub key: StepKey,
    pub kind: LocalKind,
    pub result: Result<Bytes, Failure>,
}

#[derive(Debug)]
pub(crate) struct Closures {
    runtime: tokio::runtime::Handle,
    store: Store,
    results: Results,
    running: BTreeMap<(RunId, StepKey), Running>,
}

#[derive(Debug)]
struct Running {
    abort: AbortHandle,
    /// The entry it was asked for by, which the cursor does not pass before the result is recorded.
    sequence: Option<u64>,
    /// It has brought its result, which is being recorded.
    brought: bool,
}

impl Closures {
    pub(crate) fn new(runtime: tokio::runtime::Handle, store: Store, results: Results) -> Self {
        Self {
            runtime,
            store,
            results,
            running: BTreeMap::new(),
        }
    }

    /// Runs a closure, unless that very one is running already; whether it was begun.
    pub(crate) fn run(&mut self, run: RunId, key: StepKey, work: Work, sequence: Option<u64>) -> bool {
        let id = (run.clone(), key.clone());
        if self.running.contains_key(&id) {
            return false;
        }
        let (abort, registration) = AbortHandle::new_pair();
        self.running.insert(
            id,
            Running {
                abort,
                sequence,
                brought: false,
            },
        );
        let results = self.results.clone();
        let kind = work.kind;
        let deadline = self.store.clock().sleep(work.timeout.unwrap_or(CLOSURE_TIMEOUT));
        let work = Abortable::new(bounded(work.closure, deadline), registration);
        drop(self.runtime.spawn(async move {
            // An aborted closure has nobody who waits; the receiver is gone only when the partition is.
            if let Ok(result) = work.await {
                let _ = results.unbounded_send(Finished { run, key, kind, result });
            }
        }));
        true
    }

    /// Whether one of the run's is running, or its result is being recorded.
    pub(crate) fn has_any(&self, run: &RunId) -> bool {
        let mut of_run = self.running.range((run.clone(), StepKey::first())..);
        of_run.next().is_some_and(|((owner, _), _)| owner == run)
    }

    /// It brought a result, which is about to be recorded; the entry that the cursor waits at.
    pub(crate) fn finished(&mut self, run: &RunId, key: &StepKey) -> Option<u64> {
        let running = self.running.get_mut(&(run.clone(), key.clone()))?;
        running.brought = true;
        running.sequence.take()
    }

    /// Results of the run could not be recorded: their closures run again when it goes on.
    pub(crate) fn forget_brought(&mut self, run: &RunId) {
        self.running.retain(|(owner, _), running| owner != run || !running.brought);
    }

    /// A result is recorded.
    pub(crate) fn recorded(&mut self, run: &RunId, key: &StepKey) -> Option<u64> {
        self.running.remove(&(run.clone(), key.clone()))?.sequence
    }

    /// Nobody waits for it any more; the entry that the cursor waits at.
    pub(crate) fn cancel(&mut self, run: &RunId, key: &StepKey) -> Option<u64> {
        let running = self.running.remove(&(run.clone(), key.clone()))?;
        running.abort.abort();
        running.sequence
    }

    /// The run is over; the entries that the cursor waits at.
    pub(crate) fn cancel_run(&mut self, run: &RunId) -> Vec<u64> {
        let first = (run.clone(), StepKey::first());
        let keys: Vec<_> = self
            .running
            .range(first..)
            .map(|(id, _)| id)
            .take_while(|(owner, _)| owner == run)
            .cloned()
            .collect();
        keys.iter().filter_map(|(run, key)| self.cancel(run, key)).collect()
    }
}

/// Whoever drives the partition next runs them, and nobody would hear of their results.
impl Drop for Closures {
    fn drop(&mut self) {
        self.running.values().for_each(|running| running.abort.abort());
    }
}

async fn bounded(closure: Closure, deadline: futures::future::BoxFuture<'static, ()>) -> Result<Bytes, Failure> {
    // What it leaves may panic too, when it is dropped at its timeout.
    let work = async move {
        match select(Box::pin(async move { closure().await }), deadline).await {
            Either::Left((result, _)) => result,
            Either::Right(((), _)) => Err(Failure::new(
                FailureKind::DeadlineExceeded,
                "the closure took longer than its timeout",
            )),
        }
    };
    let done = AssertUnwindSafe(work).catch_unwind().await;
    done.unwrap_or_else(|panic| {
        let message = format!("panicked: {}", panic_message(&*panic));
        Err(Failure::new(FailureKind::Fatal, message))
    })
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct PanicsWhenDropped;

    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    #[test]
    fn a_closure_that_panics_when_its_time_is_over_has_a_result_all_the_same() {
        let closure: Closure = Box::new(|| {
            Box::pin(async {
                let _held = PanicsWhenDropped;
                std::future::pending().await
            })
        });
        let result = bounded(closure, Box::pin(async {})).now_or_never();
        let failure = result.expect("its time is over").expect_err("it has no value");
        assert_eq!(failure.message, "panicked: dropped");
    }
}
