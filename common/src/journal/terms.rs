//! The terms under which a run was started: when it begins, by when it must be over, and what of it goes first.
//!
//! Both times are counted from entries, so that every owner computes the same. They are timers of the run's own, under keys that no
//! path of a workflow gives ([`RunTimer`]): the server fires them even if no orchestrator lives.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::key::StepKey;

/// What a start asks for beyond what is run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// How long after the start was recorded the run begins.
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

impl Terms {
    /// Whether a run begins at once, may take as long as it likes, and goes when it is its turn.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// The timers that a run has of its own.
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
