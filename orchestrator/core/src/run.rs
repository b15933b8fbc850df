//! One run in memory: applies entries, polls, decides.
//!
//! ```text
//!   new ──start──▶ Running ──future returns──▶ Returned ──`end`──▶ Ended
//!     └─▶ Scheduled ─▲ └──panic, livelock, mismatch──▶ Parked
//! ```
//!
//! Between two calls of [`Run::apply`] the future is quiescent, and exactly one entry lies between two such moments.

mod lifespan;

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};

use bytes::Bytes;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::ids::{FunctionName, RunId, WorkflowName};
use everstep_common::journal::{Inbound, InboundKind, JournalEntry, LocalKind, RunTimer};
use everstep_common::key::StepKey;
use everstep_common::limits::PAYLOAD_BYTES_MAX;
use everstep_common::payload::TooLarge;
use everstep_common::subscription::Subscription;
use everstep_common::view::RunView;
use futures::future::LocalBoxFuture;
use jiff::Timestamp;

use self::lifespan::{Lifespan, Word};
use crate::aftermath::Aftermath;
use crate::event::{self, Record};
use crate::guard::guarded;
use crate::parked::{Parked, TooMany};
use crate::root::Root;
use crate::shared::Shared;
use crate::state::{DomainId, State};
use crate::waits::Wait;
use crate::{Command, Context, Decision, Definition, Event, EventBody, Limits, RunEnd, WorkflowFailure};

/// What is said of a run that returns that it is cancelled, and is not.
const CANCELLED_BY_ITSELF: &str = "the workflow returned that it was cancelled, and only a part of it was";

type WorkflowFuture = LocalBoxFuture<'static, Result<Bytes, WorkflowFailure>>;

/// One execution of a workflow in memory.
///
/// Dropping it is an eviction: nothing is cancelled, and a new one that is given the same entries stands where it stood.
/// It stays on the thread that made it, and must be driven outside every tokio context, since tokio's cooperative budget would
/// leak into the workflow.
pub struct Run {
    definition: Definition,
    limits: Limits,
    shared: Rc<Shared>,
    root: Arc<Root>,
    waker: Waker,
    stage: Stage,
    /// Why it was asked to cancel, once it was.
    cancelled: Option<String>,
    /// When it begins, and by when it must be over.
    lifespan: Lifespan,
    applied: u64,
    entries: usize,
    /// From when on events count, once it is created.
    listens_from: Timestamp,
}

enum Stage {
    /// Its start is not applied.
    New,
    /// It begins later, with this input.
    Scheduled(Bytes),
    Running(WorkflowFuture),
    /// Its code is done; `told` once the shell has the end.
    Returned {
        outcome: RunEnd,
        told: bool,
    },
    /// Not polled again; a new run in memory may be.
    Parked(Parked),
    /// Its end is in the journal.
    Ended,
}

/// Something a run waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenWait {
    /// Its key.
    pub key: StepKey,
    /// The time of the entry that made the workflow ask for it.
    pub since: Timestamp,
    /// What it is.
    pub kind: OpenKind,
}

/// What a run waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenKind {
    /// A step.
    Step {
        /// The function.
        function: FunctionName,
        /// The attempt being made, or to be made at `retry_at`.
        attempt: u32,
        /// When the next attempt is due, between two attempts.
        retry_at: Option<Timestamp>,
        /// When the step must be over.
        deadline: Option<Timestamp>,
    },
    /// A timer.
    Timer {
        /// When it is due.
        due: Timestamp,
    },
    /// A closure.
    Closure,
    /// A signal.
    Signal {
        /// Its name.
        name: String,
        /// When it is no longer waited for.
        deadline: Option<Timestamp>,
    },
    /// An event that comes from elsewhere.
    Awaited {
        /// Which.
        what: Arc<Subscription>,
        /// When it is no longer waited for.
        deadline: Option<Timestamp>,
    },
    /// An update.
    Update {
        /// Its name.
        name: String,
        /// When it is no longer waited for.
        deadline: Option<Timestamp>,
    },
    /// A question to people.
    Question {
        /// What they read.
        text: String,
        /// Whether it is an approval.
        is_approval: bool,
        /// When it is no longer asked.
        deadline: Option<Timestamp>,
    },
    /// An operation on a value of the session.
    Session,
    /// An event that it emits.
    Event,
    /// A child.
    Child {
        /// Its workflow.
        workflow: WorkflowName,
        /// Which run it is, as far as that is recorded.
        run: Option<RunId>,
        /// Whether only its start is waited for.
        detached: bool,
        /// Whether it was asked to end.
        cancelled: bool,
    },
}

impl OpenWait {
    fn of(wait: &Wait) -> Self {
        Self {
            key: wait.key.clone(),
            since: wait.since,
            kind: wait.family.open_kind(),
        }
    }
}

impl Run {
    /// A run before its first entry.
    ///
    /// Entries up to sequence `known_until` may have been acted on by an owner before: while they are applied the run counts as
    /// replaying, and tasks that follow from them are not fresh. 0 for a run that begins here and now.
    pub fn new(run: RunId, definition: &Definition, limits: Limits, known_until: u64) -> Self {
        let root = Root::new();
        Self {
            definition: definition.clone(),
            limits,
            shared: Shared::new(run, limits, known_until),
            waker: root.waker(),
            root,
            stage: Stage::New,
            cancelled: None,
            lifespan: Lifespan::default(),
            applied: 0,
            entries: 0,
            listens_from: Timestamp::MIN,
        }
    }

    /// Reads a marker ahead: an entry of the journal that will be applied later. All of them are to be foreseen before the start is applied.
    pub fn foresee(&mut self, entry: &JournalEntry) {
        if let Some((key, kind, value)) = event::marker(entry) {
            self.shared.change(|state| state.foresee(key, kind, value));
        }
    }

    /// Pins the run, which was started without a version, to that of its code, unless the journal says that this is done.
    pub fn pin_version(&mut self) {
        let version = self.definition.version;
        self.shared.change(|state| {
            state.meet(event::version_key(), LocalKind::Version, |_| event::version(version));
        });
    }

    /// Whether only markers may be recorded for now: what else follows waits for them.
    pub fn is_holding(&self) -> bool {
        !self.is_terminated() && self.shared.with(State::is_holding)
    }

    /// Applies the next entry and polls the workflow to quiescence.
    ///
    /// Entries come in stream order; one at or below [`Run::applied`] is applied already and is ignored. The first is the start.
    pub fn apply(&mut self, event: Event) {
        if let Some(aftermath) = self.note(event) {
            self.drive(aftermath);
        }
    }

    /// What is to be done now that everything known is applied: call it at the head of the journal only.
    ///
    /// Each command comes once while the run lives in memory. After a reload all that is still open comes again.
    pub fn decide(&mut self) -> Decision {
        if self.shared.with(State::has_diverged) {
            return Decision::Replay;
        }
        if let Some(obstacle) = self.obstacle() {
            return Decision::Parked(obstacle);
        }
        let mut commands = match self.stage {
            Stage::Scheduled(_) => self.lifespan.command().into_iter().collect(),
            _ if self.is_terminated() => Vec::new(),
            Stage::Running(_) | Stage::Returned { told: false, .. } => self.shared.change(State::commands),
            _ => Vec::new(),
        };
        if self.is_holding() {
            return Decision::Go(commands);
        }
        // Whoever learns that the run has ended learns that what it had not answered by then it never will.
        let has_to_answer = !self.is_terminated() && self.shared.with(State::has_unrecorded_replies);
        if has_to_answer || matches!(self.stage, Stage::Running(_)) {
            commands.extend(self.lifespan.command());
        }
        if has_to_answer {
            return Decision::Go(commands);
        }
        if let Stage::Returned {
            outcome,
            told: told @ false,
        } = &mut self.stage
        {
            *told = true;
            commands.push(Command::End {
                outcome: outcome.clone(),
            });
        }
        Decision::Go(commands)
    }

    /// The time of a [`Command::RetryAt`] has come; the next [`Run::decide`] dispatches. Late or repeated calls do nothing.
    pub fn retry_due(&mut self, key: &StepKey, attempt: u32) {
        self.shared
            .change(|state| state.change_step(key, |step| step.retry_due(attempt)));
    }

    /// The time of a [`Command::Deadline`] has come; the next [`Run::decide`] says what follows if the step is still open.
    pub fn deadline_passed(&mut self, key: &StepKey, at: Timestamp) {
        self.shared
            .change(|state| state.change_step(key, |step| step.deadline_passed(at)));
    }

    /// A heartbeat of a function was heard. Nothing follows from it but that the attempt does not time out for want of one.
    pub fn heartbeat(&mut self, key: &StepKey, attempt: u32, details: Option<Bytes>, at: Timestamp) {
        self.shared.change(|state| {
            state.change_step(key, |step| {
                step.heartbeat(Some(attempt), details, at);
                false
            });
        });
    }

    /// Heartbeats are heard from now on; those before may have been missed.
    pub fn listen_from(&mut self, at: Timestamp) {
        self.shared.change(|state| state.listen_from(at));
    }

    /// What the workflow waits for, in the order asked.
    pub fn waits(&self) -> Vec<OpenWait> {
        self.shared.with(|state| state.open_waits().map(OpenWait::of).collect())
    }

    /// What of that somebody outside is to answer: signals, updates and questions, in the order asked.
    pub fn waits_outside(&self) -> Vec<OpenWait> {
        self.shared.with(|state| state.waits_outside().map(OpenWait::of).collect())
    }

    /// How often those changed since the run is in memory: cheap to look at after every entry.
    pub fn outside_changes(&self) -> u64 {
        self.shared.with(State::outside_changes)
    }

    /// How it looks from inside: what the workflow keeps in its state and what it published.
    pub fn view(&self) -> RunView {
        self.shared.board.borrow().view(self.applied)
    }

    /// The run.
    pub fn id(&self) -> &RunId {
        &self.shared.run
    }

    /// The code it runs.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// The sequence of the newest entry applied; 0 before the first.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// How many entries were applied.
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// A number that stands for all that the workflow asked for and gave up, in order and by entry.
    ///
    /// Two replays of one journal agree on it if the code is deterministic. That is how what cannot be caught in the act is found: the
    /// order of a `HashMap`, a static, a clock. It means nothing outside the process that made it.
    pub fn fingerprint(&self) -> u64 {
        self.shared.with(State::fingerprint)
    }

    /// The time of the newest entry, never going back: what the workflow calls now.
    pub fn now(&self) -> Timestamp {
        self.shared.with(State::now)
    }

    /// Whether its start is applied.
    pub fn is_started(&self) -> bool {
        !matches!(self.stage, Stage::New)
    }

    /// Whether it was asked to cancel.
    pub fn is_cancelling(&self) -> bool {
        self.cancelled.is_some()
    }

    /// Whether there are children that it started, and was to wait for, whose ends it does not know.
    pub fn has_children(&self) -> bool {
        self.shared.with(State::has_children)
    }

    /// Whether its end is applied.
    pub fn is_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended)
    }

    /// How many signals and updates are kept, and the sequences of those that were given to waits.
    #[cfg(test)]
    pub(crate) fn letters(&self) -> (usize, Vec<u64>) {
        self.shared.with(|state| (state.kept_letters(), state.given_letters()))
    }

    /// How many domains there are, its own included.
    #[cfg(test)]
    pub(crate) fn domains(&self) -> usize {
        self.shared.with(State::domains)
    }

    /// Takes an entry in without polling; what is to be woken is handed back.
    pub(crate) fn note(&mut self, event: Event) -> Option<Aftermath> {
        if event.sequence <= self.applied {
            return None;
        }
        self.applied = event.sequence;
        self.entries += 1;
        self.shared.change(|state| state.turn(event.sequence, event.time));
        match (event.body, &self.stage) {
            (_, Stage::Ended) => None,
            (EventBody::End, _) => self.end(),
            (EventBody::Start(start, input), Stage::New) => self.create(start, input),
            (EventBody::Start(..), _) | (_, Stage::New) => None,
            (EventBody::About(key, Record::Timer), _) if key.is_own() => RunTimer::of(&key).and_then(|timer| self.struck(timer)),
            (EventBody::About(key, record), _) => {
                self.touch();
                Some(self.shared.change(|state| state.record(key, record)))
            }
            (EventBody::In(inbound), _) => self.inbound(inbound),
            (EventBody::Signal(name, value), _) => Some(self.told(Word::Signal { name, value })),
            (EventBody::Update { key, name, input }, _) => Some(self.told(Word::Update { key, name, input })),
            (EventBody::Event(what, place, value), _) => Some(self.told(Word::Event { what, place, value })),
        }
    }

    /// Wakes what is to be woken, and polls the workflow to quiescence.
    pub(crate) fn drive(&mut self, aftermath: Aftermath) {
        if let Stage::Parked(_) = self.stage {
            return;
        }
        let driving = self.root.drive();
        let settled = guarded(|| self.settle(aftermath));
        drop(driving);
        let parked = settled.map_err(|message| Parked::Panicked { message });
        match parked {
            Err(parked) | Ok(Some(parked)) => self.park(parked),
            Ok(None) => {}
        }
    }

    fn begin(&mut self, input: Bytes) -> Option<Aftermath> {
        let listens_from = self.listens_from;
        self.shared.change(|state| state.begin(listens_from));
        let context = Context::new(self.shared.clone());
        match guarded(|| (self.definition.factory)(context, input)) {
            Ok(future) => {
                self.stage = Stage::Running(future);
                Some(Aftermath::waking(self.waker.clone()))
            }
            Err(message) => {
                self.park(Parked::Panicked { message });
                None
            }
        }
    }

    fn inbound(&mut self, inbound: Inbound) -> Option<Aftermath> {
        match inbound.kind {
            InboundKind::Cancel => {
                self.cancelled.get_or_insert(inbound.reason.unwrap_or_default());
                self.cancel_scheduled();
                Some(self.shared.change(|state| state.cancel(DomainId::RUN)))
            }
            InboundKind::Terminate => {
                self.terminate(inbound.reason.unwrap_or_default());
                None
            }
            InboundKind::Resume { accept_unasked } => {
                if accept_unasked {
                    self.shared.change(State::accept_unasked);
                }
                None
            }
            // What is for a wait comes as an event of its own.
            InboundKind::Signal { .. }
            | InboundKind::Update { .. }
            | InboundKind::Event { .. }
            | InboundKind::Answer { .. }
            | InboundKind::Withdrawn { .. } => None,
        }
    }

    /// It is over as it stands: its code is not polled again, and no cancel follows.
    fn terminate(&mut self, reason: String) {
        let outcome = RunEnd::Terminated(Failure::new(FailureKind::Terminated, reason));
        self.leave(Stage::Returned { outcome, told: false });
    }

    fn end(&mut self) -> Option<Aftermath> {
        self.leave(Stage::Ended);
        None
    }

    fn settle(&mut self, mut aftermath: Aftermath) -> Option<Parked> {
        let mut polls = 0;
        loop {
            if let Err(message) = aftermath.act() {
                return Some(Parked::Panicked { message });
            }
            while self.root.take_woken() {
                polls += 1;
                if polls > self.limits.polls_per_entry {
                    return Some(Parked::Livelock {
                        polls: self.limits.polls_per_entry,
                    });
                }
                self.poll();
            }
            // A record that fits no ask shows without a poll, too.
            if let Some(trouble) = self.shared.with(|state| state.trouble().cloned()) {
                return Some(trouble);
            }
            aftermath = self.shared.change(State::grant_next)?;
        }
    }

    fn poll(&mut self) {
        let Stage::Running(future) = &mut self.stage else { return };
        if let Poll::Ready(returned) = future.as_mut().poll(&mut TaskContext::from_waker(&self.waker)) {
            let outcome = self.outcome(returned);
            self.stage = Stage::Returned { outcome, told: false };
        }
    }

    fn outcome(&self, returned: Result<Bytes, WorkflowFailure>) -> RunEnd {
        match returned {
            Ok(value) | Err(WorkflowFailure::Continued(value)) if value.len() > PAYLOAD_BYTES_MAX => RunEnd::Failed(Failure::new(
                FailureKind::Invalid,
                TooLarge { bytes: value.len() }.to_string(),
            )),
            Ok(value) => RunEnd::Completed(value),
            // Whoever asked it to end asked that of the run that would follow, too.
            Err(WorkflowFailure::Continued(input)) => self.end_asked_for().unwrap_or(RunEnd::Continued(input)),
            Err(WorkflowFailure::Failed(failure)) => RunEnd::Failed(failure),
            // Otherwise nobody asked the run to: it returned what a branch that it had cancelled itself brought.
            Err(WorkflowFailure::Cancelled) => self
                .end_asked_for()
                .unwrap_or_else(|| RunEnd::Failed(Failure::new(FailureKind::Cancelled, CANCELLED_BY_ITSELF))),
        }
    }

    /// How it ends if it ends because it was asked to: its time was up, or somebody cancelled it.
    fn end_asked_for(&self) -> Option<RunEnd> {
        let overdue = self.lifespan.overdue().cloned().map(RunEnd::Failed);
        let cancelled = |reason: &String| RunEnd::Cancelled(Failure::new(FailureKind::Cancelled, reason.clone()));
        overdue.or_else(|| self.cancelled.as_ref().map(cancelled))
    }

    /// Whether it was ended from outside, and its workflow not asked: nothing that it still wanted is done.
    fn is_terminated(&self) -> bool {
        let is_terminated = matches!(
            self.stage,
            Stage::Returned {
                outcome: RunEnd::Terminated(_),
                ..
            }
        );
        is_terminated || self.lifespan.is_cut()
    }

    /// Why nothing may be done for the run as it stands.
    fn obstacle(&self) -> Option<Parked> {
        match &self.stage {
            Stage::New | Stage::Scheduled(_) | Stage::Ended => return None,
            _ if self.is_terminated() => return None,
            Stage::Parked(parked) => return Some(parked.clone()),
            Stage::Running(_) | Stage::Returned { .. } => {}
        }
        if self.root.is_foreign() {
            return Some(Parked::ForeignWake);
        }
        if let Some(objection) = self.shared.with(State::objection) {
            return Some(objection);
        }
        let Stage::Running(_) = self.stage else { return None };
        if self.entries > self.limits.entries {
            return Some(Parked::TooManySteps(TooMany::Entries {
                limit: self.limits.entries,
            }));
        }
        if self.shared.with(State::kept_signals) > self.limits.signals_kept {
            return Some(Parked::TooManySteps(TooMany::Signals {
                limit: self.limits.signals_kept,
            }));
        }
        (!self.shared.with(State::has_open)).then_some(Parked::Stuck)
    }

    fn park(&mut self, parked: Parked) {
        self.leave(Stage::Parked(parked));
    }

    /// Drops the future for good. Whatever its drop does, no cancel follows, and no panic gets out.
    fn leave(&mut self, stage: Stage) {
        let foreign = self.shared.change(State::close);
        let left = std::mem::replace(&mut self.stage, stage);
        // That it panics while it is dropped tells nobody anything: it is not polled again, and its journal is whole.
        let _ = guarded(|| drop(left));
        let _ = foreign.scrap();
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.leave(Stage::Ended);
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Run({} of {:?}, {} entries to {})",
            self.id(),
            self.definition,
            self.entries,
            self.applied
        )
    }
}
