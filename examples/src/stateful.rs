//! State of a run and of a session: how far this run is, and how often the customer came.

use everstep::prelude::*;
use serde::{Deserialize, Serialize};

/// What the workflow returns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Visits {
    /// Whose.
    pub user_id: String,
    /// How many they are with this one.
    pub visits: u64,
}

/// Counts a visit. However many runs of the session count at once, and whatever dies meanwhile, each visit counts once.
#[workflow]
pub async fn stateful_workflow(ctx: WorkflowContext, user_id: String) -> Result<Visits, WorkflowError> {
    // This run's own: operators see it while the run goes on.
    ctx.state().set("phase", "started")?;

    // The session's: kept from run to run.
    let visits = ctx
        .session()
        .state()
        .update("visit_count", 0, |visits: u64| visits + 1)
        .await?;

    ctx.state().set("phase", "counted")?;
    Ok(Visits { user_id, visits })
}

/// The application: `everstep run stateful_workflow --input '"ada"' --session ada`.
pub fn app() -> App {
    App::new().workflow(stateful_workflow)
}
