//! Functions that somebody listens to, and attempts that somebody else has given up.

use std::time::Duration;

use bytes::Bytes;
use everstep_common::ids::ProcessId;
use everstep_common::journal::{Attempt, AttemptError, Begun, Entry, EntryKey};
use everstep_common::limits::HEARTBEAT_DETAILS_BYTES_MAX;
use everstep_common::ports::{Clock, CoreMessage, Headers};
use everstep_common::task::Task;
use everstep_common::wire;
use everstep_memory::simulate;
use everstep_worker::StepError;
use futures::StreamExt;
use futures::future::pending;
use jiff::Timestamp;

use crate::bench::{Bench, Counter, Notes, function, key, queue, slow};

fn listened_to(bench: &Bench, timeout: Duration) -> Task {
    Task {
        heartbeat_timeout: Some(timeout),
        announce: true,
        ..bench.task("f", "a")
    }
}

#[test]
fn an_announced_task_is_recorded_as_begun_before_its_function_runs() {
    simulate(async {
        let bench = Bench::new().await;
        let task = Task {
            announce: true,
            ..bench.task("f", "a")
        };
        bench.queue(&task).await;
        let calls = Counter::default();
        let worker = bench.worker(slow(&bench.server, Duration::from_secs(1), calls.clone()));
        bench.until("it runs", || calls.get() == 1).await;
        assert_eq!(bench.keys(), ["begun.a.1.1"]);
        bench.outcome("a").await;
        assert_eq!(bench.keys(), ["begun.a.1.1", "step.a"]);
        worker.stop().await;
    });
}

#[test]
fn an_execution_whose_number_is_taken_by_another_life_of_the_queue_is_recorded_under_the_next() {
    simulate(async {
        let bench = Bench::new().await;
        let task = listened_to(&bench, Duration::from_secs(10));
        let before = Begun {
            by: ProcessId::new("somebody").unwrap(),
            incarnation: "before".into(),
            fence: false,
        };
        bench.record(EntryKey::Begun(key("a"), 1, 1), Entry::Begun(before)).await;
        bench.queue(&task).await;
        let worker = bench.worker(slow(&bench.server, Duration::ZERO, Counter::default()));
        bench.outcome("a").await;
        assert_eq!(bench.keys(), ["begun.a.1.1", "begun.a.1.2", "step.a"]);
        worker.stop().await;
    });
}

#[test]
fn the_owner_hears_a_function_five_times_in_its_timeout_however_often_it_speaks() {
    simulate(async {
        let bench = Bench::new().await;
        let names = bench.owner.names();
        let mut beats = bench.owner.broker().subscribe(&names.beats(bench.run.partition())).await;
        bench.queue(&listened_to(&bench, Duration::from_secs(2))).await;
        let clock = bench.server.clock();
        let worker = bench.worker(function(move |context, _| {
            let clock = clock.clone();
            async move {
                for page in 0..100_u32 {
                    context.heartbeat(page);
                    clock.sleep(Duration::from_millis(40)).await;
                }
                Ok(Bytes::new())
            }
        }));
        bench.outcome("a").await;
        for told in (0..100_u32).step_by(10) {
            let beat = beats.next().await.unwrap();
            assert_eq!(names.parse_beat(&beat.subject), Some((bench.run.clone(), key("a"), 1)));
            assert_eq!(wire::decode_value::<u32>(&beat.payload), Ok(told));
        }
        worker.stop().await;
    });
}

#[test]
fn what_was_said_last_stands_in_the_failed_attempt_and_is_known_to_the_next() {
    simulate(async {
        let bench = Bench::new().await;
        bench.queue_step("f", "a").await;
        let later = Task {
            attempt: 2,
            details: Some(wire::encode_value(&7_u32).unwrap()),
            ..bench.task("f", "b")
        };
        bench.queue(&later).await;
        let notes = Notes::default();
        let worker = bench.worker(function({
            let notes = notes.clone();
            move |context, _| {
                let notes = notes.clone();
                async move {
                    notes.add(format!("{} {:?}", context.step_key(), context.heartbeat_details::<u32>()));
                    if context.attempt() == 1 {
                        context.heartbeat(6_u32);
                        context.heartbeat("x".repeat(HEARTBEAT_DETAILS_BYTES_MAX));
                    }
                    Err(StepError::retryable("busy").named("Busy"))
                }
            }
        }));
        bench.drained().await;
        let said = |name: &str| match bench.entry(name) {
            Some(Entry::Try(attempt)) => (
                attempt.name,
                attempt.details.map(|details| wire::decode_value::<u32>(&details)),
            ),
            entry => panic!("{name} holds {entry:?}"),
        };
        let busy = Some("Busy".to_owned());
        assert_eq!(said("try.a.1"), (busy.clone(), Some(Ok(6))), "what is too large is not kept");
        assert_eq!(
            said("try.b.2"),
            (busy, Some(Ok(7))),
            "what was said before stands until something else is said"
        );
        let mut notes = notes.all();
        notes.sort();
        assert_eq!(notes, ["a None", "b Some(7)"]);
        worker.stop().await;
    });
}

#[test]
fn an_attempt_given_up_by_the_owner_is_cancelled_and_the_next_one_is_not() {
    simulate(async {
        let bench = Bench::new().await;
        bench.queue_step("f", "a").await;
        let second = Task {
            attempt: 2,
            ..bench.task("f", "a")
        };
        bench.queue(&second).await;
        let notes = Notes::default();
        let worker = bench.worker(function({
            let notes = notes.clone();
            move |context, _| {
                let notes = notes.clone();
                notes.add("begun");
                async move {
                    context.cancelled().await;
                    notes.add(format!("attempt {} is cancelled", context.attempt()));
                    pending().await
                }
            }
        }));
        bench.until("both run", || notes.all().len() == 2).await;
        let given_up = Attempt {
            function: second.function.clone(),
            digest: second.digest,
            error: AttemptError::Timeout,
            message: "no heartbeat".into(),
            name: Some("heartbeat".into()),
            details: None,
            retry_after: None,
            by: ProcessId::new("owner").unwrap(),
            began: Timestamp::UNIX_EPOCH,
        };
        bench.record(EntryKey::Try(key("a"), 1), Entry::Try(given_up)).await;
        let said = format!("{}.{}", bench.run, EntryKey::Try(key("a"), 1));
        bench.owner.broker().send(CoreMessage {
            subject: bench.owner.names().cancelled(&queue()),
            headers: Headers::new(),
            payload: said.into(),
            reply: None,
        });
        bench.until("one hears it", || notes.all().len() == 3).await;
        bench.pass(Duration::from_secs(60)).await;
        assert_eq!(notes.all()[2..], ["attempt 1 is cancelled"]);
        assert_eq!(bench.queued(), 1, "the first one is done with, and the second one runs");
        worker.abort().await;
    });
}

#[test]
fn what_may_begin_once_and_was_fenced_is_not_begun_and_says_nothing() {
    simulate(async {
        let bench = Bench::new().await;
        let fence = Begun {
            by: ProcessId::new("owner").unwrap(),
            incarnation: String::new(),
            fence: true,
        };
        bench.record(EntryKey::Begun(key("a"), 1, 1), Entry::Begun(fence)).await;
        bench.queue_once("f", "a").await;
        let calls = Counter::default();
        let worker = bench.worker(slow(&bench.server, Duration::ZERO, calls.clone()));
        bench.drained().await;
        assert_eq!((calls.get(), bench.keys()), (0, vec!["begun.a.1.1".to_owned()]));
        worker.stop().await;
    });
}

#[test]
fn a_function_with_a_timeout_is_recorded_as_begun_once_it_takes_a_second_or_half_its_time() {
    let check = |timeout: Duration, takes: Duration, keys: &'static [&'static str]| {
        simulate(async move {
            let bench = Bench::new().await;
            let task = Task {
                timeout: Some(timeout),
                ..bench.task("f", "a")
            };
            bench.queue(&task).await;
            let worker = bench.worker(slow(&bench.server, takes, Counter::default()));
            bench.outcome("a").await;
            assert_eq!(bench.keys(), keys, "{takes:?} of {timeout:?}");
            worker.stop().await;
        });
    };
    let milliseconds = Duration::from_millis;
    check(milliseconds(10_000), milliseconds(900), &["step.a"]);
    check(milliseconds(10_000), milliseconds(1_100), &["begun.a.1.1", "step.a"]);
    check(milliseconds(1_000), milliseconds(600), &["begun.a.1.1", "step.a"]);
}
