//! The list of behaviours on a real cluster of three.

use std::sync::Arc;

use everstep_tests::conformance::{disturbing, real::Real, report, run, run_side_by_side, undisturbed};

#[tokio::test]
async fn every_behaviour_holds_on_three_nodes() -> anyhow::Result<()> {
    let server = Arc::new(Real::three().await?);
    report(run_side_by_side(server.clone(), undisturbed()).await)?;
    let mut results = Vec::new();
    for behaviour in disturbing() {
        results.push((behaviour, run(server.clone(), behaviour).await));
    }
    report(results)
}
