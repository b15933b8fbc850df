//! Undoing what was done, newest first, each by a step of its own.
//!
//! ```text
//!   all clear ──▶ newest step done ──undo/…──▶ undone ──▶ the one before … ──▶ report
//!                                       └──failed──▶ left, and said so
//! ```
//!
//! A step is undone if its value is recorded, whether or not the workflow saw it: a rollback first waits for the outcome of what was
//! given up. What failed to be undone stays to be undone by another rollback, and those before it are undone all the same.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use everstep_common::failure::Failure;
use everstep_common::ids::FunctionName;
use everstep_common::key::StepKey;
use everstep_common::task::StepOptions;

use crate::WaitError;
use crate::scope::KeySeed;
use crate::shared::Shared;
use crate::state::{RollbackId, State, ToUndo};
use crate::waits::{Ask, NewStep, Step};

/// How a step is undone.
#[derive(Clone)]
pub struct Undo {
    /// The function that does it.
    pub function: FunctionName,
    /// How that is to be done.
    pub options: StepOptions,
    /// Makes its input from what the step brought.
    pub input: Rc<dyn Fn(Bytes) -> Result<Bytes, Failure>>,
}

/// What a rollback has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RolledBack {
    /// The steps that are undone, in the order in which they were: newest first.
    pub undone: Vec<StepKey>,
    /// Those that are not, and why.
    pub failed: Vec<(StepKey, Failure)>,
}

/// Undoes all that can be undone and is not yet.
pub(crate) async fn roll_back(shared: Rc<Shared>) -> RolledBack {
    let (mut report, mut tried) = (RolledBack::default(), BTreeSet::new());
    loop {
        AllClear::new(shared.clone()).await;
        let Some(step) = shared.change(|state| state.take_newest_done(&tried)) else {
            return report;
        };
        tried.insert(step.sequence);
        let key = step.key.clone();
        match Undoing::begin(shared.clone(), step).await {
            None => {}
            Some(Ok(_)) => report.undone.push(key),
            Some(Err(WaitError::Failed(failure))) => report.failed.push((key, failure)),
            Some(Err(WaitError::Cancelled | WaitError::Child { .. })) => unreachable!("a step, out of reach of cancels"),
        }
    }
}

/// Ready when the outcome of all that was given up is recorded. A rollback that is dropped before is woken by nothing, and nothing is waited
/// for on its account.
struct AllClear {
    shared: Rc<Shared>,
    id: RollbackId,
}

impl AllClear {
    fn new(shared: Rc<Shared>) -> Self {
        let id = shared.change(State::begin_waiting_until_clear);
        Self { shared, id }
    }
}

impl Future for AllClear {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        if self.shared.with(State::is_clear) {
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        let before = self.shared.change(|state| state.wait_until_clear(self.id, waker));
        drop(before);
        Poll::Pending
    }
}

impl Drop for AllClear {
    fn drop(&mut self) {
        let waker = self.shared.change(|state| state.stop_waiting_until_clear(self.id));
        drop(waker);
    }
}

/// A step that is being undone; put back unless that ends well.
struct Undoing {
    shared: Rc<Shared>,
    sequence: u64,
    is_undone: bool,
}

impl Undoing {
    /// What the step that undoes it brings; `None` if nobody said how.
    async fn begin(shared: Rc<Shared>, step: ToUndo) -> Option<Result<Bytes, WaitError>> {
        let mut this = Self {
            shared: shared.clone(),
            sequence: step.sequence,
            is_undone: false,
        };
        let undo = shared.undo_of(&step.key)?;
        let request = NewStep {
            function: undo.function,
            input: (undo.input)(step.value),
            options: undo.options,
            can_be_undone: false,
        };
        let seed = KeySeed::Explicit(path(&step.key, step.number).into());
        let result = Step::new(Ask::with_key(shared, seed, Box::new(request))).await;
        this.is_undone = result.is_ok();
        Some(result)
    }
}

impl Drop for Undoing {
    fn drop(&mut self) {
        self.shared.change(|state| state.put_back_done(self.sequence, self.is_undone));
    }
}

/// The key under which a step is undone: its own, so that it has attempts and an idempotency key of its own.
fn path(key: &StepKey, number: u32) -> String {
    match number {
        1 => format!("undo/{key}"),
        number => format!("undo/{key}~{number}"),
    }
}
