//! Runs that begin later, and runs that must be over by some time.

use std::time::Duration;

use bytes::Bytes;
use everstep_common::journal::{RunTimer, StartTerms};
use everstep_common::limits::RUN_GRACE;

use super::kit::*;
use super::updates::update;
use crate::{Context, Definition, EventBody, Record};

fn terms(delay: Option<u64>, deadline: Option<u64>) -> StartTerms {
    StartTerms {
        delay: delay.map(Duration::from_secs),
        deadline: deadline.map(Duration::from_secs),
        priority: 0,
        key: None,
    }
}

fn fired(timer: RunTimer) -> EventBody {
    EventBody::About(timer.key(), Record::Timer)
}

fn one_step() -> Definition {
    workflow(|ctx| async move {
        ctx.call("a").await?;
        done("done")
    })
}

/// Undoes what it did when it is asked to come to an end.
fn tidy() -> Definition {
    async fn work(ctx: &Context) -> Returned {
        ctx.call("a").await?;
        done("done")
    }
    workflow(|ctx| async move {
        let worked = work(&ctx).await;
        if worked.is_err() {
            ctx.shield(ctx.call("undo")).await?;
        }
        worked
    })
}

#[test]
fn a_run_with_a_delay_begins_when_its_timer_has_fired() {
    check_under(
        terms(Some(60), None),
        &one_step(),
        &["timer =start at 1061"],
        vec![
            (fired(RunTimer::Begin), &["dispatch a"]),
            (fired(RunTimer::Begin), &[]),
            (step("a", ""), &["completed done"]),
        ],
    );
}

#[test]
fn nothing_is_done_for_a_run_that_was_cancelled_before_it_began() {
    check_under(
        terms(Some(60), Some(60)),
        &one_step(),
        &["timer =start at 1061"],
        vec![
            (cancel(), &["end: cancelled: cancelled: no longer wanted"]),
            (fired(RunTimer::Begin), &[]),
            (EventBody::End, &[]),
        ],
    );
}

#[test]
fn a_deadline_counts_from_when_the_run_begins() {
    check_under(
        terms(Some(60), Some(10)),
        &one_step(),
        &["timer =start at 1061"],
        vec![
            (fired(RunTimer::Begin), &["dispatch a", "timer =until at 1012"]),
            (step("a", ""), &["completed done"]),
            (fired(RunTimer::Deadline), &[]),
        ],
    );
}

#[test]
fn an_overdue_run_cleans_up_and_fails_as_overdue() {
    let kill = format!("timer =over at {}", 1002 + RUN_GRACE.as_secs());
    check_under(
        terms(None, Some(10)),
        &tidy(),
        &["dispatch a", "timer =until at 1011"],
        vec![
            (fired(RunTimer::Deadline), &["cancel step a", "dispatch undo", &kill]),
            (
                step("undo", ""),
                &["end: failed: deadline exceeded: the run was not done within 10s"],
            ),
        ],
    );
}

#[test]
fn an_overdue_run_that_does_not_come_to_an_end_is_ended_as_it_stands() {
    let kill = format!("timer =over at {}", 1002 + RUN_GRACE.as_secs());
    check_under(
        terms(None, Some(10)),
        &tidy(),
        &["dispatch a", "timer =until at 1011"],
        vec![
            (fired(RunTimer::Deadline), &["cancel step a", "dispatch undo", &kill]),
            (
                fired(RunTimer::Kill),
                &["end: failed: deadline exceeded: the run was not done within 10s, nor had it come to an end 60 s later"],
            ),
            (step("undo", ""), &[]),
        ],
    );
}

#[test]
fn a_run_that_finishes_although_it_is_overdue_has_completed() {
    let stubborn = workflow(|ctx| async move {
        let _ = ctx.call("a").await;
        done("all the same")
    });
    check_under(
        terms(None, Some(10)),
        &stubborn,
        &["dispatch a", "timer =until at 1011"],
        vec![(fired(RunTimer::Deadline), &["cancel step a", "completed all the same"])],
    );
}

#[test]
fn who_cancels_before_the_deadline_is_the_one_who_ended_the_run() {
    let kill = format!("timer =over at {}", 1003 + RUN_GRACE.as_secs());
    check_under(
        terms(None, Some(10)),
        &tidy(),
        &["dispatch a", "timer =until at 1011"],
        vec![
            (cancel(), &["cancel step a", "dispatch undo"]),
            (fired(RunTimer::Deadline), &[&kill]),
            (step("undo", ""), &["end: cancelled: cancelled: no longer wanted"]),
        ],
    );
}

#[test]
fn a_run_that_stands_still_is_overdue_like_any_other() {
    let panicking = workflow(|_| async move { panic!("no") });
    let mut driven = Driven::start_under(&panicking, terms(None, Some(10)));
    assert_eq!(driven.commands(), ["parked: panicked"]);
    let timer = driven.run.timer_though_parked().map(|command| command.to_string());
    assert_eq!(timer.as_deref(), Some("timer =until due 1970-01-01T00:16:51Z"));
    assert!(driven.run.timer_though_parked().is_none(), "it is said once");
}

#[test]
fn a_run_that_has_to_wait_begins_when_it_has_a_place() {
    let mut driven = Driven::start_under(&one_step(), terms(Some(60), Some(10)));
    assert_eq!(driven.commands(), ["timer =start at 1061"]);
    driven.apply(fired(RunTimer::Begin));
    assert!(driven.run.is_untouched(), "nobody has asked what is to be done");
    driven.apply(fired(RunTimer::Wait));
    assert!(driven.commands().is_empty() && driven.run.wants_place() && driven.run.waits().is_empty());
    driven.apply(fired(RunTimer::Place));
    assert_eq!(driven.commands(), ["dispatch a", "timer =until at 1014"]);
    for late in [RunTimer::Wait, RunTimer::Place, RunTimer::Begin] {
        driven.apply(fired(late));
        assert!(driven.commands().is_empty() && !driven.run.wants_place(), "{late:?}");
    }
    driven.apply(step("a", ""));
    assert_eq!(driven.commands(), ["completed done"]);
}

#[test]
fn a_run_that_had_to_wait_leaves_the_same_whether_it_was_begun_before_or_not() {
    let waited = |entries: &[RunTimer]| {
        let mut driven = Driven::start_under(&one_step(), terms(None, None));
        entries.iter().for_each(|timer| driven.apply(fired(*timer)));
        (driven.run.fingerprint(), driven.commands())
    };
    assert_eq!(
        waited(&[RunTimer::Wait, RunTimer::Place]),
        waited(&[RunTimer::Wait, RunTimer::Place])
    );
    assert_eq!(waited(&[RunTimer::Wait, RunTimer::Place]).1, ["dispatch a"]);
    assert_eq!(waited(&[RunTimer::Wait]).1, Vec::<String>::new());
}

#[test]
fn what_has_an_outcome_is_not_taken_back() {
    check_under(
        terms(None, None),
        &workflow(|ctx| async move {
            ctx.call("a").await?;
            ctx.call("b").await?;
            done("done")
        }),
        &["dispatch a"],
        vec![
            (step("a", ""), &["dispatch b"]),
            (fired(RunTimer::Wait), &[]),
            (fired(RunTimer::Place), &[]),
            (step("b", ""), &["completed done"]),
        ],
    );
}

#[test]
fn a_run_that_waits_for_a_place_is_cancelled_at_once() {
    let mut driven = Driven::start_under(&one_step(), terms(None, None));
    driven.apply(fired(RunTimer::Wait));
    assert!(driven.commands().is_empty() && driven.run.wants_place());
    driven.apply(cancel());
    assert_eq!(driven.commands(), ["end: cancelled: cancelled: no longer wanted"]);
    driven.apply(fired(RunTimer::Place));
    assert!(driven.commands().is_empty());
}

#[test]
fn a_deadline_that_has_passed_is_not_waited_for_again_while_answers_are_recorded() {
    let code = workflow(|ctx| async move {
        ctx.call("a").await?;
        ctx.update("set").await?.answer(Ok(Bytes::new())).unwrap();
        done("done")
    });
    let entries = [step("a", ""), update("k", "set", ""), fired(RunTimer::Deadline)];
    let mut run = Driven::start_under(&code, terms(None, Some(10)));
    entries.into_iter().for_each(|entry| run.apply(entry));
    let told = run.commands();
    assert!(told.len() == 1 && told[0].starts_with("answer answer:k"), "{told:?}");
}
