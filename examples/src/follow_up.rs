//! A follow-up: a mail now and another one a day later, whatever restarts in between.

use everstep::prelude::*;

/// How long a user is left in peace.
const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// Confirms the order.
#[function(name = "follow_up.send_confirmation")]
pub async fn send_confirmation(ctx: FunctionContext, user_id: String) -> Result<(), StepError> {
    ctx.log(format_args!("dear {user_id}, we have your order"));
    Ok(())
}

/// Asks how it was.
#[function(name = "follow_up.send_follow_up")]
pub async fn send_follow_up(ctx: FunctionContext, user_id: String) -> Result<(), StepError> {
    ctx.log(format_args!("dear {user_id}, how was it?"));
    Ok(())
}

/// Confirms, waits a day without holding a process, and asks.
#[workflow]
pub async fn follow_up_workflow(ctx: WorkflowContext, user_id: String) -> Result<String, WorkflowError> {
    follow_up_after(&ctx, user_id, PATIENCE).await
}

/// The same with another patience.
pub async fn follow_up_after(ctx: &WorkflowContext, user_id: String, patience: Duration) -> Result<String, WorkflowError> {
    ctx.step(send_confirmation, user_id.clone()).await?;
    ctx.sleep(patience).named("wait_24h").await?;
    ctx.step(send_follow_up, user_id).await?;
    Ok("Follow-up sent.".to_owned())
}

/// The application.
pub fn app() -> App {
    App::new()
        .workflow(follow_up_workflow)
        .function(send_confirmation)
        .function(send_follow_up)
}
