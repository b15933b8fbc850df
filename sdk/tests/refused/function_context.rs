use everstep::prelude::*;

#[function]
async fn without() -> Result<(), StepError> {
    Ok(())
}

#[function]
async fn with_input_first(cents: u64) -> Result<u64, StepError> {
    Ok(cents)
}

#[function]
async fn with_the_other(ctx: WorkflowContext, cents: u64) -> Result<u64, StepError> {
    Ok(cents)
}

#[function]
async fn borrowed(ctx: &FunctionContext, cents: u64) -> Result<u64, StepError> {
    Ok(cents)
}

fn main() {}
