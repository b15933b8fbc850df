//! Onboarding of a user: an account, then a welcome to it.

use everstep::prelude::*;
use serde::{Deserialize, Serialize};

/// An account of a user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// What it is known by.
    pub id: String,
}

/// What the workflow returns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Opened {
    /// `done`.
    pub status: String,
    /// The account.
    pub account_id: String,
}

/// Opens an account. A real one passes the idempotency key on, so that a repeated request opens no second one.
#[function]
pub async fn create_account(ctx: FunctionContext, user_email: String) -> Result<Account, StepError> {
    ctx.log(format_args!("an account for {user_email}, under {}", ctx.idempotency_key()));
    Ok(Account {
        id: format!("account of {user_email}"),
    })
}

/// Greets whoever the account belongs to.
#[function(name = "account.send_welcome_email", retries(max_attempts = 5, initial = "1s"))]
pub async fn send_welcome_email(ctx: FunctionContext, account_id: String) -> Result<(), StepError> {
    ctx.log(format_args!("welcome to the {account_id}"));
    Ok(())
}

/// Opens an account and greets its user.
#[workflow]
pub async fn onboarding_workflow(ctx: WorkflowContext, user_email: String) -> Result<Opened, WorkflowError> {
    let account = ctx.step(create_account, user_email).await?;
    ctx.step(send_welcome_email, account.id.clone()).await?;
    Ok(Opened {
        status: "done".to_owned(),
        account_id: account.id,
    })
}

/// The application.
pub fn app() -> App {
    App::new()
        .workflow(onboarding_workflow)
        .function(create_account)
        .function(send_welcome_email)
}
