//! When a run begins, and by when it must be over: the timers of the run's own.
//!
//! ```text
//!   start ──delay──▶ Begin ──deadline──▶ Deadline (asked to come to an end) ──grace──▶ Kill (ended as it stands)
//!     └──no delay──────▲ └──▶ Wait ──▶ Place ──▲
//! ```
//!
//! Each is a `timer` entry under a key that no workflow asks for, counted from the entry before it: every owner computes the same times,
//! and a replay stands where the run stood. A `Wait` takes back that the run has begun, as long as nothing was recorded for it: whoever
//! wrote it had done nothing of what it asked for. So what a journal says needs no look ahead. An owner that goes ahead with a run forgets
//! what it began with; should another one's `Wait` come all the same, the journal counts, and is read anew.
//! Nothing here polls the workflow; what it is told it hears as a cancel.

use std::time::Duration;

use bytes::Bytes;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::journal::{RunTimer, Start};
use everstep_common::key::StepKey;
use everstep_common::limits::RUN_GRACE;
use everstep_common::subscription::{EventPlace, Subscription};
use jiff::Timestamp;

use super::{Run, Stage};
use crate::aftermath::Aftermath;
use crate::shared::Shared;
use crate::state::{DomainId, State};
use crate::waits::{Address, Letter, LetterSort, later};
use crate::{Command, RunEnd};

/// The timer that a run of its kind has armed: there is one at most.
#[derive(Default)]
pub(super) struct Lifespan {
    /// The one that is to come next, and whether the shell has been told.
    armed: Option<(RunTimer, Timestamp, bool)>,
    /// When it began, if that was later than it was created.
    began: Option<Timestamp>,
    /// Why it must come to an end, once its time is up.
    overdue: Option<Failure>,
    /// It was ended as it stood.
    cut: bool,
    /// Something was recorded that it asked for: it has begun for good.
    touched: bool,
    /// What it asks for is being done: nothing is kept any more to take its beginning back with.
    ahead: bool,
    /// Its beginning was taken back all the same: in memory it is not what its journal says.
    outrun: bool,
    /// Its time was up before it had its place.
    late: bool,
    /// Its input, for as long as its beginning may be taken back.
    input: Option<Bytes>,
    /// What it was told meanwhile: that is there when it begins once more.
    early: Vec<Early>,
    /// It waits for its place.
    wants_place: bool,
}

/// The sequence and the time of what a run was told, and what that was.
type Early = (u64, Timestamp, Word);

/// What somebody outside tells a run.
#[derive(Clone)]
pub(super) enum Word {
    /// A signal.
    Signal { name: Box<str>, value: Bytes },
    /// An update, which is to be answered.
    Update { key: StepKey, name: Box<str>, input: Bytes },
    /// An event that it waited for.
    Event {
        what: Box<Subscription>,
        place: EventPlace,
        value: Bytes,
    },
}

impl Word {
    fn tell(self, state: &mut State) -> Aftermath {
        match self {
            Self::Signal { name, value } => {
                let letter = Letter { value, update: None };
                state.deliver(&Address::new(LetterSort::Signal, name), letter)
            }
            Self::Update { key, name, input } => state.update(key, name, input),
            Self::Event { what, place, value } => state.hear(*what, place, value),
        }
    }
}

impl Lifespan {
    fn arm(&mut self, timer: RunTimer, due: Timestamp) {
        self.armed = Some((timer, due, false));
    }

    /// It is over for this timer, whatever comes of it.
    fn fired(&mut self, timer: RunTimer) {
        self.armed.take_if(|(armed, ..)| *armed == timer);
    }

    /// How the run fails, if its time was up before anybody asked it to cancel.
    pub(super) fn overdue(&self) -> Option<&Failure> {
        self.overdue.as_ref()
    }

    /// Whether the journal says something else of its beginning than what it did.
    pub(super) fn is_outrun(&self) -> bool {
        self.outrun
    }

    /// Whether it was ended as it stood: nothing that it still wanted is done.
    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    #[cfg(test)]
    pub(super) fn kept_of_beginning(&self) -> (bool, usize) {
        (self.input.is_some(), self.early.len())
    }

    fn forget_beginning(&mut self) {
        self.input = None;
        self.early = Vec::new();
    }

    /// What is to be done and has not been said yet.
    pub(super) fn command(&mut self) -> Option<Command> {
        let (timer, due, told) = self.armed.as_mut()?;
        let unsaid = !std::mem::replace(told, true);
        unsaid.then(|| Command::StartTimer {
            key: timer.key(),
            due: *due,
            event: None,
        })
    }
}

impl Run {
    /// When it begins, if its time is yet to come.
    pub fn begins_at(&self) -> Option<Timestamp> {
        match (&self.stage, self.lifespan.armed) {
            (Stage::Scheduled(_), Some((RunTimer::Begin, due, _))) => Some(due),
            _ => None,
        }
    }

    /// When it began, if that was later than it was created.
    pub fn began(&self) -> Option<Timestamp> {
        self.lifespan.began
    }

    /// The timer by which it must be over, if that has not been said yet: a run that stands still is overdue like any other.
    pub fn timer_though_parked(&mut self) -> Option<Command> {
        match self.stage {
            Stage::Parked(_) | Stage::Running(_) => self.lifespan.command(),
            _ => None,
        }
    }

    /// The run exists. It begins now, or when its delay is over.
    pub(super) fn create(&mut self, start: Box<Start>, input: Bytes) -> Option<Aftermath> {
        // What is started by an event counts from there, whenever somebody takes it up.
        let from = start.listens_from.unwrap_or(self.now());
        let begins = start.terms.delay.map(|delay| later(from, delay));
        // Events count from right behind the one that it listens from; without one, from here on.
        let behind = start
            .listens_from
            .and_then(|time| time.checked_add(Duration::from_nanos(1)).ok());
        self.listens_from = behind.unwrap_or(self.now());
        self.shared.start.set(start).expect("a run is created once");
        match begins {
            Some(due) => {
                self.lifespan.arm(RunTimer::Begin, due);
                self.stage = Stage::Scheduled(input);
                None
            }
            None => self.begin_its_time(input),
        }
    }

    /// Whether it has begun, and a [`RunTimer::Wait`] may be recorded for it: nothing that it asks for was recorded or done.
    pub fn may_wait(&self) -> bool {
        self.is_untouched() && !self.lifespan.ahead
    }

    /// What it asks for is being done from here on, or was by an owner before. What it began with is no longer kept.
    pub fn go_ahead(&mut self) {
        if !matches!(self.stage, Stage::New | Stage::Scheduled(_)) {
            self.lifespan.ahead = true;
            self.lifespan.forget_beginning();
        }
    }

    /// Whether a [`RunTimer::Wait`] takes back that it has begun: by its journal alone, or a replay would stand elsewhere.
    fn is_untouched(&self) -> bool {
        let has_begun = !matches!(self.stage, Stage::New | Stage::Scheduled(_) | Stage::Ended);
        let asked_to_end = self.cancelled.is_some() || self.lifespan.overdue.is_some();
        has_begun && !self.lifespan.touched && !self.lifespan.wants_place && !asked_to_end
    }

    /// Whether it waits for nothing but a place.
    pub fn wants_place(&self) -> bool {
        self.lifespan.wants_place && matches!(self.stage, Stage::Scheduled(_))
    }

    /// Something is recorded that it asked for.
    pub(super) fn touch(&mut self) {
        self.lifespan.touched = true;
        self.lifespan.forget_beginning();
    }

    /// Somebody told it something. The run may not even have begun for good.
    pub(super) fn told(&mut self, word: Word) -> Aftermath {
        if !self.lifespan.touched && !self.lifespan.wants_place && !self.lifespan.ahead {
            self.lifespan.early.push((self.applied, self.now(), word.clone()));
        }
        self.shared.change(|state| word.tell(state))
    }

    /// It has begun too early: it waits, as if it had never begun.
    fn take_back(&mut self) {
        let Some(input) = self.lifespan.input.take() else {
            self.lifespan.outrun = true;
            return;
        };
        self.leave(Stage::New);
        let start = self.shared.start.get().cloned();
        let (known_until, time) = self.shared.with(|state| (state.known_until(), state.now()));
        let markers = self.shared.change(State::take_lasting_markers);
        self.shared = Shared::new(self.shared.run.clone(), self.limits, known_until);
        self.shared.change(|state| {
            state.set_markers(markers);
        });
        for (sequence, time, word) in std::mem::take(&mut self.lifespan.early) {
            // Nobody waits yet, so nothing is to be woken.
            let _ = self.shared.change(|state| {
                state.turn(sequence, time);
                word.tell(state)
            });
        }
        self.shared.change(|state| state.turn(self.applied, time));
        if let Some(start) = start {
            let _ = self.shared.start.set(start);
        }
        self.root.take_woken();
        self.lifespan.armed = None;
        self.lifespan.wants_place = true;
        self.stage = Stage::Scheduled(input);
    }

    fn begin_its_time(&mut self, input: Bytes) -> Option<Aftermath> {
        self.lifespan.armed = None;
        self.lifespan.input = (!self.lifespan.wants_place).then(|| input.clone());
        if self.lifespan.late {
            return self.begin_too_late(input);
        }
        if let Some(deadline) = self.deadline() {
            self.lifespan.arm(RunTimer::Deadline, later(self.now(), deadline));
        }
        self.begin(input)
    }

    /// Its deadline was armed before it had to wait, and has struck: it cannot strike again, so its time is up from the beginning.
    fn begin_too_late(&mut self, input: Bytes) -> Option<Aftermath> {
        let begun = self.begin(input);
        let mut aftermath = self.time_is_up();
        aftermath.add(begun.unwrap_or_default());
        Some(aftermath)
    }

    fn deadline(&self) -> Option<Duration> {
        self.shared.start.get().and_then(|start| start.terms.deadline)
    }

    /// A timer of the run's own has fired.
    pub(super) fn struck(&mut self, timer: RunTimer) -> Option<Aftermath> {
        let (is_untouched, wants_place) = (self.is_untouched(), self.lifespan.wants_place);
        self.lifespan.fired(timer);
        match (timer, &mut self.stage) {
            (RunTimer::Begin, Stage::Scheduled(input)) if !wants_place => {
                let input = std::mem::take(input);
                self.lifespan.began = Some(self.now());
                self.begin_its_time(input)
            }
            (RunTimer::Wait, Stage::Running(_) | Stage::Returned { .. } | Stage::Parked(_)) if is_untouched => {
                self.take_back();
                None
            }
            (RunTimer::Place, Stage::Scheduled(input)) if wants_place => {
                let input = std::mem::take(input);
                self.lifespan.began = Some(self.now());
                self.begin_its_time(input)
            }
            (RunTimer::Deadline, Stage::Scheduled(_)) => {
                self.lifespan.late = true;
                None
            }
            (RunTimer::Deadline, Stage::Running(_)) => Some(self.time_is_up()),
            (RunTimer::Kill, Stage::Running(_)) => {
                self.cut();
                None
            }
            // It has come to an end by itself, or stands still: whoever looks after it ends it then.
            _ => None,
        }
    }

    fn too_late(&self) -> Failure {
        let deadline = self.deadline().unwrap_or_default();
        Failure::new(
            FailureKind::DeadlineExceeded,
            format!("the run was not done within {deadline:?}"),
        )
    }

    /// It is asked to come to an end, as if it were cancelled.
    fn time_is_up(&mut self) -> Aftermath {
        if self.cancelled.is_none() {
            self.lifespan.overdue = Some(self.too_late());
        }
        self.lifespan.arm(RunTimer::Kill, later(self.now(), RUN_GRACE));
        self.shared.change(|state| state.cancel(DomainId::RUN))
    }

    /// It is ended as it stands.
    fn cut(&mut self) {
        let grace = RUN_GRACE.as_secs();
        let mut failure = self.too_late();
        failure
            .message
            .push_str(&format!(", nor had it come to an end {grace} s later"));
        self.lifespan.cut = true;
        self.leave(Stage::Returned {
            outcome: RunEnd::Failed(failure),
            told: false,
        });
    }

    /// It was asked to cancel before it began: there is nothing to clean up.
    pub(super) fn cancel_scheduled(&mut self) {
        if let (Stage::Scheduled(_), Some(reason)) = (&self.stage, &self.cancelled) {
            self.lifespan.armed = None;
            let outcome = RunEnd::Cancelled(Failure::new(FailureKind::Cancelled, reason.clone()));
            self.stage = Stage::Returned { outcome, told: false };
        }
    }
}
