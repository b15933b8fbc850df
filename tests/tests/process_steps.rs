//! Rollbacks under kill -9, and a function that hangs, on a real server.

use std::path::Path;
use std::time::Duration;

use everstep::{FailureKind, RunError};
use everstep_tests::processes::{DEADLINE, Fleet, Seed, Victim, frozen, unpaid_trip, until};
use tokio::time::Instant;

const BINARY: &str = env!("CARGO_BIN_EXE_everstep-test-app");

const RUNS: usize = 30;
const KILLS: usize = 6;

/// Three parts booked, and three cancelled.
const MUTATIONS: usize = 6 * RUNS;

async fn survives(mut victim: impl FnMut(&mut Seed) -> Victim) {
    let mut fleet = Fleet::start(Path::new(BINARY), 2, 2).await.expect("a fleet");
    let mut seed = Seed::from_environment();
    let mut handles = Vec::new();
    for number in 0..RUNS {
        let started = fleet.client.start(unpaid_trip, ()).key(format!("trip-{number}"));
        handles.push(started.await.expect("a start"));
    }
    for kill in 0..KILLS {
        let before = fleet.ledger.mutations();
        fleet.kill(victim(&mut seed), &mut seed).await.expect("a kill");
        until(&format!("progress after kill {kill}"), async || {
            let mutations = fleet.ledger.mutations();
            mutations == MUTATIONS || mutations >= before + MUTATIONS / (2 * KILLS)
        })
        .await;
    }
    for handle in handles {
        let result = tokio::time::timeout(DEADLINE, handle.result()).await.expect("no run is lost");
        let Err(RunError::Failed { failure, .. }) = result else {
            panic!("it cannot be paid, and {result:?}")
        };
        assert_eq!(
            (failure.kind, failure.message.as_str()),
            (FailureKind::Workflow, "it cannot be paid")
        );
    }
    let done = ["book", "cancel"].map(|function| fleet.ledger.mutations_of(function));
    assert_eq!(done, [3 * RUNS; 2], "everything is booked once, and cancelled once");
}

#[tokio::test(flavor = "multi_thread")]
async fn rollbacks_survive_kills_of_orchestrators() {
    survives(|_| Victim::Orchestrator).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rollbacks_survive_kills_of_workers() {
    survives(|_| Victim::Worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rollbacks_survive_kills_of_the_server() {
    survives(|_| Victim::Server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_hangs_is_noticed_by_its_missing_heartbeats_and_goes_on_where_it_was() {
    let fleet = Fleet::start(Path::new(BINARY), 1, 2).await.expect("a fleet");
    let began = Instant::now();
    let handle = fleet.client.start(frozen, ()).await.expect("a start");
    let result = tokio::time::timeout(DEADLINE, handle.result()).await.expect("it ends");
    assert_eq!(result.expect("it completes"), 7, "what the first attempt said last");
    let took = began.elapsed();
    assert!(
        took < Duration::from_secs(20),
        "long before its timeout and its redelivery, and not after {took:?}"
    );
}
