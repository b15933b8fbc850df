//! The terms under which a run was started: when it begins, by when it must be over, and what of it goes first.
//!
//! Both times are counted from entries, so that every owner computes the same. They are timers of the run's own, under keys that no
//! path of a workflow gives ([`RunTimer`]): the server fires them even if no orchestrator lives.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::key::StepKey;
use crate::limits::{NAME_CHARS_MAX, RUN_TERM_MAX};

/// What a start asks for beyond what is run.
///
/// ```
/// use std::time::Duration;
/// use everstep_common::journal::StartTerms;
///
/// let tonight = StartTerms { delay: Some(Duration::from_secs(8 * 60 * 60)), priority: -1, ..StartTerms::default() };
/// assert_eq!(tonight.check(), Ok(()));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartTerms {
    /// How long after the start was recorded the run begins; of one that an event starts, how long after that was stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,
    /// How long the run may take from when it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
    /// Of tasks that wait for the same, those of runs with a higher one go first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: i8,
    /// Whose work it is, where its workflow limits runs of one key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Terms out of their bounds.
///
/// ```
/// use std::time::Duration;
/// use everstep_common::journal::StartTerms;
///
/// let terms = StartTerms { deadline: Some(Duration::ZERO), ..StartTerms::default() };
/// assert_eq!(terms.check().unwrap_err().what, "the deadline");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is refused: {reason}")]
pub struct BadTerms {
    /// Which of them.
    pub what: &'static str,
    /// What its bounds are.
    pub reason: String,
}

impl StartTerms {
    /// Whether all of them are within their bounds.
    ///
    /// ```
    /// use std::time::Duration;
    /// use everstep_common::journal::StartTerms;
    ///
    /// let terms = StartTerms { delay: Some(Duration::from_secs(400 * 24 * 60 * 60)), ..StartTerms::default() };
    /// assert!(terms.check().unwrap_err().to_string().contains("366 days at most"));
    /// ```
    pub fn check(&self) -> Result<(), BadTerms> {
        let refused = |what, reason| Err(BadTerms { what, reason });
        let days = RUN_TERM_MAX.as_secs() / (24 * 60 * 60);
        if self.delay.is_some_and(|delay| delay > RUN_TERM_MAX) {
            return refused("the delay", format!("it may be {days} days at most"));
        }
        let is_bad = |deadline: Duration| deadline.is_zero() || deadline > RUN_TERM_MAX;
        if self.deadline.is_some_and(is_bad) {
            let reason = format!("it is more than nothing, and may be {days} days at most");
            return refused("the deadline", reason);
        }
        let is_bad = |key: &String| key.is_empty() || key.chars().count() > NAME_CHARS_MAX;
        if self.key.as_ref().is_some_and(is_bad) {
            return refused("the limit key", format!("it has 1 to {NAME_CHARS_MAX} characters"));
        }
        Ok(())
    }

    /// Those of a run that is started by one that was started under these: it is as urgent, and work for the same.
    ///
    /// ```
    /// use std::time::Duration;
    /// use everstep_common::journal::StartTerms;
    ///
    /// let terms = StartTerms { deadline: Some(Duration::from_secs(60)), priority: 3, ..StartTerms::default() };
    /// let child = terms.of_child();
    /// assert_eq!((child.deadline, child.priority), (None, 3));
    /// ```
    pub fn of_child(&self) -> Self {
        Self {
            delay: None,
            deadline: None,
            priority: self.priority,
            key: self.key.clone(),
        }
    }

    /// Those of the run in which one goes on that was started under these, and began and ended then. It begins at once; what it may take
    /// is what the other one has left.
    ///
    /// ```
    /// use std::time::Duration;
    /// use everstep_common::journal::StartTerms;
    ///
    /// let terms = StartTerms { deadline: Some(Duration::from_secs(60)), ..StartTerms::default() };
    /// let began = jiff::Timestamp::UNIX_EPOCH;
    /// let next = terms.of_successor(began, began + Duration::from_secs(20));
    /// assert_eq!(next.deadline, Some(Duration::from_secs(40)));
    /// ```
    pub fn of_successor(&self, began: Timestamp, ended: Timestamp) -> Self {
        let taken = Duration::try_from(ended.duration_since(began)).unwrap_or_default();
        Self {
            deadline: self.deadline.map(|deadline| deadline.saturating_sub(taken)),
            ..self.of_child()
        }
    }

    /// Whether a run begins at once, may take as long as it likes, and goes when it is its turn.
    ///
    /// ```
    /// use everstep_common::journal::StartTerms;
    ///
    /// assert!(StartTerms::default().is_usual());
    /// ```
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// The timers that a run has of its own.
///
/// ```
/// use everstep_common::journal::RunTimer;
///
/// assert_eq!(RunTimer::of(&RunTimer::Deadline.key()), Some(RunTimer::Deadline));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunTimer {
    /// Its delay is over.
    Begin,
    /// Its workflow has a limit, and it has to wait for a place. Whatever it did before in memory it did for nobody.
    Wait,
    /// It has a place under the limit of its workflow.
    Place,
    /// It is overdue: it is asked to come to an end.
    Deadline,
    /// It is overdue and has not come to an end: it is ended as it stands.
    Kill,
}

impl RunTimer {
    const ALL: [Self; 5] = [Self::Begin, Self::Wait, Self::Place, Self::Deadline, Self::Kill];

    /// What its entry is called: a key that no path is escaped to.
    ///
    /// ```
    /// use everstep_common::journal::RunTimer;
    ///
    /// assert!(RunTimer::Begin.key().is_own());
    /// ```
    pub fn key(self) -> StepKey {
        StepKey::own(match self {
            Self::Begin => "start",
            Self::Wait => "wait",
            Self::Place => "place",
            Self::Deadline => "until",
            Self::Kill => "over",
        })
    }

    /// The timer of that key, if it is one of the run's own.
    ///
    /// ```
    /// use everstep_common::journal::RunTimer;
    ///
    /// let sleep = everstep_common::key::StepKey::from_path("sleep");
    /// assert_eq!(RunTimer::of(&sleep), None, "that is the workflow's");
    /// ```
    pub fn of(key: &StepKey) -> Option<Self> {
        if !key.is_own() {
            return None;
        }
        Self::ALL.into_iter().find(|timer| timer.key() == *key)
    }
}

fn is_zero(number: &i8) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        let check = |delay, deadline, key: Option<&str>, refused: Option<&str>| {
            let terms = StartTerms {
                delay,
                deadline,
                priority: 0,
                key: key.map(str::to_owned),
            };
            assert_eq!(terms.check().err().map(|bad| bad.what), refused, "{terms:?}");
        };
        let (some, much) = (Duration::from_secs(1), RUN_TERM_MAX + Duration::from_secs(1));
        check(None, None, None, None);
        check(Some(some), Some(some), Some(&"ü".repeat(NAME_CHARS_MAX)), None);
        check(Some(Duration::ZERO), Some(RUN_TERM_MAX), None, None);
        check(Some(much), None, None, Some("the delay"));
        check(None, Some(much), None, Some("the deadline"));
        check(None, Some(Duration::ZERO), None, Some("the deadline"));
        check(None, None, Some(""), Some("the limit key"));
        check(None, None, Some(&"x".repeat(NAME_CHARS_MAX + 1)), Some("the limit key"));
    }

    #[test]
    fn a_run_that_goes_on_has_what_is_left_of_the_time() {
        let terms = StartTerms {
            delay: Some(Duration::from_secs(60)),
            deadline: Some(Duration::from_secs(100)),
            priority: 3,
            key: Some("customer 7".to_owned()),
        };
        let began = Timestamp::UNIX_EPOCH;
        let next = terms.of_successor(began, began + Duration::from_secs(30));
        assert_eq!((next.delay, next.deadline), (None, Some(Duration::from_secs(70))));
        assert_eq!((next.priority, next.key.as_deref()), (3, Some("customer 7")));
        let next = next.of_successor(began, began + Duration::from_secs(71));
        assert_eq!(next.deadline, Some(Duration::ZERO), "it is overdue as soon as it begins");
    }

    #[test]
    fn no_key_of_a_workflow_is_one_of_the_runs_own() {
        for timer in RunTimer::ALL {
            let key = timer.key();
            assert_eq!(StepKey::from_token(key.token()).as_ref(), Ok(&key), "it stands in subjects");
            assert_eq!(RunTimer::of(&key), Some(timer));
            for path in [key.token(), &key.to_string(), "start", "wait", "place", "until", "over"] {
                assert_eq!(RunTimer::of(&StepKey::from_path(path)), None, "{path:?}");
            }
        }
    }
}
