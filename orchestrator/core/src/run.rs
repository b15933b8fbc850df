//! One run in memory: applies entries, polls, decides.
//!
//! ```text
//!   new ──start──▶ Running ──future returns──▶ Returned ──`end`──▶ Ended
//!     └─▶ Scheduled ─▲ └──panic, livelock, mismatch──▶ Parked
//! ```
//!
//! Between two calls of [`Run::apply`] the future is quiescent, and exactly one entry lies between two such moments. `drive` is what an
//! entry does, `decide` what is to be done then, `lifespan` the timers of the run's own.

mod decide;
mod drive;
mod lifespan;
mod open_wait;

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use everstep_common::ids::RunId;
use everstep_common::journal::{JournalEntry, LocalKind};
use everstep_common::key::StepKey;
use everstep_common::view::RunView;
use futures::future::LocalBoxFuture;
use jiff::Timestamp;

use self::lifespan::Lifespan;
pub use self::open_wait::{OpenKind, OpenWait};
use crate::event;
use crate::parked::Parked;
use crate::root::Root;
use crate::shared::Shared;
use crate::state::State;
use crate::{Definition, Event, Limits, RunEnd, WorkflowFailure};

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

    /// Applies the next entry and polls the workflow to quiescence.
    ///
    /// Entries come in stream order; one at or below [`Run::applied`] is applied already and is ignored. The first is the start.
    pub fn apply(&mut self, event: Event) {
        if let Some(aftermath) = self.note(event) {
            self.drive(aftermath);
        }
    }

    /// The time of a [retry](crate::Command::RetryAt) has come; the next [`Run::decide`] dispatches. Late or repeated calls do nothing.
    pub fn retry_due(&mut self, key: &StepKey, attempt: u32) {
        self.shared
            .change(|state| state.change_step(key, |step| step.retry_due(attempt)));
    }

    /// The time of a [deadline](crate::Command::Deadline) has come; the next [`Run::decide`] says what follows if the step is still open.
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
    #[cfg(test)]
    pub(crate) fn is_started(&self) -> bool {
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

    /// Whether its input is kept, and how much of what it was told, to take its beginning back with.
    #[cfg(test)]
    pub(crate) fn kept_of_beginning(&self) -> (bool, usize) {
        self.lifespan.kept_of_beginning()
    }

    /// How many domains there are, its own included.
    #[cfg(test)]
    pub(crate) fn domains(&self) -> usize {
        self.shared.with(State::domains)
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
