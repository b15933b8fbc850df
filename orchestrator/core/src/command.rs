//! What the shell is told to do. Commands are data: the shell performs them in one `match`.
//!
//! Each is safe to perform again: what they lead to is create-only under keys that follow from the run's own history.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use everstep_common::digest::InputDigest;
use everstep_common::event::EventName;
use everstep_common::failure::Failure;
use everstep_common::ids::{FunctionName, QueueName};
use everstep_common::journal::LocalKind;
use everstep_common::key::StepKey;
use everstep_common::question::Question;
use everstep_common::subscription::{EventPlace, Listened, Subscription};
use everstep_common::task::StepOptions;
use jiff::Timestamp;

use crate::{ChildSpec, Closure, Parked, SessionRequest};

/// What follows from all that has been applied.
#[derive(Debug)]
pub enum Decision {
    /// These commands, in this order; none if everything has been said before.
    Go(Vec<Command>),
    /// Nothing: the run in memory went another way than its journal, which a second owner wrote to, says. Drop it and read it anew.
    Replay,
    /// Nothing, and no command may be performed: the run stands still until someone acts.
    Parked(Parked),
}

/// Something to be done for a run.
#[expect(clippy::large_enum_variant, reason = "most commands are dispatches, the largest of them")]
pub enum Command {
    /// Publish the task of one attempt.
    Dispatch {
        /// The step.
        key: StepKey,
        /// Which attempt, from 1.
        attempt: u32,
        /// The function to call.
        function: FunctionName,
        /// What to call it with.
        input: Bytes,
        /// The digest of the input.
        digest: InputDigest,
        /// How the step is to be done.
        options: StepOptions,
        /// What heartbeats of the attempts before said last.
        details: Option<Bytes>,
        /// When the step must be over.
        deadline: Timestamp,
        /// Asked for by an entry that no owner has acted on before, so that no task of it can exist. Otherwise the task must
        /// be marked to be checked against the journal.
        fresh: bool,
    },
    /// Call [`crate::Run::retry_due`] at that time.
    RetryAt {
        /// The step.
        key: StepKey,
        /// The attempt to be made then.
        attempt: u32,
        /// When.
        at: Timestamp,
    },
    /// Call [`crate::Run::deadline_passed`] at that time if the step is still open, and no longer at the time told before.
    Deadline {
        /// The step.
        key: StepKey,
        /// When the soonest of its timeouts passes.
        at: Timestamp,
    },
    /// Create the `begun` entry of the attempt's one execution as a fence, so that its function, which may begin once only, never does.
    Fence {
        /// The step.
        key: StepKey,
        /// The attempt.
        attempt: u32,
    },
    /// The attempt timed out without its worker's word: create its `try` entry, and take its task away.
    FailAttempt {
        /// The step.
        key: StepKey,
        /// The attempt.
        attempt: u32,
        /// The function, for the record.
        function: FunctionName,
        /// The digest of the input, for the record.
        digest: InputDigest,
        /// Where its task may still be.
        queue: QueueName,
        /// What happened.
        message: String,
        /// What retry policies call that.
        name: Option<String>,
        /// What heartbeats said last.
        details: Option<Bytes>,
        /// When it began.
        began: Timestamp,
    },
    /// Run the closure off the partition's thread and create its `local` entry.
    RunLocal {
        /// The closure's key.
        key: StepKey,
        /// What to run.
        closure: Closure,
        /// How long it may take, if the workflow said so.
        timeout: Option<Duration>,
    },
    /// Do it to the values of the session off the partition's thread, once however often it is asked for, and create its `local` entry.
    Session {
        /// The operation's key.
        key: StepKey,
        /// The session that the run was started in.
        session: String,
        /// What to do.
        request: SessionRequest,
    },
    /// Publish the event once for ever under the key, off the partition's thread, and create its `local` entry.
    Emit {
        /// The event's key.
        key: StepKey,
        /// What it is called.
        event: EventName,
        /// The digest of its data.
        digest: InputDigest,
        /// Its data.
        data: Bytes,
    },
    /// Create the `timer` entry when it is due, never earlier.
    StartTimer {
        /// The timer.
        key: StepKey,
        /// When; may have passed already.
        due: Timestamp,
        /// It is the deadline of a wait for these events: it passes only once all that were stored before it have been looked at.
        event: Option<Arc<Subscription>>,
    },
    /// Create the `in` entry of the next event of the subscription, which may have been stored long ago.
    Await {
        /// Which events.
        what: Arc<Subscription>,
        /// How many of them there are with this one.
        number: u32,
        /// The one before it.
        after: Option<EventPlace>,
        /// What was stored before this, when the run began, is none of them.
        since: Timestamp,
    },
    /// No further event of the subscription is waited for.
    StopAwaiting {
        /// Which events.
        what: Arc<Subscription>,
    },
    /// Start the run, once however often it is asked for, and create its `child` entry: before the start if it is attached, after it if it is
    /// detached.
    StartChild {
        /// Its key.
        key: StepKey,
        /// How.
        child: Box<ChildSpec>,
    },
    /// The child is to end: ask it to cancel. It must have been started then, for its end is awaited.
    CancelChild {
        /// Its key.
        key: StepKey,
        /// How it is started if it was not.
        child: Box<ChildSpec>,
    },
    /// Nobody waits for the step any more: record it as cancelled and take its task away.
    CancelStep {
        /// The step.
        key: StepKey,
        /// The function, for the record.
        function: FunctionName,
        /// The digest of the input, for the record.
        digest: InputDigest,
        /// The attempt it was at, for the record.
        attempt: u32,
        /// Where its task is.
        queue: QueueName,
    },
    /// Nobody waits for the timer any more.
    CancelTimer {
        /// The timer.
        key: StepKey,
    },
    /// Create the `local` entry by which people see the question.
    AskUser {
        /// The question's key.
        key: StepKey,
        /// What is asked.
        question: Box<Question>,
    },
    /// A wait for a signal, an update or an answer is over: take back what is left of it.
    CloseWait {
        /// The wait.
        key: StepKey,
        /// It had a deadline, of which a schedule may be left.
        deadline: bool,
        /// It is a question that nobody asks any more: say so where its answer would stand, so that none is taken.
        withdraw: bool,
    },
    /// The workflow has answered an update: create the `local` entry by which its caller learns of it.
    RecordAnswer {
        /// Under which key.
        key: StepKey,
        /// What it answered.
        answer: Result<Bytes, Failure>,
    },
    /// Nobody waits for the closure, the operation on the session or the event any more.
    CancelLocal {
        /// Its key.
        key: StepKey,
    },
    /// The step failed without a worker's word: create its outcome.
    Record {
        /// The step.
        key: StepKey,
        /// The function, for the record.
        function: FunctionName,
        /// The digest of the input, for the record.
        digest: InputDigest,
        /// The last attempt made, for the record.
        attempt: u32,
        /// Where its task may still be.
        queue: QueueName,
        /// The outcome.
        failure: Failure,
    },
    /// Create the `local` entry. No other command comes before the run has been given that entry, or another one under the key.
    RecordMarker {
        /// The marker's key.
        key: StepKey,
        /// What it is.
        kind: LocalKind,
        /// What it says.
        value: Bytes,
    },
    /// The run is over: create its `end` entry.
    End {
        /// How it ended.
        outcome: RunEnd,
    },
}

/// How a run ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// The workflow returned a value.
    Completed(Bytes),
    /// The workflow returned an error.
    Failed(Failure),
    /// The workflow gave in to a cancel.
    Cancelled(Failure),
    /// It was ended from outside, and its workflow was not asked.
    Terminated(Failure),
    /// The workflow goes on in another run.
    Continued {
        /// What that is given.
        input: Bytes,
        /// The time of the entry at which it said so.
        decided: Timestamp,
        /// How far it had got then with the events that it waited for.
        listened: Vec<Listened>,
    },
}

impl Command {
    /// The step, timer, closure or child it speaks of; `None` for subscriptions and [`Command::End`].
    #[cfg(test)]
    pub(crate) fn key(&self) -> Option<&StepKey> {
        match self {
            Self::Dispatch { key, .. }
            | Self::RetryAt { key, .. }
            | Self::Deadline { key, .. }
            | Self::Fence { key, .. }
            | Self::FailAttempt { key, .. }
            | Self::RunLocal { key, .. }
            | Self::Session { key, .. }
            | Self::Emit { key, .. }
            | Self::StartTimer { key, .. }
            | Self::StartChild { key, .. }
            | Self::CancelChild { key, .. }
            | Self::CancelStep { key, .. }
            | Self::CancelTimer { key }
            | Self::CancelLocal { key }
            | Self::RecordMarker { key, .. }
            | Self::AskUser { key, .. }
            | Self::CloseWait { key, .. }
            | Self::RecordAnswer { key, .. }
            | Self::Record { key, .. } => Some(key),
            Self::Await { .. } | Self::StopAwaiting { .. } | Self::End { .. } => None,
        }
    }
}

/// One line that says all that two replays of a run must agree on: everything but `fresh` and the inside of closures.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dispatch {
                key,
                attempt,
                function,
                digest,
                options,
                deadline,
                ..
            } => {
                write!(
                    f,
                    "dispatch {key} attempt {attempt}: {function}({digest}) on {} until {deadline}",
                    options.queue
                )
            }
            Self::RetryAt { key, attempt, at } => write!(f, "retry {key} attempt {attempt} at {at}"),
            Self::Deadline { key, at } => write!(f, "deadline {key} at {at}"),
            Self::Fence { key, attempt } => write!(f, "fence {key} attempt {attempt}"),
            Self::FailAttempt {
                key, attempt, message, ..
            } => write!(f, "fail {key} attempt {attempt}: {message}"),
            Self::RunLocal { key, timeout: None, .. } => write!(f, "run {key}"),
            Self::RunLocal {
                key,
                timeout: Some(timeout),
                ..
            } => write!(f, "run {key} within {timeout:?}"),
            Self::Session { key, session, request } => write!(f, "session {session}: {request} for {key}"),
            Self::Emit { key, event, digest, .. } => write!(f, "emit {event}({digest}) for {key}"),
            Self::StartTimer { key, due, .. } => write!(f, "timer {key} due {due}"),
            Self::Await { what, number, .. } => write!(f, "await {what} {number}"),
            Self::StopAwaiting { what } => write!(f, "stop awaiting {what}"),
            Self::StartChild { key, child } => write!(f, "start {child} as {key}"),
            Self::CancelChild { key, child } => write!(f, "cancel {child} of {key}"),
            Self::CancelStep { key, .. } => write!(f, "cancel step {key}"),
            Self::CancelTimer { key } => write!(f, "cancel timer {key}"),
            Self::CancelLocal { key } => write!(f, "cancel closure {key}"),
            Self::AskUser { key, question } => write!(f, "ask {key}: {question:?}"),
            Self::CloseWait { key, withdraw: true, .. } => write!(f, "withdraw {key}"),
            Self::CloseWait { key, .. } => write!(f, "close {key}"),
            Self::RecordAnswer { key, answer: Ok(value) } => write!(f, "answer {key}: {}", InputDigest::of(value)),
            Self::RecordAnswer {
                key,
                answer: Err(failure),
            } => write!(f, "answer {key}: {failure}"),
            Self::Record { key, failure, .. } => write!(f, "record {key}: {failure}"),
            Self::RecordMarker { key, value, .. } => write!(f, "mark {key}: {value:?}"),
            Self::End {
                outcome: RunEnd::Completed(value),
            } => write!(f, "end: completed with {}", InputDigest::of(value)),
            Self::End {
                outcome: RunEnd::Failed(failure),
            } => write!(f, "end: failed: {failure}"),
            Self::End {
                outcome: RunEnd::Cancelled(failure),
            } => write!(f, "end: cancelled: {failure}"),
            Self::End {
                outcome: RunEnd::Terminated(failure),
            } => write!(f, "end: terminated: {failure}"),
            Self::End {
                outcome: RunEnd::Continued { input, .. },
            } => write!(f, "end: continued with {}", InputDigest::of(input)),
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
