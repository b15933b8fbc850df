//! One task in the hands of this worker, and how far it is.
//!
//! ```text
//! Preparing ──▶ Running ──▶ Settling          the execution's own steps
//!     │            │ └──▶ TimedOut, Abandoned ──▶ Settling
//!     └────────────┴───────────┴──▶ HandedBack, Killed          for good
//! ```
//!
//! Others stop it by [`Execution::stop`]; what stops it and when is in `beat.rs` and `worker.rs`.

use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use everstep_common::ids::QueueName;
use everstep_common::ports::Ack;
use everstep_common::store::Mark;
use everstep_common::task::Task;
use futures::task::AtomicWaker;
use jiff::Timestamp;

use crate::context::Call;
use crate::holding::Holding;
use crate::telemetry::Labels;

/// A queue in one life of its stream.
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) queue: QueueName,
    pub(crate) mark: Mark,
    pub(crate) labels: Labels,
}

/// How far an execution is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stage {
    /// The function has not begun.
    Preparing,
    /// The function runs.
    Running,
    /// What came of it is being recorded.
    Settling,
    /// The function took longer than one attempt may.
    TimedOut,
    /// Cancelled, and its grace is over.
    Abandoned,
    /// The worker stops: another one shall do it.
    HandedBack,
    /// The worker is gone: nothing more may be said in its name.
    Killed,
}

impl Stage {
    const ALL: [Self; 7] = [
        Self::Preparing,
        Self::Running,
        Self::Settling,
        Self::TimedOut,
        Self::Abandoned,
        Self::HandedBack,
        Self::Killed,
    ];

    fn is_stop(self) -> bool {
        self as u8 > Self::Settling as u8
    }

    /// Whether the stage may be followed by `next`.
    fn allows(self, next: Self) -> bool {
        use Stage::{Abandoned, HandedBack, Killed, Preparing, Running, Settling, TimedOut};
        match (self, next) {
            (Preparing, Running | Settling) | (Running, Settling | TimedOut | Abandoned) | (TimedOut | Abandoned, Settling) => true,
            (Preparing | Running | Settling | TimedOut | Abandoned, HandedBack) => true,
            (from, Killed) => from != Killed,
            _ => false,
        }
    }
}

/// One task in the hands of this worker.
pub(crate) struct Execution {
    /// Its number among this worker's executions.
    pub(crate) serial: u64,
    pub(crate) task: Task,
    /// 1 for the task's first delivery.
    pub(crate) delivery: u64,
    /// Where it came from.
    pub(crate) binding: Arc<Binding>,
    /// What the function sees.
    pub(crate) call: Arc<Call>,
    /// When the function began, by this machine's clock.
    pub(crate) began: OnceLock<Timestamp>,
    stage: AtomicU8,
    /// Wakes the execution when it is stopped.
    waker: AtomicWaker,
    /// Whether the journal is known to hold an outcome, of the step or of the run.
    over: AtomicBool,
}

impl Execution {
    pub(crate) fn new(serial: u64, task: Task, delivery: u64, binding: Arc<Binding>, call: Call) -> Self {
        Self {
            serial,
            task,
            delivery,
            binding,
            call: Arc::new(call),
            began: OnceLock::new(),
            stage: AtomicU8::new(Stage::Preparing as u8),
            waker: AtomicWaker::new(),
            over: AtomicBool::new(false),
        }
    }

    /// How far it is.
    pub(crate) fn stage(&self) -> Stage {
        Stage::ALL[usize::from(self.stage.load(Ordering::Acquire))]
    }

    /// Goes on to `next`; the stage that forbids it otherwise.
    pub(crate) fn enter(&self, next: Stage) -> Result<(), Stage> {
        let allowed = |stage: u8| Stage::ALL[usize::from(stage)].allows(next).then_some(next as u8);
        let changed = self.stage.fetch_update(Ordering::AcqRel, Ordering::Acquire, allowed);
        changed.map(drop).map_err(|stage| Stage::ALL[usize::from(stage)])
    }

    /// Stops it, unless it is past that; whether it did.
    pub(crate) fn stop(&self, stop: Stage) -> bool {
        let stopped = self.enter(stop).is_ok();
        if stopped {
            self.waker.wake();
        }
        stopped
    }

    /// Hands it back if its function has not begun; whether it did.
    pub(crate) fn hand_back_unbegun(&self) -> bool {
        let (from, to) = (Stage::Preparing as u8, Stage::HandedBack as u8);
        let stopped = self
            .stage
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok();
        if stopped {
            self.waker.wake();
        }
        stopped
    }

    /// `future`'s output, or what stopped the execution first. A future that is ready counts as first.
    pub(crate) async fn until_stopped<F: Future + Unpin>(&self, mut future: F) -> Result<F::Output, Stage> {
        poll_fn(|context| {
            if let Poll::Ready(output) = std::pin::Pin::new(&mut future).poll(context) {
                return Poll::Ready(Ok(output));
            }
            self.waker.register(context.waker());
            let stage = self.stage();
            if stage.is_stop() {
                Poll::Ready(Err(stage))
            } else {
                Poll::Pending
            }
        })
        .await
    }

    /// The deliveries that it answers for.
    pub(crate) fn holding(&self) -> &Holding {
        self.call.holding.as_ref().expect("an execution has a task behind it")
    }

    /// Answers the task's deliveries.
    pub(crate) fn answer(&self, ack: Ack) {
        self.holding().answer(ack);
    }

    /// Notes that the journal holds an outcome.
    pub(crate) fn note_over(&self) {
        self.over.store(true, Ordering::Release);
    }

    /// Whether the journal is known to hold an outcome.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}
