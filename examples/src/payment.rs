//! A webhook of a payment service starts a run for each payment, once.

use everstep::prelude::*;
use serde::{Deserialize, Serialize};

/// What the service says of a payment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PaymentIntent {
    /// In the smallest unit of the currency.
    pub amount: u64,
    /// Which.
    pub currency: String,
}

/// Writes the payment into the books.
#[function(retries(max_attempts = 5, initial = "1s"))]
pub async fn record_payment(ctx: FunctionContext, payment: PaymentIntent) -> Result<String, StepError> {
    Ok(format!(
        "{} {} as {}",
        payment.amount,
        payment.currency,
        ctx.idempotency_key()
    ))
}

/// Records the payment.
#[workflow(on(webhook("stripe", event = "payment_intent.succeeded", input = "data.object", dedupe = "id")))]
pub async fn payment_workflow(ctx: WorkflowContext, payment: PaymentIntent) -> Result<String, WorkflowError> {
    ctx.step(record_payment, payment).await?;
    Ok("Payment recorded.".to_owned())
}

/// The application.
pub fn app() -> App {
    App::new().workflow(payment_workflow).function(record_payment)
}
