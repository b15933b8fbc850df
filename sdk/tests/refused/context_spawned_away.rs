use everstep::prelude::*;

#[function]
async fn charge(ctx: FunctionContext, cents: u64) -> Result<u64, StepError>;

fn to_a_task(ctx: WorkflowContext) {
    tokio::spawn(async move { ctx.step(charge, 1).await });
}

fn main() {}
