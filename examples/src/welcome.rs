//! One step: a welcome for whoever has signed up.

use everstep::prelude::*;

/// Sends the mail.
#[function(retries(max_attempts = 5, initial = "1s"))]
pub async fn send_welcome_email(_ctx: FunctionContext, user_id: String) -> Result<String, StepError> {
    Ok(format!("Welcome, {user_id}"))
}

/// Welcomes the user.
#[workflow(on(event("user.signed_up", input = "user_id")))]
pub async fn welcome_workflow(ctx: WorkflowContext, user_id: String) -> Result<String, WorkflowError> {
    ctx.step(send_welcome_email, user_id).await?;
    Ok("Welcome email sent.".to_owned())
}

/// The application.
pub fn app() -> App {
    App::new().workflow(welcome_workflow).function(send_welcome_email)
}
