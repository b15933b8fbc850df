use everstep::prelude::*;

#[function]
async fn charge(ctx: FunctionContext, cents: u64) -> Result<u64, StepError>;

#[workflow]
async fn order(ctx: WorkflowContext, cents: u64) -> Result<u64, WorkflowError>;

#[workflow]
async fn calls_it_in_place(ctx: WorkflowContext, cents: u64) -> Result<u64, WorkflowError> {
    Ok(charge(ctx.inline(), cents).await?)
}

fn main() {
    everstep::handler(charge);
    everstep::definition(order, Default::default());
}
