//! The list of behaviours on one real nats-server.

use std::sync::Arc;

use everstep_tests::conformance::{disturbing, real::Real, report, run, run_side_by_side, undisturbed};

#[tokio::test]
async fn every_behaviour_holds_on_one_node() -> anyhow::Result<()> {
    let server = Arc::new(Real::one().await?);
    report(run_side_by_side(server.clone(), undisturbed()).await)?;
    let mut results = Vec::new();
    for behaviour in disturbing() {
        results.push((behaviour, run(server.clone(), behaviour).await));
    }
    report(results)
}
