//! A workflow as the core sees it: a name, a version, and a factory of futures over bytes.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use everstep_common::failure::Failure;
use everstep_common::flow::RunFlow;
use everstep_common::ids::{RunId, WorkflowName};
use everstep_common::trigger::Trigger;
use futures::future::LocalBoxFuture;

use crate::Context;

/// Makes the future of one run from its context and input. The factory crosses threads, what it makes does not.
pub type Factory = Arc<dyn Fn(Context, Bytes) -> LocalBoxFuture<'static, Result<Bytes, WorkflowFailure>> + Send + Sync>;

/// A workflow: the code, under a name and a version.
#[derive(Clone)]
pub struct Definition {
    /// What starts name it by.
    pub name: WorkflowName,
    /// Which version of the code this is; runs are pinned to theirs.
    pub version: u32,
    /// Makes the future of a run.
    pub factory: Factory,
    /// What starts runs of it by itself.
    pub triggers: Vec<Trigger>,
    /// How many of its runs may be at work. The core knows nothing of it: who drives runs does.
    pub flow: RunFlow,
}

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} v{}", self.name, self.version)
    }
}

/// Why a workflow returned without a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkflowFailure {
    /// It failed: the run ends as failed.
    #[error("{0}")]
    Failed(Failure),
    /// It gave in to a cancel: the run ends as cancelled.
    #[error("cancelled")]
    Cancelled,
    /// It is no failure: the run ends here, and the workflow goes on in another one with this input.
    #[error("continued as new")]
    Continued(Bytes),
}

/// Why a wait brought no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// The step or closure failed for good, or could not be asked for.
    #[error("{0}")]
    Failed(Failure),
    /// The child ended without a value.
    #[error("{failure}")]
    Child {
        /// Which run it was; unknown if that was lost with a part of the journal.
        run: Option<RunId>,
        /// How it ended.
        failure: Failure,
    },
    /// The run, or the block of branches that it belongs to, was cancelled; every wait there brings this from then on.
    #[error("cancelled with the run or branch that asked for it")]
    Cancelled,
}

impl From<WaitError> for WorkflowFailure {
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::Failed(failure) | WaitError::Child { failure, .. } => Self::Failed(failure),
            WaitError::Cancelled => Self::Cancelled,
        }
    }
}
