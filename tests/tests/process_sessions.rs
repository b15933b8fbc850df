//! A thousand runs of one session on a real server, each adding one to the same value: a thousand exactly, whoever is killed meanwhile.

use std::path::Path;

use everstep::Client;
use everstep_tests::processes::{DEADLINE, Fleet, Seed, Victim, until, visit};
use tokio::time::Instant;

const BINARY: &str = env!("CARGO_BIN_EXE_everstep-test-app");

const RUNS: u64 = 1_000;

const SESSION: &str = "customer 7";

/// Kills in each test.
const KILLS: usize = 5;

async fn counted(client: &Client) -> u64 {
    let values = client.session(SESSION).await;
    let values = values.unwrap_or_default().into_iter();
    let mut counts = values.filter(|entry| entry.key == "visit_count");
    counts.next().and_then(|entry| entry.value.as_u64()).unwrap_or(0)
}

fn start_all(client: &Client) -> Vec<tokio::task::JoinHandle<u64>> {
    let start = |number| {
        let client = client.clone();
        tokio::spawn(async move {
            loop {
                let start = client.start(visit, ()).key(format!("visit {number}")).session(SESSION);
                let result = match start.await {
                    Ok(handle) => handle.result().await.map_err(anyhow::Error::from),
                    Err(error) => Err(error.into()),
                };
                match result {
                    Ok(visits) => return visits,
                    Err(error) => eprintln!("visit {number} again: {error}"),
                }
            }
        })
    };
    (0..RUNS).map(start).collect()
}

/// Each run was told another number, and together they were told all of them.
async fn expect_each_once(runs: Vec<tokio::task::JoinHandle<u64>>) {
    let mut told = Vec::new();
    for run in runs {
        let run = tokio::time::timeout(DEADLINE, run).await;
        told.push(run.expect("no run is lost").expect("no panic"));
    }
    told.sort_unstable();
    assert!(told.into_iter().eq(1..=RUNS), "a write was lost, or done twice");
}

async fn survives(mut victim: impl FnMut(&mut Seed) -> Victim) {
    let mut fleet = Fleet::start(Path::new(BINARY), 2, 0).await.expect("a fleet");
    let mut seed = Seed::from_environment();
    let client = fleet.client.clone();
    let runs = start_all(&client);
    for kill in 0..KILLS {
        let goal = (counted(&client).await + 1 + seed.below(RUNS / KILLS as u64)).min(RUNS);
        until(&format!("progress before kill {kill}"), async || {
            counted(&client).await >= goal
        })
        .await;
        fleet.kill(victim(&mut seed), &mut seed).await.expect("a kill");
    }
    expect_each_once(runs).await;
    assert_eq!(counted(&client).await, RUNS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_runs_of_one_session_count_to_a_thousand() {
    let fleet = Fleet::start(Path::new(BINARY), 2, 0).await.expect("a fleet");
    let began = Instant::now();
    expect_each_once(start_all(&fleet.client)).await;
    println!("{RUNS} runs of one session took {:?}", began.elapsed());
    assert_eq!(counted(&fleet.client).await, RUNS);
}

mod a_thousand_runs_count_to_a_thousand {
    everstep_tests::kills_change_nothing!(super::survives, orchestrators, the_server_and_orchestrators);
}
