//! A limit on a real server: two orchestrators, two workers, many runs, and never more at work than it says, whoever is killed.

use std::path::Path;

use everstep_common::ids::Partition;
use everstep_tests::processes::{Fleet, Seed, Victim, crowd, result_of, until};
use tokio::time::Instant;

const BINARY: &str = env!("CARGO_BIN_EXE_everstep-test-app");

const RUNS: usize = 20;
const WIDTH: u64 = 20;
const ALL: usize = RUNS * WIDTH as usize;
const LIMIT: usize = 5;

async fn start_all(fleet: &Fleet) -> Vec<everstep::RunHandle<()>> {
    let starts = (0..RUNS).map(|number| fleet.client.start(crowd, WIDTH).key(format!("crowd {number}")));
    let started = fleet.client.start_many(starts).await.expect("they are few");
    started.into_iter().map(|run| run.expect("a start")).collect()
}

async fn expect_all(fleet: &Fleet, runs: Vec<everstep::RunHandle<()>>) {
    for run in runs {
        result_of(run).await.expect("it completes");
    }
    assert_eq!(fleet.ledger.mutations_of("narrow"), ALL, "each was done once");
    // Nobody holds a place for what is over.
    until("every place is given back", async || {
        let limits = fleet.client.limits().await.unwrap_or_default();
        limits
            .iter()
            .any(|limit| limit.name.to_string() == "function.narrow" && limit.usage.slots.is_empty())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn never_more_are_at_work_than_the_limit_says() {
    let fleet = Fleet::start(Path::new(BINARY), 2, 2).await.expect("a fleet");
    let began = Instant::now();
    let runs = start_all(&fleet).await;
    let partitions: std::collections::BTreeSet<Partition> = runs.iter().map(|run| run.id().partition()).collect();
    expect_all(&fleet, runs).await;
    let most = fleet.ledger.most_at_work("narrow");
    println!(
        "{ALL} steps of 20 ms, {LIMIT} at a time, over {} partitions: {:?}",
        partitions.len(),
        began.elapsed()
    );
    assert!(most <= LIMIT, "{most} were at work at a time");
    assert_eq!(most, LIMIT, "the limit is made use of");
}

#[tokio::test(flavor = "multi_thread")]
async fn never_more_are_at_work_though_processes_are_killed() {
    let mut fleet = Fleet::start(Path::new(BINARY), 2, 2).await.expect("a fleet");
    let runs = start_all(&fleet).await;
    let mut victims = [Victim::Orchestrator, Victim::Worker].into_iter().cycle();
    let next = |_: &mut Seed| victims.next().expect("they take turns");
    fleet.kill_as_work_goes_on(6, ALL, next).await;
    expect_all(&fleet, runs).await;
    let most = fleet.ledger.most_at_work("narrow");
    assert!(most <= LIMIT, "{most} were at work at a time");
}
