//! kill -9 among runs that start runs and go on in others: each is started once, and every parent is told how its children ended.

use std::path::Path;

use everstep_tests::processes::{Fleet, Seed, Victim, consignment, result_of, until};

const BINARY: &str = env!("CARGO_BIN_EXE_everstep-test-app");

const RUNS: usize = 15;
const KILLS: usize = 6;
/// Nine in each of the three runs that a consignment goes through.
const MUTATIONS: usize = 27;

async fn survives(victim: impl FnMut(&mut Seed) -> Victim) {
    let mut fleet = Fleet::start(Path::new(BINARY), 2, 2).await.expect("a fleet");
    let mut handles = Vec::new();
    for number in 0..RUNS {
        let started = fleet
            .client
            .start(consignment, (100, 1, 0))
            .key(format!("consignment-{number}"));
        handles.push(started.await.expect("a start"));
    }
    let all = RUNS * MUTATIONS;
    fleet.kill_as_work_goes_on(KILLS, all, victim).await;
    for handle in handles {
        let (first, client) = (handle.id().clone(), fleet.client.clone());
        assert_eq!(result_of(handle).await.expect("it completes"), 6 * 300, "run {first}");
        let last = client.newest(&first).await.expect("a chain");
        assert_eq!(last, first.successor().successor());
        let children = client.children(&last).await.expect("a journal");
        assert_eq!(children.len(), 3, "{children:?}");
        assert!(children.iter().all(|child| child.ended != child.detached), "{children:?}");
    }
    // Those that nobody waits for.
    until("every refund", async || fleet.ledger.mutations() >= all).await;
    assert_eq!(fleet.ledger.mutations(), all, "each run was started once");
    assert_eq!(fleet.ledger.mutations_of("confirm"), 6 * RUNS);
}

everstep_tests::kills_change_nothing!(survives);
