use everstep::prelude::*;

#[function]
fn charge(ctx: FunctionContext, cents: u64) -> Result<u64, StepError> {
    Ok(cents)
}

#[function]
const async unsafe extern "C" fn launch(ctx: FunctionContext) -> Result<(), StepError> {
    Ok(())
}

fn main() {}
