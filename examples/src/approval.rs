//! An order that a person looks at before it is fulfilled.

use everstep::prelude::*;
use serde::{Deserialize, Serialize};

/// What the workflow returns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reviewed {
    /// `fulfilled` or `rejected`.
    pub status: String,
    /// Who said so.
    pub by: Option<String>,
    /// The parcel, if there is one.
    pub parcel: Option<String>,
}

/// What a person needs to know to decide.
#[function]
pub async fn prepare_order_summary(_ctx: FunctionContext, order_id: String) -> Result<String, StepError> {
    Ok(format!("Order {order_id}: 3 books, 89.99, to Vienna"))
}

/// Sends the parcel.
#[function]
pub async fn fulfil_order(ctx: FunctionContext, order_id: String) -> Result<String, StepError> {
    Ok(format!("parcel of {order_id}, sent under {}", ctx.idempotency_key()))
}

/// Asks, and does as it is told: `everstep runs approve <run> approve-order`.
#[workflow]
pub async fn approval_workflow(ctx: WorkflowContext, order_id: String) -> Result<Reviewed, WorkflowError> {
    let summary = ctx.step(prepare_order_summary, order_id.clone()).await?;
    let decision = ctx
        .wait_for_user::<String>(Question {
            question: format!("Approve this order?\n\n{summary}"),
            input_type: InputType::Approval,
            options: vec![Choice::new("approve", "Approve"), Choice::new("reject", "Reject")],
            name: Some("approve-order".to_owned()),
            ..Question::default()
        })
        .await?;
    if decision.value == "reject" {
        return Ok(Reviewed {
            status: "rejected".to_owned(),
            by: decision.by,
            parcel: None,
        });
    }
    let parcel = ctx.step(fulfil_order, order_id).await?;
    Ok(Reviewed {
        status: "fulfilled".to_owned(),
        by: decision.by,
        parcel: Some(parcel),
    })
}

/// The application.
pub fn app() -> App {
    App::new()
        .workflow(approval_workflow)
        .function(prepare_order_summary)
        .function(fulfil_order)
}
