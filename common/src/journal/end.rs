//! How a run ended.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::InputDigest;
use crate::failure::Failure;
use crate::ids::{ProcessId, RunId};
use crate::payload::Payload;
use crate::subscription::Listened;

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
    /// How far it had got then with the events that it waited for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listened: Vec<Listened>,
}
