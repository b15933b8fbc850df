//! The times at which an open step is looked at again: each of its timeouts, of which the soonest counts.
//!
//! ```text
//!   asked ───── start_timeout ─────▶ begun ───── timeout, heartbeat_timeout ─────▶ ended
//!     └────────────────────────────── total_timeout ──────────────────────────────▶
//! ```
//!
//! All of them follow from the journal, so every owner computes the same, but for heartbeats, which are heard and not recorded.

use std::time::Duration;

use bytes::Bytes;
use everstep_common::task::StepOptions;
use jiff::Timestamp;

use super::timers::later;

/// How much longer than its timeout an attempt may take before its owner speaks for it: the worker, which stops it in time, has the
/// first word.
pub(super) const WORKER_GRACE: Duration = Duration::from_secs(1);

/// Which timeout has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alarm {
    /// All attempts together took too long.
    Total,
    /// No worker began the attempt.
    Start,
    /// The attempt took too long, and its worker says nothing.
    Attempt,
    /// The function sent no heartbeat.
    Heartbeat,
}

/// What the timeouts of a step are measured from.
pub(super) struct Alarms {
    /// When the step was asked for.
    pub(super) asked: Timestamp,
    /// When the attempt was dispatched, or is to be.
    pub(super) due: Timestamp,
    /// When the newest execution of the attempt began, if one has and the attempt has not ended.
    pub(super) begun: Option<Timestamp>,
    /// The newest heartbeat, or since when somebody listens.
    pub(super) heard: Option<Timestamp>,
    /// What heartbeats said last, of this attempt or of those before.
    pub(super) details: Option<Bytes>,
    /// The attempt timed out and is being recorded as failed.
    given_up: bool,
    /// The alarm that the shell has set.
    told: Option<Timestamp>,
}

impl Alarms {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            asked: now,
            due: now,
            begun: None,
            heard: None,
            details: None,
            given_up: false,
            told: None,
        }
    }

    /// When the step must be over.
    pub(super) fn deadline(&self, options: &StepOptions) -> Timestamp {
        later(self.asked, options.total_timeout)
    }

    /// The next one, and which it is.
    fn next(&self, options: &StepOptions) -> (Timestamp, Alarm) {
        let total = (self.deadline(options), Alarm::Total);
        if self.given_up {
            return total;
        }
        let from = |start: Option<Timestamp>, timeout: Option<Duration>| Some(later(start?, timeout?));
        let waits = self.begun.is_none().then_some(self.due);
        let heard = self.begun.map(|begun| self.heard.map_or(begun, |heard| heard.max(begun)));
        let attempt = options.timeout.map(|timeout| timeout.saturating_add(WORKER_GRACE));
        let others = [
            (from(waits, options.start_timeout), Alarm::Start),
            (from(self.begun, attempt), Alarm::Attempt),
            (from(heard, options.heartbeat_timeout), Alarm::Heartbeat),
        ];
        let set = others.into_iter().filter_map(|(at, alarm)| Some((at?, alarm)));
        set.fold(total, |soonest, next| if next.0 < soonest.0 { next } else { soonest })
    }

    /// The next one, if the shell has another one set, or none.
    pub(super) fn tell_next(&mut self, options: &StepOptions) -> Option<Timestamp> {
        let (at, _) = self.next(options);
        (self.told.replace(at) != Some(at)).then_some(at)
    }

    /// One has rung. Which timeout has passed by then, if any; the shell has none set any more.
    pub(super) fn rung(&mut self, at: Timestamp, options: &StepOptions) -> Option<Alarm> {
        self.told = None;
        let (next, alarm) = self.next(options);
        (next <= at).then_some(alarm)
    }

    /// The attempt timed out: only the step as a whole still can.
    pub(super) fn give_up(&mut self) {
        self.given_up = true;
    }

    /// The attempt ended; the next one is due then.
    pub(super) fn next_attempt(&mut self, due: Timestamp) {
        self.due = due;
        self.given_up = false;
        self.begun = None;
        self.heard = None;
    }
}
