//! Runs that begin later, and runs that must be over by some time, as those who look after them see it.
//!
//! The timers themselves are the core's; here is how they show, and what they mean for a run that stands still.

use everstep_common::failure::{Failure, FailureKind};
use everstep_common::ids::RunId;
use everstep_common::journal::{EntryKey, RunTimer, Start};
use everstep_common::subject::TimerSort;
use everstep_common::summary::RunStatus;
use everstep_core::{Run, RunEnd};
use jiff::{Timestamp, Unit};

use super::Partition;
use super::effect::Effect;

/// How a run that was just started shows, and why.
pub(super) fn status_at_start(start: &Start, started: Timestamp, must_wait: bool) -> (RunStatus, Option<String>) {
    match start.terms.delay {
        Some(delay) => scheduled(started.checked_add(delay).unwrap_or(Timestamp::MAX)),
        None if must_wait => waiting(),
        None => (RunStatus::Running, None),
    }
}

/// How a run shows, why, and since when.
pub(super) fn status_of(run: &Run, started: Timestamp) -> (RunStatus, Option<String>, Timestamp) {
    let (status, why) = match run.begins_at() {
        Some(begins) => scheduled(begins),
        None if run.wants_place() => waiting(),
        None => (RunStatus::Running, None),
    };
    (status, why, run.began().unwrap_or(started))
}

fn waiting() -> (RunStatus, Option<String>) {
    let why = "it waits for a place under the limit of its workflow";
    (RunStatus::Scheduled, Some(why.to_owned()))
}

fn scheduled(begins: Timestamp) -> (RunStatus, Option<String>) {
    let begins = begins.round(Unit::Millisecond).unwrap_or(begins);
    (RunStatus::Scheduled, Some(format!("it begins at {begins}")))
}

impl Partition {
    /// A timer of the run's own was applied: it may show otherwise now.
    pub(super) fn run_timer_applied(&mut self, run: &RunId, key: &EntryKey, sequence: u64, time: Timestamp) {
        if let Some(live) = self.slots.live(run) {
            if *key == EntryKey::Timer(RunTimer::Wait.key()) {
                // It may have come too late, and then the run goes on as if it had not.
                live.held = false;
                if live.run.wants_place() && live.read_back {
                    // Its time counts from when it has its place, and a predecessor may have armed its deadline before.
                    self.unschedule(run, TimerSort::Sleep, RunTimer::Deadline.key(), &None);
                }
            }
            let Some(live) = self.slots.live(run) else { return };
            let about = live.about.clone();
            let (status, why, _) = status_of(&live.run, about.started);
            self.summarise(run, &about, status, why, sequence, time);
        }
    }

    /// A timer has fired of a run that stands still. It cannot come to an end by itself, so once it is overdue it is ended as it stands;
    /// where its code is it may be cleaning up by now, and has its grace.
    pub(super) fn parked_run_struck(&mut self, run: &RunId, key: &EntryKey, sequence: u64) {
        let timer = key.step().and_then(RunTimer::of);
        let lacks_code = self.slots.parked(run).is_some_and(|parked| parked.lacks_code);
        let is_over = match timer {
            Some(RunTimer::Kill) => true,
            Some(RunTimer::Deadline) => !lacks_code,
            Some(RunTimer::Begin | RunTimer::Wait | RunTimer::Place) | None => false,
        };
        if is_over {
            // Nothing else brings the word again, so a successor must find it where the feed begins.
            self.watermark.pin(sequence);
            let message = "the run was not done by its deadline, and stood still";
            let outcome = RunEnd::Failed(Failure::new(FailureKind::DeadlineExceeded, message));
            let origin = Some((run.clone(), sequence));
            self.perform(
                origin,
                Effect::End {
                    run: run.clone(),
                    outcome,
                },
            );
        }
        self.watermark.release(sequence);
    }
}
