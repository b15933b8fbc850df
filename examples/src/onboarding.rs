//! Onboarding of a customer: research, a person's yes to exactly what will be sent, outreach.

use everstep::prelude::*;
use serde::{Deserialize, Serialize};

/// What is found out about a customer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Research {
    /// For the person who decides.
    pub summary: String,
    /// What is to be sent.
    pub brief: String,
}

/// What the workflow returns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Onboarded {
    /// `halted` or `sent`.
    pub status: String,
    /// What the customer got.
    pub message: Option<String>,
}

/// Looks the customer up.
#[function]
pub async fn research_customer(_ctx: FunctionContext, customer_id: String) -> Result<Research, StepError> {
    Ok(Research {
        summary: format!("{customer_id} sells flowers and has asked for a demonstration"),
        brief: format!("Dear {customer_id}, how about Tuesday?"),
    })
}

/// Writes to the customer. Whoever is written to twice is annoyed, so the key goes to the mail service.
#[function]
pub async fn reach_out(ctx: FunctionContext, customer_id: String, brief: String) -> Result<String, StepError> {
    Ok(format!("to {customer_id}: {brief} ({})", ctx.idempotency_key()))
}

/// What is approved is the very input of the step that sends it: a changed brief would not be sent.
#[workflow(name = "onboard.customer")]
pub async fn onboard_customer(ctx: WorkflowContext, customer_id: String) -> Result<Onboarded, WorkflowError> {
    let research = ctx.step(research_customer, customer_id.clone()).await?;
    let letter = (customer_id, research.brief);
    let approval = Approval::of(research.summary, &letter)
        .named("outreach")
        .expires(Duration::from_secs(24 * 60 * 60));
    let decision = ctx.await_approval(approval).await?;
    if !decision.is_approved() {
        return Ok(Onboarded {
            status: "halted".to_owned(),
            message: None,
        });
    }
    let sent = ctx.step(reach_out, letter).requires(&decision).await?;
    Ok(Onboarded {
        status: "sent".to_owned(),
        message: Some(sent),
    })
}

/// The application.
pub fn app() -> App {
    App::new()
        .workflow(onboard_customer)
        .function(research_customer)
        .function(reach_out)
}
