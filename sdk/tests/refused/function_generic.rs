use everstep::prelude::*;

#[function]
async fn charge<T: Into<u64>>(ctx: FunctionContext, cents: T) -> Result<u64, StepError> {
    Ok(cents.into())
}

#[function]
async fn greet<'a>(ctx: FunctionContext, name: String) -> Result<String, StepError> {
    Ok(name)
}

#[function]
async fn nothing(ctx: FunctionContext) -> Result<(), StepError>
where
    String: Clone,
{
    Ok(())
}

fn main() {}
