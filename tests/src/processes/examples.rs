//! The example programs as the application under test runs them: with this ledger for a payment service, and with less patience.

use std::net::SocketAddr;

use everstep::App;
use everstep::prelude::*;
use everstep_examples::approval::{approval_workflow, fulfil_order, prepare_order_summary};
use everstep_examples::order::{Charge, PaymentService, Payments};
use everstep_examples::{
    account, bulk, dashboard, fleet, follow_up, notify, onboarding, order, payment, report, stateful, trip, welcome,
};
use futures::FutureExt;
use futures::future::BoxFuture;

use super::ledger::book;

/// Charges by booking in the ledger.
struct Booked(SocketAddr);

impl PaymentService for Booked {
    fn charge<'a>(&'a self, total: u64, idempotency_key: &'a str) -> BoxFuture<'a, Result<Charge, StepError>> {
        async move {
            book(self.0, "payment", idempotency_key).await?;
            Ok(Charge {
                id: "paid".to_owned(),
                total,
            })
        }
        .boxed()
    }
}

/// The follow-up of the examples, for users who are asked soon.
#[workflow]
pub async fn soon_followed_up(ctx: WorkflowContext, user_id: String) -> Result<String, WorkflowError> {
    follow_up::follow_up_after(&ctx, user_id, Duration::from_secs(1)).await
}

/// The application with all of them, charging at `ledger`.
pub(super) fn with_examples(app: App, ledger: SocketAddr) -> App {
    app.resource(Payments::new(Booked(ledger)))
        .workflow(approval_workflow)
        .workflow(onboarding::onboard_customer)
        .workflow(account::onboarding_workflow)
        .workflow(order::order_workflow)
        .workflow(notify::notify_workflow)
        .workflow(report::report_workflow)
        .workflow(dashboard::dashboard_workflow)
        .workflow(bulk::bulk_processor)
        .workflow(bulk::word_count)
        .workflow(soon_followed_up)
        .workflow(stateful::stateful_workflow)
        .workflow(welcome::welcome_workflow)
        .workflow(payment::payment_workflow)
        .workflow(fleet::parcel)
        .workflow(fleet::tour)
        .workflow(fleet::van)
        .workflow(trip::trip_workflow)
        .function(prepare_order_summary)
        .function(fulfil_order)
        .function(onboarding::research_customer)
        .function(onboarding::reach_out)
        .function(account::create_account)
        .function(account::send_welcome_email)
        .function(order::validate_order)
        .function(order::charge_customer)
        .function(order::send_confirmation)
        .function(notify::fetch_user)
        .function(notify::send_email)
        .function(report::fetch_sales)
        .function(report::fetch_inventory)
        .function(report::fetch_customers)
        .function(report::compile_report)
        .function(dashboard::fetch_revenue)
        .function(dashboard::fetch_active_users)
        .function(dashboard::fetch_error_rate)
        .function(bulk::process_document)
        .function(follow_up::send_confirmation)
        .function(follow_up::send_follow_up)
        .function(welcome::send_welcome_email)
        .function(payment::record_payment)
        .function(fleet::hand_over)
        .function(trip::book_flight)
        .function(trip::cancel_flight)
        .function(trip::book_hotel)
        .function(trip::cancel_hotel)
        .function(trip::pay)
}
