use everstep::prelude::*;

#[workflow]
fn not_async(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow]
async fn without_context(order: u64) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow]
async fn with_the_other(ctx: FunctionContext, order: &str) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow]
async fn generic<T>(ctx: WorkflowContext, order: T) -> Result<(), WorkflowError> {
    Ok(())
}

#[workflow]
async fn with_the_other_error(_ctx: WorkflowContext) -> Result<(), StepError> {
    Ok(())
}

#[workflow]
async fn without_result(ctx: WorkflowContext) {}

#[workflow(version = 0)]
async fn version_nought(ctx: WorkflowContext) -> Result<(), WorkflowError>;

#[workflow(queue = "a")]
async fn in_a_queue(ctx: WorkflowContext) -> Result<(), WorkflowError>;

#[workflow(on_failure = "retry")]
async fn retried_as_a_whole(ctx: WorkflowContext) -> Result<(), WorkflowError>;

#[workflow(limit(per_key_rate = "20000/s"))]
async fn too_often_of_a_key(ctx: WorkflowContext) -> Result<(), WorkflowError>;

fn main() {}
