//! What a function does, and what stands in the journal afterwards.

use std::time::Duration;

use bytes::Bytes;
use everstep_common::failure::FailureKind;
use everstep_common::ids::ProcessId;
use everstep_common::journal::{AttemptError, Entry, StepResult};
use everstep_common::payload::Payload;
use everstep_memory::simulate;
use everstep_worker::StepError;
use futures::future::pending;

use crate::bench::{Bench, Counter, Dropped, Notes, echo, function};

fn attempt(bench: &Bench, name: &str) -> everstep_common::journal::Attempt {
    match bench.entry(name) {
        Some(Entry::Try(attempt)) => attempt,
        entry => panic!("{name} holds {entry:?}"),
    }
}

#[test]
fn a_value_is_recorded_before_its_task_is_acknowledged() {
    simulate(async {
        let bench = Bench::new().await;
        bench.queue_step("f", "a").await;
        let worker = bench.worker(echo());
        let outcome = bench.outcome("a").await;
        bench.drained().await;
        assert_eq!(
            outcome.result,
            StepResult::Value(Payload::Inline(Bytes::from_static(b"\x07")))
        );
        assert_eq!((outcome.attempt, outcome.by), (1, ProcessId::new("worker").unwrap()));
        assert_eq!(outcome.digest, bench.task("f", "a").digest);
        assert!(outcome.began.is_some());
        let history = bench.server.history();
        let order = ["stored KV_checkpoints_0", ".step.a", "worker acks"].map(|text| history.rfind(text).unwrap());
        assert!(order.is_sorted(), "{history}");
        worker.stop().await;
    });
}

#[test]
fn a_retryable_error_is_a_failed_attempt_and_not_an_outcome() {
    simulate(async {
        let bench = Bench::new().await;
        bench.queue_step("f", "a").await;
        let wish = Duration::from_secs(9);
        let worker = bench.worker(function(move |_, _| async move {
            Err(StepError::retryable("busy").retry_after(wish))
        }));
        bench.drained().await;
        assert_eq!(bench.keys(), ["try.a.1"]);
        let attempt = attempt(&bench, "try.a.1");
        assert_eq!(
            (attempt.error, attempt.message.as_str(), attempt.retry_after),
            (AttemptError::Error, "busy", Some(wish))
        );
        worker.stop().await;
    });
}

#[test]
fn a_fatal_error_is_the_outcome() {
    simulate(async {
        let bench = Bench::new().await;
        bench.queue_step("f", "a").await;
        let worker = bench.worker(function(|_, _| async { Err(StepError::fatal("no such card")) }));
        let StepResult::Failure(failure) = bench.outcome("a").await.result else {
            panic!("a failure")
        };
        assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Fatal, "no such card"));
        bench.drained().await;
        assert_eq!(bench.keys(), ["step.a"]);
        worker.stop().await;
    });
}

#[test]
fn a_panic_is_a_failed_attempt_wherever_it_happens() {
    simulate(async {
        let bench = Bench::new().await;
        bench.queue_step("f", "early").await;
        bench.queue_step("f", "late").await;
        let worker = bench.worker(function(|context, _| {
            assert_ne!(context.step_key().token(), "early", "before there is a future");
            async { panic!("in the future") }
        }));
        bench.drained().await;
        let (early, late) = (attempt(&bench, "try.early.1"), attempt(&bench, "try.late.1"));
        assert_eq!((early.error, late.error), (AttemptError::Panic, AttemptError::Panic));
        assert!(early.message.contains("before there is a future"), "{}", early.message);
        assert_eq!(late.message, "in the future");
        worker.stop().await;
    });
}

#[test]
fn a_function_over_its_timeout_is_dropped_on_time_even_if_it_panics_then() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("while it is dropped");
        }
    }
    simulate(async {
        let bench = Bench::new().await;
        let mut task = bench.task("f", "a");
        task.timeout = Some(Duration::from_millis(2500));
        bench.queue(&task).await;
        let notes = Notes::default();
        let begun = bench.now();
        let worker = bench.worker(function({
            let notes = notes.clone();
            move |context, _| {
                let dropped = Dropped(notes.clone());
                async move {
                    let _dropped = dropped;
                    let _bomb = Bomb;
                    // What it has spawned learns that nobody waits for it.
                    let notes = _dropped.0.clone();
                    tokio::spawn(async move {
                        context.cancelled().await;
                        notes.add("told");
                    });
                    pending().await
                }
            }
        }));
        bench
            .until("the attempt is recorded", || bench.entry("try.a.1").is_some())
            .await;
        let took = bench.now() - begun;
        assert!(
            took >= Duration::from_millis(2500) && took < Duration::from_millis(2600),
            "{took:?}"
        );
        let attempt = attempt(&bench, "try.a.1");
        assert_eq!(attempt.error, AttemptError::Timeout);
        assert!(attempt.message.contains("2.5s"), "{}", attempt.message);
        bench.drained().await;
        assert_eq!(notes.all(), ["dropped", "told"]);
        worker.stop().await;
    });
}

#[test]
fn timeouts_ring_in_the_order_of_their_time() {
    simulate(async {
        let bench = Bench::new().await;
        let worker = bench.worker(function(|_, _| pending()));
        for (path, seconds) in [("long", 30), ("short", 3), ("middle", 10)] {
            let mut task = bench.task("f", path);
            task.timeout = Some(Duration::from_secs(seconds));
            bench.queue(&task).await;
        }
        bench.drained().await;
        let mut keys = bench.keys();
        keys.retain(|key| key.starts_with("try."));
        assert_eq!(keys, ["try.short.1", "try.middle.1", "try.long.1"]);
        worker.stop().await;
    });
}

#[test]
fn long_messages_are_cut_to_what_an_entry_may_hold() {
    simulate(async {
        let bench = Bench::new().await;
        bench.queue_step("f", "a").await;
        let worker = bench.worker(function(|_, _| async { Err(StepError::retryable("x".repeat(100_000))) }));
        bench.drained().await;
        assert_eq!(
            attempt(&bench, "try.a.1").message.len(),
            everstep_common::limits::ERROR_MESSAGE_BYTES_MAX
        );
        worker.stop().await;
    });
}

#[test]
fn a_missing_resource_fails_the_attempt_and_is_named() {
    simulate(async {
        let bench = Bench::new().await;
        bench.queue_step("f", "a").await;
        let worker = bench.worker(function(|context, _| async move {
            assert_eq!(*context.resource::<String>(), "a resource");
            assert!(context.try_resource::<u64>().is_none());
            context.resource::<u64>();
            Ok(Bytes::new())
        }));
        bench.drained().await;
        let message = attempt(&bench, "try.a.1").message;
        assert!(message.contains("`u64`") && message.contains("String"), "{message}");
        worker.stop().await;
    });
}

#[test]
fn an_outcome_recorded_by_somebody_else_meanwhile_stands() {
    simulate(async {
        let bench = Bench::new().await;
        bench.queue_step("f", "a").await;
        let calls = Counter::default();
        let worker = bench.worker(crate::bench::slow(&bench.server, Duration::from_secs(1), calls.clone()));
        bench.until("the function runs", || calls.get() == 1).await;
        bench.record_value("a", b"\x01").await;
        bench.drained().await;
        assert_eq!(
            bench.outcome("a").await.result,
            StepResult::Value(Payload::Inline(Bytes::from_static(b"\x01")))
        );
        worker.stop().await;
    });
}

#[test]
fn the_context_tells_what_the_function_is_called_for() {
    simulate(async {
        let bench = Bench::new().await;
        let mut task = bench.task("f", "x/y");
        task.attempt = 3;
        task.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
        bench.queue(&task).await;
        let notes = Notes::default();
        let worker = bench.worker(function({
            let notes = notes.clone();
            move |context, _| {
                notes.add(format!("{} {} {}", context.run_id(), context.step_key(), context.attempt()));
                notes.add(context.idempotency_key());
                notes.add(context.traceparent().unwrap_or_default());
                async { Ok(Bytes::new()) }
            }
        }));
        assert_eq!(bench.outcome("x/y").await.attempt, 3);
        let (run, traceparent) = (&bench.run, task.traceparent.unwrap());
        assert_eq!(
            notes.all(),
            [format!("{run} x/y 3"), format!("{run}.step.x=2Fy"), traceparent]
        );
        worker.stop().await;
    });
}
