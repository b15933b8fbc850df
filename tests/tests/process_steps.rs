//! Rollbacks under kill -9, and a function that hangs, on a real server.

use std::path::Path;
use std::time::Duration;

use everstep::{FailureKind, RunError};
use everstep_tests::processes::{Fleet, Seed, Victim, frozen, result_of, unpaid_trip};
use tokio::time::Instant;

const BINARY: &str = env!("CARGO_BIN_EXE_everstep-test-app");

const RUNS: usize = 30;
const KILLS: usize = 6;

/// Three parts booked, and three cancelled.
const MUTATIONS: usize = 6 * RUNS;

async fn survives(victim: impl FnMut(&mut Seed) -> Victim) {
    let mut fleet = Fleet::start(Path::new(BINARY), 2, 2).await.expect("a fleet");
    let mut handles = Vec::new();
    for number in 0..RUNS {
        let started = fleet.client.start(unpaid_trip, ()).key(format!("trip-{number}"));
        handles.push(started.await.expect("a start"));
    }
    fleet.kill_as_work_goes_on(KILLS, MUTATIONS, victim).await;
    for handle in handles {
        let result = result_of(handle).await;
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

mod rollbacks {
    everstep_tests::kills_change_nothing!(super::survives);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_hangs_is_noticed_by_its_missing_heartbeats_and_goes_on_where_it_was() {
    let fleet = Fleet::start(Path::new(BINARY), 1, 2).await.expect("a fleet");
    let began = Instant::now();
    let handle = fleet.client.start(frozen, ()).await.expect("a start");
    assert_eq!(
        result_of(handle).await.expect("it completes"),
        7,
        "what the first attempt said last"
    );
    let took = began.elapsed();
    assert!(
        took < Duration::from_secs(20),
        "long before its timeout and its redelivery, and not after {took:?}"
    );
}
