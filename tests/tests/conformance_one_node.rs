//! The list of behaviours on one real nats-server.

use std::sync::Arc;

use everstep_tests::conformance::{disturbing, real::Real, report, run_side_by_side, run_together, undisturbed};

#[tokio::test]
async fn every_behaviour_holds_on_one_node() -> anyhow::Result<()> {
    let server = Arc::new(Real::one().await?);
    let mut results = run_side_by_side(server.clone(), undisturbed()).await;
    results.extend(run_together(server, disturbing()).await);
    report(results)
}
