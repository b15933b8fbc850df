//! Signals: values under a name that reach a run from outside, for whichever wait takes them.
//!
//! ```text
//!   asked ──▶ StartTimer (if it has a deadline) ──a signal of the name──▶ answered ──▶ CloseWait
//!     │            ├──`timer` entry──▶ answered: too late
//!     │            └──dropped──▶ CloseWait
//!     └─ a signal of the name is kept already ──▶ answered
//! ```
//!
//! Signals are kept by name in the order stored, waits by name in the order asked; the mailbox of [`crate::state`] brings them together. Of a
//! signal and the deadline of its wait the one with the lower sequence counts.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::key::StepKey;
use futures::future::FusedFuture;
use jiff::Timestamp;

use super::ask::{Ask, Request};
use super::family::Family;
use super::timers::Due;
use crate::scope::KeySeed;
use crate::{Command, OpenKind, WaitError};

/// A wait for a signal. Made by [`crate::Context::signal`].
///
/// Once it has answered it stays pending if polled again.
#[must_use = "a signal is waited for when it is polled"]
pub struct Signal(pub(crate) Ask<NewSignal>);

impl Signal {
    /// When it is no longer waited for: the wait then fails with [`FailureKind::DeadlineExceeded`].
    pub fn deadline(mut self, due: Due) -> Self {
        self.0.revise(|_, request| request.deadline = Some(due));
        self
    }

    /// Uses exactly this key, which names its deadline. The number that its name took stays used.
    pub fn key(mut self, key: &str) -> Self {
        self.0.revise(|seed, _| *seed = KeySeed::Explicit(key.into()));
        self
    }
}

impl Future for Signal {
    type Output = Result<Bytes, WaitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }
}

impl FusedFuture for Signal {
    fn is_terminated(&self) -> bool {
        self.0.is_done()
    }
}

/// A wait that is not asked for yet.
pub(crate) struct NewSignal {
    pub(crate) name: Box<str>,
    pub(crate) deadline: Option<Due>,
}

impl Request for NewSignal {
    fn into_family(self, now: Timestamp) -> Family {
        Family::Signal(Box::new(SignalWait {
            name: self.name,
            due: self.deadline.map(|due| due.from(now)),
            told: false,
            given: None,
        }))
    }
}

/// A wait that was asked for.
pub(crate) struct SignalWait {
    name: Box<str>,
    due: Option<Timestamp>,
    told: bool,
    /// The signal that it was given, by its sequence.
    given: Option<u64>,
}

impl SignalWait {
    /// Which signals it takes.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// It is given the signal with this sequence.
    pub(crate) fn give(&mut self, sequence: u64) {
        self.given = Some(sequence);
    }

    /// The signal that it was given goes to another.
    pub(crate) fn take_back(&mut self) {
        self.given = None;
    }

    /// The signal that it was given.
    pub(crate) fn given(&self) -> Option<u64> {
        self.given
    }

    pub(super) fn too_late(&self) -> Result<Bytes, Failure> {
        let message = format!("no signal {:?} has come in time", self.name);
        Err(Failure::new(FailureKind::DeadlineExceeded, message))
    }

    pub(super) fn commands(&mut self, key: &StepKey, commands: &mut Vec<Command>) {
        if let Some(due) = self.due
            && !std::mem::replace(&mut self.told, true)
        {
            commands.push(Command::StartTimer { key: key.clone(), due });
        }
    }

    pub(super) fn close(&self, key: &StepKey) -> Option<Command> {
        self.due.is_some().then(|| Command::CloseWait {
            key: key.clone(),
            deadline: true,
            withdraw: false,
        })
    }

    pub(super) fn open_kind(&self) -> OpenKind {
        OpenKind::Signal {
            name: self.name.to_string(),
            deadline: self.due,
        }
    }
}
