//! Steps: what workers do, attempt by attempt.
//!
//! ```text
//!   asked ──▶ Dispatch(1) ──`try`──▶ RetryAt(2) ──retry_due──▶ Dispatch(2) … ──`step` entry──▶ answered
//!     │            │                     └──attempts used up──▶ Record(exhausted)
//!     │            ├──too many `begun`──▶ Record(crashed)
//!     │            ├──deadline_passed──▶ Record(deadline exceeded)
//!     │            └──dropped──▶ CancelStep
//!     └──input unusable──▶ Record(invalid)
//! ```
//!
//! What is recorded for the orchestrator's own reasons is seen by the workflow only when its entry comes, like any outcome.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use everstep_common::digest::InputDigest;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::ids::FunctionName;
use everstep_common::journal::{Attempt, AttemptError};
use everstep_common::key::StepKey;
use everstep_common::limits::PAYLOAD_BYTES_MAX;
use everstep_common::payload::TooLarge;
use everstep_common::retry;
use everstep_common::task::StepOptions;
use futures::future::FusedFuture;
use jiff::Timestamp;

use super::ask::{Ask, Request};
use super::family::{Difference, Family, Moment, Received};
use super::timers::later;
use crate::scope::KeySeed;
use crate::{Command, OpenKind, WaitError};

/// A step. Made by [`crate::Context::step`].
///
/// Once it has answered it stays pending if polled again.
#[must_use = "a step is asked for when it is polled"]
pub struct Step(pub(crate) Ask<Box<NewStep>>);

impl Step {
    /// Uses exactly this key. The number that its name took stays used.
    pub fn key(mut self, key: &str) -> Self {
        self.0.revise(|seed, _| *seed = KeySeed::Explicit(key.into()));
        self
    }

    /// How it is to be done, as long as it is not asked for.
    pub fn options_mut(&mut self) -> Option<&mut StepOptions> {
        self.0.request_mut().map(|request| &mut request.options)
    }

    /// Its input, as long as it is not asked for.
    pub fn input(&mut self) -> Option<Result<Bytes, Failure>> {
        self.0.request_mut().map(|request| request.input.clone())
    }

    /// In how many attempts it was answered; before that, which one is being made. 0 before it is asked for, and for one that could
    /// never be.
    pub fn attempts(&self) -> u32 {
        self.0.attempts()
    }

    /// The key it asks or has asked under; `None` once it has answered.
    pub fn step_key(&self) -> Option<StepKey> {
        self.0.key()
    }
}

impl Future for Step {
    type Output = Result<Bytes, WaitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }
}

impl FusedFuture for Step {
    fn is_terminated(&self) -> bool {
        self.0.is_done()
    }
}

/// A step that is not asked for yet.
pub(crate) struct NewStep {
    pub(crate) function: FunctionName,
    pub(crate) input: Result<Bytes, Failure>,
    pub(crate) options: StepOptions,
}

impl Request for Box<NewStep> {
    fn into_family(self, now: Timestamp) -> Family {
        let NewStep {
            function,
            input,
            options,
        } = *self;
        let (input, next) = match input.and_then(within_limit) {
            Ok(input) => (input, Next::Dispatch),
            Err(failure) => (Bytes::new(), Next::Record(failure)),
        };
        let digest = InputDigest::of(&input);
        let deadline = later(now, options.total_timeout);
        let open = OpenStep {
            input,
            options,
            deadline,
            deadline_told: false,
            attempt: 1,
            begun: Begun::default(),
            next,
        };
        Family::Step(Box::new(StepWait {
            function,
            digest,
            open: Some(Box::new(open)),
        }))
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

/// A step that was asked for. Function and digest stay for ever, to be compared with whatever comes.
pub(crate) struct StepWait {
    function: FunctionName,
    digest: InputDigest,
    open: Option<Box<OpenStep>>,
}

/// What only an open step needs.
struct OpenStep {
    input: Bytes,
    options: StepOptions,
    deadline: Timestamp,
    deadline_told: bool,
    /// The attempt that is being made or waited for.
    attempt: u32,
    begun: Begun,
    next: Next,
}

/// Executions that began and have not ended.
#[derive(Default)]
struct Begun {
    count: u32,
    /// One of them is of the present attempt and may be running.
    present: bool,
}

/// What is to be done for a step.
enum Next {
    Dispatch,
    Retry {
        at: Timestamp,
    },
    /// The retry was told; its time has not come.
    Waiting {
        at: Timestamp,
    },
    Record(Failure),
    /// All was told.
    Nothing,
    /// A record was told; nothing else follows.
    Recorded,
}

impl StepWait {
    pub(super) fn function(&self) -> &FunctionName {
        &self.function
    }

    pub(super) fn digest(&self) -> &InputDigest {
        &self.digest
    }

    /// Which one is being made or waited for.
    pub(super) fn attempt(&self) -> u32 {
        self.open.as_deref().map_or(0, |open| open.attempt)
    }

    fn compare(&self, function: FunctionName, digest: InputDigest) -> Result<(), Difference> {
        if function != self.function {
            return Err(Difference::Function {
                recorded: function,
                asked: self.function.clone(),
            });
        }
        if digest != self.digest {
            return Err(Difference::Input {
                function,
                recorded: digest,
                asked: self.digest,
            });
        }
        Ok(())
    }

    /// Its outcome is recorded.
    pub(super) fn ended(
        &self,
        function: FunctionName,
        digest: InputDigest,
        result: Result<Bytes, Failure>,
    ) -> Result<Received, Difference> {
        self.compare(function, digest)?;
        Ok(Received::Answer(result))
    }

    /// An attempt failed.
    pub(super) fn tried(&mut self, key: &StepKey, number: u32, attempt: Attempt, at: &Moment<'_>) -> Result<Received, Difference> {
        self.compare(attempt.function, attempt.digest)?;
        let Some(open) = self.open_for(number) else {
            return Ok(Received::Nothing);
        };
        open.begun.attempt_ended();
        if attempt.error == AttemptError::Invalid {
            open.next = Next::Record(Failure::new(FailureKind::Invalid, attempt.message));
            return Ok(Received::Changed);
        }
        let entropy = retry::entropy(at.run, key, number);
        open.next = match open.options.retries.delay_after(number, entropy) {
            None => Next::Record(Failure::new(FailureKind::Exhausted, attempt.message)),
            Some(delay) => {
                open.attempt = number + 1;
                Next::Retry {
                    at: later(at.time, attempt.retry_after.unwrap_or(delay)),
                }
            }
        };
        Ok(Received::Changed)
    }

    /// An execution of an attempt began.
    pub(super) fn begun(&mut self, attempt: u32) -> Received {
        let Some(open) = self.open_for(attempt) else {
            return Received::Nothing;
        };
        open.begun.count += 1;
        open.begun.present = true;
        // The newest one may be running; those before it are dead.
        if open.begun.count <= open.options.max_crashes {
            return Received::Nothing;
        }
        let message = format!(
            "execution began {} times and never ended; the process may die of this step",
            open.begun.count
        );
        open.next = Next::Record(Failure::new(FailureKind::Crashed, message));
        Received::Changed
    }

    /// The step while attempt `number` can still say something about it: not superseded, and nothing recorded.
    fn open_for(&mut self, number: u32) -> Option<&mut OpenStep> {
        let open = self.open.as_deref_mut()?;
        let over = matches!(open.next, Next::Record(_) | Next::Recorded);
        (!over && number >= open.attempt).then_some(open)
    }

    /// The time of a retry has come. Says whether there is something to be done.
    pub(crate) fn retry_due(&mut self, attempt: u32) -> bool {
        let Some(open) = self.open.as_deref_mut() else { return false };
        let due = open.attempt == attempt && matches!(open.next, Next::Retry { .. } | Next::Waiting { .. });
        if due {
            open.next = Next::Dispatch;
        }
        due
    }

    /// The time of the whole step is over. Says whether there is something to be done.
    pub(crate) fn deadline_passed(&mut self) -> bool {
        let Some(open) = self.open.as_deref_mut() else { return false };
        if matches!(open.next, Next::Record(_) | Next::Recorded) {
            return false;
        }
        let message = format!(
            "not done within {:?}, in attempt {}",
            open.options.total_timeout, open.attempt
        );
        open.next = Next::Record(Failure::new(FailureKind::DeadlineExceeded, message));
        true
    }

    pub(super) fn commands(&mut self, key: &StepKey, fresh: bool, commands: &mut Vec<Command>) {
        let Some(open) = self.open.as_deref_mut() else { return };
        let (key, function, digest) = (key.clone(), self.function.clone(), self.digest);
        let attempt = open.attempt;
        match std::mem::replace(&mut open.next, Next::Nothing) {
            Next::Dispatch => {
                let (input, options, deadline) = (open.input.clone(), open.options.clone(), open.deadline);
                commands.push(Command::Dispatch {
                    key: key.clone(),
                    attempt,
                    function,
                    input,
                    digest,
                    options,
                    deadline,
                    fresh,
                });
            }
            Next::Retry { at } => {
                open.next = Next::Waiting { at };
                commands.push(Command::RetryAt {
                    key: key.clone(),
                    attempt,
                    at,
                });
            }
            Next::Record(failure) => {
                open.next = Next::Recorded;
                let queue = open.options.queue.clone();
                commands.push(Command::Record {
                    key,
                    function,
                    digest,
                    attempt,
                    queue,
                    failure,
                });
                return;
            }
            told @ (Next::Waiting { .. } | Next::Nothing | Next::Recorded) => open.next = told,
        }
        if !open.deadline_told {
            open.deadline_told = true;
            commands.push(Command::Deadline { key, at: open.deadline });
        }
    }

    pub(super) fn cancel(&mut self, key: &StepKey) -> Option<Command> {
        let open = self.open.take()?;
        let (function, queue) = (self.function.clone(), open.options.queue.clone());
        Some(Command::CancelStep {
            key: key.clone(),
            function,
            digest: self.digest,
            attempt: open.attempt,
            queue,
        })
    }

    pub(super) fn close(&mut self) {
        self.open = None;
    }

    pub(super) fn open_kind(&self) -> OpenKind {
        let function = self.function.clone();
        let open = self.open.as_deref();
        let retry_at = open.and_then(|open| match open.next {
            Next::Retry { at } | Next::Waiting { at } => Some(at),
            _ => None,
        });
        let attempt = open.map_or(1, |open| open.attempt);
        OpenKind::Step {
            function,
            attempt,
            retry_at,
            deadline: open.map(|open| open.deadline),
        }
    }
}

impl Begun {
    fn attempt_ended(&mut self) {
        if std::mem::take(&mut self.present) {
            self.count -= 1;
        }
    }
}
