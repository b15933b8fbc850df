//! The small record that KV `runs` holds for each run, for lists and counts. Derived: nothing decides by it.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::WorkflowName;
use crate::key::StepKey;

/// One run in short. Its key is the run id.
///
/// ```
/// use everstep_common::summary::RunSummary;
///
/// /// A line of a list.
/// fn line(run: &RunSummary) -> String {
///     let why = run.reason.as_deref().unwrap_or("-");
///     format!("{} is {} since {}: {why}", run.workflow, run.status, run.since)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSummary {
    /// Which workflow.
    pub workflow: WorkflowName,
    /// Which version of it.
    pub version: Option<u32>,
    /// Where it stands.
    pub status: RunStatus,
    /// Why it is parked, or how it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The journal sequence that the status follows from; a lower one does not replace a higher one.
    pub sequence: u64,
    /// The lease revision of the owner that wrote it: of two that speak of the same entry, the later owner's stands.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub epoch: u64,
    /// When the run started.
    pub started: Timestamp,
    /// Since when it has this status.
    pub since: Timestamp,
    /// Labels given at the start.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// For what of outside it waits, in the order asked; at most [`WAITS_MAX`], and the journal has them all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits: Vec<WaitSummary>,
}

/// Waits in one summary: a summary is small, and a person answers few at a time.
///
/// ```
/// assert_eq!(everstep_common::summary::WAITS_MAX, 20);
/// ```
pub const WAITS_MAX: usize = 20;

/// Characters of a question in a summary.
pub const WAIT_TEXT_CHARS_MAX: usize = 200;

/// A signal, an update or an answer that a run waits for.
///
/// ```
/// use everstep_common::summary::{WaitSummary, WaitedFor};
///
/// /// What people have to do.
/// fn to_do(waits: &[WaitSummary]) -> impl Iterator<Item = &WaitSummary> {
///     waits.iter().filter(|wait| matches!(wait.kind, WaitedFor::Question | WaitedFor::Approval))
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitSummary {
    /// Its key, by which a question is answered.
    pub key: StepKey,
    /// What it is.
    pub kind: WaitedFor,
    /// The name of the signal or update, or what the question says, cut.
    pub text: String,
    /// Since when.
    pub since: Timestamp,
    /// When it is no longer waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
}

/// What of outside a run waits for.
///
/// ```
/// use everstep_common::summary::WaitedFor;
///
/// assert_eq!(format!("waits for: {} paid", WaitedFor::Signal), "waits for: signal paid");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitedFor {
    /// A signal.
    Signal,
    /// An answer.
    Question,
    /// An approval.
    Approval,
    /// An event.
    Event,
    /// An update.
    Update,
}

impl fmt::Display for WaitedFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signal => "signal",
            Self::Question => "answer to",
            Self::Approval => "approval",
            Self::Event => "event",
            Self::Update => "update",
        })
    }
}

/// Where a run stands.
///
/// ```
/// use everstep_common::summary::RunStatus;
///
/// assert_eq!(RunStatus::Parked.to_string(), "parked");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// It was started and has not begun: its time is yet to come.
    Scheduled,
    /// It is being driven, or waits.
    Running,
    /// It stands still until someone acts.
    Parked,
    /// It returned a value.
    Completed,
    /// It returned an error.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// It was ended from outside as it stood.
    Terminated,
    /// Its workflow goes on in another run.
    Continued,
}

impl RunStatus {
    /// Whether nothing will change any more.
    ///
    /// ```
    /// use everstep_common::summary::RunStatus;
    ///
    /// assert!(RunStatus::Continued.is_final());
    /// assert!(!RunStatus::Scheduled.is_final() && !RunStatus::Parked.is_final());
    /// ```
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Scheduled | Self::Running | Self::Parked)
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Parked => "parked",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Terminated => "terminated",
            Self::Continued => "continued",
        })
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
