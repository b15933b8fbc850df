use everstep::prelude::*;

#[function]
async fn charge(ctx: FunctionContext, cents: u64) -> Result<u64, StepError>;

#[function]
async fn refund(ctx: FunctionContext, cents: u64, why: String) -> Result<u64, StepError>;

async fn plain(cents: u64) -> u64 {
    cents
}

#[workflow]
async fn order(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    ctx.step(charge, "ten").await?;
    ctx.step(refund, 10).await?;
    let _: String = ctx.step(charge, 10).await?;
    ctx.step(plain, 10).await?;
    ctx.step(order, ()).await?;
    ctx.step(charge, 10).retries("often").await?;
    Ok(())
}

fn main() {}
