//! Orchestrator processes that die of a run, or are told to end while nobody can hear that they do.

use std::path::Path;
use std::time::Duration;

use everstep_common::summary::RunStatus;
use everstep_tests::processes::{Fleet, Victim, hundred_cents, order, plunge, result_of, until};
use tokio::time::Instant;

const BINARY: &str = env!("CARGO_BIN_EXE_everstep-test-app");

#[tokio::test(flavor = "multi_thread")]
async fn a_recursion_without_end_is_parked_and_harms_nobody_else() {
    let mut fleet = Fleet::start(Path::new(BINARY), 1, 1).await.expect("a fleet");
    let client = fleet.client.clone();
    let mut innocent = Vec::new();
    for _ in 0..10 {
        innocent.push(client.start(order, 100).await.expect("a start"));
    }
    let run = client.start(plunge, 100).await.expect("a start").id().clone();
    let mut deaths = 0;
    until("the run to be parked", async || {
        deaths += fleet.revive_orchestrators().expect("an orchestrator");
        let summary = client.status(&run).await.expect("a status");
        summary.status == RunStatus::Parked && summary.reason.is_some_and(|reason| reason.contains("poison"))
    })
    .await;
    // Two deaths make the next owner cautious, and three owners leave word of the run.
    assert_eq!(deaths, 5);
    innocent.push(client.start(order, 100).await.expect("a start"));
    for handle in innocent {
        assert_eq!(result_of(handle).await.expect("it completes"), hundred_cents());
    }
    assert_eq!(fleet.revive_orchestrators().expect("an orchestrator"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orchestrator_ends_at_once_though_the_server_is_away() {
    let mut fleet = Fleet::start(Path::new(BINARY), 1, 1).await.expect("a fleet");
    let handle = fleet.client.start(order, 100).await.expect("a start");
    assert_eq!(result_of(handle).await.expect("it completes"), hundred_cents());
    fleet.kill_server();
    let told = Instant::now();
    let ended = fleet.terminate(Victim::Orchestrator).await.expect("an end");
    assert!(ended.success(), "it ended with {ended}");
    assert!(
        told.elapsed() < Duration::from_secs(3),
        "there is nothing to wait for: {:?}",
        told.elapsed()
    );
}
