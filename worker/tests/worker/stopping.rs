//! How a worker ends: told to, or not.

use std::time::Duration;

use everstep_common::ids::ProcessId;
use everstep_common::task::Task;
use everstep_memory::simulate;

use crate::bench::{Bench, Counter, echo, slow};

#[test]
fn a_stopping_worker_lets_functions_end() {
    simulate(async {
        let bench = Bench::new().await;
        bench.queue_step("f", "a").await;
        let (worker, calls) = bench.busy("worker", Duration::from_secs(15)).await;
        let stopping = worker.begin_to_stop();
        bench.queue_step("f", "b").await;
        stopping.await.unwrap();
        assert_eq!((bench.keys(), bench.queued(), calls.get()), (vec!["step.a".into()], 1, 1));
    });
}

#[test]
fn what_does_not_end_within_the_grace_is_handed_back_at_once() {
    simulate(async {
        let bench = Bench::new().await;
        bench.queue_step("f", "a").await;
        let (worker, _) = bench.busy("worker", Duration::from_secs(3600)).await;
        let other = bench.worker_with("other", echo(), |_| {});
        let begin = bench.now();
        worker.stop().await;
        let outcome = bench.outcome("a").await;
        let took = bench.now() - begin;
        assert!(took >= Duration::from_secs(20) && took < Duration::from_secs(21), "{took:?}");
        assert_eq!(outcome.by, ProcessId::new("other").unwrap());
        other.stop().await;
    });
}

#[test]
fn what_has_not_begun_is_handed_back_at_once() {
    simulate(async {
        let bench = Bench::new().await;
        let calls = Counter::default();
        let worker = bench.worker(slow(&bench.server, Duration::ZERO, calls.clone()));
        bench.pass(Duration::from_secs(1)).await;
        // Delivered, but its look into the journal is not answered.
        bench.server.set_faults(everstep_memory::Faults {
            answer_lost: 1.0,
            ..everstep_memory::Faults::none()
        });
        let task = Task {
            attempt: 2,
            ..bench.task("f", "a")
        };
        let publish = bench.owner.publish_task(&crate::bench::queue(), &task);
        tokio::spawn(publish);
        bench
            .until("it is delivered", || bench.happened(&["delivered", "task."]) == 1)
            .await;
        bench.pass(Duration::from_millis(1)).await;
        let begin = bench.now();
        worker.stop().await;
        assert!(bench.now() - begin <= Duration::from_secs(2), "{:?}", bench.now() - begin);
        bench.server.set_faults(everstep_memory::Faults::none());
        assert_eq!((calls.get(), bench.happened(&["worker acks", "Retry(0ns)"])), (0, 1));
    });
}

#[test]
fn an_idle_worker_stops_at_once() {
    simulate(async {
        let bench = Bench::new().await;
        let worker = bench.worker(echo());
        bench.pass(Duration::from_secs(7)).await;
        let begin = bench.now();
        worker.stop().await;
        assert!(bench.now() - begin < Duration::from_millis(10));
    });
}

#[test]
fn a_worker_that_cannot_reach_its_server_stops_all_the_same() {
    simulate(async {
        let bench = Bench::new().await;
        bench.queue_step("f", "a").await;
        let (worker, _) = bench.busy("worker", Duration::from_secs(1)).await;
        bench.server.disconnect("worker");
        bench.pass(Duration::from_secs(2)).await;
        let begin = bench.now();
        worker.stop().await;
        assert!(bench.now() - begin <= Duration::from_secs(25), "{:?}", bench.now() - begin);
    });
}

#[test]
fn dropping_a_worker_is_like_its_death() {
    simulate(async {
        let bench = Bench::new().await;
        bench.queue_step("f", "a").await;
        let (worker, _) = bench.busy("worker", Duration::from_secs(5)).await;
        worker.abort().await;
        bench.pass(Duration::from_secs(20)).await;
        assert!(bench.keys().is_empty() && bench.happened(&["worker acks"]) == 0);
        let other = bench.worker_with("other", echo(), |_| {});
        assert_eq!(bench.outcome("a").await.by, ProcessId::new("other").unwrap());
        other.stop().await;
    });
}
