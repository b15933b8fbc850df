//! What entries say. Their shape on the wire is kept for ever: fields may be added with a default, none renamed or removed.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{EntryKey, EntryKind, StartTerms};
use crate::digest::InputDigest;
use crate::failure::Failure;
use crate::ids::{FunctionName, ProcessId, RunId, WorkflowName};
use crate::key::StepKey;
use crate::payload::Payload;
use crate::question::Reply;
use crate::subscription::{EventPlace, Subscription};
use crate::wire;

/// What one entry says.
///
/// ```
/// use everstep_common::journal::Entry;
///
/// /// What of it is told to people who never saw the code.
/// fn told(entry: &Entry) -> Option<&'static str> {
///     match entry {
///         Entry::Start(_) => Some("begun"),
///         Entry::Step(_) => Some("a step is done"),
///         Entry::End(_) => Some("over"),
///         _ => None,
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// Under [`EntryKey::Start`].
    Start(Start),
    /// Under [`EntryKey::Step`].
    Step(StepOutcome),
    /// Under [`EntryKey::Try`].
    Try(Attempt),
    /// Under [`EntryKey::Begun`].
    Begun(Begun),
    /// Under [`EntryKey::Local`].
    Local(Local),
    /// Under [`EntryKey::Timer`].
    Timer(Fired),
    /// Under [`EntryKey::Child`].
    Child(Child),
    /// Under [`EntryKey::In`].
    In(Inbound),
    /// Under [`EntryKey::End`].
    End(Ended),
    /// Under [`EntryKey::Gone`].
    Gone,
}

/// A run begins.
///
/// ```
/// use everstep_common::journal::Start;
///
/// /// Who ordered it, as the tags of the start say.
/// fn customer(start: &Start) -> Option<&str> {
///     start.tags.get("customer").map(String::as_str)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// Which workflow.
    pub workflow: WorkflowName,
    /// Which version of it the run is pinned to; `None`: the newest that the first owner knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// Its input.
    pub input: Payload,
    /// The digest of the input, by which a second start under the same key is told from a repeated one.
    pub digest: InputDigest,
    /// The caller's name for this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_key: Option<String>,
    /// The session whose state the run shares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The run and step that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// Labels for people and filters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// W3C trace context of the starter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// When it begins, by when it must be over, and what goes first.
    #[serde(default, skip_serializing_if = "StartTerms::is_usual")]
    pub terms: StartTerms,
    /// The run that goes on in this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<Continued>,
    /// Events that it waits for count from right behind this time: that of the event that started it, or of the last entry of the run that
    /// goes on in it. Absent, they count from its own start on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listens_from: Option<Timestamp>,
}

/// The step of another run that started a run. A run that continues a child has the child's.
///
/// ```
/// use everstep_common::journal::Start;
///
/// fn origin(start: &Start) -> String {
///     match &start.parent {
///         Some(parent) => format!("step {} of run {}", parent.step, parent.run),
///         None => "from outside".to_owned(),
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// The other run.
    pub run: RunId,
    /// Its step.
    pub step: StepKey,
    /// The other run does not wait for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub detached: bool,
    /// The digest of the input that the child was asked for with, which is not that of a run that continues it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<InputDigest>,
    /// How many children are nested here, this one included.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub depth: u32,
}

/// The place of a run among those that continue one another.
///
/// ```
/// use everstep_common::journal::Start;
///
/// fn is_first(start: &Start) -> bool {
///     start.continues.as_ref().is_none_or(|continued| continued.number == 0)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Continued {
    /// The run before it.
    pub from: RunId,
    /// The first one.
    pub first: RunId,
    /// How many came before it.
    pub number: u32,
}

/// A run was, or is about to be, started by a step of this one.
///
/// ```
/// use everstep_common::journal::{Entry, JournalEntry};
///
/// /// The runs that a run has started.
/// fn started(history: &[JournalEntry]) -> Vec<String> {
///     let children = history.iter().filter_map(|stored| match &stored.entry {
///         Entry::Child(child) => Some(format!("{} {}", child.workflow, child.run)),
///         _ => None,
///     });
///     children.collect()
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// Which workflow.
    pub workflow: WorkflowName,
    /// The digest of its input.
    pub digest: InputDigest,
    /// The run.
    pub run: RunId,
    /// This run does not wait for it, and it is started already. Otherwise it is started after this is recorded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub detached: bool,
}

/// The outcome of a step; the only thing about the step that the workflow sees.
///
/// ```
/// use everstep_common::journal::{StepOutcome, StepResult};
///
/// fn line(outcome: &StepOutcome) -> String {
///     let ended = if matches!(outcome.result, StepResult::Value(_)) { "done" } else { "failed" };
///     format!("{} {ended} in attempt {}, by {}", outcome.function, outcome.attempt, outcome.by)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepOutcome {
    /// Which function was asked for.
    pub function: FunctionName,
    /// The digest of the input it was given.
    pub digest: InputDigest,
    /// How it ended.
    pub result: StepResult,
    /// The attempt that brought the outcome, or the last one made.
    pub attempt: u32,
    /// Who recorded it.
    pub by: ProcessId,
    /// When the attempt began, by the worker's clock; absent if no worker was involved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<Timestamp>,
}

/// A value or a failure.
///
/// ```
/// use everstep_common::failure::{Failure, FailureKind};
/// use everstep_common::journal::StepResult;
/// use everstep_common::payload::Payload;
///
/// let results = [StepResult::Value(Payload::unit()), StepResult::Failure(Failure::new(FailureKind::Fatal, "no such card"))];
/// assert_eq!(results.iter().filter(|result| matches!(result, StepResult::Failure(_))).count(), 1);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepResult {
    /// The value.
    Value(Payload),
    /// The failure.
    Failure(Failure),
}

/// A failed attempt that is not (yet) the step's outcome.
///
/// ```
/// use everstep_common::journal::Attempt;
///
/// fn line(attempt: &Attempt) -> String {
///     let name = attempt.name.as_deref().unwrap_or("error");
///     format!("{} at {} by {}: {name}: {}", attempt.function, attempt.began, attempt.by, attempt.message)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Which function.
    pub function: FunctionName,
    /// The digest of the input.
    pub digest: InputDigest,
    /// What went wrong.
    pub error: AttemptError,
    /// What the function said, cut to 16 KiB.
    pub message: String,
    /// What the error is called, by which retry policies tell errors apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the function's heartbeats said last, for the next attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Bytes>,
    /// The function's own wish for the delay before the next attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<std::time::Duration>,
    /// Which worker, or the orchestrator that heard no more of it.
    pub by: ProcessId,
    /// When the attempt began, by the worker's clock.
    pub began: Timestamp,
}

/// The sorts of failed attempt.
///
/// ```
/// use everstep_common::journal::{AttemptError, Attempt};
///
/// /// Whether it is the code of the function that has to be looked at.
/// fn is_a_bug(attempt: &Attempt) -> bool {
///     matches!(attempt.error, AttemptError::Panic | AttemptError::Invalid)
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptError {
    /// The function returned an error that may go away.
    Error,
    /// The function took longer than its timeout, or sent no heartbeat for longer than it may.
    Timeout,
    /// The function panicked.
    Panic,
    /// The worker could not take the task: unreadable input, a value over the limit.
    Invalid,
}

/// The execution of an attempt begins.
///
/// ```
/// use everstep_common::journal::{Entry, JournalEntry};
///
/// /// How often workers began something in vain or not.
/// fn executions(history: &[JournalEntry]) -> usize {
///     history.iter().filter(|stored| matches!(&stored.entry, Entry::Begun(begun) if !begun.fence)).count()
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Begun {
    /// Which worker.
    pub by: ProcessId,
    /// The task stream's incarnation that delivered it.
    #[serde(default)]
    pub incarnation: String,
    /// No execution at all, but the orchestrator's word that there will be none: what may begin once only finds its place taken.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fence: bool,
}

/// What the workflow saw that is not a step.
///
/// ```
/// use everstep_common::journal::{Local, LocalKind, StepResult};
///
/// fn is_open_question(local: &Local) -> bool {
///     local.kind == LocalKind::Question && matches!(local.result, StepResult::Value(_))
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Local {
    /// What it was.
    pub kind: LocalKind,
    /// What it brought.
    pub result: StepResult,
}

/// What a [`Local`] entry records.
///
/// ```
/// use everstep_common::journal::{Entry, JournalEntry, LocalKind};
///
/// /// The patches of the code that the run has met.
/// fn patches(history: &[JournalEntry]) -> usize {
///     history.iter().filter(|stored| matches!(&stored.entry, Entry::Local(local) if local.kind == LocalKind::Patch)).count()
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LocalKind {
    /// The result of a closure given to `ctx.run`.
    Closure,
    /// A [`Question`](crate::question::Question) that is open from here on.
    Question,
    /// What reading or changing a value of the session brought.
    Session,
    /// An event was published.
    Emit,
    /// On which side of a change of the code the run is: true for the new one.
    Patch,
    /// Which version of its workflow the run is pinned to, if it was started without one.
    Version,
    /// What the workflow answered to an update; the key is [`answer_key`](crate::update::answer_key).
    Update,
}

/// A timer fired.
///
/// ```
/// use everstep_common::journal::{Entry, JournalEntry};
///
/// /// By how much a timer fired late.
/// fn late(stored: &JournalEntry) -> Option<jiff::SignedDuration> {
///     match &stored.entry {
///         Entry::Timer(fired) => Some(stored.time.duration_since(fired.due)),
///         _ => None,
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fired {
    /// When it was due.
    pub due: Timestamp,
}

/// Something reached the run from outside.
///
/// ```
/// use everstep_common::journal::Inbound;
///
/// fn who(inbound: &Inbound) -> String {
///     let (by, why) = (inbound.by.as_deref().unwrap_or("somebody"), inbound.reason.as_deref().unwrap_or("no reason given"));
///     format!("{by}: {why}")
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inbound {
    /// What.
    pub kind: InboundKind,
    /// Who asked, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What can reach a run from outside.
///
/// ```
/// use everstep_common::journal::{Inbound, InboundKind};
///
/// let cancel = Inbound { kind: InboundKind::Cancel, by: Some("ada".to_owned()), reason: None };
/// assert!(!matches!(cancel.kind, InboundKind::Terminate));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InboundKind {
    /// End the run as cancelled; open steps are cancelled first.
    Cancel,
    /// End the run as it stands, at once.
    Terminate,
    /// Try a parked run again.
    Resume {
        /// Go on although recorded steps are no longer asked for.
        #[serde(default)]
        accept_unasked: bool,
    },
    /// A value under a name, for whichever wait takes it.
    Signal {
        /// The name.
        name: String,
        /// The value.
        value: Payload,
    },
    /// The next event of those that the run waits for; its id is [`Subscription::slot`](crate::subscription::Subscription::slot).
    Event {
        /// Which events.
        what: Subscription,
        /// Where it stands.
        place: EventPlace,
        /// The [`Event`](crate::event::Event).
        value: Payload,
    },
    /// A request that the workflow is to answer; its id is [`update_slot`](crate::update::update_slot).
    Update {
        /// The name under which the workflow takes it.
        name: String,
        /// What is asked for.
        input: Payload,
    },
    /// A reply to a question; its id is [`Question::slot`](crate::question::Question::slot).
    Answer {
        /// The question's key.
        wait: StepKey,
        /// What is replied.
        reply: Reply,
        /// The groups in which whoever took the reply knows its author to be.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        groups: Vec<String>,
    },
    /// The run no longer asks a question; its id is that of the answer, so that nobody is told that one was taken.
    Withdrawn {
        /// The question's key.
        wait: StepKey,
    },
}

/// The run ended.
///
/// ```
/// use everstep_common::journal::{Ended, RunOutcome};
///
/// fn has_value(ended: &Ended) -> bool {
///     matches!(ended.outcome, RunOutcome::Completed(_))
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// How.
    pub outcome: RunOutcome,
    /// Which owner recorded it.
    pub by: ProcessId,
}

/// How a run ended.
///
/// ```
/// use everstep_common::journal::RunOutcome;
///
/// fn told(outcome: &RunOutcome) -> String {
///     match outcome {
///         RunOutcome::Completed(value) => format!("a value of {} bytes", value.len()),
///         RunOutcome::Failed(failure) | RunOutcome::Cancelled(failure) | RunOutcome::Terminated(failure) => failure.to_string(),
///         RunOutcome::Continued(next) => format!("goes on in run {}", next.run),
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunOutcome {
    /// The workflow returned a value.
    Completed(Payload),
    /// The workflow returned an error.
    Failed(Failure),
    /// It was cancelled.
    Cancelled(Failure),
    /// It was ended from outside, and its workflow was not asked.
    Terminated(Failure),
    /// The workflow goes on in another run.
    Continued(Continuation),
}

/// The run in which a workflow goes on.
///
/// ```
/// use everstep_common::journal::{Continuation, RunOutcome};
///
/// fn next(outcome: &RunOutcome) -> Option<&Continuation> {
///     match outcome {
///         RunOutcome::Continued(next) => Some(next),
///         _ => None,
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Continuation {
    /// The run. Its id follows from that of the one before.
    pub run: RunId,
    /// Its input; a large one is stored under the run that has ended.
    pub input: Payload,
    /// The digest of its input.
    pub digest: InputDigest,
    /// The time of the entry at which that was decided: what comes later is for the run that follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<Timestamp>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Entry {
    /// The bytes stored under the entry's key.
    ///
    /// ```
    /// use everstep_common::journal::{Entry, EntryKey};
    ///
    /// let bytes = Entry::Gone.encode().unwrap();
    /// assert_eq!(Entry::decode(&EntryKey::Gone, &bytes).unwrap(), Entry::Gone);
    /// ```
    pub fn encode(&self) -> Result<Bytes, wire::Error> {
        match self {
            Self::Start(start) => wire::encode(start),
            Self::Step(outcome) => wire::encode(outcome),
            Self::Try(attempt) => wire::encode(attempt),
            Self::Begun(begun) => wire::encode(begun),
            Self::Local(local) => wire::encode(local),
            Self::Timer(fired) => wire::encode(fired),
            Self::Child(child) => wire::encode(child),
            Self::In(inbound) => wire::encode(inbound),
            Self::End(ended) => wire::encode(ended),
            Self::Gone => wire::encode(&()),
        }
    }

    /// What the bytes stored under `key` say.
    ///
    /// ```
    /// use everstep_common::journal::{Entry, EntryKey};
    ///
    /// assert!(Entry::decode(&EntryKey::Start, b"no entry").is_err());
    /// ```
    pub fn decode(key: &EntryKey, bytes: &[u8]) -> Result<Self, wire::Error> {
        Ok(match key.kind() {
            EntryKind::Start => Self::Start(wire::decode(bytes)?),
            EntryKind::Step => Self::Step(wire::decode(bytes)?),
            EntryKind::Try => Self::Try(wire::decode(bytes)?),
            EntryKind::Begun => Self::Begun(wire::decode(bytes)?),
            EntryKind::Local => Self::Local(wire::decode(bytes)?),
            EntryKind::Timer => Self::Timer(wire::decode(bytes)?),
            EntryKind::Child => Self::Child(wire::decode(bytes)?),
            EntryKind::In => Self::In(wire::decode(bytes)?),
            EntryKind::End => Self::End(wire::decode(bytes)?),
            EntryKind::Gone => Self::Gone,
        })
    }

    /// The value by reference that the entry holds, if any.
    ///
    /// ```
    /// use everstep_common::journal::Entry;
    ///
    /// assert_eq!(Entry::Gone.payload(), None);
    /// ```
    pub fn payload(&self) -> Option<&Payload> {
        match self {
            Self::Start(start) => Some(&start.input),
            Self::Step(StepOutcome {
                result: StepResult::Value(value),
                ..
            })
            | Self::Local(Local {
                result: StepResult::Value(value),
                ..
            })
            | Self::End(Ended {
                outcome: RunOutcome::Completed(value) | RunOutcome::Continued(Continuation { input: value, .. }),
                ..
            })
            | Self::In(Inbound {
                kind:
                    InboundKind::Signal { value, .. }
                    | InboundKind::Event { value, .. }
                    | InboundKind::Update { input: value, .. }
                    | InboundKind::Answer {
                        reply: Reply::Value(value),
                        ..
                    },
                ..
            }) => Some(value),
            _ => None,
        }
    }
}
