//! The order pipeline: validate, charge, settle, confirm. However often anything dies, the customer is charged once.

use std::sync::Arc;

use everstep::prelude::*;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

/// An order as the shop knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// The shop's id.
    pub id: String,
    /// What it costs, in cents.
    pub total: u64,
    /// Whether it can be delivered.
    pub valid: bool,
}

/// A charge as the payment service knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Charge {
    /// The payment service's id.
    pub id: String,
    /// What was charged, in cents.
    pub total: u64,
}

/// What the workflow returns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderDone {
    /// The shop's id.
    pub order_id: String,
    /// `complete` or `invalid`.
    pub status: String,
    /// The charge, if there was one.
    pub charge_id: Option<String>,
}

/// A payment service: takes an amount and an idempotency key, and charges once per key.
pub trait PaymentService: Send + Sync + 'static {
    /// Charges, or returns what the key was charged before.
    fn charge<'a>(&'a self, total: u64, idempotency_key: &'a str) -> BoxFuture<'a, Result<Charge, StepError>>;
}

/// The payment service as functions get it.
#[derive(Clone)]
pub struct Payments(Arc<dyn PaymentService>);

impl Payments {
    /// The given service.
    pub fn new(service: impl PaymentService) -> Self {
        Self(Arc::new(service))
    }

    /// Charges, or returns what the key was charged before.
    pub async fn charge(&self, total: u64, idempotency_key: &str) -> Result<Charge, StepError> {
        self.0.charge(total, idempotency_key).await
    }
}

/// Looks whether the order can be delivered.
#[function]
pub async fn validate_order(_ctx: FunctionContext, order_id: String) -> Result<Order, StepError> {
    let valid = !order_id.starts_with("invalid");
    Ok(Order {
        id: order_id,
        total: 8999,
        valid,
    })
}

/// Charges the customer: the same key on every attempt, process and deploy.
#[function(retries(max_attempts = 3, initial = "1s", max = "60s"), timeout = "10s")]
pub async fn charge_customer(ctx: FunctionContext, order: Order) -> Result<Charge, StepError> {
    let payments = ctx.resource::<Payments>();
    payments.charge(order.total, ctx.idempotency_key()).await
}

/// Tells the customer.
#[function]
pub async fn send_confirmation(_ctx: FunctionContext, order: Order, charge: Charge) -> Result<OrderDone, StepError> {
    Ok(OrderDone {
        order_id: order.id,
        status: "complete".to_owned(),
        charge_id: Some(charge.id),
    })
}

/// The pipeline.
#[workflow]
pub async fn order_workflow(ctx: WorkflowContext, order_id: String) -> Result<OrderDone, WorkflowError> {
    let order = ctx.step(validate_order, order_id).await?;
    if !order.valid {
        return Ok(OrderDone {
            order_id: order.id,
            status: "invalid".to_owned(),
            charge_id: None,
        });
    }
    let charge = ctx.step(charge_customer, order.clone()).await?;
    ctx.sleep(Duration::from_secs(2)).named("settle").await?;
    ctx.step(send_confirmation, (order, charge)).await
}
