//! Updates that a workflow takes, and the answers that it gives.
//!
//! ```text
//!   asked ──an update of the name──▶ Update ──answer──▶ RecordAnswer ──`local` entry──▶ recorded
//!                                      └──dropped──▶ RecordAnswer: failed
//! ```
//!
//! They are waited for like signals ([`super::signals`]). An answer is no wait: it is given and goes out, whatever becomes of the branch that
//! gave it. What is recorded is compared by its verdict alone, so that the wording of answers may be changed under runs that have given some;
//! code that now rejects what was done parks the run.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::{mem, thread};

use bytes::Bytes;
use everstep_common::digest::InputDigest;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::key::{StepKey, UPDATE_PREFIX};
use everstep_common::limits::PAYLOAD_BYTES_MAX;
use everstep_common::payload::TooLarge;
use everstep_common::update::UpdateVerdict;
use futures::future::FusedFuture;

use super::ask::Ask;
use super::family::{Difference, Received};
use super::signals::{Address, LetterSort, NewSignal};
use super::timers::Due;
use crate::scope::{KeySeed, Scope};
use crate::shared::Shared;
use crate::state::State;
use crate::{Command, WaitError};

/// A wait for an update. Made by [`crate::Context::update`].
///
/// Once it has answered it stays pending if polled again, until it is told to wait for the next one.
#[must_use = "an update is waited for when it is polled"]
pub struct NextUpdate {
    shared: Rc<Shared>,
    scope: Rc<Scope>,
    name: Box<str>,
    deadline: Option<Due>,
    ask: Ask<NewSignal>,
}

impl NextUpdate {
    pub(crate) fn new(shared: Rc<Shared>, name: &str) -> Self {
        let scope = shared.scope();
        let ask = ask(&shared, &scope, name);
        Self {
            shared,
            scope,
            name: name.into(),
            deadline: None,
            ask,
        }
    }

    /// When it is no longer waited for: the wait then fails with [`FailureKind::DeadlineExceeded`].
    pub fn deadline(mut self, due: Due) -> Self {
        self.deadline = Some(due);
        self
    }

    /// Waits for another update, in the same scope and until the same deadline.
    pub fn again(&mut self) {
        self.ask = ask(&self.shared, &self.scope, &self.name);
    }
}

fn ask(shared: &Rc<Shared>, scope: &Rc<Scope>, name: &str) -> Ask<NewSignal> {
    let seed = KeySeed::take(scope.clone(), &format!("{UPDATE_PREFIX}{name}"));
    let address = Address::new(LetterSort::Update, name);
    let request = NewSignal {
        address,
        what: None,
        deadline: None,
    };
    Ask::with_key(shared.clone(), seed, request)
}

impl Future for NextUpdate {
    type Output = Result<Update, WaitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(due) = self.deadline {
            // From the first poll on, however many updates are waited for.
            let due = Due::At(due.from(self.shared.with(State::now)));
            self.deadline = Some(due);
            self.ask.revise(|_, request| request.deadline = Some(due));
        }
        let taken = ready!(self.ask.poll(cx));
        Poll::Ready(taken.map(|input| Update {
            shared: self.shared.clone(),
            key: self.ask.id().and_then(|id| self.shared.with(|state| state.update_of(id))),
            input,
        }))
    }
}

impl FusedFuture for NextUpdate {
    fn is_terminated(&self) -> bool {
        self.ask.is_done()
    }
}

/// An update that the workflow has taken and is to answer. Dropped without an answer it counts as failed.
#[must_use = "somebody waits for the answer"]
pub struct Update {
    shared: Rc<Shared>,
    /// Until it is answered.
    key: Option<StepKey>,
    input: Bytes,
}

impl Update {
    /// What is asked for.
    pub fn input(&self) -> &Bytes {
        &self.input
    }

    /// The caller's key for it.
    pub fn key(&self) -> Option<&StepKey> {
        self.key.as_ref()
    }

    /// Answers it, at once and for good.
    ///
    /// # Errors
    ///
    /// A failure if the answer is too large, which then is what the caller is told; or if its key is asked for by something else.
    pub fn answer(mut self, answer: Result<Bytes, Failure>) -> Result<(), Failure> {
        let (answer, refused) = match answer {
            Ok(value) if value.len() > PAYLOAD_BYTES_MAX => {
                let failure = Failure::new(FailureKind::Invalid, TooLarge { bytes: value.len() }.to_string());
                (Err(failure.clone()), Err(failure))
            }
            answer => (answer, Ok(())),
        };
        self.settle(answer).and(refused)
    }

    fn settle(&mut self, answer: Result<Bytes, Failure>) -> Result<(), Failure> {
        match self.key.take() {
            Some(key) => self.shared.change(|state| state.reply(&key, answer)),
            None => Ok(()),
        }
    }
}

impl Drop for Update {
    fn drop(&mut self) {
        // Unwinding says nothing about what the workflow wants.
        if thread::panicking() {
            return;
        }
        let failure = Failure::new(
            FailureKind::Cancelled,
            "the workflow took the update and dropped it without an answer",
        );
        // That its key is asked for by something else is told to whoever answers.
        let _ = self.settle(Err(failure));
    }
}

impl fmt::Debug for Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Update").field(&self.key).finish()
    }
}

/// An answer that was given.
pub(crate) struct ReplyWait {
    /// Until it is handed to the shell.
    answer: Option<Result<Bytes, Failure>>,
    verdict: UpdateVerdict,
    digest: InputDigest,
}

impl ReplyWait {
    pub(crate) fn new(answer: Result<Bytes, Failure>) -> Self {
        let (verdict, digest) = match &answer {
            Ok(value) => (UpdateVerdict::Done, InputDigest::of(value)),
            Err(failure) => (
                UpdateVerdict::of_failure(failure.kind),
                InputDigest::of(failure.message.as_bytes()),
            ),
        };
        Self {
            answer: Some(answer),
            verdict,
            digest,
        }
    }

    /// What tells it from another answer.
    pub(crate) fn identity(&self) -> (UpdateVerdict, &InputDigest) {
        (self.verdict, &self.digest)
    }

    /// It is recorded.
    pub(super) fn recorded(&mut self, recorded: &Result<Bytes, Failure>) -> Result<Received, Difference> {
        let recorded = match recorded {
            Ok(_) => UpdateVerdict::Done,
            Err(failure) => UpdateVerdict::of_failure(failure.kind),
        };
        if recorded != self.verdict {
            return Err(Difference::Verdict {
                recorded,
                asked: self.verdict,
            });
        }
        self.answer = None;
        Ok(Received::Over)
    }

    /// It goes out, though nobody here waits for it.
    pub(super) fn command(&mut self, key: &StepKey) -> Option<Command> {
        let answer = mem::take(&mut self.answer)?;
        Some(Command::RecordAnswer {
            key: key.clone(),
            answer,
        })
    }
}
