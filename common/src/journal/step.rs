//! How the attempts of a step went, and its outcome.

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::InputDigest;
use crate::failure::Failure;
use crate::ids::{FunctionName, ProcessId};
use crate::payload::Payload;

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
