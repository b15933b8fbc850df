//! Steps: attempts, retries, crashes, deadlines, and what is recorded for them.

use bytes::Bytes;
use everstep_common::failure::Failure;
use everstep_common::failure::FailureKind;
use everstep_common::journal::AttemptError;
use everstep_common::limits::PAYLOAD_BYTES_MAX;
use everstep_common::retry::RetryPolicy;
use everstep_common::task::StepOptions;
use futures::future::join;
use std::time::Duration;

use super::kit::*;
use crate::{Command, Decision, Event, EventBody, Limits, OpenKind, Run};

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
            step.options_mut().unwrap().retries = RetryPolicy::once();
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
    driven.apply(attempt("y", 1, AttemptError::Error));
    let Decision::Go(commands) = driven.run.decide() else {
        panic!()
    };
    assert_eq!(commands.len(), 1, "a deadline is told once: {commands:?}");
    driven.run.deadline_passed(&key("x"), time(86_401));
    driven.run.deadline_passed(&key("y"), time(86_401));
    driven.run.deadline_passed(&key("y"), time(86_401));
    assert_eq!(
        driven.commands(),
        ["record y: deadline exceeded: not done within 86400s, in attempt 2"]
    );
    driven.apply(attempt("y", 2, AttemptError::Error));
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
