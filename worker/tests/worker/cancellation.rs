//! Work whose result is no longer wanted.

use std::time::Duration;

use bytes::Bytes;
use everstep_common::ids::ProcessId;
use everstep_common::journal::{Ended, Entry, EntryKey, RunOutcome, StepResult};
use everstep_common::payload::Payload;
use everstep_common::ports::{Clock, CoreMessage, Headers};
use everstep_common::subject::idempotency_key;
use everstep_memory::simulate;
use everstep_worker::StepError;
use futures::future::pending;

use crate::bench::{Bench, Counter, Dropped, Notes, function, key, queue};

fn tell_cancelled(bench: &Bench, path: &str) {
    let subject = bench.owner.names().cancelled(&queue());
    let payload = idempotency_key(&bench.run, &key(path)).into();
    bench.owner.broker().send(CoreMessage {
        subject,
        headers: Headers::new(),
        payload,
        reply: None,
    });
}

#[test]
fn a_cancelled_function_is_told_and_its_error_is_not_recorded() {
    simulate(async {
        let bench = Bench::new().await;
        bench.queue_step("f", "a").await;
        bench.queue_step("f", "b").await;
        let notes = Notes::default();
        let worker = bench.worker(function({
            let notes = notes.clone();
            move |context, _| {
                let notes = notes.clone();
                notes.add("begun");
                async move {
                    context.cancelled().await;
                    assert!(context.is_cancelled());
                    notes.add(context.step_key().token());
                    Err(StepError::retryable("stopped half way"))
                }
            }
        }));
        bench.until("both run", || notes.all().len() == 2).await;
        bench.record_value("a", b"\x01").await;
        let told = bench.now();
        tell_cancelled(&bench, "a");
        bench.until("the task is gone", || bench.queued() == 1).await;
        assert!(bench.now() - told < Duration::from_millis(10));
        assert_eq!((notes.all()[2].as_str(), notes.all().len()), ("a", 3));
        assert_eq!(bench.keys(), ["step.a"]);
        worker.abort().await;
    });
}

#[test]
fn a_cancelled_function_that_goes_on_is_dropped_after_its_grace() {
    simulate(async {
        let bench = Bench::new().await;
        bench.queue_step("f", "a").await;
        let (notes, calls) = (Notes::default(), Counter::default());
        let worker = bench.worker(function({
            let (notes, calls) = (notes.clone(), calls.clone());
            move |_, _| {
                let dropped = Dropped(notes.clone());
                calls.add();
                async move {
                    let _dropped = dropped;
                    pending().await
                }
            }
        }));
        bench.until("it runs", || calls.get() == 1).await;
        bench.record_value("a", b"\x01").await;
        tell_cancelled(&bench, "a");
        bench.pass(Duration::from_millis(9900)).await;
        assert!(notes.all().is_empty());
        bench.pass(Duration::from_millis(200)).await;
        assert_eq!(notes.all(), ["dropped"]);
        bench.drained().await;
        worker.stop().await;
    });
}

#[test]
fn a_cancellation_that_the_journal_does_not_know_only_delays_the_step() {
    simulate(async {
        let bench = Bench::new().await;
        bench.queue_step("f", "a").await;
        let calls = Counter::default();
        let worker = bench.worker(function({
            let calls = calls.clone();
            move |context, input| {
                calls.add();
                let first = calls.get() == 1;
                async move {
                    if first {
                        context.cancelled().await;
                        return Err(StepError::fatal("stopped half way"));
                    }
                    Ok(input)
                }
            }
        }));
        bench.until("it runs", || calls.get() == 1).await;
        tell_cancelled(&bench, "a");
        assert!(matches!(bench.outcome("a").await.result, StepResult::Value(_)));
        bench.drained().await;
        assert_eq!(bench.keys(), ["begun.a.1.2", "step.a"]);
        worker.stop().await;
    });
}

#[test]
fn a_value_that_comes_in_spite_of_a_cancellation_is_offered() {
    simulate(async {
        let bench = Bench::new().await;
        bench.queue_step("f", "a").await;
        let (worker, calls) = bench.busy("worker", Duration::from_secs(5)).await;
        tell_cancelled(&bench, "a");
        assert!(matches!(bench.outcome("a").await.result, StepResult::Value(_)));
        bench.drained().await;
        assert_eq!(calls.get(), 1);
        worker.stop().await;
    });
}

#[test]
fn an_outcome_or_the_end_of_the_run_is_noticed_within_a_beat() {
    for ended in [false, true] {
        simulate(async {
            let bench = Bench::new().await;
            bench.queue_step("f", "a").await;
            let notes = Notes::default();
            let clock = bench.server.clock();
            let worker = bench.worker(function({
                let notes = notes.clone();
                move |context, _| {
                    let (notes, clock) = (notes.clone(), clock.clone());
                    notes.add("begun");
                    async move {
                        context.cancelled().await;
                        notes.add("told");
                        clock.sleep(Duration::from_secs(3)).await;
                        Ok(Bytes::new())
                    }
                }
            }));
            bench.until("it runs", || !notes.all().is_empty()).await;
            match ended {
                false => bench.record_value("a", b"\x01").await,
                true => {
                    let by = ProcessId::new("somebody").unwrap();
                    bench
                        .record(
                            EntryKey::End,
                            Entry::End(Ended {
                                outcome: RunOutcome::Completed(Payload::unit()),
                                by,
                            }),
                        )
                        .await;
                }
            }
            let begin = bench.now();
            bench.until("it is told", || notes.all().len() == 2).await;
            assert!(bench.now() - begin <= Duration::from_millis(10_200));
            bench.drained().await;
            // What it returned is not offered: somebody else's stands, or the run is over.
            assert_eq!(bench.keys().len(), 1);
            worker.stop().await;
        });
    }
}
