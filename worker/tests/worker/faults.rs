//! Whatever goes wrong, each step gets one outcome, and its task goes.

use std::collections::BTreeSet;
use std::time::Duration;

use everstep_common::journal::StepResult;
use everstep_common::task::Task;
use everstep_memory::{Faults, MemoryServer, Nodes, When, simulate};

use crate::bench::{Bench, Counter, Registry, echo, queue, slow};

/// `EVERSTEP_SEED` runs one seed only.
fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("EVERSTEP_SEED") {
        Ok(seed) => vec![seed.parse().expect("EVERSTEP_SEED is a number")],
        Err(_) => (0..count).collect(),
    }
}

/// Two workers do forty steps; the history.
fn rough_day(nodes: Nodes, seed: u64) -> String {
    simulate(async {
        let server = MemoryServer::start(nodes, seed, Faults::none());
        let bench = Bench::on(server).await;
        let incarnation = bench.owner.read_mark(&queue()).await.unwrap().unwrap().incarnation;
        let calls = Counter::default();
        let functions = || slow(&bench.server, Duration::from_millis(700), calls.clone());
        let _workers = ["one", "two"].map(|name| bench.worker_with(name, functions(), |options| options.slots = 8));
        for number in 0..40 {
            let at_most_once = number % 5 == 0;
            bench
                .queue(&Task {
                    at_most_once,
                    ..bench.task("f", &format!("s{number}"))
                })
                .await;
        }
        bench.server.set_faults(Faults::swarm(seed));
        bench.pass(Duration::from_secs(60)).await;
        bench.server.set_faults(Faults::none());
        bench.drained().await;
        let keys = bench.keys();
        let outcomes: BTreeSet<_> = keys.iter().filter(|key| key.starts_with("step.")).collect();
        assert_eq!(outcomes.len(), 40, "seed {seed}: {keys:?}");
        let begun: Vec<_> = keys.iter().filter(|key| key.starts_with("begun.s5.")).collect();
        assert_eq!(begun, ["begun.s5.1.1"], "seed {seed}");
        // The mark is random.
        bench.server.history().replace(&incarnation, "")
    })
}

#[test]
fn every_step_gets_its_outcome_through_all_faults() {
    for seed in seeds(60) {
        println!("seed {seed}");
        rough_day(Nodes::One, seed);
        rough_day(Nodes::Three, seed);
    }
}

#[test]
fn equal_seeds_give_equal_histories() {
    assert_eq!(rough_day(Nodes::Three, 11), rough_day(Nodes::Three, 11));
}

/// A worker dies at that call of the port; another one takes over. How many calls the first made.
fn death_at(call: u64, when: When, at_most_once: bool) -> u64 {
    simulate(async {
        let bench = Bench::new().await;
        let task = Task {
            attempt: 2,
            at_most_once,
            ..bench.task("f", "a")
        };
        bench.queue(&task).await;
        bench.queue_step("g", "b").await;
        let calls = Counter::default();
        let functions = || {
            let fail = |_, _| async { Err(everstep_worker::StepError::retryable("busy")) };
            let mut registry = Registry(slow(&bench.server, Duration::from_millis(5), calls.clone()));
            registry = registry.with("g", fail);
            registry.0
        };
        let victim = bench.worker_with("victim", functions(), |_| {});
        bench.server.crash_at("victim", call, when);
        bench.pass(Duration::from_millis(100)).await;
        let made = bench.server.port_calls("victim");
        let other = bench.worker_with("other", functions(), |_| {});
        let outcome = bench.outcome("a").await;
        bench.drained().await;
        assert!(bench.keys().iter().any(|key| key == "try.b.1"));
        match outcome.result {
            StepResult::Failure(_) => assert!(at_most_once && calls.get() <= 1, "{when:?} call {call}"),
            StepResult::Value(_) => assert!(calls.get() <= if at_most_once { 1 } else { 2 }, "{when:?} call {call}"),
        }
        // It may be dead, and may die only now of a pull that ends.
        drop(victim);
        other.stop().await;
        made
    })
}

#[test]
fn a_worker_may_die_at_any_call() {
    for at_most_once in [false, true] {
        let calls = death_at(u64::MAX, When::Before, at_most_once);
        assert!(calls > 8, "{calls}");
        for call in 0..calls {
            for when in [When::Before, When::After] {
                println!("dying {when:?} call {call} of {calls}, at most once: {at_most_once}");
                death_at(call, when, at_most_once);
            }
        }
    }
}

#[test]
fn a_server_that_is_away_is_waited_for_and_the_outcome_is_not_lost() {
    simulate(async {
        let bench = Bench::new().await;
        bench.queue_step("f", "a").await;
        let (worker, calls) = bench.busy("worker", Duration::from_secs(1)).await;
        bench.server.disconnect("worker");
        bench.pass(Duration::from_secs(25)).await;
        let before = bench.server.port_calls("worker");
        bench.pass(Duration::from_secs(60)).await;
        let made = bench.server.port_calls("worker") - before;
        assert!(made < 1000, "{made} calls a minute to a server that is away");
        bench.server.reconnect("worker");
        let begin = bench.now();
        bench.outcome("a").await;
        assert!(bench.now() - begin <= Duration::from_secs(6), "{:?}", bench.now() - begin);
        assert_eq!(calls.get(), 1);
        bench.drained().await;
        worker.stop().await;
    });
}

#[test]
fn a_full_disk_delays_the_outcome_only() {
    simulate(async {
        let bench = Bench::new().await;
        bench.queue_step("f", "a").await;
        bench.server.fill_disk(true);
        let worker = bench.worker_with("worker", echo(), |_| {});
        bench.pass(Duration::from_secs(90)).await;
        assert_eq!(bench.queued(), 1);
        bench.server.fill_disk(false);
        bench.outcome("a").await;
        bench.drained().await;
        worker.stop().await;
    });
}
