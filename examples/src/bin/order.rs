//! The order pipeline as an application: `order dev`, or `order orchestrator` and `order worker` against a server.

use std::process::ExitCode;

use everstep::prelude::*;
use everstep_examples::order::{
    Charge, PaymentService, Payments, charge_customer, order_workflow, send_confirmation, validate_order,
};
use futures::FutureExt;
use futures::future::BoxFuture;

/// A payment service that lives in memory: fine to try things out, and nothing else.
struct Pretend;

impl PaymentService for Pretend {
    fn charge<'a>(&'a self, total: u64, idempotency_key: &'a str) -> BoxFuture<'a, Result<Charge, StepError>> {
        let id = format!("ch_{idempotency_key}");
        std::future::ready(Ok(Charge { id, total })).boxed()
    }
}

fn main() -> ExitCode {
    everstep::App::new()
        .resource(Payments::new(Pretend))
        .workflow(order_workflow)
        .function(validate_order)
        .function(charge_customer)
        .function(send_confirmation)
        .main()
}
