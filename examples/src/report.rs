//! A report: three sources are fetched at once, and what they say is compiled.

use everstep::prelude::*;
use serde::{Deserialize, Serialize};

/// The report as it is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Which report.
    pub id: String,
    /// What it says.
    pub text: String,
}

/// What was sold, in cents.
#[function]
pub async fn fetch_sales(_ctx: FunctionContext, report_id: String) -> Result<Vec<u64>, StepError> {
    Ok(vec![8_999, 1_200, report_id.len() as u64])
}

/// What is in stock.
#[function]
pub async fn fetch_inventory(_ctx: FunctionContext, _report_id: String) -> Result<u32, StepError> {
    Ok(412)
}

/// Who bought.
#[function]
pub async fn fetch_customers(_ctx: FunctionContext, _report_id: String) -> Result<Vec<String>, StepError> {
    Ok(vec!["Ada".to_owned(), "Grace".to_owned()])
}

/// Makes one text of it.
#[function]
pub async fn compile_report(
    _ctx: FunctionContext,
    report_id: String,
    sales: Vec<u64>,
    inventory: u32,
    customers: Vec<String>,
) -> Result<Report, StepError> {
    let (sold, buyers) = (sales.iter().sum::<u64>(), customers.join(" and "));
    let text = format!("sold {sold} cents to {buyers}; {inventory} pieces left");
    Ok(Report { id: report_id, text })
}

/// Fetches what the report needs, all at once, and compiles it.
#[workflow]
pub async fn report_workflow(ctx: WorkflowContext, report_id: String) -> Result<Report, WorkflowError> {
    let (sales, inventory, customers) = ctx
        .parallel((
            ctx.step(fetch_sales, report_id.clone()),
            ctx.step(fetch_inventory, report_id.clone()),
            ctx.step(fetch_customers, report_id.clone()),
        ))
        .await?;
    ctx.step(compile_report, (report_id, sales, inventory, customers)).await
}

/// The application.
pub fn app() -> App {
    App::new()
        .workflow(report_workflow)
        .function(fetch_sales)
        .function(fetch_inventory)
        .function(fetch_customers)
        .function(compile_report)
}
