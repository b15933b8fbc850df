//! The example programs that wait for people, as scenarios in which anybody may die.

use everstep::PayloadHash;
use everstep_common::ids::FunctionName;
use everstep_core::Definition;
use everstep_examples::approval::{approval_workflow, fulfil_order, prepare_order_summary};
use everstep_examples::onboarding::{onboard_customer, reach_out, research_customer};
use everstep_worker::Handler;

use super::clients::Said;
use super::scenarios::{expect_completed, usual};
use super::world::World;

/// The workflows.
pub(super) fn definitions() -> Vec<Definition> {
    vec![
        everstep::definition(approval_workflow, Default::default()),
        everstep::definition(onboard_customer, Default::default()),
    ]
}

/// The functions.
pub(super) fn handlers() -> Vec<(FunctionName, Handler)> {
    vec![
        everstep::handler(prepare_order_summary),
        everstep::handler(fulfil_order),
        everstep::handler(research_customer),
        everstep::handler(reach_out),
    ]
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
