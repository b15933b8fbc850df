//! Triggers that could never start anything, each with its cure.

use everstep::prelude::*;

#[workflow(on(event("user..signed_up")))]
async fn no_event(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(event("user.signed_up", filter = "country = 'DE'")))]
async fn no_filter(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(event("user.signed_up", input = "data..object")))]
async fn no_path(ctx: WorkflowContext, object: u64) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(event("user.signed_up", batch(window = "10s"))))]
async fn batch_for_nothing(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(webhook("stripe", events = "payment")))]
async fn no_argument(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(cron("61 9 * * *")))]
async fn no_minute(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(cron("0 9 * * *", tz = "Europe/Nowhere")))]
async fn no_zone(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(cron("0 9 * * *", overlap = "wait")))]
async fn no_policy(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on(cron("0 9 * * *", name = "a")), on(cron("0 8 * * *", name = "a")))]
async fn same_name(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow(on("user.signed_up"))]
async fn no_trigger(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    Ok(())
}

fn main() {}
