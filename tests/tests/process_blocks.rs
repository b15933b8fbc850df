//! kill -9 among runs that are in the middle of batches, races and deadlines: they go on where they were, and nothing is done twice.

use std::path::Path;

use everstep_tests::processes::{DEADLINE, Fleet, Seed, Victim, bulk_order, result_of, until};

const BINARY: &str = env!("CARGO_BIN_EXE_everstep-test-app");

const RUNS: usize = 20;
const ITEMS: usize = 25;
const KILLS: usize = 6;

async fn survives(victim: impl FnMut(&mut Seed) -> Victim) {
    let mut fleet = Fleet::start(Path::new(BINARY), 2, 2).await.expect("a fleet");
    let mut handles = Vec::new();
    for number in 0..RUNS {
        let started = fleet.client.start(bulk_order, vec![100; ITEMS]).key(format!("bulk-{number}"));
        handles.push(started.await.expect("a start"));
    }
    let all = RUNS * (ITEMS + 2);
    fleet.kill_as_work_goes_on(KILLS, all, victim).await;
    for handle in handles {
        assert_eq!(result_of(handle).await.expect("it completes"), 100 * ITEMS as u64);
    }
    assert_eq!(
        fleet.ledger.mutations_of("charge"),
        RUNS * (ITEMS + 1),
        "one mutation per item"
    );
    assert_eq!(fleet.ledger.mutations_of("confirm"), RUNS);
}

everstep_tests::kills_change_nothing!(survives);

/// A batch of the largest size goes on where it was under another orchestrator.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_items_survive_their_orchestrator() {
    const MANY: usize = 10_000;
    let mut fleet = Fleet::start(Path::new(BINARY), 2, 1).await.expect("a fleet");
    let handle = fleet.client.start(bulk_order, vec![1; MANY]).await.expect("a start");
    until("half of it", async || fleet.ledger.mutations() > MANY / 2).await;
    fleet
        .kill(Victim::Orchestrator, &mut Seed::from_environment())
        .await
        .expect("a kill");
    let result = tokio::time::timeout(2 * DEADLINE, handle.result())
        .await
        .expect("it is not lost");
    assert_eq!(result.expect("it completes"), MANY as u64);
    assert_eq!(fleet.ledger.mutations(), MANY + 2);
    assert!(fleet.ledger.requests() < MANY + 100, "what was done is not done again");
}
