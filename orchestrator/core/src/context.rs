//! What a workflow sees of its run, untyped.

use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use everstep_common::event::EventName;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::ids::{FunctionName, RunId, WorkflowName};
use everstep_common::journal::Start;
use everstep_common::question::Question;
use everstep_common::subscription::Subscription;
use everstep_common::task::StepOptions;
use jiff::Timestamp;
use uuid::Uuid;

use crate::board::Full;
use crate::chance;
use crate::combine;
use crate::rollback;
use crate::scope::{EMIT_PREFIX, EVENT_PREFIX, SIGNAL_PREFIX};
use crate::shared::Shared;
use crate::state::State;
use crate::waits::{Address, Ask, LetterSort, NewEmit, NewLocal, NewQuestion, NewSession, NewSignal, NewStep, NewTimer};
use crate::within::{Domain, Scoped};
use crate::{
    Asked, Block, Child, Closure, DeadlineError, Due, Emit, Local, NextUpdate, RolledBack, Session, SessionRequest, Shield, Signal,
    Step, Timer,
};

/// A workflow's handle on its run. A cheap clone; it cannot leave the run's thread.
///
/// Keys are numbered when a future is made, in the scope that is current then; the request goes out at its first poll.
///
/// ```compile_fail,E0277
/// fn spawn_away<T: Send>(_: T) {}
/// fn workflow(ctx: everstep_core::Context) {
///     spawn_away(ctx);
/// }
/// ```
#[derive(Clone)]
pub struct Context(Rc<Shared>);

impl Context {
    pub(crate) fn new(shared: Rc<Shared>) -> Self {
        Self(shared)
    }

    /// The run.
    pub fn run_id(&self) -> &RunId {
        &self.0.run
    }

    /// How the run was started: workflow, session, tags, trace parent and so on.
    pub fn start(&self) -> &Start {
        self.0.start.get().expect("contexts are made by the run's start")
    }

    /// The time of the entry being applied; never goes back.
    pub fn now(&self) -> Timestamp {
        self.0.with(State::now)
    }

    /// A number that looks random and is the same on every replay.
    pub fn random(&self) -> u64 {
        chance::random(&self.0.run, &self.0.scope())
    }

    /// A UUID (version 4) that is the same on every replay.
    pub fn uuid(&self) -> Uuid {
        chance::uuid(&self.0.run, &self.0.scope())
    }

    /// Whether the entry being applied may have been applied by an owner before. For logs only.
    pub fn is_replaying(&self) -> bool {
        self.0.with(State::is_replaying)
    }

    /// Whether the run goes by the new side of a change of its code: true if it first meets the patch at the head of its journal, false if
    /// it was further already. Recorded once, before anything that follows from it is done.
    pub fn patched(&self, id: &str) -> bool {
        self.0.patched(id)
    }

    /// A step: `function` is done by a worker with `input`.
    ///
    /// An input that could not be encoded, or is over the limit, is recorded as the step's outcome.
    pub fn step(&self, name: &str, function: FunctionName, input: Result<Bytes, Failure>, options: StepOptions) -> Step {
        Step::new(Ask::new(
            self.0.clone(),
            name,
            Box::new(NewStep {
                function,
                input,
                options,
                can_be_undone: false,
            }),
        ))
    }

    /// A closure whose result is recorded.
    pub fn local(&self, name: &str, closure: Closure) -> Local {
        Local(Ask::new(self.0.clone(), name, NewLocal { closure, timeout: None }))
    }

    /// A durable sleep.
    pub fn timer(&self, name: &str, due: Due) -> Timer {
        Timer(Ask::new(self.0.clone(), name, NewTimer { due }))
    }

    /// A run of another workflow, in this one's session and with its tags unless its [`ChildSpec`](crate::ChildSpec) is changed.
    ///
    /// It fails, and is not started, if the input could not be encoded or is over the limit.
    pub fn child(&self, workflow: WorkflowName, version: Option<u32>, input: Result<Bytes, Failure>) -> Child {
        Child::new(self.0.clone(), workflow, version, input)
    }

    /// The next signal of that name that no other wait takes, whether it has come or is yet to come.
    pub fn signal(&self, name: &str) -> Signal {
        let request = NewSignal {
            address: Address::new(LetterSort::Signal, name),
            what: None,
            deadline: None,
        };
        Signal(Ask::new(self.0.clone(), &format!("{SIGNAL_PREFIX}{name}"), request))
    }

    /// The next event of the subscription that no other wait takes, whether it was stored since the run began or is yet to come. What it
    /// brings is an encoded [`everstep_common::event::Event`].
    pub fn event(&self, what: Subscription) -> Signal {
        let name = format!("{EVENT_PREFIX}{}", what.event);
        let refused = what.matching.as_ref().and_then(|matching| matching.check().err());
        let request = NewSignal {
            address: Address::new(LetterSort::Event, what.to_string()),
            what: Some(Arc::new(what)),
            deadline: None,
        };
        let mut ask = Ask::new(self.0.clone(), &name, request);
        if let Some(reason) = refused {
            ask.refuse(Failure::new(FailureKind::Invalid, reason));
        }
        Signal(ask)
    }

    /// The next update of that name that no other wait takes, whether it has come or is yet to come. Whoever takes it answers it.
    pub fn update(&self, name: &str) -> NextUpdate {
        NextUpdate::new(self.0.clone(), name)
    }

    /// A question to people, by whose name they answer it. Its deadline is set by [`Asked::deadline`].
    pub fn question(&self, name: &str, question: Question) -> Asked {
        let request = NewQuestion {
            question: Box::new(question),
            deadline: None,
        };
        Asked(Ask::new(self.0.clone(), name, request))
    }

    /// An operation on a value of the session that the run was started in; it fails if there is none.
    pub fn session(&self, request: SessionRequest) -> Session {
        let name = format!("session.{request}");
        let (asked, refused) = NewSession::of(self.start(), request);
        let mut ask = Ask::new(self.0.clone(), &name, asked);
        if let Some(failure) = refused {
            ask.refuse(failure);
        }
        Session(ask)
    }

    /// An event that is published once.
    pub fn emit(&self, event: EventName, data: Bytes) -> Emit {
        let name = format!("{EMIT_PREFIX}{event}");
        Emit(Ask::new(self.0.clone(), &name, NewEmit { event, data }))
    }

    /// A value of the run's own state.
    pub fn state(&self, key: &str) -> Option<Bytes> {
        self.0.board.borrow().get(key)
    }

    /// Sets or removes a value of the run's own state; what it was before.
    ///
    /// # Errors
    ///
    /// [`Full`] if all values together would be too large; nothing is changed then.
    pub fn set_state(&self, key: &str, value: Option<Bytes>) -> Result<Option<Bytes>, Full> {
        self.0.board.borrow_mut().set(key, value)
    }

    /// The names of the values of the run's own state, in order.
    pub fn state_keys(&self) -> Vec<String> {
        self.0.board.borrow().keys()
    }

    /// Shows `view` to whoever asks how the run stands, in place of what it showed before.
    ///
    /// # Errors
    ///
    /// [`Full`] if it is too large; the one before stands then.
    pub fn publish_view(&self, view: Bytes) -> Result<(), Full> {
        self.0.board.borrow_mut().publish(view)
    }

    /// `future` in a scope of its own: keys made while it is polled begin with the scope's path, numbered there.
    pub fn scope<F: Future>(&self, name: &str, future: F) -> Scoped<F> {
        Scoped::new(self.0.clone(), name, future)
    }

    /// A place for branches that run at once: a scope that takes the next number of `name`, in which each branch has one of its own.
    pub fn block(&self, name: &str) -> Block {
        Block::new(self.0.clone(), name)
    }

    /// `future` in a scope of its own, for as long as `duration` from the first poll on. When its time is up it is cancelled and awaited.
    ///
    /// The timer's key is the scope itself: `timeout~2`, beside what is in it, such as `timeout~2/charge`.
    pub fn timeout<F: Future>(
        &self,
        duration: Duration,
        future: F,
    ) -> impl Future<Output = Result<F::Output, DeadlineError>> + use<F> {
        let scope = self.0.scope().child("timeout");
        combine::within_time(self.0.clone(), scope, duration, future)
    }

    /// `future` out of reach of every cancel from outside, the run's own included.
    pub fn shield<F: Future>(&self, future: F) -> Shield<F> {
        Shield::new(Domain::shield(self.0.clone()), future)
    }

    /// Undoes what steps have done that say how, newest first, each by a step of its own; out of reach of every cancel.
    pub fn rollback(&self) -> impl Future<Output = RolledBack> + use<> {
        self.shield(rollback::roll_back(self.0.clone()))
    }

    /// Whether what is asked for here brings that it is cancelled: the run is, or the block of branches that this is in.
    pub fn is_cancelled(&self) -> bool {
        self.0.with(|state| state.is_cancelled(self.0.domain()))
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Context({})", self.0.run)
    }
}
