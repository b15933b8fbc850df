//! What the orchestrator records of a run by itself: closures, markers, timers.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::StepResult;

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
