//! Tasks that come again: what the journal says is looked at first, and what begins again is recorded.

use std::time::Duration;

use everstep_common::failure::FailureKind;
use everstep_common::ids::ProcessId;
use everstep_common::journal::{Attempt, AttemptError, Ended, Entry, EntryKey, RunOutcome, StepResult};
use everstep_common::payload::Payload;
use everstep_common::task::Task;
use everstep_memory::{Call, Reaction, simulate};
use jiff::Timestamp;

use crate::bench::{Bench, Counter, key, slow};

fn completed() -> Entry {
    let by = ProcessId::new("somebody").unwrap();
    Entry::End(Ended {
        outcome: RunOutcome::Completed(Payload::unit()),
        by,
    })
}

fn failed_before(task: &Task) -> Entry {
    Entry::Try(Attempt {
        function: task.function.clone(),
        digest: task.digest,
        error: AttemptError::Error,
        message: "busy".into(),
        name: None,
        details: None,
        retry_after: None,
        by: ProcessId::new("somebody").unwrap(),
        began: Timestamp::UNIX_EPOCH,
    })
}

#[test]
fn a_task_that_may_be_done_already_is_checked_against_the_journal_first() {
    let cases: [(u32, bool, &str); 6] = [
        (1, true, "step"),
        (1, true, "end"),
        (1, true, "try"),
        (1, true, "gone"),
        (2, false, "step"),
        (2, false, "end"),
    ];
    for (attempt, check, found) in cases {
        simulate(async {
            let bench = Bench::new().await;
            let task = Task {
                attempt,
                check,
                ..bench.task("f", "a")
            };
            match found {
                "step" => bench.record_value("a", b"\x01").await,
                "try" => bench.record(EntryKey::Try(key("a"), attempt), failed_before(&task)).await,
                "gone" => bench.record(EntryKey::Gone, Entry::Gone).await,
                _ => bench.record(EntryKey::End, completed()).await,
            }
            bench.queue(&task).await;
            let (calls, before) = (Counter::default(), bench.keys());
            let worker = bench.worker(slow(&bench.server, Duration::ZERO, calls.clone()));
            bench.drained().await;
            assert_eq!((calls.get(), bench.keys()), (0, before), "{found}, attempt {attempt}");
            worker.stop().await;
        });
    }
}

#[test]
fn a_first_delivery_of_a_first_attempt_reads_nothing() {
    simulate(async {
        let bench = Bench::new().await;
        let worker = bench.worker(slow(&bench.server, Duration::ZERO, Counter::default()));
        bench.pass(Duration::from_secs(1)).await;
        let reads = |bench: &Bench| bench.server.calls("worker")[&Call::GetLast];
        let before = reads(&bench);
        bench.queue_step("f", "a").await;
        bench.drained().await;
        assert_eq!(reads(&bench), before);
        worker.stop().await;
    });
}

#[test]
fn a_task_of_a_dead_worker_comes_back_and_its_second_beginning_is_recorded() {
    simulate(async {
        let bench = Bench::new().await;
        bench.queue_step("f", "a").await;
        let (_first, calls) = bench.busy("first", Duration::from_secs(3600)).await;
        bench.server.kill("first");
        let second = bench.worker_with("second", slow(&bench.server, Duration::ZERO, calls.clone()), |_| {});
        assert_eq!(bench.outcome("a").await.by, ProcessId::new("second").unwrap());
        assert_eq!(bench.keys(), ["begun.a.1.2", "step.a"]);
        bench.drained().await;
        second.stop().await;
    });
}

#[test]
fn what_may_run_once_is_recorded_before_its_first_line() {
    simulate(async {
        let bench = Bench::new().await;
        bench.queue_once("f", "a").await;
        let calls = Counter::default();
        bench.server.on_stored({
            let calls = calls.clone();
            move |entry| {
                assert!(!entry.subject.contains(".begun.") || calls.get() == 0);
                Reaction::None
            }
        });
        let worker = bench.worker(slow(&bench.server, Duration::ZERO, calls.clone()));
        bench.outcome("a").await;
        assert_eq!((bench.keys(), calls.get()), (vec!["begun.a.1.1".into(), "step.a".into()], 1));
        worker.stop().await;
    });
}

#[test]
fn what_may_run_once_and_was_interrupted_ends_so() {
    simulate(async {
        let bench = Bench::new().await;
        bench.queue_once("f", "a").await;
        let (_first, calls) = bench.busy("first", Duration::from_secs(3600)).await;
        bench.server.kill("first");
        let second = bench.worker_with("second", slow(&bench.server, Duration::ZERO, calls.clone()), |_| {});
        let StepResult::Failure(failure) = bench.outcome("a").await.result else {
            panic!("a failure")
        };
        assert_eq!((failure.kind, calls.get()), (FailureKind::Interrupted, 1));
        bench.drained().await;
        second.stop().await;
    });
}

#[test]
fn what_may_run_once_and_had_not_begun_runs_elsewhere() {
    simulate(async {
        let bench = Bench::new().await;
        bench.queue_once("f", "a").await;
        let calls = Counter::default();
        // It dies of the delivery, before it has told anybody.
        bench.server.crash_at("owner", u64::MAX, everstep_memory::When::Before);
        let first = bench.worker_with("first", slow(&bench.server, Duration::ZERO, calls.clone()), |_| {});
        bench
            .until("it pulls", || bench.server.calls("first").contains_key(&Call::PullNext))
            .await;
        bench.server.kill("first");
        drop(first);
        let second = bench.worker_with("second", slow(&bench.server, Duration::ZERO, calls.clone()), |_| {});
        assert!(matches!(bench.outcome("a").await.result, StepResult::Value(_)));
        assert_eq!(calls.get(), 1);
        second.stop().await;
    });
}

#[test]
fn a_redelivery_to_the_worker_that_still_runs_the_task_joins_it() {
    for at_most_once in [false, true] {
        simulate(async {
            let bench = Bench::new().await;
            bench
                .queue(&Task {
                    at_most_once,
                    ..bench.task("f", "a")
                })
                .await;
            let (worker, calls) = bench.busy("worker", Duration::from_secs(100)).await;
            // Stopped for longer than the `ack_wait`, with a pull open.
            bench.server.freeze("worker");
            bench.pass(Duration::from_secs(45)).await;
            bench.server.thaw("worker");
            bench
                .until("it came again", || bench.happened(&["delivered", "number 2"]) == 1)
                .await;
            assert!(matches!(bench.outcome("a").await.result, StepResult::Value(_)));
            bench.drained().await;
            assert_eq!(calls.get(), 1, "at_most_once: {at_most_once}");
            worker.stop().await;
        });
    }
}

#[test]
fn a_task_is_kept_for_as_long_as_its_function_runs() {
    simulate(async {
        let bench = Bench::new().await;
        bench.queue_step("f", "a").await;
        let calls = Counter::default();
        let functions = || slow(&bench.server, Duration::from_secs(400), calls.clone());
        let workers = [
            bench.worker_with("one", functions(), |_| {}),
            bench.worker_with("two", functions(), |_| {}),
        ];
        bench.outcome("a").await;
        bench.drained().await;
        assert_eq!((calls.get(), bench.happened(&["delivered", "task.default"])), (1, 1));
        assert!(bench.happened(&["acks", "InProgress"]) >= 39);
        for worker in workers {
            worker.stop().await;
        }
    });
}

#[test]
fn retries_are_not_made_here() {
    simulate(async {
        let bench = Bench::new().await;
        let task = bench.task("f", "a");
        bench.queue(&task).await;
        let calls = Counter::default();
        let worker = bench.worker(crate::bench::function({
            let calls = calls.clone();
            move |_, _| {
                calls.add();
                async { Err(everstep_worker::StepError::retryable("busy")) }
            }
        }));
        bench.drained().await;
        bench.pass(Duration::from_secs(120)).await;
        assert_eq!(calls.get(), 1);
        bench.queue(&Task { attempt: 2, ..task }).await;
        bench.drained().await;
        assert_eq!((calls.get(), bench.keys()), (2, vec!["try.a.1".into(), "try.a.2".into()]));
        worker.stop().await;
    });
}
