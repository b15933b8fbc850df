//! The order of things: entries in, one at a time, and what a run says after each.

use bytes::Bytes;
use everstep_common::failure::FailureKind;
use everstep_common::journal::AttemptError;
use everstep_common::limits::PAYLOAD_BYTES_MAX;
use futures::future::join3;
use jiff::Timestamp;
use std::time::Duration;

use super::kit::*;
use crate::{Command, Decision, Due, Event, EventBody, Limits, OpenKind, Run, RunEnd};

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
fn a_result_over_the_limit_fails_the_run() {
    let code = workflow(|_| async move { Ok(Bytes::from(vec![0; PAYLOAD_BYTES_MAX + 1])) });
    let mut driven = Driven::start(&code);
    let Decision::Go(commands) = driven.run.decide() else {
        panic!()
    };
    assert!(matches!(&commands[..], [Command::End { outcome: RunEnd::Failed(failure) }] if failure.kind == FailureKind::Invalid));
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
