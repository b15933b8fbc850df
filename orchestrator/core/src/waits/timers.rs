//! Timers: durable sleeps.
//!
//! ```text
//!   asked ──▶ StartTimer ──`timer` entry──▶ answered
//!                 └──dropped──▶ CancelTimer
//! ```
//!
//! A timer whose time has passed when it is asked for still waits for its entry: only entries move a run. A recorded timer is
//! judged by its key alone, so the length of a sleep may be changed under runs that have slept already.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use everstep_common::key::StepKey;
use futures::future::FusedFuture;
use jiff::Timestamp;

use super::ask::{Ask, Request};
use super::family::Family;
use crate::scope::KeySeed;
use crate::{Command, WaitError};

/// When a timer is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// That long after the entry in whose application it was first polled.
    After(Duration),
    /// At that time.
    At(Timestamp),
}

impl Due {
    pub(super) fn from(self, now: Timestamp) -> Timestamp {
        match self {
            Self::After(duration) => later(now, duration),
            Self::At(time) => time,
        }
    }
}

/// `now` plus `duration`; the end of time if that is later.
pub(crate) fn later(now: Timestamp, duration: Duration) -> Timestamp {
    now.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// A durable sleep. Made by [`crate::Context::timer`].
///
/// Once it has answered it stays pending if polled again.
#[must_use = "a timer starts when it is polled"]
pub struct Timer(pub(crate) Ask<NewTimer>);

impl Timer {
    /// Gives it another name in the same scope.
    pub fn named(mut self, name: &str) -> Self {
        self.0.revise(|seed, _| seed.rename(name));
        self
    }

    /// Uses exactly this key. The number that its name took stays used.
    pub fn key(mut self, key: &str) -> Self {
        self.0.revise(|seed, _| *seed = KeySeed::Explicit(key.into()));
        self
    }
}

impl Future for Timer {
    type Output = Result<(), WaitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx).map_ok(drop)
    }
}

impl FusedFuture for Timer {
    fn is_terminated(&self) -> bool {
        self.0.is_done()
    }
}

/// A timer that is not asked for yet.
pub(crate) struct NewTimer {
    pub(crate) due: Due,
}

impl Request for NewTimer {
    fn into_family(self, now: Timestamp) -> Family {
        Family::Timer(TimerWait {
            due: self.due.from(now),
            told: false,
        })
    }
}

/// A timer that was asked for.
pub(crate) struct TimerWait {
    due: Timestamp,
    told: bool,
}

impl TimerWait {
    pub(super) fn due(&self) -> Timestamp {
        self.due
    }

    pub(super) fn commands(&mut self, key: &StepKey, commands: &mut Vec<Command>) {
        if !self.told {
            self.told = true;
            commands.push(Command::StartTimer {
                key: key.clone(),
                due: self.due,
                event: None,
            });
        }
    }
}
