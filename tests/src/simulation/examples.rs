//! The example programs of steps alone and those that wait for people, as scenarios in which anybody may die.

use everstep::{PayloadHash, StepError};
use everstep_common::ids::FunctionName;
use everstep_core::Definition;
use everstep_examples::approval::{approval_workflow, fulfil_order, prepare_order_summary};
use everstep_examples::onboarding::{onboard_customer, reach_out, research_customer};
use everstep_examples::order::{Charge, PaymentService, Payments};
use everstep_examples::payment::{self, PaymentIntent};
use everstep_examples::{account, notify, order, stateful, welcome};
use everstep_worker::Handler;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::clients::Said;
use super::ledger::Ledger;
use super::scenarios::{expect_completed, usual};
use super::world::World;

/// The workflows.
pub(super) fn definitions() -> Vec<Definition> {
    vec![
        everstep::definition(approval_workflow, Default::default()),
        everstep::definition(onboard_customer, Default::default()),
        everstep::definition(account::onboarding_workflow, Default::default()),
        everstep::definition(notify::notify_workflow, Default::default()),
        everstep::definition(welcome::welcome_workflow, Default::default()),
        everstep::definition(payment::payment_workflow, Default::default()),
        everstep::definition(stateful::stateful_workflow, Default::default()),
        everstep::definition(order::order_workflow, Default::default()),
    ]
}

/// The functions.
pub(super) fn handlers() -> Vec<(FunctionName, Handler)> {
    vec![
        everstep::handler(prepare_order_summary),
        everstep::handler(fulfil_order),
        everstep::handler(research_customer),
        everstep::handler(reach_out),
        everstep::handler(account::create_account),
        everstep::handler(account::send_welcome_email),
        everstep::handler(notify::fetch_user),
        everstep::handler(notify::send_email),
        everstep::handler(welcome::send_welcome_email),
        everstep::handler(payment::record_payment),
        everstep::handler(order::validate_order),
        everstep::handler(order::charge_customer),
        everstep::handler(order::send_confirmation),
    ]
}

/// A payment service that keeps its books in the ledger.
struct Booked(Ledger);

impl PaymentService for Booked {
    fn charge<'a>(&'a self, total: u64, idempotency_key: &'a str) -> BoxFuture<'a, Result<Charge, StepError>> {
        self.0.effect_under(idempotency_key, &format!("payment of {total}"));
        let id = "paid".to_owned();
        async move { Ok(Charge { id, total }) }.boxed()
    }
}

/// What the order pipeline charges with.
pub(super) fn payments(ledger: &Ledger) -> Payments {
    Payments::new(Booked(ledger.clone()))
}

pub(super) async fn example_steps(world: World) {
    usual(&world);
    let user = || "ada".to_owned();
    let intent = PaymentIntent {
        amount: 4_200,
        currency: "eur".to_owned(),
    };
    let runs = [
        world.start(payment::payment_workflow, intent, "payment").await,
        world.start(account::onboarding_workflow, user(), "onboarding").await,
        world.start(notify::notify_workflow, user(), "notify").await,
        world.start(welcome::welcome_workflow, user(), "welcome").await,
        world.start_in("ada", stateful::stateful_workflow, user(), "stateful").await,
        world.start(order::order_workflow, "o-1".to_owned(), "pipeline").await,
        world
            .start(order::order_workflow, "invalid".to_owned(), "invalid order")
            .await,
    ];
    for run in &runs {
        expect_completed(&world, run).await;
    }
}

pub(super) async fn example_approval(world: World) {
    usual(&world);
    for (order, said) in [("o-1", "approve"), ("o-2", "reject")] {
        let run = world.start(approval_workflow, order.to_owned(), order).await;
        assert!(world.say(&run, "approve-order", Said::Answer("ada", said)).await);
        expect_completed(&world, &run).await;
    }
}

pub(super) async fn example_onboarding(world: World) {
    usual(&world);
    let shown = PayloadHash::of_canonical(r#"["acme","Dear acme, how about Tuesday?"]"#.as_bytes());
    let run = world.start(onboard_customer, "acme".to_owned(), "sent").await;
    assert!(world.say(&run, "outreach", Said::Approve("ada", shown)).await);
    expect_completed(&world, &run).await;
    let run = world.start(onboard_customer, "acme".to_owned(), "halted").await;
    assert!(world.say(&run, "outreach", Said::Reject("ada", shown)).await);
    expect_completed(&world, &run).await;
}
