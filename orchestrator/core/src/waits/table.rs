//! Everything a run has asked for, in the order asked. Asked is for ever: nothing is removed.

use std::collections::{BTreeSet, HashMap};
use std::mem;
use std::ops::{Index, IndexMut};
use std::task::Waker;

use everstep_common::key::StepKey;
use jiff::Timestamp;

use super::{Address, Answer, Family, Letter, StepWait};
use crate::aftermath::Spare;
use crate::parked::WaitKind;

/// Which wait of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WaitId(usize);

/// One wait.
pub(crate) struct Wait {
    pub(crate) key: StepKey,
    /// The entry in whose application it was asked for.
    pub(crate) asked_at: u64,
    /// The time of that entry.
    pub(crate) since: Timestamp,
    pub(crate) status: Status,
    /// Its answer is recorded, granted or not: there is nothing left to do for it or to cancel.
    pub(crate) recorded: bool,
    /// It is in the list of those that may have something to be done.
    pub(crate) listed: bool,
    /// It was given up by the very entry that asked for it, so nothing was sent out for it.
    pub(crate) unsent: bool,
    /// How many attempts it had had when it was no longer open.
    pub(crate) attempts: u32,
    /// Who polls it.
    pub(crate) waker: Option<Waker>,
    pub(crate) family: Family,
}

impl Wait {
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.status, Status::Open)
    }

    /// The signal, update or event that was given to it and that the workflow has not taken: its address, its sequence and itself.
    pub(crate) fn held_letter(&self) -> Option<(&Address, u64, Letter)> {
        match (&self.family, &self.status) {
            (Family::Signal(signal), Status::Ready(answer)) => {
                let letter = Letter {
                    value: answer.as_ref().as_ref().ok()?.clone(),
                    update: signal.update().cloned(),
                };
                Some((signal.address(), signal.given()?, letter))
            }
            _ => None,
        }
    }

    /// Whether a cancel changes anything about it: it is open, or what it was given can go to another.
    pub(crate) fn is_revocable(&self) -> bool {
        self.is_open() || self.held_letter().is_some()
    }
}

/// Where a wait stands between the workflow and its journal.
pub(crate) enum Status {
    /// Asked for and not answered.
    Open,
    /// Answered, and not yet polled.
    Ready(Box<Answer>),
    /// Answered, and the workflow has it.
    Taken,
    /// Nobody waits for it any more; what was sent out is to be called back.
    Abandoned,
}

/// The waits of a run.
#[derive(Default)]
pub(crate) struct Waits {
    all: Vec<Wait>,
    by_key: HashMap<StepKey, usize>,
    changed: Vec<WaitId>,
    open: usize,
    open_steps: usize,
    open_children: usize,
    /// The open ones that somebody outside is to answer.
    outside: BTreeSet<WaitId>,
    /// How often those changed.
    outside_changes: u64,
}

impl Waits {
    /// Adds a wait that is open, or settled from the start. The key must not be asked for already.
    pub(crate) fn add(&mut self, key: StepKey, asked_at: u64, since: Timestamp, status: Status, family: Family) -> WaitId {
        let id = WaitId(self.all.len());
        if let Status::Open = status {
            self.count_open(id, family.kind(), 1);
        }
        self.by_key.insert(key.clone(), id.0);
        self.all.push(Wait {
            key,
            asked_at,
            since,
            status,
            recorded: false,
            listed: false,
            unsent: false,
            attempts: 0,
            waker: None,
            family,
        });
        id
    }

    pub(crate) fn find(&self, key: &StepKey) -> Option<WaitId> {
        self.by_key.get(key).map(|at| WaitId(*at))
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// How many are neither answered nor dropped.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// How many of those are steps.
    pub(crate) fn open_steps(&self) -> usize {
        self.open_steps
    }

    /// How many are children.
    pub(crate) fn open_children(&self) -> usize {
        self.open_children
    }

    /// The open ones that somebody outside is to answer, in the order asked.
    pub(crate) fn outside(&self) -> impl Iterator<Item = &Wait> {
        self.outside.iter().map(|id| &self[*id])
    }

    /// How often those changed.
    pub(crate) fn outside_changes(&self) -> u64 {
        self.outside_changes
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Wait> {
        self.all.iter()
    }

    /// Changes each open step.
    pub(crate) fn each_open_step(&mut self, mut change: impl FnMut(&mut StepWait)) {
        let open = self.all.iter_mut().filter(|wait| wait.is_open());
        open.for_each(|wait| {
            if let Family::Step(step) = &mut wait.family {
                change(step);
            }
        });
    }

    /// An open wait gets another status; its waker is handed out, to be woken or dropped where nothing is borrowed.
    pub(crate) fn settle(&mut self, id: WaitId, status: Status) -> Option<Waker> {
        let wait = &mut self.all[id.0];
        debug_assert!(matches!(wait.status, Status::Open), "only open waits are settled");
        wait.status = status;
        wait.attempts = wait.family.attempt();
        let (waker, kind) = (wait.waker.take(), wait.family.kind());
        self.count_open(id, kind, -1);
        waker
    }

    /// There may be something to be done for it.
    pub(crate) fn list(&mut self, id: WaitId) {
        let wait = &mut self.all[id.0];
        if !mem::replace(&mut wait.listed, true) {
            self.changed.push(id);
        }
    }

    /// Those for which something may have to be done, in the order in which that came about.
    pub(crate) fn take_changed(&mut self) -> Vec<WaitId> {
        let changed = mem::take(&mut self.changed);
        for id in &changed {
            self.all[id.0].listed = false;
        }
        changed
    }

    /// All that is the user's: wakers, and what was not handed to the shell, to be dropped where nothing is borrowed.
    pub(crate) fn take_foreign(&mut self) -> (Vec<Waker>, Vec<Spare>) {
        let wakers = self.all.iter_mut().filter_map(|wait| wait.waker.take()).collect();
        let spares = self.all.iter_mut().filter_map(|wait| wait.family.take_spare()).collect();
        (wakers, spares)
    }

    fn count_open(&mut self, id: WaitId, kind: WaitKind, change: isize) {
        self.open = self.open.strict_add_signed(change);
        match kind {
            WaitKind::Step => self.open_steps = self.open_steps.strict_add_signed(change),
            WaitKind::Child | WaitKind::Detached => self.open_children = self.open_children.strict_add_signed(change),
            WaitKind::Signal | WaitKind::Update | WaitKind::Awaited | WaitKind::Question => {
                self.outside_changes += 1;
                if change > 0 {
                    self.outside.insert(id);
                } else {
                    self.outside.remove(&id);
                }
            }
            WaitKind::Timer | WaitKind::Closure | WaitKind::Session | WaitKind::Event | WaitKind::Marker | WaitKind::Reply => {}
        }
    }
}

impl Index<WaitId> for Waits {
    type Output = Wait;

    fn index(&self, id: WaitId) -> &Wait {
        &self.all[id.0]
    }
}

impl IndexMut<WaitId> for Waits {
    fn index_mut(&mut self, id: WaitId) -> &mut Wait {
        &mut self.all[id.0]
    }
}
