//! Closures: quick local work whose result is recorded, run off the partition's thread by the shell.
//!
//! ```text
//!   asked ──▶ RunLocal ──`local` entry──▶ answered
//!                └──dropped──▶ CancelLocal
//! ```
//!
//! The result comes by the entry like any other, though it was made in this very process.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use everstep_common::failure::Failure;
use everstep_common::key::StepKey;
use futures::future::{BoxFuture, FusedFuture};
use jiff::Timestamp;

use super::ask::{Ask, Request};
use super::family::Family;
use crate::aftermath::Spare;
use crate::scope::KeySeed;
use crate::{Command, WaitError};

/// The work of a closure.
pub type Closure = Box<dyn FnOnce() -> BoxFuture<'static, Result<Bytes, Failure>> + Send>;

/// A recorded closure. Made by [`crate::Context::local`].
///
/// Once it has answered it stays pending if polled again.
#[must_use = "a closure runs when it is polled"]
pub struct Local(pub(crate) Ask<NewLocal>);

impl Local {
    /// How long it may take.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.0.revise(|_, request| request.timeout = Some(timeout));
        self
    }

    /// Uses exactly this key. The number that its name took stays used.
    pub fn key(mut self, key: &str) -> Self {
        self.0.revise(|seed, _| *seed = KeySeed::Explicit(key.into()));
        self
    }
}

impl Future for Local {
    type Output = Result<Bytes, WaitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }
}

impl FusedFuture for Local {
    fn is_terminated(&self) -> bool {
        self.0.is_done()
    }
}

/// A closure that is not asked for yet.
pub(crate) struct NewLocal {
    pub(crate) closure: Closure,
    pub(crate) timeout: Option<Duration>,
}

impl Request for NewLocal {
    fn into_family(self, _now: Timestamp) -> Family {
        Family::Local(Box::new(LocalWait {
            closure: Some(self.closure),
            timeout: self.timeout,
        }))
    }
}

/// A closure that was asked for.
pub(crate) struct LocalWait {
    /// Until it is handed to the shell.
    closure: Option<Closure>,
    timeout: Option<Duration>,
}

impl LocalWait {
    pub(super) fn take(&mut self) -> Option<Spare> {
        Some(Box::new(self.closure.take()?))
    }

    pub(super) fn commands(&mut self, key: &StepKey, commands: &mut Vec<Command>) {
        if let Some(closure) = self.closure.take() {
            commands.push(Command::RunLocal {
                key: key.clone(),
                closure,
                timeout: self.timeout,
            });
        }
    }
}
