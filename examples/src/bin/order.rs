//! The order pipeline as an application: `order dev`, or `order orchestrator` and `order worker` against a server.

use std::process::ExitCode;
use std::sync::Arc;

use everstep::prelude::*;
use everstep_examples::order::{
    Charge, PaymentService, Payments, charge_customer, order_workflow, send_confirmation, validate_order,
};

/// A payment service that lives in memory: fine to try things out, and nothing else.
struct Pretend;

impl PaymentService for Pretend {
    fn charge(&self, total: u64, idempotency_key: &str) -> Result<Charge, StepError> {
        Ok(Charge {
            id: format!("ch_{idempotency_key}"),
            total,
        })
    }
}

fn main() -> ExitCode {
    everstep::App::new()
        .resource(Payments(Arc::new(Pretend)))
        .workflow(order_workflow)
        .function(validate_order)
        .function(charge_customer)
        .function(send_confirmation)
        .main()
}
