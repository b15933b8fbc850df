//! Two steps, one after the other: fetch the user, then tell them.

use everstep::prelude::*;
use serde::{Deserialize, Serialize};

/// A user as the database knows them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// The database's id.
    pub id: String,
    /// What they are called.
    pub name: String,
}

/// Looks the user up.
#[function]
pub async fn fetch_user(_ctx: FunctionContext, user_id: String) -> Result<User, StepError> {
    Ok(User {
        id: user_id,
        name: "Ada".to_owned(),
    })
}

/// Sends a mail.
#[function(retries(max_attempts = 5, initial = "1s"))]
pub async fn send_email(_ctx: FunctionContext, user: User, _subject: String) -> Result<String, StepError> {
    Ok(format!("Sent to {}", user.name))
}

/// Fetches, then sends. A crash between the two does not fetch again.
#[workflow]
pub async fn notify_workflow(ctx: WorkflowContext, user_id: String) -> Result<String, WorkflowError> {
    let user = ctx.step(fetch_user, user_id).await?;
    ctx.step(send_email, (user, "Welcome!".to_owned())).await
}

/// The application.
pub fn app() -> App {
    App::new().workflow(notify_workflow).function(fetch_user).function(send_email)
}
