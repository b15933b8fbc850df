//! What becomes of a step whose attempt has failed, or whose time is up.

use std::time::Duration;

use everstep_common::failure::{Failure, FailureKind};
use everstep_common::journal::{Attempt, AttemptError};
use jiff::Timestamp;

use super::alarms::Alarm;
use super::attempts::{Next, OpenStep, TimedOut};
use super::timers::later;

/// What an attempt that timed out for want of heartbeats is called.
const HEARTBEAT: &str = "heartbeat";

impl OpenStep {
    /// What is to be recorded is settled.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.next, Next::Record(_) | Next::Recorded)
    }

    /// When the attempt after `number` is due, if there is to be one.
    pub(super) fn next_attempt_at(&self, number: u32, failed: &Attempt, entropy: u64, now: Timestamp) -> Option<Timestamp> {
        let retries = &self.options.retries;
        let kind = match failed.error {
            AttemptError::Invalid => return None,
            AttemptError::Error => None,
            AttemptError::Timeout => Some("timeout"),
            AttemptError::Panic => Some("panic"),
        };
        let is_final = failed.name.as_deref().or(kind).is_some_and(|name| retries.is_final(name));
        if self.options.at_most_once || is_final {
            return None;
        }
        let delay = retries.delay_after(number, entropy)?;
        let at = later(now, failed.retry_after.unwrap_or(delay));
        let in_time = retries.total.is_none_or(|total| at <= later(self.alarms.asked, total));
        in_time.then_some(at)
    }

    /// How the step ends with an attempt that is its last.
    pub(super) fn failure_of(&self, error: AttemptError, message: String) -> Failure {
        let kind = match error {
            AttemptError::Invalid => FailureKind::Invalid,
            AttemptError::Timeout if self.options.at_most_once => return interrupted(&message),
            AttemptError::Timeout | AttemptError::Error | AttemptError::Panic => FailureKind::Exhausted,
        };
        Failure::new(kind, message)
    }

    /// How a step ends that ran out of time before its attempt began.
    pub(super) fn not_begun(&self, alarm: Alarm) -> Failure {
        let Self { options, attempt, .. } = self;
        if alarm == Alarm::Total {
            return Failure::new(FailureKind::DeadlineExceeded, self.too_late());
        }
        let (timeout, queue) = (options.start_timeout.unwrap_or_default(), &options.queue);
        let message = format!("no worker of queue {queue} began attempt {attempt} within {timeout:?}");
        Failure::new(FailureKind::NotStarted, message)
    }

    fn too_late(&self) -> String {
        format!(
            "not done within {:?}, in attempt {}",
            self.options.total_timeout, self.attempt
        )
    }

    /// What follows from a timeout that has passed.
    pub(super) fn timed_out(&mut self, alarm: Alarm) -> Next {
        let Self { options, begun, .. } = self;
        let message = match alarm {
            Alarm::Total if begun.present && options.at_most_once => return Next::Record(interrupted(&self.too_late())),
            Alarm::Total | Alarm::Start if options.at_most_once => return Next::Fence,
            Alarm::Total | Alarm::Start => return Next::Record(self.not_begun(alarm)),
            Alarm::Attempt => overdue("its worker did not end it within its timeout", options.timeout),
            Alarm::Heartbeat => overdue("no heartbeat for its timeout", options.heartbeat_timeout),
        };
        self.alarms.give_up();
        Next::Fail(TimedOut {
            began: self.alarms.begun.unwrap_or(self.alarms.due),
            message,
            name: (alarm == Alarm::Heartbeat).then(|| HEARTBEAT.to_owned()),
        })
    }
}

fn overdue(what: &str, timeout: Option<Duration>) -> String {
    format!("{what} of {:?}", timeout.unwrap_or_default())
}

/// The end of what may run once only, and of which nobody knows how far it came.
fn interrupted(message: &str) -> Failure {
    let message = format!("{message}; it began, may run once only, and nobody knows how far it came");
    Failure::new(FailureKind::Interrupted, message)
}
