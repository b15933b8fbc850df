//! The future behind every wait: the request is made at the first poll, the cancel at the drop.

use std::mem;
use std::rc::Rc;
use std::task::{Context, Poll};

use everstep_common::failure::Failure;
use everstep_common::key::StepKey;

use super::{Answer, Family, WaitId};
use crate::scope::KeySeed;
use crate::shared::Shared;
use crate::state::{Refusal, State};
use crate::{Undo, WaitError};

/// What a future will ask for, before it is polled.
pub(crate) trait Request {
    /// The wait that it becomes, now.
    fn into_family(self, now: jiff::Timestamp) -> Family;
}

/// A wait from its creation to its answer.
pub(crate) struct Ask<R> {
    shared: Rc<Shared>,
    stage: Stage<R>,
}

enum Stage<R> {
    /// Not polled yet: the key's number is taken, nothing is asked.
    New(KeySeed, R),
    /// It cannot be asked for, and says so once it is polled.
    Refused(Failure),
    /// Asked for.
    Waiting(WaitId),
    /// Answered, or could never be asked for.
    Done(Option<WaitId>),
}

impl<R> Ask<R> {
    pub(crate) fn new(shared: Rc<Shared>, name: &str, request: R) -> Self {
        let seed = KeySeed::take(shared.scope(), name);
        Self::with_key(shared, seed, request)
    }

    pub(crate) fn with_key(shared: Rc<Shared>, seed: KeySeed, request: R) -> Self {
        Self {
            shared,
            stage: Stage::New(seed, request),
        }
    }

    /// It cannot be asked for: that is what it brings.
    pub(crate) fn refuse(&mut self, failure: Failure) {
        self.stage = Stage::Refused(failure);
    }

    /// What the run and the contexts of its workflow share.
    pub(crate) fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }

    /// Changes key or request while nothing is asked; later it has no effect.
    pub(crate) fn revise(&mut self, change: impl FnOnce(&mut KeySeed, &mut R)) {
        if let Stage::New(seed, request) = &mut self.stage {
            change(seed, request);
        }
    }

    /// The request, while nothing is asked.
    pub(crate) fn request_mut(&mut self) -> Option<&mut R> {
        match &mut self.stage {
            Stage::New(_, request) => Some(request),
            Stage::Refused(_) | Stage::Waiting(_) | Stage::Done(_) => None,
        }
    }

    /// The key under which it will ask or has asked, until it has answered.
    pub(crate) fn key(&self) -> Option<StepKey> {
        match &self.stage {
            Stage::New(seed, _) => seed.key().ok(),
            Stage::Waiting(id) => Some(self.shared.with(|state| state.key_of(*id))),
            Stage::Refused(_) | Stage::Done(_) => None,
        }
    }

    /// How what it asks for is undone; said before it asks.
    pub(crate) fn undone_by(&self, undo: Undo) {
        if let (Stage::New(..), Some(key)) = (&self.stage, self.key()) {
            self.shared.set_undo(key, undo);
        }
    }

    /// Which wait it is, once it is asked for.
    pub(crate) fn id(&self) -> Option<WaitId> {
        match self.stage {
            Stage::Waiting(id) | Stage::Done(Some(id)) => Some(id),
            Stage::New(..) | Stage::Refused(_) | Stage::Done(None) => None,
        }
    }

    /// How many attempts it has had; 0 if it was not asked for.
    pub(crate) fn attempts(&self) -> u32 {
        self.id().map_or(0, |id| self.shared.with(|state| state.attempts_of(id)))
    }

    /// Whether it has answered; polled again it stays pending.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Done(_))
    }
}

impl<R: Request> Ask<R> {
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        match mem::replace(&mut self.stage, Stage::Done(None)) {
            Stage::New(seed, request) => {
                let key = match seed.key() {
                    Ok(key) => key,
                    Err(failure) => return Poll::Ready(Err(WaitError::Failed(failure))),
                };
                let family = request.into_family(self.shared.with(State::now));
                match self.shared.ask(key, family) {
                    Ok(id) => self.stage = Stage::Waiting(id),
                    Err(Refusal::Error(error)) => return Poll::Ready(Err(error)),
                    Err(Refusal::Never) => return Poll::Pending,
                }
            }
            Stage::Refused(failure) => return Poll::Ready(Err(WaitError::Failed(failure))),
            stage @ (Stage::Waiting(_) | Stage::Done(_)) => self.stage = stage,
        }
        let Stage::Waiting(id) = self.stage else {
            return Poll::Pending;
        };
        let answer = self.shared.poll_wait(id, cx);
        if answer.is_ready() {
            self.stage = Stage::Done(Some(id));
        }
        answer
    }
}

impl<R> Drop for Ask<R> {
    fn drop(&mut self) {
        if let Stage::Waiting(id) = self.stage {
            self.shared.abandon(id);
        }
    }
}
