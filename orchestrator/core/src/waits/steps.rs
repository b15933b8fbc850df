//! Steps: what workers do, attempt by attempt.
//!
//! ```text
//!   asked ──▶ Dispatch(1) ──`try`──▶ RetryAt(2) ──retry_due──▶ Dispatch(2) … ──`step` entry──▶ answered
//!     │            │                     └──attempts used up, or none may follow──▶ Record(exhausted)
//!     │            ├──too many `begun`──▶ Record(crashed)
//!     │            ├──a timeout of the step──▶ Record(deadline exceeded, not started)
//!     │            │        └──it may begin once only──▶ Fence ──`begun` of ours──▶ as above, ──of a worker──▶ it runs
//!     │            ├──a timeout of the attempt──▶ FailAttempt ──`try`──▶ as above
//!     │            └──dropped──▶ CancelStep
//!     └──input unusable──▶ Record(invalid)
//! ```
//!
//! What is recorded for the orchestrator's own reasons is seen by the workflow only when its entry comes, like any outcome. This file is
//! the future; what becomes of it once it is asked for is in [`attempts`](super::attempts).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::ids::FunctionName;
use everstep_common::key::StepKey;
use everstep_common::limits::PAYLOAD_BYTES_MAX;
use everstep_common::payload::TooLarge;
use everstep_common::task::StepOptions;
use futures::future::FusedFuture;
use jiff::Timestamp;

use super::ask::{Ask, Request};
use super::attempts::StepWait;
use super::family::Family;
use crate::scope::KeySeed;
use crate::{Undo, WaitError};

/// A step. Made by [`crate::Context::step`].
///
/// Once it has answered it stays pending if polled again.
#[must_use = "a step is asked for when it is polled"]
pub struct Step {
    ask: Ask<Box<NewStep>>,
    /// Until it is asked for.
    undo: Option<Box<Undo>>,
}

impl Step {
    pub(crate) fn new(ask: Ask<Box<NewStep>>) -> Self {
        Self { ask, undo: None }
    }

    /// Uses exactly this key. The number that its name took stays used.
    pub fn key(mut self, key: &str) -> Self {
        self.ask.revise(|seed, _| *seed = KeySeed::Explicit(key.into()));
        self
    }

    /// How it is undone by a rollback once it is done.
    pub fn undone_by(mut self, undo: Undo) -> Self {
        self.ask.revise(|_, request| request.can_be_undone = true);
        self.undo = Some(Box::new(undo));
        self
    }

    /// How it is to be done, as long as it is not asked for.
    pub fn options_mut(&mut self) -> Option<&mut StepOptions> {
        self.ask.request_mut().map(|request| &mut request.options)
    }

    /// Its input, as long as it is not asked for.
    pub fn input(&mut self) -> Option<Result<Bytes, Failure>> {
        self.ask.request_mut().map(|request| request.input.clone())
    }

    /// In how many attempts it was answered; before that, which one is being made. 0 before it is asked for, and for one that could
    /// never be.
    pub fn attempts(&self) -> u32 {
        self.ask.attempts()
    }

    /// The key it asks or has asked under; `None` once it has answered.
    pub fn step_key(&self) -> Option<StepKey> {
        self.ask.key()
    }
}

impl Future for Step {
    type Output = Result<Bytes, WaitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(undo) = self.undo.take() {
            self.ask.undone_by(*undo);
        }
        self.ask.poll(cx)
    }
}

impl FusedFuture for Step {
    fn is_terminated(&self) -> bool {
        self.ask.is_done()
    }
}

/// A step that is not asked for yet.
pub(crate) struct NewStep {
    pub(crate) function: FunctionName,
    pub(crate) input: Result<Bytes, Failure>,
    pub(crate) options: StepOptions,
    /// A rollback undoes it once it is done.
    pub(crate) can_be_undone: bool,
}

impl Request for Box<NewStep> {
    fn into_family(mut self, now: Timestamp) -> Family {
        self.input = self.input.and_then(within_limit);
        Family::Step(Box::new(StepWait::new(*self, now)))
    }
}

fn within_limit(input: Bytes) -> Result<Bytes, Failure> {
    if input.len() <= PAYLOAD_BYTES_MAX {
        return Ok(input);
    }
    Err(Failure::new(
        FailureKind::Invalid,
        TooLarge { bytes: input.len() }.to_string(),
    ))
}
