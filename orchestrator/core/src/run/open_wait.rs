//! What a run waits for, as it is shown to those who look at it.

use std::sync::Arc;

use everstep_common::ids::{FunctionName, RunId, WorkflowName};
use everstep_common::key::StepKey;
use everstep_common::subscription::Subscription;
use jiff::Timestamp;

use crate::waits::Wait;

/// Something a run waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenWait {
    /// Its key.
    pub key: StepKey,
    /// The time of the entry that made the workflow ask for it.
    pub since: Timestamp,
    /// What it is.
    pub kind: OpenKind,
}

/// What a run waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenKind {
    /// A step.
    Step {
        /// The function.
        function: FunctionName,
        /// The attempt being made, or to be made at `retry_at`.
        attempt: u32,
        /// When the next attempt is due, between two attempts.
        retry_at: Option<Timestamp>,
        /// When the step must be over.
        deadline: Option<Timestamp>,
    },
    /// A timer.
    Timer {
        /// When it is due.
        due: Timestamp,
    },
    /// A closure.
    Closure,
    /// A signal.
    Signal {
        /// Its name.
        name: String,
        /// When it is no longer waited for.
        deadline: Option<Timestamp>,
    },
    /// An event that comes from elsewhere.
    Awaited {
        /// Which.
        what: Arc<Subscription>,
        /// When it is no longer waited for.
        deadline: Option<Timestamp>,
    },
    /// An update.
    Update {
        /// Its name.
        name: String,
        /// When it is no longer waited for.
        deadline: Option<Timestamp>,
    },
    /// A question to people.
    Question {
        /// What they read.
        text: String,
        /// Whether it is an approval.
        is_approval: bool,
        /// When it is no longer asked.
        deadline: Option<Timestamp>,
    },
    /// An operation on a value of the session.
    Session,
    /// An event that it emits.
    Event,
    /// A child.
    Child {
        /// Its workflow.
        workflow: WorkflowName,
        /// Which run it is, as far as that is recorded.
        run: Option<RunId>,
        /// Whether only its start is waited for.
        detached: bool,
        /// Whether it was asked to end.
        cancelled: bool,
    },
}

impl OpenWait {
    pub(super) fn of(wait: &Wait) -> Self {
        Self {
            key: wait.key.clone(),
            since: wait.since,
            kind: wait.family.open_kind(),
        }
    }
}
