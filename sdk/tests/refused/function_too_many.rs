use everstep::prelude::*;

#[function]
async fn nine(ctx: FunctionContext, a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8) -> Result<(), StepError> {
    Ok(())
}

fn main() {}
