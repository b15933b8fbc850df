//! A dashboard: its figures are fetched at once and come by name.

use everstep::prelude::*;
use serde::{Deserialize, Serialize};

/// What the dashboard shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dashboard {
    /// In cents.
    pub revenue: u64,
    /// Who is active.
    pub users: Vec<String>,
    /// Errors for each thousand requests.
    pub errors: f64,
}

/// The revenue of today, in cents.
#[function]
pub async fn fetch_revenue(_ctx: FunctionContext) -> Result<u64, StepError> {
    Ok(123_456)
}

/// Who is active.
#[function]
pub async fn fetch_active_users(_ctx: FunctionContext) -> Result<Vec<String>, StepError> {
    Ok(vec!["Ada".to_owned(), "Grace".to_owned()])
}

/// Errors for each thousand requests.
#[function]
pub async fn fetch_error_rate(_ctx: FunctionContext) -> Result<f64, StepError> {
    Ok(0.25)
}

/// Fetches all figures at once.
#[workflow]
pub async fn dashboard_workflow(ctx: WorkflowContext) -> Result<Dashboard, WorkflowError> {
    gather!(
        ctx,
        Dashboard {
            revenue: ctx.step(fetch_revenue, ()),
            users: ctx.step(fetch_active_users, ()),
            errors: ctx.step(fetch_error_rate, ()),
        }
    )
    .await
}

/// The application.
pub fn app() -> App {
    App::new()
        .workflow(dashboard_workflow)
        .function(fetch_revenue)
        .function(fetch_active_users)
        .function(fetch_error_rate)
}
