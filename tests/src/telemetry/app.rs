//! The application that is traced: its functions have spans of their own and say which trace they are in.

use everstep::App;
use everstep::prelude::*;
use tracing::Instrument;

/// Its own trace parent.
#[function]
pub async fn greet(ctx: FunctionContext, _name: String) -> Result<String, StepError> {
    let told = async { ctx.traceparent().unwrap_or_default().to_owned() };
    Ok(told.instrument(tracing::info_span!("look up")).await)
}

/// Fails at its first attempt.
#[function(retries(max_attempts = 3, initial = "10ms", max = "20ms"))]
pub async fn fickle(ctx: FunctionContext, name: String) -> Result<String, StepError> {
    match ctx.attempt() {
        1 => Err(StepError::retryable("not yet")),
        _ => Ok(name),
    }
}

/// Two steps; what the first one says.
#[workflow]
pub async fn greeting(ctx: WorkflowContext, name: String) -> Result<String, WorkflowError> {
    let told = ctx.step(greet, name.clone()).await?;
    ctx.step(fickle, name).await?;
    Ok(told)
}

/// A child that greets.
#[workflow]
pub async fn party(ctx: WorkflowContext, name: String) -> Result<String, WorkflowError> {
    ctx.child(greeting, name).await
}

/// The application.
pub fn application() -> App {
    App::new().workflow(greeting).workflow(party).function(greet).function(fickle)
}
