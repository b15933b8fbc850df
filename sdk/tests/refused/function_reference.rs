use everstep::prelude::*;

#[function]
async fn greet(ctx: FunctionContext, name: &str, titles: Vec<&'static str>) -> Result<&'static str, StepError> {
    Ok("hello")
}

#[function]
async fn print(ctx: FunctionContext, what: impl ToString) -> Result<(), StepError> {
    Ok(())
}

fn main() {}
