//! Arguments of a workflow that would have no effect.

use everstep::prelude::*;

#[workflow(singleton = "queue", limit(concurrency = 5, per_key = 2))]
async fn two_of_one_key(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(limit())]
async fn limited_somehow(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(limit(worker_rate = "10/s"))]
async fn limited_by_workers(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(version = 2, on_failure = "rollback")]
async fn rolled_back_elsewhere(ctx: WorkflowContext) -> Result<(), WorkflowError>;

#[workflow(limit(concurrency = 5))]
async fn limited_elsewhere(ctx: WorkflowContext) -> Result<(), WorkflowError>;

#[workflow(singleton = "reject")]
async fn one_elsewhere(ctx: WorkflowContext) -> Result<(), WorkflowError>;

#[workflow(on(event("order.placed")))]
async fn started_elsewhere(ctx: WorkflowContext, order: String) -> Result<(), WorkflowError>;

fn main() {}
