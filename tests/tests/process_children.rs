//! kill -9 among runs that start runs and go on in others: each is started once, and every parent is told how its children ended.

use std::path::Path;

use everstep_tests::processes::{DEADLINE, Fleet, Seed, Victim, consignment, until};

const BINARY: &str = env!("CARGO_BIN_EXE_everstep-test-app");

const RUNS: usize = 15;
const KILLS: usize = 6;
/// Nine in each of the three runs that a consignment goes through.
const MUTATIONS: usize = 27;

async fn survives(mut victim: impl FnMut(&mut Seed) -> Victim) {
    let mut fleet = Fleet::start(Path::new(BINARY), 2, 2).await.expect("a fleet");
    let mut seed = Seed::from_environment();
    let mut handles = Vec::new();
    for number in 0..RUNS {
        let started = fleet
            .client
            .start(consignment, (100, 1, 0))
            .key(format!("consignment-{number}"));
        handles.push(started.await.expect("a start"));
    }
    let all = RUNS * MUTATIONS;
    for kill in 0..KILLS {
        let before = fleet.ledger.mutations();
        fleet.kill(victim(&mut seed), &mut seed).await.expect("a kill");
        // The next one dies when work has gone on, or is done.
        until(&format!("progress after kill {kill}"), async || {
            let mutations = fleet.ledger.mutations();
            mutations == all || mutations >= before + all / (2 * KILLS)
        })
        .await;
    }
    for handle in handles {
        let (first, client) = (handle.id().clone(), fleet.client.clone());
        let result = tokio::time::timeout(DEADLINE, handle.result()).await.expect("no run is lost");
        assert_eq!(result.expect("it completes"), 6 * 300, "run {first}");
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

#[tokio::test(flavor = "multi_thread")]
async fn kills_of_workers_change_nothing() {
    survives(|_| Victim::Worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_of_orchestrators_change_nothing() {
    survives(|_| Victim::Orchestrator).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_of_the_server_change_nothing() {
    survives(|_| Victim::Server).await;
}
