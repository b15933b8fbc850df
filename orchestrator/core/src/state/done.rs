//! Steps that can be undone: those whose value is recorded, and those that were given up and may yet turn out to have been done.
//!
//! ```text
//!   asked ──value──▶ done ──taken by a rollback──▶ undone
//!     └──given up──▶ unclear ──value──▶ done
//!                        └──any other outcome──▶ nothing to undo
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::task::Waker;

use bytes::Bytes;
use everstep_common::key::StepKey;

use super::State;
use crate::waits::WaitId;

/// What a rollback has to do, and what it waits for.
#[derive(Default)]
pub(super) struct Done {
    /// By the entry of the value: the order in which things were done.
    values: BTreeMap<u64, DoneStep>,
    /// Given up, and no outcome is recorded yet.
    unclear: BTreeSet<WaitId>,
    /// Rollbacks that wait for those to be clear, in the order in which they began to.
    waiting: BTreeMap<RollbackId, Waker>,
    /// How many ever have.
    waited: u64,
    /// How often each step was begun to be undone.
    tries: HashMap<StepKey, u32>,
}

/// One wait of a rollback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RollbackId(u64);

struct DoneStep {
    key: StepKey,
    value: Bytes,
    /// A rollback is at it.
    taken: bool,
}

/// A step to be undone.
pub(crate) struct ToUndo {
    /// The entry of its value.
    pub(crate) sequence: u64,
    pub(crate) key: StepKey,
    pub(crate) value: Bytes,
    /// Which try of undoing it this is, from 1.
    pub(crate) number: u32,
}

impl Done {
    /// A step that can be undone brought a value.
    pub(super) fn add(&mut self, sequence: u64, key: StepKey, value: Bytes) {
        let taken = false;
        self.values.insert(sequence, DoneStep { key, value, taken });
    }

    /// Nobody waits for the step any more, but it may be done all the same.
    pub(super) fn give_up(&mut self, id: WaitId) {
        self.unclear.insert(id);
    }

    /// Its outcome is recorded. Who is to be woken, now that all is clear.
    pub(super) fn recorded(&mut self, id: WaitId) -> Vec<Waker> {
        let was_last = self.unclear.remove(&id) && self.unclear.is_empty();
        if was_last { self.take_waiting() } else { Vec::new() }
    }

    /// Whether the outcome of every step that was given up is known.
    pub(super) fn is_clear(&self) -> bool {
        self.unclear.is_empty()
    }

    /// A rollback begins to wait for that.
    pub(super) fn begin_waiting(&mut self) -> RollbackId {
        self.waited += 1;
        RollbackId(self.waited)
    }

    /// Whom to wake for it. Hands back who was before.
    pub(super) fn wait(&mut self, rollback: RollbackId, waker: Waker) -> Option<Waker> {
        self.waiting.insert(rollback, waker)
    }

    /// It waits no more. Hands back whom it would have woken.
    pub(super) fn stop_waiting(&mut self, rollback: RollbackId) -> Option<Waker> {
        self.waiting.remove(&rollback)
    }

    /// Whether somebody waits for that: an entry will come.
    pub(super) fn is_waited_for(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// All that is the user's.
    pub(super) fn take_waiting(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.waiting).into_values().collect()
    }

    /// The newest step that no rollback is at, but for those in `except`.
    pub(super) fn take_newest(&mut self, except: &BTreeSet<u64>) -> Option<ToUndo> {
        let mut newest_first = self.values.iter_mut().rev();
        let (sequence, step) = newest_first.find(|(sequence, step)| !step.taken && !except.contains(sequence))?;
        step.taken = true;
        let number = self.tries.entry(step.key.clone()).or_default();
        *number += 1;
        Some(ToUndo {
            sequence: *sequence,
            key: step.key.clone(),
            value: step.value.clone(),
            number: *number,
        })
    }

    /// A rollback is no longer at it: it is undone, or is still to be.
    pub(super) fn put_back(&mut self, sequence: u64, is_undone: bool) {
        if is_undone {
            self.values.remove(&sequence);
        } else if let Some(step) = self.values.get_mut(&sequence) {
            step.taken = false;
        }
    }
}

impl State {
    /// Whether the outcome of everything is known that can be undone and was given up.
    pub(crate) fn is_clear(&self) -> bool {
        self.done.is_clear()
    }

    /// A rollback begins to wait for that.
    pub(crate) fn begin_waiting_until_clear(&mut self) -> RollbackId {
        self.done.begin_waiting()
    }

    /// Whom to wake for it. Hands back who was before, to be dropped where nothing is borrowed.
    pub(crate) fn wait_until_clear(&mut self, rollback: RollbackId, waker: Waker) -> Option<Waker> {
        self.done.wait(rollback, waker)
    }

    /// It waits no more. Hands back whom it would have woken.
    pub(crate) fn stop_waiting_until_clear(&mut self, rollback: RollbackId) -> Option<Waker> {
        self.done.stop_waiting(rollback)
    }

    /// The newest step that is done and can be undone, but for these.
    pub(crate) fn take_newest_done(&mut self, except: &BTreeSet<u64>) -> Option<ToUndo> {
        self.done.take_newest(except)
    }

    /// It is undone, or is still to be.
    pub(crate) fn put_back_done(&mut self, sequence: u64, is_undone: bool) {
        self.done.put_back(sequence, is_undone);
    }
}
