//! The example programs, as scenarios in which anybody may die.

use everstep::PayloadHash;
use everstep_examples::approval::{approval_workflow, fulfil_order, prepare_order_summary};
use everstep_examples::onboarding::{onboard_customer, reach_out, research_customer};
use everstep_orchestrator::Workflows;
use everstep_worker::Functions;

use super::clients::Said;
use super::scenarios::{expect_completed, usual};
use super::world::World;

/// Registers the examples' workflows.
pub(super) fn register(workflows: &mut Workflows) {
    let all = [
        everstep::definition(approval_workflow, Default::default()),
        everstep::definition(onboard_customer, Default::default()),
    ];
    for definition in all {
        workflows.register(definition).expect("each is registered once");
    }
}

/// Registers the examples' functions.
pub(super) fn register_functions(functions: &mut Functions) {
    let all = [
        everstep::handler(prepare_order_summary),
        everstep::handler(fulfil_order),
        everstep::handler(research_customer),
        everstep::handler(reach_out),
    ];
    for (name, handler) in all {
        functions.register(name, handler).expect("each is registered once");
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
