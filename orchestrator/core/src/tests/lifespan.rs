//! Runs that begin later, and runs that must be over by some time.

use std::time::Duration;

use bytes::Bytes;
use everstep_common::journal::{RunTimer, StartTerms};
use everstep_common::limits::RUN_GRACE;

use super::kit::*;
use super::updates::update;
use crate::{Context, Definition, EventBody, Limits, Record};

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

/// How a run ends that had ten seconds.
const OVERDUE: &str = "end: failed: deadline exceeded: the run was not done within 10s";

/// What becomes of a run that has ten seconds and undoes what it did.
fn check_tidy(then: Vec<(EventBody, &[&str])>) {
    let first = ["dispatch a", "timer =until at 1011"];
    check_under(terms(None, Some(10)), &tidy(), &first, then);
}

/// What is asked for by a run that is told at that second to come to an end.
fn kill_after(told: u64) -> String {
    format!("timer =over at {}", told + RUN_GRACE.as_secs())
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
fn the_delay_of_a_run_that_an_event_starts_counts_from_the_event() {
    let since = |event: i64| {
        let mut start = start_under(b"", terms(Some(60), None));
        if let EventBody::Start(start, _) = &mut start {
            start.listens_from = Some(jiff::Timestamp::from_second(event).expect("a time"));
        }
        Driven::start_as(&one_step(), Limits::default(), start).commands()
    };
    assert_eq!(since(1_000), ["timer =start at 1060"]);
    assert_eq!(since(900), ["timer =start at 960"], "it is due as soon as it is there");
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
    let kill = kill_after(1002);
    check_tidy(vec![
        (fired(RunTimer::Deadline), &["cancel step a", "dispatch undo", &kill]),
        (step("undo", ""), &[OVERDUE]),
    ]);
}

#[test]
fn an_overdue_run_that_does_not_come_to_an_end_is_ended_as_it_stands() {
    let kill = kill_after(1002);
    check_tidy(vec![
        (fired(RunTimer::Deadline), &["cancel step a", "dispatch undo", &kill]),
        (
            fired(RunTimer::Kill),
            &["end: failed: deadline exceeded: the run was not done within 10s, nor had it come to an end 60 s later"],
        ),
        (step("undo", ""), &[]),
    ]);
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
    let kill = kill_after(1003);
    check_tidy(vec![
        (cancel(), &["cancel step a", "dispatch undo"]),
        (fired(RunTimer::Deadline), &[&kill]),
        (step("undo", ""), &["end: cancelled: cancelled: no longer wanted"]),
    ]);
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
    assert!(driven.run.may_wait(), "nobody has asked what is to be done");
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

/// What is said in the end by a run that is given the entries, and how it came there. Every owner is asked what is to be done after the
/// entries before `asked_before`, and nobody does it.
fn waited(when: &Definition, terms: StartTerms, entries: &[EventBody], asked_before: usize) -> (u64, Vec<String>) {
    let mut driven = Driven::start_under(when, terms);
    for (place, entry) in entries.iter().enumerate() {
        if place < asked_before {
            driven.commands();
        }
        driven.apply(entry.clone());
    }
    (driven.run.fingerprint(), driven.commands())
}

#[test]
fn a_run_that_had_to_wait_stands_the_same_whether_somebody_asked_before_what_is_to_be_done_or_not() {
    let check = |when: &Definition, terms: StartTerms, entries: &[EventBody], told: &[&str]| {
        let (fingerprint, said) = waited(when, terms.clone(), entries, 0);
        assert_eq!(said, told);
        assert_eq!(waited(when, terms, entries, 1), (fingerprint, said), "{entries:?}");
    };
    let [wait, place] = [RunTimer::Wait, RunTimer::Place].map(fired);
    let sleeper = workflow(|ctx| async move {
        ctx.sleep(10_000).await?;
        done("rested")
    });
    check(&one_step(), terms(None, None), std::slice::from_ref(&wait), &[]);
    check(
        &one_step(),
        terms(None, None),
        &[wait.clone(), place.clone()],
        &["dispatch a"],
    );
    check(
        &sleeper,
        terms(None, None),
        &[wait.clone(), place.clone()],
        &["timer sleep at 1013"],
    );
    let began = ["dispatch a", "timer =until at 1013"];
    check(&one_step(), terms(None, Some(10)), &[wait.clone(), place.clone()], &began);
    let kill = kill_after(1004);
    let late = [wait, fired(RunTimer::Deadline), place];
    check(&tidy(), terms(None, Some(10)), &late, &["dispatch undo", &kill]);
}

#[test]
fn a_deadline_that_strikes_a_run_at_its_gate_holds_when_it_begins() {
    let kill = kill_after(1004);
    check_tidy(vec![
        (fired(RunTimer::Wait), &[]),
        (fired(RunTimer::Deadline), &[]),
        (fired(RunTimer::Place), &["dispatch undo", &kill]),
        (step("undo", ""), &[OVERDUE]),
    ]);
}

#[test]
fn a_run_that_went_ahead_is_read_anew_when_its_journal_has_it_wait() {
    let mut driven = Driven::start_under(&one_step(), terms(None, None));
    assert!(driven.run.may_wait());
    driven.run.go_ahead();
    assert!(!driven.run.may_wait());
    assert_eq!(driven.commands(), ["dispatch a"]);
    driven.apply(fired(RunTimer::Wait));
    assert_eq!(driven.commands(), ["replay"]);

    let mut begun = Driven::start_under(&one_step(), terms(None, None));
    begun.run.go_ahead();
    begun.apply(step("a", ""));
    begun.apply(fired(RunTimer::Wait));
    assert_eq!(begun.commands(), ["completed done"], "the journal says that it came too late");
}

#[test]
fn what_a_run_was_told_is_kept_no_longer_than_its_beginning_may_be_taken_back() {
    let code = workflow(|ctx| async move {
        for _ in 0..2 {
            ctx.signal("paid").await?;
        }
        done("twice")
    });
    let paid = || EventBody::Signal("paid".into(), Bytes::from_static(b"1"));
    let mut driven = Driven::start_under(&code, terms(None, None));
    driven.apply(paid());
    assert_eq!(driven.run.kept_of_beginning(), (true, 1));
    driven.run.go_ahead();
    assert_eq!(driven.run.kept_of_beginning(), (false, 0));
    driven.apply(paid());
    assert_eq!(driven.run.kept_of_beginning(), (false, 0));
    assert_eq!(driven.commands(), ["completed twice"]);

    let mut waits = Driven::start_under(&code, terms(None, None));
    [paid(), fired(RunTimer::Wait), paid(), fired(RunTimer::Place)]
        .into_iter()
        .for_each(|entry| waits.apply(entry));
    assert_eq!(
        waits.commands(),
        ["completed twice"],
        "what it was told before it waited is there"
    );
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
