//! What cannot be asked for, and since when.
//!
//! Most of it never could be: no journal holds any of it, so it is refused whenever it is met. Some was taken in silence by an earlier
//! version, and journals hold what came of it: a run that has been there goes on as it did, which a patch of the engine's own tells.

use everstep_core::Context;

use crate::error::WorkflowError;

/// Why a wait cannot be asked for; told once, when it is first polled.
pub(crate) struct Refusal {
    error: WorkflowError,
    /// The patch of which the old side asks for it all the same.
    since: Option<&'static str>,
}

impl Refusal {
    /// It never could be asked for.
    pub(crate) fn always(error: WorkflowError) -> Self {
        Self { error, since: None }
    }

    /// It was asked for by runs that are further than where they would meet this patch.
    pub(crate) fn since(patch: &'static str, error: WorkflowError) -> Self {
        let since = Some(patch);
        Self { error, since }
    }

    /// The error, unless this run has been there before it was one.
    pub(crate) fn tell(self, core: &Context) -> Result<(), WorkflowError> {
        match self.since {
            Some(patch) if !core.patched(patch) => Ok(()),
            _ => Err(self.error),
        }
    }
}
