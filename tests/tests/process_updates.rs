//! kill -9 among runs that take updates: each is done once and has one answer, whoever dies before, while and after it is asked for.

use std::path::Path;

use everstep::{Client, RunId, UpdateError};
use everstep_tests::processes::{DEADLINE, Fleet, Seed, Victim, paid_into, returned, until};
use futures::FutureExt;
use futures::future::{join, join_all};

const BINARY: &str = env!("CARGO_BIN_EXE_everstep-test-app");

const KILLS: usize = 5;

const RUNS: usize = 4;

/// Payments into each run around one kill.
const PAYMENTS: u64 = 6;

/// Pays until somebody says what came of it.
async fn pay(client: &Client, run: &RunId, key: &str, cents: u64) -> Result<u64, UpdateError> {
    loop {
        match client.update(run, "pay", &cents).key(key).await {
            Err(error @ (UpdateError::Client(_) | UpdateError::TimedOut { .. })) => eprintln!("paying {key} again: {error}"),
            told => return told,
        }
    }
}

/// Pays in, always more, and is told the sum each time; asked again, what it was told before.
async fn customer(client: Client, run: RunId, kill: usize) -> u64 {
    let mut paid = 0;
    for number in 1..=PAYMENTS {
        let key = format!("payment {kill}/{number}");
        let refused = pay(&client, &run, &format!("{key} less"), number % 10).await;
        assert!(matches!(refused, Err(UpdateError::Rejected { .. })), "{refused:?}");
        let told = pay(&client, &run, &key, 10 * number).await.expect("it is done");
        let again = pay(&client, &run, &key, 10 * number).await.expect("it is done");
        assert_eq!(told, again, "{key}");
        paid += 10 * number;
    }
    paid
}

async fn closed(client: &Client, run: &RunId) -> u64 {
    until("it is closed", async || {
        client.signal(run, "close", "close", &1_u64).await.is_ok()
    })
    .await;
    returned(client, run).await
}

async fn survives(mut victim: impl FnMut(&mut Seed) -> Victim) {
    let mut fleet = Fleet::start(Path::new(BINARY), 2, 2).await.expect("a fleet");
    let mut seed = Seed::from_environment();
    let client = fleet.client.clone();
    let mut runs = Vec::new();
    for number in 0..RUNS {
        let started = client.start(paid_into, ()).key(format!("account {number}")).await;
        runs.push(started.expect("a start").id().clone());
    }
    let mut paid = 0;
    for kill in 0..KILLS {
        let customers = runs.iter().map(|run| customer(client.clone(), run.clone(), kill).boxed());
        let goal = fleet.ledger.mutations() + seed.below(PAYMENTS * RUNS as u64) as usize;
        let killed = fleet.kill_at(goal, victim(&mut seed), &mut seed);
        let told = tokio::time::timeout(2 * DEADLINE, join(join_all(customers), killed)).await;
        paid += told.expect("no update is lost").0[0];
    }
    for run in &runs {
        assert_eq!(closed(&client, run).await, paid, "each payment once");
        let late = pay(&client, run, "late", 10).await;
        assert!(matches!(late, Err(UpdateError::Ended { .. })), "{late:?}");
    }
    assert_eq!(fleet.ledger.mutations_of("charge"), KILLS * RUNS * PAYMENTS as usize);
}

everstep_tests::kills_change_nothing!(survives);
