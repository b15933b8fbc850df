//! What starts runs by itself: the triggers that `#[workflow(on(…))]` writes, for those who write a [`Workflow`](crate::Workflow) by hand.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use everstep_common::event::RefusedEvent;
pub use everstep_common::trigger::{Batch, CronTrigger, EventTrigger, Input, Misfire, Overlap, RunTerms, TermText, Trigger};

/// What a run that a schedule starts is given, if the schedule has no `input` of its own.
///
/// ```
/// use everstep::prelude::*;
/// use everstep::trigger::Occurrence;
///
/// #[workflow(on(cron("0 9 * * *", tz = "Europe/Berlin")))]
/// async fn morning_report(ctx: WorkflowContext, occurrence: Occurrence) -> Result<String, WorkflowError> {
///     Ok(format!("the report of {}", occurrence.time))
/// }
/// assert_eq!(morning_report::triggers().len(), 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occurrence {
    /// The schedule: the workflow's name, `/` and the schedule's.
    pub schedule: String,
    /// The time that the run stands for; it may have been started later.
    pub time: Timestamp,
}

/// An event as a whole, as a trigger with `input = "@"` hands it over.
///
/// ```
/// use everstep::prelude::*;
/// use everstep::trigger::Event;
///
/// #[workflow(on(event("user.*", input = "@")))]
/// async fn audit(ctx: WorkflowContext, event: Event<String>) -> Result<String, WorkflowError> {
///     Ok(format!("{} at {}: {}", event.name, event.time, event.data))
/// }
/// # assert_eq!(audit::triggers().len(), 1);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event<T> {
    /// What tells it from all others of its source.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// Where it happened, if its sender says so.
    pub source: Option<String>,
    /// When the server stored it.
    pub time: Timestamp,
    /// Its body.
    pub data: T,
}
