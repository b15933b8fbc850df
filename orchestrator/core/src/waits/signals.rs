//! Waits for what reaches a run from outside: signals by their name, and events of a subscription, each for whichever wait takes it.
//!
//! ```text
//!   asked ──▶ StartTimer (if it has a deadline) ──the next of its channel──▶ answered ──▶ CloseWait
//!     │            ├──`timer` entry──▶ answered: too late
//!     │            └──dropped──▶ CloseWait
//!     └─ one of its channel is kept already ──▶ answered
//! ```
//!
//! What has come is kept by channel in the order stored, waits by channel in the order asked; the mailbox of [`crate::state`] brings them
//! together. Of a signal and the deadline of its wait the one with the lower sequence counts. Events do not come by themselves as signals do:
//! the shell looks for them as long as a wait has none, see [`crate::state`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::key::StepKey;
use everstep_common::subscription::Subscription;
use futures::future::FusedFuture;
use jiff::Timestamp;

use super::ask::{Ask, Request};
use super::family::Family;
use super::timers::Due;
use crate::parked::WaitKind;
use crate::scope::KeySeed;
use crate::{Command, OpenKind, WaitError};

/// A wait for a signal or an event. Made by [`crate::Context::signal`] and [`crate::Context::event`].
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

/// Where what a wait takes comes from.
#[derive(Clone)]
pub(crate) enum Source {
    /// Whoever sends signals of that name.
    Signal(Box<str>),
    /// The stream of events.
    Event(Arc<Subscription>),
}

impl Source {
    /// What is kept for waits of this source is kept under this.
    pub(crate) fn channel(&self) -> Box<str> {
        match self {
            Self::Signal(name) => signal_channel(name),
            Self::Event(what) => event_channel(what),
        }
    }
}

/// The channel of the signals of a name.
pub(crate) fn signal_channel(name: &str) -> Box<str> {
    format!("signal {name}").into()
}

/// The channel of the events of a subscription.
pub(crate) fn event_channel(what: &Subscription) -> Box<str> {
    format!("event {what}").into()
}

/// A wait that is not asked for yet.
pub(crate) struct NewSignal {
    pub(crate) source: Source,
    pub(crate) deadline: Option<Due>,
}

impl Request for NewSignal {
    fn into_family(self, now: Timestamp) -> Family {
        Family::Signal(Box::new(SignalWait {
            channel: self.source.channel(),
            source: self.source,
            due: self.deadline.map(|due| due.from(now)),
            told: false,
            given: None,
        }))
    }
}

/// A wait that was asked for.
pub(crate) struct SignalWait {
    channel: Box<str>,
    source: Source,
    due: Option<Timestamp>,
    told: bool,
    /// What it was given, by its sequence.
    given: Option<u64>,
}

impl SignalWait {
    /// Where it takes from.
    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    /// Which events it takes, if it takes events.
    pub(crate) fn subscription(&self) -> Option<&Arc<Subscription>> {
        match &self.source {
            Source::Signal(_) => None,
            Source::Event(what) => Some(what),
        }
    }

    pub(super) fn kind(&self) -> WaitKind {
        match self.source {
            Source::Signal(_) => WaitKind::Signal,
            Source::Event(_) => WaitKind::Awaited,
        }
    }

    /// It is given the signal or event with this sequence.
    pub(crate) fn give(&mut self, sequence: u64) {
        self.given = Some(sequence);
    }

    /// What it was given goes to another.
    pub(crate) fn take_back(&mut self) {
        self.given = None;
    }

    /// What it was given.
    pub(crate) fn given(&self) -> Option<u64> {
        self.given
    }

    pub(super) fn too_late(&self) -> Result<Bytes, Failure> {
        let message = match &self.source {
            Source::Signal(name) => format!("no signal {name:?} has come in time"),
            Source::Event(what) => format!("no event {what} has come in time"),
        };
        Err(Failure::new(FailureKind::DeadlineExceeded, message))
    }

    pub(super) fn commands(&mut self, key: &StepKey, commands: &mut Vec<Command>) {
        if let Some(due) = self.due
            && !std::mem::replace(&mut self.told, true)
        {
            commands.push(Command::StartTimer {
                key: key.clone(),
                due,
                event: self.subscription().cloned(),
            });
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
        let deadline = self.due;
        match &self.source {
            Source::Signal(name) => OpenKind::Signal {
                name: name.to_string(),
                deadline,
            },
            Source::Event(what) => OpenKind::Awaited {
                what: what.clone(),
                deadline,
            },
        }
    }
}
