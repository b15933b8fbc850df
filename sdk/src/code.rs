//! What a workflow asks about its own code, and how it takes back what it did.

use everstep_common::limits::PATCH_ID_CHARS_MAX;

use crate::context::WorkflowContext;
use crate::error::{WorkflowError, WorkflowErrorKind};

impl WorkflowContext {
    /// Whether this run goes by the new side of a change of its code, made while runs are under way.
    ///
    /// True for a run that comes to this place for the first time, false for one that was further already when the change was deployed.
    /// Which it is is recorded once, under the id, before anything that follows from it is done; every replay and every later call with
    /// that id says the same. It costs a run one durable write.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn charge(ctx: FunctionContext, cents: u64) -> Result<String, StepError>;
    ///
    /// #[function]
    /// async fn check_fraud(ctx: FunctionContext, cents: u64) -> Result<(), StepError>;
    ///
    /// #[workflow]
    /// async fn buy(ctx: WorkflowContext, cents: u64) -> Result<String, WorkflowError> {
    ///     if ctx.patched("check fraud first") {
    ///         ctx.step(check_fraud, cents).await?;
    ///     }
    ///     ctx.step(charge, cents).await
    /// }
    /// ```
    ///
    /// Once no run that may be on the old side is open, the call and the old side can be removed: what is recorded under the id is then
    /// ignored. Never use an id again for another change.
    ///
    /// A run whose step is on its way when the change is deployed counts as not having come to what follows; a step that is on its way
    /// cannot be renamed or removed so, since its outcome would be for nobody. For that there are versions.
    ///
    /// # Panics
    ///
    /// If the id is empty or longer than 100 characters; the run is parked then.
    pub fn patched(&self, id: &str) -> bool {
        let characters = id.chars().count();
        assert!(
            (1..=PATCH_ID_CHARS_MAX).contains(&characters),
            "the id of a patch has 1 to {PATCH_ID_CHARS_MAX} characters, and this one has {characters}"
        );
        self.core().patched(id)
    }

    /// Undoes what steps have done that say how ([`compensate`](crate::StepFuture::compensate)), newest first, one after the other; how many.
    ///
    /// No cancel reaches it, that of the run included. A step that was given up, and that a worker may have done all the same, is waited
    /// for and undone if it was. What is undone is not undone again by a later rollback.
    ///
    /// # Errors
    ///
    /// [`WorkflowErrorKind::Rollback`](crate::WorkflowErrorKind::Rollback) if some could not be undone, their retries included. Those before
    /// them are undone all the same, and another rollback tries the others again.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn reserve(ctx: FunctionContext, article: String) -> Result<u64, StepError>;
    ///
    /// #[function]
    /// async fn release(ctx: FunctionContext, reservation: u64) -> Result<(), StepError>;
    ///
    /// #[workflow]
    /// async fn order(ctx: WorkflowContext, articles: Vec<String>) -> Result<bool, WorkflowError> {
    ///     for article in articles {
    ///         let reserved = ctx.step(reserve, article).compensate(release).await;
    ///         if reserved.is_err() {
    ///             ctx.rollback().await?;
    ///             return Ok(false);
    ///         }
    ///     }
    ///     Ok(true)
    /// }
    /// ```
    pub async fn rollback(&self) -> Result<usize, WorkflowError> {
        let report = self.core().rollback().await;
        if report.failed.is_empty() {
            return Ok(report.undone.len());
        }
        let failed = report.failed.into_iter();
        Err(WorkflowErrorKind::Rollback {
            undone: report.undone.len(),
            failed: failed.map(|(step, failure)| (step.to_string(), failure)).collect(),
        }
        .into())
    }
}
