//! Steps, timers and closures: what is asked, told, retried, recorded and cancelled. Each case is a workflow, entries, and what the
//! run says after each.

use std::time::Duration;

use bytes::Bytes;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::journal::AttemptError;
use everstep_common::limits::PAYLOAD_BYTES_MAX;
use everstep_common::retry::RetryPolicy;
use everstep_common::task::StepOptions;
use futures::future::{join, join3};
use futures::{FutureExt, select_biased};
use jiff::Timestamp;

use super::kit::*;
use crate::{Command, Decision, Definition, Due, Event, EventBody, Limits, OpenKind, Run, RunEnd, WaitError, WorkflowFailure};

/// Starts a run of `when`, applies the entries, and compares what it says after the start and after each entry.
fn check(when: &Definition, started: &[&str], then: Vec<(EventBody, &[&str])>) {
    let mut driven = Driven::start(when);
    assert_eq!(driven.commands(), started, "after the start");
    for (entry, said) in then {
        let text = format!("after {entry:?}");
        driven.apply(entry);
        assert_eq!(driven.commands(), said, "{text}");
    }
}

fn text(value: Result<Bytes, WaitError>) -> String {
    value.map_or_else(
        |error| format!("({error})"),
        |value| String::from_utf8_lossy(&value).into_owned(),
    )
}

#[test]
fn a_sequence_goes_step_by_step_and_each_command_comes_once() {
    let code = workflow(|ctx| async move {
        let one = text(ctx.call("one").await);
        ctx.sleep(2_000).await?;
        let two = text(ctx.compute("two").await);
        done(&format!("{one} {two}"))
    });
    check(
        &code,
        &["dispatch one"],
        vec![
            (begun("one", 1), &[]),
            (step("one", "1"), &["timer sleep at 1005"]),
            (resume(false), &[]),
            (timer("sleep"), &["run two"]),
            (local("two", "2"), &["completed 1 2"]),
            (EventBody::End, &[]),
        ],
    );
}

#[test]
fn numbers_are_taken_when_a_future_is_made_not_when_it_is_polled() {
    let code = workflow(|ctx| async move {
        let (first, second) = (ctx.call("x"), ctx.call("x"));
        let explicit = ctx.call("x").key("own key");
        let fourth = ctx.call("x");
        let _ = join3(fourth, explicit, join(second, first)).await;
        done("")
    });
    check(
        &code,
        &["dispatch x~4", "dispatch own key", "dispatch x~2", "dispatch x"],
        vec![],
    );
}

#[test]
fn a_named_timer_uses_up_the_number_of_its_first_name() {
    let code = workflow(|ctx| async move {
        let _ = join3(ctx.sleep(0).named("settle"), ctx.sleep(0), ctx.sleep(0).named("settle")).await;
        done("")
    });
    check(
        &code,
        &["timer settle at 1001", "timer sleep~2 at 1001", "timer settle~2 at 1001"],
        vec![],
    );
}

#[test]
fn scopes_are_numbered_like_names_and_hold_numbers_of_their_own() {
    let code = workflow(|ctx| async move {
        let outside = ctx.call("x");
        let inner = |ctx: crate::Context| async move { join(ctx.call("x"), ctx.call("x")).await };
        let first = ctx.scope("block", inner(ctx.clone()));
        let second = ctx.scope("block", ctx.scope("deep", inner(ctx.clone())));
        let third = ctx.scope("block", outside);
        let _ = join3(second, first, third).await;
        done("")
    });
    // `deep` is made in the workflow's own scope, before the block round it is polled.
    let started = [
        "dispatch deep/x",
        "dispatch deep/x~2",
        "dispatch block/x",
        "dispatch block/x~2",
        "dispatch x",
    ];
    check(&code, &started, vec![]);
}

#[test]
fn helpers_number_in_the_scope_that_polls_them() {
    let code = workflow(|ctx| async move {
        let helper = |ctx: crate::Context| async move { ctx.scope("deep", ctx.call("inner")).await };
        let block = ctx.scope("block", {
            let ctx = ctx.clone();
            async move { join(ctx.call("x"), helper(ctx.clone())).await }
        });
        let _ = join(block, ctx.call("x")).await;
        done("")
    });
    check(&code, &["dispatch block/x", "dispatch block/inner", "dispatch x"], vec![]);
}

#[test]
fn a_key_asked_twice_is_an_error_there_and_does_not_disturb_the_first() {
    let code = workflow(|ctx| async move {
        let first = ctx.call("x");
        let second = ctx.compute("y").key("x");
        let (first, second) = join(first, second).await;
        done(&format!(
            "{} {}",
            text(first),
            matches!(second, Err(WaitError::Failed(failure)) if failure.kind == FailureKind::Invalid)
        ))
    });
    check(&code, &["dispatch x"], vec![(step("x", "1"), &["completed 1 true"])]);
}

#[test]
fn a_failed_attempt_is_made_again_when_the_shell_says_it_is_due() {
    let code = workflow(|ctx| async move { done(&text(ctx.call("x").await)) });
    let mut driven = Driven::start(&code);
    assert_eq!(driven.commands(), ["dispatch x"]);
    driven.run.retry_due(&key("x"), 1);
    assert!(driven.commands().is_empty(), "nothing to retry yet");
    driven.apply(attempt("x", 1, AttemptError::Error));
    assert_eq!(driven.commands(), ["retry x attempt 2"]);
    driven.run.retry_due(&key("x"), 3);
    driven.run.retry_due(&key("y"), 2);
    assert!(driven.commands().is_empty());
    driven.run.retry_due(&key("x"), 2);
    driven.run.retry_due(&key("x"), 2);
    assert_eq!(driven.commands(), ["dispatch x attempt 2"]);
    driven.run.retry_due(&key("x"), 2);
    driven.apply(attempt("x", 1, AttemptError::Error));
    assert!(driven.commands().is_empty(), "a superseded attempt says nothing new");
    driven.apply(step("x", "1"));
    assert_eq!(driven.commands(), ["completed 1"]);
}

#[test]
fn a_retry_is_due_within_its_backoff_or_when_the_function_wishes() {
    let at = |retry_after: Option<Duration>| {
        let mut driven = Driven::start(&workflow(|ctx| async move { done(&text(ctx.call("x").await)) }));
        let EventBody::About(key, crate::Record::Try(number, mut tried)) = attempt("x", 1, AttemptError::Timeout) else {
            unreachable!()
        };
        tried.retry_after = retry_after;
        driven.apply(EventBody::About(key, crate::Record::Try(number, tried)));
        match driven.run.waits().pop().unwrap().kind {
            OpenKind::Step {
                attempt: 2,
                retry_at: Some(at),
                ..
            } => at,
            other => panic!("{other:?}"),
        }
    };
    assert!((time(2)..=time(3)).contains(&at(None)));
    assert_eq!(at(None), at(None), "every owner computes the same");
    assert_eq!(at(Some(Duration::from_secs(40))), time(42));
}

#[test]
fn what_no_attempt_can_mend_is_recorded() {
    let once = |name| {
        workflow(move |ctx| async move {
            let mut step = ctx.call(name);
            step.options_mut().unwrap().retries = RetryPolicy::never();
            done(&text(step.await))
        })
    };
    let exhausted = ["record x: attempts exhausted: it failed"];
    check(
        &once("x"),
        &["dispatch x"],
        vec![(attempt("x", 1, AttemptError::Panic), &exhausted), (begun("x", 1), &[])],
    );
    let invalid = ["record x: invalid value: it failed"];
    let patient = workflow(|ctx| async move { done(&text(ctx.call("x").await)) });
    check(
        &patient,
        &["dispatch x"],
        vec![(attempt("x", 1, AttemptError::Invalid), &invalid)],
    );
}

#[test]
fn executions_that_began_and_never_ended_are_counted_attempts_that_failed_are_not() {
    let code = workflow(|ctx| async move {
        let mut step = ctx.call("x");
        step.options_mut().unwrap().max_crashes = 2;
        done(&text(step.await))
    });
    let crashed = ["record x: crashed too often: execution began 3 times and never ended; the process may die of this step"];
    check(
        &code,
        &["dispatch x"],
        vec![
            (begun("x", 1), &[]),
            (attempt("x", 1, AttemptError::Error), &["retry x attempt 2"]),
            (begun("x", 1), &[]),
            (begun("x", 2), &[]),
            (begun("x", 2), &[]),
            (begun("x", 2), &crashed),
            (begun("x", 2), &[]),
        ],
    );
}

#[test]
fn a_passed_deadline_is_recorded_unless_the_step_is_over() {
    let code = workflow(|ctx| async move {
        let _ = join(ctx.call("x"), ctx.call("y")).await;
        done("")
    });
    let mut driven = Driven::start(&code);
    let Decision::Go(commands) = driven.run.decide() else {
        panic!()
    };
    let deadlines = commands
        .iter()
        .filter(|command| matches!(command, Command::Deadline { at, .. } if *at == time(86_401)));
    assert_eq!(deadlines.count(), 2);
    driven.apply(step("x", "1"));
    driven.run.deadline_passed(&key("x"));
    driven.run.deadline_passed(&key("y"));
    driven.run.deadline_passed(&key("y"));
    assert_eq!(
        driven.commands(),
        ["record y: deadline exceeded: not done within 86400s, in attempt 1"]
    );
    driven.apply(attempt("y", 1, AttemptError::Error));
    assert!(driven.commands().is_empty(), "what is being recorded is not tried again");
}

#[test]
fn an_input_that_cannot_be_used_is_recorded_as_the_outcome() {
    let code = workflow(|ctx| async move {
        let unusable = Err(Failure::new(FailureKind::Invalid, "no map keys"));
        let one = ctx.step("x", function("x"), unusable, StepOptions::default()).await;
        let large = Ok(Bytes::from(vec![0; PAYLOAD_BYTES_MAX + 1]));
        let two = ctx.step("y", function("y"), large, StepOptions::default()).await;
        done(&format!("{} {}", text(one), text(two)))
    });
    let large = "record y: invalid value: a value of 67108865 bytes is over the limit of 67108864; put it into a store of your own and \
                 pass its name";
    check(
        &code,
        &["record x: invalid value: no map keys"],
        vec![
            (step_with("x", "x", "", Err("no map keys")), &[large]),
            (
                step_with("y", "y", "", Err("large")),
                &["completed (fatal error: no map keys) (fatal error: large)"],
            ),
        ],
    );
}

#[test]
fn a_result_over_the_limit_fails_the_run() {
    let code = workflow(|_| async move { Ok(Bytes::from(vec![0; PAYLOAD_BYTES_MAX + 1])) });
    let mut driven = Driven::start(&code);
    let Decision::Go(commands) = driven.run.decide() else {
        panic!()
    };
    assert!(matches!(&commands[..], [Command::End { outcome: RunEnd::Failed(failure) }] if failure.kind == FailureKind::Invalid));
}

#[test]
fn what_nobody_waits_for_any_more_is_called_back() {
    let code = workflow(|ctx| async move {
        let (mut slow, mut pace, mut local) = (ctx.call("slow"), ctx.sleep(1_000), ctx.compute("local"));
        let first = select_biased! {
            _ = slow => "slow",
            _ = pace => "pace",
            _ = local => "local",
            fast = ctx.call("fast").fuse() => { fast?; "fast" }
        };
        drop((slow, pace, local));
        ctx.call("next").await?;
        done(first)
    });
    check(
        &code,
        &["dispatch slow", "timer sleep at 1002", "run local", "dispatch fast"],
        vec![
            (attempt("slow", 1, AttemptError::Error), &["retry slow attempt 2"]),
            (
                step("fast", ""),
                &[
                    "cancel step slow",
                    "cancel timer sleep",
                    "cancel closure local",
                    "dispatch next",
                ],
            ),
            (timer("sleep"), &[]),
            (attempt("slow", 2, AttemptError::Error), &[]),
            (step("slow", "late"), &[]),
            (local("local", "late"), &[]),
            (step("next", ""), &["completed fast"]),
        ],
    );
}

#[test]
fn what_was_asked_and_dropped_within_one_entry_was_never_sent() {
    let code = workflow(|ctx| async move {
        let never_polled = ctx.call("never polled");
        for name in ["x", "y"] {
            let mut dropped = ctx.call(name);
            let (mut timer, mut local) = (ctx.sleep(1), ctx.compute("local"));
            select_biased! { _ = dropped => {}, _ = timer => {}, _ = local => {}, default => {} }
        }
        drop(never_polled);
        ctx.call("z").await?;
        done("")
    });
    check(&code, &["dispatch z"], vec![]);
}

#[test]
fn an_answer_that_is_in_is_not_called_back() {
    // Both branches are answered before the race is polled again: the second is dropped with its answer.
    let code = workflow(|ctx| async move {
        let (mut a, mut b) = (ctx.call("a"), ctx.call("b"));
        let mut gate = ctx.call("gate");
        select_biased! { _ = a => {}, _ = b => {}, _ = gate => {}, default => {} }
        gate.await?;
        select_biased! { _ = b => {}, _ = a => {} }
        drop((a, b));
        ctx.call("z").await?;
        done("")
    });
    check(
        &code,
        &["dispatch a", "dispatch b", "dispatch gate"],
        vec![
            (step("a", ""), &[]),
            (step("b", ""), &[]),
            (step("gate", ""), &["dispatch z"]),
        ],
    );
}

#[test]
fn a_reload_tells_again_what_is_open_and_calls_back_what_has_no_outcome() {
    let code = workflow(|ctx| async move {
        let (mut slow, mut lost) = (ctx.call("slow"), ctx.call("lost"));
        let mut fast = ctx.call("fast");
        select_biased! { _ = slow => {}, _ = lost => {}, _ = fast => {} }
        drop((slow, lost));
        let _ = join3(ctx.call("a"), ctx.sleep(1_000), ctx.call("b")).await;
        done("")
    });
    let mut driven = Driven::start(&code);
    for entry in [
        step("fast", ""),
        step("slow", "late"),
        attempt("b", 1, AttemptError::Error),
        step("a", ""),
    ] {
        driven.apply(entry);
    }
    assert_eq!(
        driven.commands(),
        ["cancel step lost", "timer sleep at 1003", "retry b attempt 2"]
    );
    assert!(driven.commands().is_empty());
}

#[test]
fn tasks_are_fresh_only_if_no_owner_can_have_sent_them() {
    let code = workflow(|ctx| async move {
        ctx.call("a").await?;
        ctx.call("b").await?;
        done("")
    });
    let fresh = |known_until| {
        let mut run = Run::new(run_id(), &code, Limits::default(), known_until);
        run.apply(Event {
            sequence: 5,
            time: time(5),
            body: start(b""),
        });
        run.apply(Event {
            sequence: 9,
            time: time(9),
            body: step("a", ""),
        });
        let Decision::Go(commands) = run.decide() else { panic!() };
        commands
            .iter()
            .any(|command| matches!(command, Command::Dispatch { fresh: true, .. }))
    };
    assert!(fresh(0) && fresh(8));
    assert!(!fresh(9));
}

#[test]
fn a_timer_counts_from_the_entry_that_asked_and_waits_for_its_entry_though_its_time_has_passed() {
    let past = Timestamp::from_second(5).unwrap();
    let code = workflow(move |ctx| async move {
        ctx.timer("past", Due::At(past)).await?;
        ctx.timer("long", Due::After(Duration::MAX)).await?;
        done("")
    });
    let long = format!("timer long at {}", Timestamp::MAX.as_second());
    check(
        &code,
        &["timer past at 5"],
        vec![(timer("past"), &[&long]), (timer("long"), &["completed "])],
    );
}

#[test]
fn a_cancel_ends_every_wait_and_every_later_one() {
    let code = workflow(|ctx| async move {
        let (a, b, c) = join3(ctx.call("a"), ctx.sleep(1_000), ctx.compute("c")).await;
        assert!(a == Err(WaitError::Cancelled) && b == Err(WaitError::Cancelled) && c == Err(WaitError::Cancelled));
        assert_eq!(ctx.call("later").await, Err(WaitError::Cancelled));
        ctx.sleep(1).await?;
        done("not reached")
    });
    let said = [
        "cancel step a",
        "cancel timer sleep",
        "cancel closure c",
        "end: cancelled: cancelled: no longer wanted",
    ];
    check(
        &code,
        &["dispatch a", "timer sleep at 1002", "run c"],
        vec![
            (cancel(), &said),
            (cancel(), &[]),
            (step("a", "late"), &[]),
            (EventBody::End, &[]),
        ],
    );
}

#[test]
fn a_workflow_may_end_well_or_badly_in_spite_of_a_cancel() {
    let well = workflow(|ctx| async move { done(&text(ctx.call("a").await)) });
    check(
        &well,
        &["dispatch a"],
        vec![(cancel(), &["cancel step a", "completed (the run is being cancelled)"])],
    );
    let badly = workflow(|ctx| async move {
        let _ = ctx.call("a").await;
        Err(WorkflowFailure::Failed(Failure::new(FailureKind::Workflow, "no refund")))
    });
    check(
        &badly,
        &["dispatch a"],
        vec![(cancel(), &["cancel step a", "end: failed: workflow error: no refund"])],
    );
}

#[test]
fn results_that_were_there_before_they_are_asked_for_are_granted_lowest_sequence_first() {
    let code = workflow(|ctx| async move {
        ctx.call("gate").await?;
        let order = std::cell::RefCell::new(String::new());
        let one = |name: &'static str| {
            let (ctx, order) = (&ctx, &order);
            async move {
                ctx.call(name).await.map(drop)?;
                order.borrow_mut().push_str(name);
                // What the first one asks in between comes after what is recorded before it.
                ctx.call(name).await.map(drop)
            }
        };
        let _ = join3(one("a"), one("b"), one("c")).await;
        done(&order.take())
    });
    check(
        &code,
        &["dispatch gate"],
        vec![
            (step("c", ""), &["parked: nondeterministic"]),
            (step("a~2", ""), &["parked: nondeterministic"]),
            (step("a", ""), &["parked: nondeterministic"]),
            (step("gate", ""), &["dispatch b", "dispatch c~2"]),
            (step("b", ""), &["dispatch b~2"]),
            (step("c~2", ""), &[]),
            (step("b~2", ""), &["completed cab"]),
        ],
    );
}

#[test]
fn entries_that_are_applied_already_or_come_after_the_end_do_nothing() {
    let code = workflow(|ctx| async move { done(&text(ctx.call("a").await)) });
    let mut driven = Driven::start(&code);
    driven.run.apply(Event {
        sequence: 1,
        time: time(1),
        body: step("a", "early"),
    });
    assert_eq!((driven.run.applied(), driven.run.entries()), (1, 1));
    driven.apply(EventBody::End);
    assert!(driven.run.is_ended());
    driven.apply(step("a", "late"));
    driven.apply(start(b""));
    assert!(driven.commands().is_empty());
    assert!(driven.run.is_ended());
}

#[test]
fn before_its_start_a_run_says_nothing() {
    let mut run = Run::new(run_id(), &workflow(|_| async { done("") }), Limits::default(), 0);
    run.apply(Event {
        sequence: 1,
        time: time(1),
        body: step("a", "orphan"),
    });
    assert!(!run.is_started());
    assert!(matches!(run.decide(), Decision::Go(commands) if commands.is_empty()));
}

#[test]
fn time_is_the_entrys_and_never_goes_back() {
    let code = workflow(|ctx| async move {
        let mut seen = vec![ctx.now().as_second()];
        for _ in 0..2 {
            ctx.call("x").await?;
            seen.push(ctx.now().as_second());
        }
        done(&format!("{seen:?}"))
    });
    let mut run = Run::new(run_id(), &code, Limits::default(), 0);
    for (sequence, second, body) in [(1, 50, start(b"")), (2, 40, step("x", "")), (3, 60, step("x~2", ""))] {
        run.apply(Event {
            sequence,
            time: Timestamp::from_second(second).unwrap(),
            body,
        });
    }
    let Decision::Go(commands) = run.decide() else { panic!() };
    assert_eq!(lines(&commands), ["completed [50, 50, 60]"]);
}

#[test]
fn chance_is_the_same_on_every_replay_and_differs_by_scope_and_draw() {
    let code = workflow(|ctx| async move {
        let inner = ctx.scope("inner", async { (ctx.random(), ctx.uuid()) }).await;
        let drawn = [ctx.random(), ctx.random(), inner.0];
        let uuids = [ctx.uuid(), ctx.uuid(), inner.1];
        assert!(drawn[0] != drawn[1] && drawn[0] != drawn[2] && uuids[0] != uuids[1] && uuids[0] != uuids[2]);
        assert!(uuids.iter().all(|uuid| uuid.get_version_num() == 4));
        done(&format!("{drawn:?} {uuids:?}"))
    });
    assert_eq!(Driven::start(&code).commands(), Driven::start(&code).commands());
}

#[test]
fn what_it_waits_for_is_shown_in_the_order_asked() {
    let code = workflow(|ctx| async move {
        let _ = join3(ctx.sleep(1_000), ctx.call("x"), ctx.compute("y")).await;
        done("")
    });
    let mut driven = Driven::start(&code);
    driven.apply(attempt("x", 1, AttemptError::Error));
    let waits = driven.run.waits();
    assert!(matches!(waits[0].kind, OpenKind::Timer { due } if due == time(2)));
    assert!(matches!(
        &waits[1].kind,
        OpenKind::Step {
            attempt: 2,
            retry_at: Some(_),
            deadline: Some(_),
            ..
        }
    ));
    assert_eq!((waits[2].kind.clone(), waits[2].since), (OpenKind::Closure, time(1)));
    driven.apply(step("x", ""));
    assert_eq!(driven.run.waits().len(), 2);
}
