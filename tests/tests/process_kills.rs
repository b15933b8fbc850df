//! kill -9 of every process there is, in loops, under load: no run is lost, none ends twice, and each logical step changes the outside world
//! once.

use std::path::Path;
use std::time::Duration;

use everstep_common::ids::QueueName;
use everstep_common::journal::EntryKey;
use everstep_tests::processes::{DEADLINE, Fleet, Seed, Victim, hundred_cents, misbehave, order, refund, result_of, until};

const BINARY: &str = env!("CARGO_BIN_EXE_everstep-test-app");

/// Runs in each test, and mutations that each of them makes.
const RUNS: usize = 60;
const MUTATIONS: usize = 4;

/// Kills in each test.
const KILLS: usize = 6;

async fn fleet(orchestrators: usize, workers: usize) -> Fleet {
    Fleet::start(Path::new(BINARY), orchestrators, workers)
        .await
        .expect("a fleet")
}

/// Runs under load while `victim` says who dies next; then everything must be as if nobody had.
async fn survives(victim: impl FnMut(&mut Seed) -> Victim) {
    survives_on(fleet(2, 2).await, KILLS, victim).await;
}

async fn survives_on(mut fleet: Fleet, kills: usize, mut victim: impl FnMut(&mut Seed) -> Victim) {
    let mut seed = Seed::from_environment();
    let client = fleet.client.clone();
    let runs: Vec<_> = (0..RUNS)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move {
                // A start whose acknowledgement was lost is made again under the same key, and gives the same run.
                loop {
                    match client.start(order, 100).key(format!("order-{number}")).await {
                        Ok(handle) => return (handle.id().clone(), handle.result().await),
                        Err(error) => eprintln!("start {number} again: {error}"),
                    }
                }
            })
        })
        .collect();
    until("the first steps", async || fleet.ledger.requests() > 0).await;
    for kill in 0..kills {
        let before = fleet.ledger.requests();
        fleet.kill(victim(&mut seed), &mut seed).await.expect("a kill");
        // The next one dies when work has gone on, or is done.
        let goal = before + 1 + seed.below(30) as usize;
        let done = RUNS * MUTATIONS;
        until(&format!("progress after kill {kill}"), async || {
            fleet.ledger.requests() >= goal || fleet.ledger.mutations() == done
        })
        .await;
    }
    for run in runs {
        let (id, result) = tokio::time::timeout(DEADLINE, run)
            .await
            .expect("no run is lost")
            .expect("no panic");
        assert_eq!(result.expect("it completes"), hundred_cents());
        let journal = client.history(&id).await.expect("a journal");
        assert_eq!(journal.iter().filter(|entry| entry.key == EntryKey::End).count(), 1);
    }
    assert_eq!(fleet.ledger.mutations_of("charge"), RUNS * 3, "one mutation per logical step");
    assert_eq!(fleet.ledger.mutations_of("confirm"), RUNS, "one mutation per logical step");
}

everstep_tests::kills_change_nothing!(survives, workers, orchestrators, the_server, anybody);

/// They connect, are cut off wherever they are in it, and wait.
#[tokio::test(flavor = "multi_thread")]
async fn processes_that_start_as_the_server_dies_again_and_again_outlast_it() {
    let mut fleet = fleet(2, 2).await;
    let mut seed = Seed::from_environment();
    for _ in 0..KILLS {
        fleet.kill(Victim::Server, &mut seed).await.expect("a kill");
    }
    let order = fleet.client.start(order, 100).await.expect("a start");
    assert_eq!(result_of(order).await.expect("it completes"), hundred_cents());
    assert_eq!(fleet.revive_orchestrators().expect("an orchestrator"), 0, "none has ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_of_anybody_on_three_nodes_change_nothing() {
    let fleet = Fleet::start_on_three_nodes(Path::new(BINARY), 2, 2).await.expect("a fleet");
    survives_on(fleet, KILLS, |seed| {
        seed.one_of(&[Victim::Worker, Victim::Orchestrator, Victim::Server])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_task_stream_is_published_again() {
    let fleet = fleet(1, 1).await;
    let mut handles = Vec::new();
    for _ in 0..RUNS {
        handles.push(fleet.client.start(order, 100).await.expect("a start"));
    }
    let broker = fleet.broker().await.expect("a connection");
    let names = fleet.client.store().names().clone();
    let queue = QueueName::default_queue();
    until("the first steps", async || fleet.ledger.requests() > 5).await;
    // Not the tasks alone: the mark goes too, as when the server forgets the stream.
    broker
        .purge(&names.task_stream(&queue), &names.task_filter(&queue))
        .await
        .expect("a purge");
    broker
        .purge(&names.task_stream(&queue), &names.mark(&queue))
        .await
        .expect("a purge");
    for handle in handles {
        assert_eq!(result_of(handle).await.expect("it completes"), hundred_cents());
    }
    assert_eq!(fleet.ledger.mutations(), RUNS * MUTATIONS);
}

#[tokio::test(flavor = "multi_thread")]
async fn terminated_processes_hand_over_and_end_well() {
    let mut fleet = fleet(2, 2).await;
    let mut handles = Vec::new();
    for _ in 0..RUNS {
        handles.push(fleet.client.start(order, 100).await.expect("a start"));
    }
    until("the first steps", async || fleet.ledger.requests() > 5).await;
    for victim in [Victim::Worker, Victim::Orchestrator] {
        let ended = fleet.terminate(victim).await.expect("an end");
        assert!(ended.success(), "{victim:?} ended with {ended}");
    }
    for handle in handles {
        assert_eq!(result_of(handle).await.expect("it completes"), hundred_cents());
    }
    assert_eq!(fleet.ledger.mutations(), RUNS * MUTATIONS);
    assert_eq!(fleet.ledger.mutations_of("charge"), RUNS * 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_that_panic_hang_or_block_harm_nobody_else() {
    let fleet = fleet(1, 1).await;
    let awkward = fleet.client.start(misbehave, 100).await.expect("a start");
    let run = awkward.id().clone();
    until("the blocking function", async || fleet.ledger.mutations_of("block") == 1).await;
    let handle = fleet.client.start(order, 100).await.expect("a start");
    assert_eq!(result_of(handle).await.expect("others go on"), hundred_cents());
    assert_eq!(result_of(awkward).await.expect("it completes"), 100);
    let journal = fleet.client.history(&run).await.expect("a journal");
    let tries: Vec<_> = journal
        .iter()
        .map(|entry| entry.key.to_string())
        .filter(|key| key.starts_with("try."))
        .collect();
    assert_eq!(
        tries,
        ["try.stumble.1", "try.stumble.2"],
        "a panic and a timeout, each an attempt"
    );
    assert_eq!(
        fleet.ledger.requests(),
        2 + MUTATIONS,
        "heartbeats kept the blocking function's task: it ran once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sleep_outlasts_the_death_of_everybody() {
    let mut seed = Seed::from_environment();
    let mut fleet = fleet(1, 1).await;
    let handle = fleet.client.start(refund, 7).await.expect("a start");
    let run = handle.id().clone();
    let client = fleet.client.clone();
    until("the run to be under way", async || {
        client.status(&run).await.is_ok()
            && fleet
                .client
                .list(&Default::default())
                .await
                .is_ok_and(|runs| !runs.is_empty())
    })
    .await;
    for victim in [Victim::Orchestrator, Victim::Server, Victim::Worker] {
        fleet.kill(victim, &mut seed).await.expect("a kill");
    }
    assert_eq!(result_of(handle).await.expect("it completes"), 7);
    let journal = client.history(&run).await.expect("a journal");
    let time_of = |key: &str| {
        journal
            .iter()
            .find(|entry| entry.key.to_string() == key)
            .map(|entry| entry.time)
            .expect("an entry")
    };
    let slept = time_of("timer.cool=20off").duration_since(time_of("start"));
    assert!(
        slept >= Duration::from_secs(1).try_into().expect("a second"),
        "slept {slept}: a timer is never early"
    );
    assert_eq!(fleet.ledger.mutations(), 1);
}
