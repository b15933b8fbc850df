//! A step that was asked for: its attempts, one after the other, and what is recorded when no more follow.
//!
//! The transitions stand at the top of [`steps`](super::steps); which timeouts there are, in [`alarms`](super::alarms).

use std::mem;

use bytes::Bytes;
use everstep_common::digest::InputDigest;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::ids::FunctionName;
use everstep_common::journal::Attempt;
use everstep_common::key::StepKey;
use everstep_common::retry;
use everstep_common::task::StepOptions;
use jiff::Timestamp;

use super::alarms::{Alarm, Alarms};
use super::family::{Difference, Moment, Received};
use super::steps::NewStep;
use crate::{Command, OpenKind};

/// A step that was asked for. Function and digest stay for ever, to be compared with whatever comes.
pub(crate) struct StepWait {
    function: FunctionName,
    digest: InputDigest,
    can_be_undone: bool,
    open: Option<Box<OpenStep>>,
}

/// What only an open step needs.
pub(super) struct OpenStep {
    input: Bytes,
    pub(super) options: StepOptions,
    pub(super) alarms: Alarms,
    /// The attempt that is being made or waited for.
    pub(super) attempt: u32,
    pub(super) begun: Begun,
    pub(super) next: Next,
}

/// Executions that began and have not ended.
#[derive(Default)]
pub(super) struct Begun {
    count: u32,
    /// One of them is of the present attempt and may be running.
    pub(super) present: bool,
}

/// What is to be done for a step.
pub(super) enum Next {
    Dispatch,
    Retry {
        at: Timestamp,
    },
    /// The retry was told; its time has not come.
    Waiting {
        at: Timestamp,
    },
    /// It has run out of time and may begin once only: first it is made sure that it never does.
    Fence,
    /// The fence was told; whoever was first says how it goes on.
    Fenced,
    /// The attempt timed out, and whoever makes it does not say so.
    Fail(TimedOut),
    Record(Failure),
    /// All was told.
    Nothing,
    /// A record was told; nothing else follows.
    Recorded,
}

/// An attempt for which its owner speaks.
pub(super) struct TimedOut {
    pub(super) began: Timestamp,
    pub(super) message: String,
    pub(super) name: Option<String>,
}

impl StepWait {
    pub(super) fn new(new: NewStep, now: Timestamp) -> Self {
        let (input, next) = match new.input {
            Ok(input) => (input, Next::Dispatch),
            Err(failure) => (Bytes::new(), Next::Record(failure)),
        };
        let digest = InputDigest::of(&input);
        let open = OpenStep {
            input,
            options: new.options,
            alarms: Alarms::new(now),
            attempt: 1,
            begun: Begun::default(),
            next,
        };
        Self {
            function: new.function,
            digest,
            can_be_undone: new.can_be_undone,
            open: Some(Box::new(open)),
        }
    }

    pub(super) fn function(&self) -> &FunctionName {
        &self.function
    }

    pub(super) fn digest(&self) -> &InputDigest {
        &self.digest
    }

    /// Whether a rollback undoes it.
    pub(super) fn can_be_undone(&self) -> bool {
        self.can_be_undone
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
        self.compare(attempt.function.clone(), attempt.digest)?;
        let Some(open) = self.open_for(number) else {
            return Ok(Received::Nothing);
        };
        open.begun.attempt_ended();
        open.next = match open.next_attempt_at(number, &attempt, retry::entropy(at.run, key, number), at.time) {
            Some(at) => {
                open.attempt = number + 1;
                open.alarms.next_attempt(at);
                Next::Retry { at }
            }
            None => Next::Record(open.failure_of(attempt.error, attempt.message)),
        };
        if attempt.details.is_some() {
            open.alarms.details = attempt.details;
        }
        Ok(Received::Changed)
    }

    /// An execution of an attempt began.
    pub(super) fn begun(&mut self, attempt: u32, at: Timestamp) -> Received {
        let Some(open) = self.open_for(attempt) else {
            return Received::Nothing;
        };
        open.begun.count += 1;
        open.begun.present = true;
        open.alarms.begun = Some(at);
        if let Next::Fence | Next::Fenced = open.next {
            open.next = Next::Nothing;
        }
        // The newest one may be running; those before it are dead.
        if open.begun.count > open.options.max_crashes {
            let message = format!(
                "execution began {} times and never ended; the process may die of this step",
                open.begun.count
            );
            open.next = Next::Record(Failure::new(FailureKind::Crashed, message));
        }
        Received::Changed
    }

    /// No execution of the attempt will ever begin: its time was up.
    pub(super) fn fenced(&mut self, attempt: u32, at: Timestamp) -> Received {
        let Some(open) = self.open_for(attempt) else {
            return Received::Nothing;
        };
        let is_all = at >= open.alarms.deadline(&open.options);
        open.next = Next::Record(open.not_begun(if is_all { Alarm::Total } else { Alarm::Start }));
        Received::Changed
    }

    /// The step while attempt `number` can still say something about it: not superseded, and nothing recorded.
    fn open_for(&mut self, number: u32) -> Option<&mut OpenStep> {
        let open = self.open.as_deref_mut()?;
        (!open.is_over() && number >= open.attempt).then_some(open)
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

    /// The function is alive, and what it says of how far it is. `None`: it is not known, but whoever would hear it listens from now on.
    pub(crate) fn heartbeat(&mut self, attempt: Option<u32>, details: Option<Bytes>, at: Timestamp) {
        let Some(open) = self.open.as_deref_mut() else { return };
        if attempt.is_some_and(|attempt| attempt != open.attempt) {
            return;
        }
        open.alarms.heard = open.alarms.heard.max(Some(at));
        if details.is_some() {
            open.alarms.details = details;
        }
    }

    /// The time of an alarm has come. Says whether there is something to be done.
    pub(crate) fn deadline_passed(&mut self, at: Timestamp) -> bool {
        let waits = |open: &&mut OpenStep| !open.is_over() && !matches!(open.next, Next::Fence | Next::Fenced);
        let Some(open) = self.open.as_deref_mut().filter(waits) else {
            return false;
        };
        if let Some(alarm) = open.alarms.rung(at, &open.options) {
            open.next = open.timed_out(alarm);
        }
        true
    }

    pub(super) fn commands(&mut self, key: &StepKey, fresh: bool, commands: &mut Vec<Command>) {
        let Some(open) = self.open.as_deref_mut() else { return };
        let (key, function, digest) = (key.clone(), self.function.clone(), self.digest);
        let attempt = open.attempt;
        match mem::replace(&mut open.next, Next::Nothing) {
            Next::Dispatch => commands.push(Command::Dispatch {
                key: key.clone(),
                attempt,
                function,
                input: open.input.clone(),
                digest,
                options: open.options.clone(),
                details: open.alarms.details.clone(),
                deadline: open.alarms.deadline(&open.options),
                fresh,
            }),
            Next::Retry { at } => {
                open.next = Next::Waiting { at };
                commands.push(Command::RetryAt {
                    key: key.clone(),
                    attempt,
                    at,
                });
            }
            Next::Fail(TimedOut { began, message, name }) => commands.push(Command::FailAttempt {
                key: key.clone(),
                attempt,
                function,
                digest,
                queue: open.options.queue.clone(),
                message,
                name,
                details: open.alarms.details.clone(),
                began,
            }),
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
            told @ (Next::Waiting { .. } | Next::Nothing) => open.next = told,
            Next::Fence => {
                open.next = Next::Fenced;
                return commands.push(Command::Fence { key, attempt });
            }
            told @ (Next::Fenced | Next::Recorded) => {
                open.next = told;
                return;
            }
        }
        if let Some(at) = open.alarms.tell_next(&open.options) {
            commands.push(Command::Deadline { key, at });
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
            deadline: open.map(|open| open.alarms.deadline(&open.options)),
        }
    }
}

impl Begun {
    fn attempt_ended(&mut self) {
        if mem::take(&mut self.present) {
            self.count -= 1;
        }
    }
}
