use everstep::prelude::*;

#[function]
async fn nothing(ctx: FunctionContext) {}

#[function]
async fn plain(_ctx: FunctionContext, cents: u64) -> u64 {
    cents
}

#[function]
async fn text_as_error(_ctx: FunctionContext, cents: u64) -> Result<u64, String> {
    Ok(cents)
}

fn main() {}
