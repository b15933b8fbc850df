//! Functions that a worker begins no faster than so, whatever other workers do.

use std::time::Duration;

use everstep_common::flow::Rate;
use everstep_common::ids::FunctionName;
use everstep_common::ports::Clock;
use everstep_memory::simulate;
use everstep_worker::Functions;

use crate::bench::{Bench, Counter, Notes, function, slow};

fn paced(mut functions: Functions, count: u32, per: Duration) -> Functions {
    let rate = Rate::new(count, per).expect("a rate");
    functions.pace(FunctionName::new("f").expect("a name"), rate);
    functions
}

/// Notes the time, in milliseconds, of each begin.
fn noting(bench: &Bench, notes: &Notes) -> Functions {
    let (server, notes) = (bench.server.clone(), notes.clone());
    function(move |_, input| {
        notes.add(server.clock().now().0.as_millis().to_string());
        async move { Ok(input) }
    })
}

fn times(notes: &Notes) -> Vec<u64> {
    notes.all().iter().map(|note| note.parse().expect("a time")).collect()
}

#[test]
fn a_worker_begins_a_function_no_faster_than_its_pace() {
    simulate(async {
        let (bench, notes) = (Bench::new().await, Notes::default());
        for step in 0..40 {
            bench.queue_step("f", &format!("s{step}")).await;
        }
        let worker = bench.worker(paced(noting(&bench, &notes), 10, Duration::from_secs(1)));
        bench.drained().await;
        let times = times(&notes);
        assert_eq!(times.len(), 40, "each was done once");
        for (place, first) in times.iter().enumerate() {
            let within = times[place..].iter().take_while(|at| **at < first + 1_000).count();
            // One more than the rate, and one for what may be made up for.
            assert!(within <= 12, "{within} began within a second: {times:?}");
        }
        let took = times[39] - times[0];
        assert!((3_700..4_200).contains(&took), "forty at ten a second took {took} ms");
        worker.stop().await;
    });
}

#[test]
fn each_worker_has_a_pace_of_its_own() {
    simulate(async {
        let (bench, notes) = (Bench::new().await, Notes::default());
        for step in 0..40 {
            bench.queue_step("f", &format!("s{step}")).await;
        }
        let of_two = ["one", "two"].map(|name| {
            let functions = paced(noting(&bench, &notes), 10, Duration::from_secs(1));
            bench.worker_with(name, functions, |options| options.slots = 4)
        });
        bench.drained().await;
        let times = times(&notes);
        let took = times[39] - times[0];
        assert!((1_600..2_600).contains(&took), "forty by two took {took} ms");
        for worker in of_two {
            worker.stop().await;
        }
    });
}

#[test]
fn who_waits_for_its_turn_is_neither_delivered_again_nor_attempted_again() {
    simulate(async {
        let (bench, notes) = (Bench::new().await, Notes::default());
        for step in 0..4 {
            bench.queue_step("f", &format!("s{step}")).await;
        }
        let worker = bench.worker(paced(noting(&bench, &notes), 1, Duration::from_secs(60)));
        bench.drained().await;
        let times = times(&notes);
        assert!(times[3] - times[0] >= 180_000, "{times:?}");
        assert_eq!(
            bench.happened(&["delivered", "task."]),
            4,
            "the server heard of them all the time"
        );
        let mut keys = bench.keys();
        keys.sort();
        assert_eq!(
            keys,
            ["step.s0", "step.s1", "step.s2", "step.s3"],
            "there is no entry but their outcomes"
        );
        worker.stop().await;
    });
}

#[test]
fn what_came_to_its_end_while_it_waited_is_not_begun() {
    simulate(async {
        let (bench, calls) = (Bench::new().await, Counter::default());
        let functions = paced(slow(&bench.server, Duration::ZERO, calls.clone()), 1, Duration::from_secs(60));
        let worker = bench.worker(functions);
        bench.queue_step("f", "a").await;
        bench.until("the first has begun", || calls.get() == 1).await;
        bench.queue_step("f", "b").await;
        bench.pass(Duration::from_secs(1)).await;
        bench.record_value("b", b"somebody else's").await;
        bench.drained().await;
        assert_eq!(calls.get(), 1);
        worker.stop().await;
    });
}

#[test]
fn a_stopping_worker_hands_back_at_once_what_waits_for_its_turn() {
    simulate(async {
        let (bench, calls) = (Bench::new().await, Counter::default());
        let functions = paced(
            slow(&bench.server, Duration::ZERO, calls.clone()),
            1,
            Duration::from_secs(3600),
        );
        let worker = bench.worker(functions);
        bench.queue_step("f", "a").await;
        bench.until("the first has begun", || calls.get() == 1).await;
        bench.queue_step("f", "b").await;
        bench
            .until("it is delivered", || bench.happened(&["delivered", "task."]) == 2)
            .await;
        let begin = bench.now();
        worker.stop().await;
        let other = bench.worker_with("other", slow(&bench.server, Duration::ZERO, calls.clone()), |_| {});
        bench.drained().await;
        let took = bench.now() - begin;
        assert!(took < Duration::from_secs(1) && calls.get() == 2, "{took:?}");
        other.stop().await;
    });
}
