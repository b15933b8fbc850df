//! Children: started once, awaited to their ends, asked to end with whoever waits for them. And runs that go on in others.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::ids::WorkflowName;
use everstep_common::journal::Parent;
use everstep_common::limits::{CHILD_DEPTH_MAX, PAYLOAD_BYTES_MAX};
use futures::FutureExt;
use futures::future::join_all;
use futures::select_biased;

use super::combine::numbered;
use super::kit::*;
use crate::{Child, Context, Decision, EventBody, Limits, OpenKind, Parked, RunEnd, TooMany, WaitError, WorkflowFailure};

fn detached(mut child: Child) -> Child {
    child.spec_mut().expect("it is not asked for").detached = true;
    child
}

/// What a workflow brings that awaits the child p.
fn awaits() -> crate::Definition {
    workflow(|ctx| async move { done(&text(ctx.spawn("p").await)) })
}

#[test]
fn a_child_is_started_named_and_awaited() {
    check(
        &awaits(),
        &["start p"],
        vec![(child("p", false), &[]), (step("p", "parcel"), &["completed parcel"])],
    );
}

#[test]
fn a_detached_child_brings_its_id_once_it_is_started() {
    let code = workflow(|ctx| async move { done(&text(detached(ctx.spawn("p")).await)) });
    let ended = format!("completed {}", run_id().successor());
    check(&code, &["start detached p"], vec![(child("p", true), &[&ended])]);
}

#[test]
fn the_error_of_a_child_tells_which_run_it_was_and_how_it_ended() {
    let mut driven = Driven::start(&workflow(|ctx| async move {
        let failed = ctx.spawn("p").await.unwrap_err();
        assert_eq!(
            failed,
            WaitError::Child {
                run: Some(run_id().successor()),
                failure: Failure::new(FailureKind::Exhausted, "no carrier"),
            }
        );
        Err(failed.into())
    }));
    driven.apply(child("p", false));
    driven.apply(child_failed("p", FailureKind::Exhausted, "no carrier"));
    let failed = "end: failed: attempts exhausted: no carrier";
    assert_eq!(driven.commands(), [failed]);
}

#[test]
fn a_child_that_ended_before_it_is_asked_for_is_found() {
    let code = workflow(|ctx| async move {
        ctx.call("first").await?;
        done(&text(ctx.spawn("p").await))
    });
    let mut driven = Driven::start(&code);
    for entry in [child("p", false), step("p", "parcel"), step("first", "")] {
        driven.apply(entry);
    }
    assert_eq!(driven.commands(), ["completed parcel"]);
}

#[test]
fn a_cancel_is_passed_on_and_the_childs_end_is_awaited() {
    let ended = |entry: EventBody, said: &'static str| {
        check(
            &awaits(),
            &["start p"],
            vec![(child("p", false), &[]), (cancel(), &["cancel child p"]), (entry, &[said])],
        );
    };
    let cancelled = "completed (cancelled with the run or branch that asked for it)";
    ended(child_failed("p", FailureKind::Cancelled, "no longer wanted"), cancelled);
    // It was done already, or did something else: then that is what the workflow sees.
    ended(step("p", "parcel"), "completed parcel");
    ended(
        child_failed("p", FailureKind::Workflow, "clean-up failed"),
        "completed (workflow error: clean-up failed)",
    );
}

#[test]
fn a_child_that_somebody_else_cancels_is_an_error_of_the_parent() {
    check(
        &awaits(),
        &["start p"],
        vec![
            (child("p", false), &[]),
            (
                child_failed("p", FailureKind::Cancelled, "by hand"),
                &["completed (cancelled: by hand)"],
            ),
        ],
    );
}

#[test]
fn a_child_asked_for_by_the_entry_that_cancels_it_is_never_started() {
    let code = workflow(|ctx| async move {
        let mut race = ctx.spawn("p");
        assert!(poll_fn(|cx| Poll::Ready(race.poll_unpin(cx).is_pending())).await);
        drop(race);
        done(&text(ctx.call("next").await))
    });
    check(&code, &["dispatch next"], vec![(step("next", ""), &["completed "])]);
    let in_cancelled_run = workflow(|ctx| async move {
        let _ = ctx.call("a").await;
        done(&text(ctx.spawn("p").await))
    });
    let cancelled = "completed (cancelled with the run or branch that asked for it)";
    check(
        &in_cancelled_run,
        &["dispatch a"],
        vec![(cancel(), &["cancel step a", cancelled])],
    );
}

#[test]
fn a_child_that_other_code_started_is_cancelled_also_by_the_entry_in_which_moved_code_asks_for_it() {
    let code = workflow(|ctx| async move {
        let _ = ctx.call("first").await;
        let mut moved = ctx.spawn("p");
        assert!(poll_fn(|cx| Poll::Ready(moved.poll_unpin(cx).is_pending())).await);
        drop(moved);
        done(&text(ctx.call("next").await))
    });
    let mut driven = Driven::start(&code);
    driven.apply(child("p", false));
    driven.apply(step("first", ""));
    assert_eq!(driven.commands(), ["cancel child p", "dispatch next"]);
}

#[test]
fn a_child_that_is_dropped_is_cancelled_and_a_detached_one_goes_on() {
    let code = |detach: bool| {
        workflow(move |ctx| async move {
            let child = ctx.spawn("p");
            let (mut child, mut gate) = (if detach { detached(child) } else { child }, ctx.call("gate"));
            select_biased! { _ = child => {}, _ = gate => {} }
            drop(child);
            done(&text(ctx.call("next").await))
        })
    };
    let mut driven = Driven::start(&code(false));
    assert_eq!(driven.commands(), ["start p", "dispatch gate"]);
    driven.apply(step("gate", ""));
    assert_eq!(driven.commands(), ["cancel child p", "dispatch next"]);

    let mut driven = Driven::start(&code(true));
    assert_eq!(driven.commands(), ["start detached p", "dispatch gate"]);
    driven.apply(step("gate", ""));
    assert_eq!(driven.commands(), ["dispatch next"]);
    // Read back it is asked for still: whoever was to start it may have died.
    let mut driven = Driven::start(&code(true));
    driven.apply(step("gate", ""));
    assert_eq!(driven.commands(), ["start detached p", "dispatch next"]);
}

#[test]
fn a_detached_start_is_out_of_reach_of_a_cancel() {
    let code = workflow(|ctx| async move { done(&text(detached(ctx.spawn("p")).await)) });
    let ended = format!("completed {}", run_id().successor());
    check(
        &code,
        &["start detached p"],
        vec![(cancel(), &[]), (child("p", true), &[&ended])],
    );
}

#[test]
fn a_child_that_loses_is_cancelled_and_awaited() {
    let code = workflow(|ctx| async move {
        let branches = vec![ctx.spawn("p").boxed_local(), ctx.call("quick").boxed_local()];
        let (number, won) = ctx.block("race").fan(numbered(branches)).race().await.expect("one wins");
        done(&format!("{number} {}", text(won)))
    });
    check(
        &code,
        &["start p", "dispatch quick"],
        vec![
            (child("p", false), &[]),
            (step("quick", "won"), &["cancel child p"]),
            (child_failed("p", FailureKind::Cancelled, ""), &["completed 1 won"]),
        ],
    );
    let timed = workflow(|ctx| async move {
        let timed = ctx.timeout(Duration::from_secs(5), ctx.spawn("p")).await;
        done(&timed.map_or_else(|error| error.to_string(), text))
    });
    check(
        &timed,
        &["start p", "timer timeout at 1006"],
        vec![
            (timer("timeout"), &["cancel child p"]),
            (
                child_failed("p", FailureKind::Cancelled, ""),
                &["completed not done within 5s"],
            ),
        ],
    );
}

#[test]
fn a_shielded_child_is_not_cancelled() {
    let code = workflow(|ctx| async move { done(&text(ctx.shield(ctx.spawn("p")).await)) });
    check(
        &code,
        &["start p"],
        vec![(cancel(), &[]), (step("p", "parcel"), &["completed parcel"])],
    );
}

#[test]
fn a_child_is_in_the_session_of_its_parent_and_has_its_tags() {
    let mut driven = Driven::start(&awaits());
    let Decision::Go(commands) = driven.run.decide() else {
        panic!("parked")
    };
    let [crate::Command::StartChild { child, .. }] = &commands[..] else {
        panic!("{commands:?}")
    };
    assert_eq!((child.session.as_deref(), child.depth), (Some("s"), 1));
}

#[test]
fn children_without_end_and_inputs_too_large_are_refused() {
    let code = workflow_of(|ctx, _| {
        async move {
            let large = Ok(Bytes::from(vec![0; PAYLOAD_BYTES_MAX + 1]));
            let large = text(ctx.child(WorkflowName::new("p").unwrap(), None, large).await);
            done(&format!("{large} {}", text(ctx.spawn("p").await)))
        }
        .boxed_local()
    });
    let mut run = crate::Run::new(run_id(), &code, Limits::default(), 0);
    let EventBody::Start(mut start, input) = start(b"") else {
        unreachable!("it is a start")
    };
    start.parent = Some(Parent {
        run: run_id().successor(),
        step: key("p"),
        detached: false,
        digest: None,
        depth: CHILD_DEPTH_MAX,
    });
    run.apply(crate::Event {
        sequence: 1,
        time: time(1),
        body: EventBody::Start(start, input),
    });
    let Decision::Go(commands) = run.decide() else {
        panic!("parked")
    };
    let said = lines(&commands).join(" ");
    assert!(said.contains("over the limit") && said.contains("64 deep"), "{said}");
}

#[test]
fn too_many_children_at_once_park_the_run_and_none_is_started() {
    let code = workflow(|ctx| async move {
        let all = (0..4).map(|number| ctx.spawn(&format!("p{number}")));
        join_all(all).await;
        done("")
    });
    let limits = Limits {
        children_open: 3,
        ..Limits::default()
    };
    let mut driven = Driven::start_within(&code, limits);
    let Decision::Parked(Parked::TooManySteps(too_many)) = driven.run.decide() else {
        panic!("goes on")
    };
    assert_eq!(too_many, TooMany::Children { open: 4, limit: 3 });
    assert!(too_many.to_string().contains("ctx.batch"));
}

#[test]
fn what_a_run_waits_for_names_the_child() {
    let mut driven = Driven::start(&awaits());
    driven.apply(child("p", false));
    driven.apply(cancel());
    let [wait] = &driven.run.waits()[..] else {
        panic!("{:?}", driven.run.waits())
    };
    let expected = OpenKind::Child {
        workflow: WorkflowName::new("p").unwrap(),
        run: Some(run_id().successor()),
        detached: false,
        cancelled: true,
    };
    assert_eq!(wait.kind, expected);
}

fn continues(ctx: Context) -> futures::future::LocalBoxFuture<'static, Returned> {
    async move {
        let _ = ctx.call("a").await;
        Err(WorkflowFailure::Continued(Bytes::from_static(b"next")))
    }
    .boxed_local()
}

#[test]
fn a_workflow_that_goes_on_in_another_run_ends_this_one() {
    let mut driven = Driven::start(&workflow(continues));
    driven.apply(step("a", ""));
    let decided = driven.run.now();
    // Read back after something else has come it says the same.
    driven.apply(resume(false));
    let Decision::Go(commands) = driven.run.decide() else {
        panic!("parked")
    };
    let [crate::Command::End { outcome }] = &commands[..] else {
        panic!("{commands:?}")
    };
    let expected = RunEnd::Continued {
        input: Bytes::from_static(b"next"),
        decided,
        listened: Vec::new(),
    };
    assert_eq!(outcome, &expected);
}

#[test]
fn a_run_that_was_asked_to_cancel_does_not_go_on_in_another() {
    check(
        &workflow(continues),
        &["dispatch a"],
        vec![(cancel(), &["cancel step a", "end: cancelled: cancelled: no longer wanted"])],
    );
}

#[test]
fn a_run_that_is_terminated_ends_at_once_and_wants_nothing_any_more() {
    let code = workflow(|ctx| async move {
        let _ = ctx.shield(ctx.call("a")).await;
        ctx.call("b").await?;
        done("")
    });
    let ended = "end: terminated: terminated: at once";
    check(
        &code,
        &["dispatch a"],
        vec![(terminate(), &[ended]), (step("a", ""), &[]), (EventBody::End, &[])],
    );
    // Also where several entries are applied at once, and where the run stood still.
    let mut driven = Driven::start(&code);
    driven.apply(step("a", ""));
    driven.apply(terminate());
    assert_eq!(driven.commands(), [ended]);
    let mut driven = Driven::start(&code);
    driven.apply(step("b", ""));
    assert_eq!(driven.commands(), ["parked: nondeterministic"]);
    driven.apply(terminate());
    assert_eq!(driven.commands(), [ended]);
}
