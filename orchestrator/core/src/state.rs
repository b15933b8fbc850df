//! What a run has asked for and what is recorded, shared by the run and the contexts of its workflow.
//!
//! *Invariant:* while the state is borrowed no user code runs: no waker is cloned, woken or dropped and no closure dropped.
//! Such things are handed out as an [`Aftermath`] and dealt with once the borrow is over.

mod kept;

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::thread;

use everstep_common::failure::{Failure, FailureKind};
use everstep_common::ids::RunId;
use everstep_common::journal::Start;
use everstep_common::key::StepKey;
use jiff::Timestamp;

use crate::aftermath::Aftermath;
use crate::event::Record;
use crate::parked::{AskedKey, Mismatch, Parked, TooMany};
use crate::scope::Scope;
use crate::waits::{Answer, Family, Moment, Received, Status, StepWait, Wait, WaitId, Waits};
use crate::{Command, Limits, WaitError};

use kept::Kept;

/// A run as its workflow's futures see it.
pub(crate) struct Shared {
    pub(crate) run: RunId,
    pub(crate) start: OnceCell<Box<Start>>,
    /// The scope in which new keys are numbered.
    scope: RefCell<Rc<Scope>>,
    state: RefCell<State>,
}

/// What an ask comes to.
pub(crate) enum Asked {
    /// It is open, or its answer is recorded.
    Waiting(WaitId),
    /// It brings an error at once.
    Refused(WaitError),
    /// It brings nothing any more: the run is parked, evicted or over.
    Never,
}

struct State {
    run: RunId,
    limits: Limits,
    /// The time of the newest entry; never goes back.
    time: Timestamp,
    /// The entry being applied.
    sequence: u64,
    /// The last entry that some owner may have acted on before.
    known_until: u64,
    phase: Phase,
    waits: Waits,
    kept: Kept,
    /// Recorded answers that were there before they were asked for, by sequence; granted one at a time.
    grants: BTreeMap<u64, (WaitId, Answer)>,
    /// Found while the workflow was polled; the first one counts.
    trouble: Option<Parked>,
    /// Of all that was asked for and given up, in order and by entry.
    fingerprint: DefaultHasher,
}

enum Phase {
    Running,
    /// Asked to cancel: every wait brings that.
    Cancelling,
    /// Nothing is asked for or cancelled any more.
    Closed,
}

impl Shared {
    pub(crate) fn new(run: RunId, limits: Limits, known_until: u64) -> Rc<Self> {
        let state = State {
            run: run.clone(),
            limits,
            time: Timestamp::MIN,
            sequence: 0,
            known_until,
            phase: Phase::Running,
            waits: Waits::default(),
            kept: Kept::default(),
            grants: BTreeMap::new(),
            trouble: None,
            fingerprint: DefaultHasher::new(),
        };
        Rc::new(Self {
            run,
            start: OnceCell::new(),
            scope: RefCell::new(Scope::root()),
            state: RefCell::new(state),
        })
    }

    pub(crate) fn scope(&self) -> Rc<Scope> {
        self.scope.borrow().clone()
    }

    pub(crate) fn swap_scope(&self, scope: Rc<Scope>) -> Rc<Scope> {
        self.scope.replace(scope)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.state.borrow().time
    }

    pub(crate) fn is_replaying(&self) -> bool {
        let state = self.state.borrow();
        state.sequence <= state.known_until
    }

    pub(crate) fn key_of(&self, id: WaitId) -> StepKey {
        self.state.borrow().waits[id].key.clone()
    }

    /// The next entry is being applied.
    pub(crate) fn turn(&self, sequence: u64, time: Timestamp) {
        let mut state = self.state.borrow_mut();
        state.sequence = sequence;
        state.time = state.time.max(time);
    }

    /// The workflow asks. `family` may hold a closure, which is dropped after the borrow if it is refused.
    pub(crate) fn ask(&self, key: StepKey, family: Family) -> Asked {
        let mut state = self.state.borrow_mut();
        if let Some(refused) = state.refuse(&key) {
            drop(state);
            drop(family);
            return refused;
        }
        Asked::Waiting(state.open(key, family))
    }

    /// The answer if it is granted; otherwise the task of `cx` is woken when it is.
    pub(crate) fn poll_wait(&self, id: WaitId, cx: &Context<'_>) -> Poll<Answer> {
        {
            let wait = &mut self.state.borrow_mut().waits[id];
            if let Status::Ready(_) = wait.status {
                let Status::Ready(answer) = mem::replace(&mut wait.status, Status::Taken) else {
                    unreachable!("matched above")
                };
                return Poll::Ready(answer);
            }
            if wait.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                return Poll::Pending;
            }
        }
        let waker = cx.waker().clone();
        let before = self.state.borrow_mut().waits[id].waker.replace(waker);
        drop(before);
        Poll::Pending
    }

    /// The future of a wait is dropped. Unwinding says nothing about what the workflow wants, nor does an eviction.
    pub(crate) fn abandon(&self, id: WaitId) {
        if thread::panicking() {
            return;
        }
        let aftermath = self.state.borrow_mut().abandon(id);
        drop(aftermath);
    }

    /// Something is recorded under a key.
    pub(crate) fn record(&self, key: StepKey, record: Record) -> Aftermath {
        self.state.borrow_mut().record(key, record)
    }

    /// The run is asked to cancel: every open wait brings that, and every later one.
    pub(crate) fn cancel(&self) -> Aftermath {
        self.state.borrow_mut().cancel()
    }

    /// Whatever is recorded and was not asked for so far need not be asked for.
    pub(crate) fn accept_unasked(&self) {
        self.state.borrow_mut().kept.accept();
    }

    /// The next recorded answer that was asked for late, lowest sequence first.
    pub(crate) fn grant_next(&self) -> Option<Aftermath> {
        self.state.borrow_mut().grant_next()
    }

    /// What the last poll ran into.
    pub(crate) fn trouble(&self) -> Option<Parked> {
        self.state.borrow().trouble.clone()
    }

    /// From now on nothing is asked for or cancelled. Hands out all that is the user's.
    pub(crate) fn close(&self) -> Aftermath {
        let mut state = self.state.borrow_mut();
        state.phase = Phase::Closed;
        let (wakers, closures) = state.waits.take_foreign();
        Aftermath { wakers, closures }
    }

    /// What stands recorded and was never asked for, or goes over a limit.
    pub(crate) fn objection(&self) -> Option<Parked> {
        let state = self.state.borrow();
        state.unasked().or_else(|| state.too_many_open())
    }

    pub(crate) fn fingerprint(&self) -> u64 {
        self.state.borrow().fingerprint.finish()
    }

    pub(crate) fn has_open(&self) -> bool {
        self.state.borrow().waits.open() > 0
    }

    /// What is to be done and has not been said yet.
    pub(crate) fn commands(&self) -> Vec<Command> {
        self.state.borrow_mut().commands()
    }

    /// Changes the step under `key`, if it is open. `change` says whether there may be something to be done.
    pub(crate) fn change_step(&self, key: &StepKey, change: impl FnOnce(&mut StepWait) -> bool) {
        let mut state = self.state.borrow_mut();
        let Some(id) = state.waits.find(key) else { return };
        let wait = &mut state.waits[id];
        let Family::Step(step) = &mut wait.family else { return };
        if matches!(wait.status, Status::Open) && change(step) {
            state.waits.list(id);
        }
    }

    /// What each open wait is made of, in the order asked.
    pub(crate) fn open<T>(&self, describe: impl Fn(&Wait) -> T) -> Vec<T> {
        self.state
            .borrow()
            .waits
            .iter()
            .filter(|wait| wait.is_open())
            .map(describe)
            .collect()
    }
}

impl State {
    fn refuse(&mut self, key: &StepKey) -> Option<Asked> {
        if let Phase::Closed = self.phase {
            return Some(Asked::Never);
        }
        if self.waits.find(key).is_some() {
            let message = format!("key {key} is asked for twice in this run; give each step, timer and closure a key of its own");
            return Some(Asked::Refused(WaitError::Failed(Failure::new(FailureKind::Invalid, message))));
        }
        if let Phase::Cancelling = self.phase {
            self.kept.take(key);
            return Some(Asked::Refused(WaitError::Cancelled));
        }
        if self.waits.len() >= self.limits.entries {
            self.trouble(Parked::TooManySteps(TooMany::Keys {
                limit: self.limits.entries,
            }));
            return Some(Asked::Never);
        }
        None
    }

    fn open(&mut self, key: StepKey, family: Family) -> WaitId {
        (self.sequence, &key, family.kind(), family.function(), family.digest()).hash(&mut self.fingerprint);
        let records = self.kept.take(&key);
        let id = self.waits.add(key, self.sequence, self.time, Status::Open, family);
        self.waits.list(id);
        for kept in records {
            match self.receive(id, kept.record, kept.sequence, kept.time) {
                Some(answer) => self.grants.insert(kept.sequence, (id, answer)),
                None => continue,
            };
        }
        id
    }

    fn record(&mut self, key: StepKey, record: Record) -> Aftermath {
        let (sequence, time) = (self.sequence, self.time);
        let Some(id) = self.waits.find(&key) else {
            self.kept.keep(key, record, sequence, time);
            return Aftermath::default();
        };
        match self.receive(id, record, sequence, time) {
            Some(answer) => self.answer(id, answer),
            None => Aftermath::default(),
        }
    }

    /// Compares a record with what was asked. Its answer, if it is one, is handed back to be granted.
    fn receive(&mut self, id: WaitId, record: Record, sequence: u64, time: Timestamp) -> Option<Answer> {
        let moment = Moment { run: &self.run, time };
        let wait = &mut self.waits[id];
        match wait.family.receive(&wait.key, record, &moment) {
            Ok(Received::Nothing) => None,
            Ok(Received::Changed) => {
                self.waits.list(id);
                None
            }
            Ok(Received::Answer(result)) => {
                wait.recorded = true;
                Some(result.map_err(WaitError::Failed))
            }
            Err(difference) => {
                let mismatch = difference.at(wait.key.clone(), sequence);
                self.trouble(Parked::Nondeterministic(mismatch));
                None
            }
        }
    }

    fn answer(&mut self, id: WaitId, answer: Answer) -> Aftermath {
        if !self.waits[id].is_open() {
            return Aftermath::default();
        }
        let wakers = self.waits.settle(id, Status::Ready(answer)).into_iter().collect();
        let closures = self.waits[id].family.close().into_iter().collect();
        Aftermath { wakers, closures }
    }

    fn grant_next(&mut self) -> Option<Aftermath> {
        let (_, (id, answer)) = self.grants.pop_first()?;
        Some(self.answer(id, answer))
    }

    fn abandon(&mut self, id: WaitId) -> Aftermath {
        if matches!(self.phase, Phase::Closed) || !self.waits[id].is_open() {
            return Aftermath::default();
        }
        // What was asked for by this very entry no owner can have acted on: decisions are made between entries.
        let sent = self.waits[id].asked_at < self.sequence;
        let wakers = self.waits.settle(id, Status::Abandoned { sent }).into_iter().collect();
        let Wait { key, family, .. } = &mut self.waits[id];
        (self.sequence, &*key, "given up").hash(&mut self.fingerprint);
        let closures = if sent { family.take_closure() } else { family.close() };
        self.waits.list(id);
        Aftermath {
            wakers,
            closures: closures.into_iter().collect(),
        }
    }

    fn cancel(&mut self) -> Aftermath {
        let mut aftermath = Aftermath::default();
        if !matches!(self.phase, Phase::Running) {
            return aftermath;
        }
        self.phase = Phase::Cancelling;
        for id in self.waits.ids() {
            if !self.waits[id].is_open() {
                continue;
            }
            aftermath
                .wakers
                .extend(self.waits.settle(id, Status::Ready(Err(WaitError::Cancelled))));
            aftermath.closures.extend(self.waits[id].family.take_closure());
            self.waits.list(id);
        }
        aftermath
    }

    fn trouble(&mut self, parked: Parked) {
        self.trouble.get_or_insert(parked);
    }

    fn unasked(&self) -> Option<Parked> {
        let recorded = self.kept.unasked();
        if recorded.is_empty() {
            return None;
        }
        let unanswered = self.waits.iter().filter(|wait| !wait.recorded);
        let asked = unanswered
            .map(|wait| AskedKey {
                key: wait.key.clone(),
                kind: wait.family.kind(),
                function: wait.family.function().cloned(),
            })
            .collect();
        Some(Parked::Nondeterministic(Mismatch::Unasked { recorded, asked }))
    }

    fn too_many_open(&self) -> Option<Parked> {
        let (open, limit) = (self.waits.open_steps(), self.limits.steps_open);
        (open > limit).then_some(Parked::TooManySteps(TooMany::Open { open, limit }))
    }

    fn commands(&mut self) -> Vec<Command> {
        let mut commands = Vec::new();
        for id in self.waits.take_changed() {
            let wait = &mut self.waits[id];
            match wait.status {
                _ if wait.recorded => {}
                Status::Open => wait
                    .family
                    .commands(&wait.key, wait.asked_at > self.known_until, &mut commands),
                Status::Abandoned { sent: false } => {}
                Status::Abandoned { sent: true } | Status::Ready(_) | Status::Taken => {
                    commands.extend(wait.family.cancel(&wait.key))
                }
            }
        }
        commands
    }
}
