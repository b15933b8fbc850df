//! Signals, updates and events: what reaches a run from outside under a name, for whichever wait takes it.
//!
//! ```text
//!   asked ──▶ StartTimer (if it has a deadline) ──a signal of the name──▶ answered ──▶ CloseWait
//!     │            ├──`timer` entry──▶ answered: too late
//!     │            └──dropped──▶ CloseWait
//!     └─ a signal of the name is kept already ──▶ answered
//! ```
//!
//! They are kept by address in the order stored, waits by address in the order asked; the mailbox of [`crate::state`] brings them together.
//! Of a signal and the deadline of its wait the one with the lower sequence counts. An update differs in one thing: whoever takes it answers
//! it ([`super::updates`]). An event does not come by itself: the shell looks for it as long as a wait has none, see [`crate::state`].

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

/// What a wait takes: what comes of one sort under one name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    pub(crate) sort: LetterSort,
    pub(crate) name: Box<str>,
}

/// The sorts of what comes under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum LetterSort {
    Signal,
    Update,
    /// The events of a subscription, which is the name.
    Event,
}

/// Something that has come under a name.
#[derive(Clone)]
pub(crate) struct Letter {
    pub(crate) value: Bytes,
    /// The key of an update, by which it is answered.
    pub(crate) update: Option<StepKey>,
}

impl Address {
    pub(crate) fn new(sort: LetterSort, name: impl Into<Box<str>>) -> Self {
        Self { sort, name: name.into() }
    }
}

impl LetterSort {
    fn noun(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Update => "update",
            Self::Event => "event",
        }
    }
}

/// A wait that is not asked for yet.
pub(crate) struct NewSignal {
    pub(crate) address: Address,
    /// Which events, if it takes events.
    pub(crate) what: Option<Arc<Subscription>>,
    pub(crate) deadline: Option<Due>,
}

impl Request for NewSignal {
    fn into_family(self, now: Timestamp) -> Family {
        Family::Signal(Box::new(SignalWait {
            address: self.address,
            what: self.what,
            due: self.deadline.map(|due| due.from(now)),
            told: false,
            given: None,
        }))
    }
}

/// A wait that was asked for.
pub(crate) struct SignalWait {
    address: Address,
    what: Option<Arc<Subscription>>,
    due: Option<Timestamp>,
    told: bool,
    given: Option<Given>,
}

/// What a wait was given.
struct Given {
    sequence: u64,
    update: Option<StepKey>,
}

impl SignalWait {
    /// What it takes.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Which events it takes, if it takes events.
    pub(crate) fn subscription(&self) -> Option<&Arc<Subscription>> {
        self.what.as_ref()
    }

    /// It is given what has this sequence.
    pub(crate) fn give(&mut self, sequence: u64, update: Option<StepKey>) {
        self.given = Some(Given { sequence, update });
    }

    /// What it was given goes to another.
    pub(crate) fn take_back(&mut self) {
        self.given = None;
    }

    /// The sequence of what it was given.
    pub(crate) fn given(&self) -> Option<u64> {
        self.given.as_ref().map(|given| given.sequence)
    }

    /// The key of the update that it was given.
    pub(crate) fn update(&self) -> Option<&StepKey> {
        self.given.as_ref()?.update.as_ref()
    }

    pub(super) fn kind(&self) -> WaitKind {
        match self.address.sort {
            LetterSort::Signal => WaitKind::Signal,
            LetterSort::Update => WaitKind::Update,
            LetterSort::Event => WaitKind::Awaited,
        }
    }

    pub(super) fn too_late(&self) -> Result<Bytes, Failure> {
        let Address { sort, name } = &self.address;
        let noun = sort.noun();
        let message = match sort {
            // The name of a subscription has quotes of its own.
            LetterSort::Event => format!("no {noun} {name} has come in time"),
            LetterSort::Signal | LetterSort::Update => format!("no {noun} {name:?} has come in time"),
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
                event: self.what.clone(),
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
        let (name, deadline) = (self.address.name.to_string(), self.due);
        match (self.address.sort, &self.what) {
            (_, Some(what)) => OpenKind::Awaited {
                what: what.clone(),
                deadline,
            },
            (LetterSort::Update, None) => OpenKind::Update { name, deadline },
            (LetterSort::Signal | LetterSort::Event, None) => OpenKind::Signal { name, deadline },
        }
    }
}
