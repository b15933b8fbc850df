use everstep::prelude::*;

#[function]
async fn square(ctx: FunctionContext, number: u64) -> Result<u64, StepError>;

#[function]
async fn name(ctx: FunctionContext, number: u64) -> Result<String, StepError>;

#[workflow]
async fn different_values(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
    ctx.race((ctx.step(square, 1), ctx.step(name, 2))).await
}

#[workflow]
async fn not_a_number(ctx: WorkflowContext) -> Result<usize, WorkflowError> {
    Ok(ctx.batch(square, [1, 2]).tolerate("a few").await?.stats.failed)
}

#[workflow]
async fn no_function(ctx: WorkflowContext) -> Result<Vec<u64>, WorkflowError> {
    ctx.map(different_values, [()]).await
}

fn main() {}
