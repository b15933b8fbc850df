//! Failures as journal data: they survive crashes and new versions, so they are values, not error types of some crate.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::ERROR_MESSAGE_BYTES_MAX;

/// Why a step, a closure or a run did not succeed.
///
/// ```
/// use everstep_common::failure::{Failure, FailureKind};
///
/// let failure = Failure::new(FailureKind::Exhausted, "card declined");
/// assert_eq!(failure.to_string(), "attempts exhausted: card declined");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What sort of failure.
    pub kind: FailureKind,
    /// What the failing code said.
    pub message: String,
}

/// The sorts of failure.
///
/// On the wire a kind is its name in snake case, and an unknown name reads as [`FailureKind::Other`].
///
/// ```
/// use everstep_common::failure::FailureKind;
///
/// /// Whether to ask for the same again later.
/// fn may_go_away(kind: FailureKind) -> bool {
///     matches!(kind, FailureKind::Exhausted | FailureKind::DeadlineExceeded | FailureKind::NotStarted)
/// }
/// assert!(may_go_away(FailureKind::NotStarted) && !may_go_away(FailureKind::Fatal));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "&'static str", from = "String")]
#[non_exhaustive]
pub enum FailureKind {
    /// The function returned an error that no retry can mend.
    Fatal,
    /// Every attempt failed; the message is the last one's.
    Exhausted,
    /// The step's total deadline passed.
    DeadlineExceeded,
    /// No worker began it in time.
    NotStarted,
    /// Execution began as often as `max_crashes` allows and never ended.
    Crashed,
    /// In a function that runs at most once: it began, and nobody knows how far it came.
    Interrupted,
    /// Cancelled before it ended.
    Cancelled,
    /// Ended from outside as it stood.
    Terminated,
    /// The value is over a limit or cannot be encoded.
    Invalid,
    /// The workflow itself returned an error.
    Workflow,
    /// The run was rolled back, and something could not be undone.
    RollbackFailed,
    /// The workflow refused an update, and did nothing of it.
    Rejected,
    /// A kind written by a newer version.
    Other,
}

impl Failure {
    /// A failure with a message, cut to 16 KiB.
    ///
    /// ```
    /// use everstep_common::failure::{Failure, FailureKind};
    ///
    /// assert_eq!(Failure::new(FailureKind::Workflow, "x".repeat(20_000)).message.len(), 16 * 1024);
    /// ```
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: bounded(message.into()),
        }
    }
}

/// The message, cut to 16 KiB.
pub(crate) fn bounded(mut message: String) -> String {
    if message.len() > ERROR_MESSAGE_BYTES_MAX {
        let end = (0..=ERROR_MESSAGE_BYTES_MAX)
            .rev()
            .find(|at| message.is_char_boundary(*at))
            .unwrap_or(0);
        message.truncate(end);
    }
    message
}

const KINDS: [(FailureKind, &str); 13] = [
    (FailureKind::Fatal, "fatal"),
    (FailureKind::Exhausted, "exhausted"),
    (FailureKind::DeadlineExceeded, "deadline_exceeded"),
    (FailureKind::NotStarted, "not_started"),
    (FailureKind::Crashed, "crashed"),
    (FailureKind::Interrupted, "interrupted"),
    (FailureKind::Cancelled, "cancelled"),
    (FailureKind::Terminated, "terminated"),
    (FailureKind::Invalid, "invalid"),
    (FailureKind::Workflow, "workflow"),
    (FailureKind::RollbackFailed, "rollback_failed"),
    (FailureKind::Rejected, "rejected"),
    (FailureKind::Other, "other"),
];

impl From<FailureKind> for &'static str {
    fn from(kind: FailureKind) -> Self {
        KINDS
            .iter()
            .find(|(known, _)| *known == kind)
            .map_or("other", |(_, name)| name)
    }
}

impl From<String> for FailureKind {
    fn from(name: String) -> Self {
        KINDS
            .iter()
            .find(|(_, known)| *known == name)
            .map_or(Self::Other, |(kind, _)| *kind)
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fatal => "fatal error",
            Self::Exhausted => "attempts exhausted",
            Self::DeadlineExceeded => "deadline exceeded",
            Self::NotStarted => "not started in time",
            Self::Crashed => "crashed too often",
            Self::Interrupted => "interrupted",
            Self::Cancelled => "cancelled",
            Self::Terminated => "terminated",
            Self::Invalid => "invalid value",
            Self::Workflow => "workflow error",
            Self::RollbackFailed => "rollback incomplete",
            Self::Rejected => "rejected",
            Self::Other => "failure",
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() {
            self.kind.fmt(f)
        } else {
            write!(f, "{}: {}", self.kind, self.message)
        }
    }
}

impl std::error::Error for Failure {}
