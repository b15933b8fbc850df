use everstep::prelude::*;

#[function]
async fn charge(ctx: FunctionContext, cents: u64) -> Result<u64, StepError>;

fn to_a_thread(ctx: WorkflowContext) {
    std::thread::spawn(move || drop(ctx));
}

fn to_a_task(ctx: WorkflowContext) {
    tokio::spawn(async move { ctx.step(charge, 1).await });
}

#[workflow]
async fn into_a_closure(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
    let inner = ctx.clone();
    ctx.run("captured", || async move { inner.step(charge, 1).await }).await
}

fn main() {}
