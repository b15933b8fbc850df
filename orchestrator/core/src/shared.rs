//! A run as its workflow's futures see it: the state, and the discipline of borrowing it.
//!
//! *Invariant:* while the state is borrowed no user code runs. No waker is cloned, woken or dropped, and no closure or future of the
//! user's dropped, since any of these may use the context and so borrow the state again.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::thread;

use everstep_common::ids::RunId;
use everstep_common::journal::{LocalKind, Start};
use everstep_common::key::StepKey;

use crate::board::Board;
use crate::event;
use crate::scope::Scope;
use crate::state::{DomainId, Refusal, State};
use crate::waits::{Answer, Family, WaitId};
use crate::{Limits, Undo};

/// What a run and the contexts of its workflow share.
pub(crate) struct Shared {
    pub(crate) run: RunId,
    pub(crate) start: OnceCell<Box<Start>>,
    /// The scope in which new keys are numbered.
    scope: RefCell<Rc<Scope>>,
    /// The domain that new waits belong to.
    domain: Cell<DomainId>,
    state: RefCell<State>,
    /// How steps are undone, by key. The functions in it are the user's.
    undos: RefCell<HashMap<StepKey, Undo>>,
    /// What the workflow keeps and shows; plain data, borrowed for a moment only.
    pub(crate) board: RefCell<Board>,
}

impl Shared {
    pub(crate) fn new(run: RunId, limits: Limits, known_until: u64) -> Rc<Self> {
        let state = RefCell::new(State::new(run.clone(), limits, known_until));
        Rc::new(Self {
            run,
            start: OnceCell::new(),
            scope: RefCell::new(Scope::root()),
            domain: Cell::new(DomainId::RUN),
            state,
            undos: RefCell::default(),
            board: RefCell::default(),
        })
    }

    pub(crate) fn scope(&self) -> Rc<Scope> {
        self.scope.borrow().clone()
    }

    pub(crate) fn swap_scope(&self, scope: Rc<Scope>) -> Rc<Scope> {
        self.scope.replace(scope)
    }

    pub(crate) fn domain(&self) -> DomainId {
        self.domain.get()
    }

    pub(crate) fn swap_domain(&self, domain: DomainId) -> DomainId {
        self.domain.replace(domain)
    }

    /// Reads the state. `read` is the core's own and runs no user code.
    pub(crate) fn with<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.state.borrow())
    }

    /// Changes the state. `change` is the core's own and runs no user code; what is the user's it hands out.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.borrow_mut())
    }

    /// On which side of a change of its code the run is.
    pub(crate) fn patched(&self, id: &str) -> bool {
        let value = self.change(|state| state.meet(event::patch_key(id), LocalKind::Patch, |goes_on| event::side(!goes_on)));
        value == event::side(true)
    }

    /// The workflow asks. A closure that is refused is dropped after the borrow.
    pub(crate) fn ask(&self, key: StepKey, family: Family) -> Result<WaitId, Refusal> {
        if let Some(refusal) = self.change(|state| state.refuse(&key, self.domain())) {
            return Err(refusal);
        }
        Ok(self.change(|state| state.open(key, family, self.domain())))
    }

    /// How a step is undone. A key is asked for once, so what was said first counts.
    pub(crate) fn set_undo(&self, key: StepKey, undo: Undo) {
        let spare = match self.undos.borrow_mut().entry(key) {
            Entry::Vacant(vacant) => {
                vacant.insert(undo);
                None
            }
            Entry::Occupied(_) => Some(undo),
        };
        drop(spare);
    }

    /// How a step is undone, if anybody said so.
    pub(crate) fn undo_of(&self, key: &StepKey) -> Option<Undo> {
        self.undos.borrow().get(key).cloned()
    }

    /// The answer if it is granted; otherwise the task of `cx` is woken when it is.
    pub(crate) fn poll_wait(&self, id: WaitId, cx: &Context<'_>) -> Poll<Answer> {
        let looked = self.change(|state| match state.take_answer(id) {
            Ok(answer) => Some(Poll::Ready(answer)),
            Err(wait) => wait
                .waker
                .as_ref()
                .is_some_and(|waker| waker.will_wake(cx.waker()))
                .then_some(Poll::Pending),
        });
        if let Some(poll) = looked {
            return poll;
        }
        let waker = cx.waker().clone();
        let before = self.change(|state| state.set_waker(id, waker));
        drop(before);
        Poll::Pending
    }

    /// The future of a wait is dropped. Unwinding says nothing about what the workflow wants, nor does an eviction.
    pub(crate) fn abandon(&self, id: WaitId) {
        if thread::panicking() {
            return;
        }
        let aftermath = self.change(|state| state.abandon(id));
        drop(aftermath);
    }
}
