//! Rollbacks: what is undone, in which order, under which keys, and what is said of what could not be.

use std::rc::Rc;

use everstep_common::failure::{Failure, FailureKind};
use everstep_common::task::StepOptions;
use futures::future::{join, poll_fn};
use futures::{FutureExt, select_biased};
use std::task::Poll;

use super::kit::*;
use crate::{Context, RolledBack, Step, Undo, WaitError, WorkflowFailure};

/// A step that is undone by `un<name>`, which is given what the step brought.
fn undoable(ctx: &Context, name: &str) -> Step {
    ctx.call(name).undone_by(Undo {
        function: function(&format!("un{name}")),
        options: StepOptions::default(),
        input: Rc::new(|value| match &*value {
            b"unusable" => Err(Failure::new(FailureKind::Invalid, "cannot be undone")),
            _ => Ok(value),
        }),
    })
}

fn told(report: RolledBack) -> String {
    let keys: Vec<_> = report.undone.iter().map(ToString::to_string).collect();
    let failed: Vec<_> = report
        .failed
        .iter()
        .map(|(key, failure)| format!("{key} ({failure})"))
        .collect();
    format!("undone {}; failed {}", keys.join(" "), failed.join(" "))
}

fn undone(path: &str, value: &'static str) -> crate::EventBody {
    let name = path.rsplit('/').next().unwrap_or(path);
    let name = name.split('~').next().unwrap_or(name);
    step_with(path, &format!("un{name}"), value, Ok(""))
}

fn not_undone(path: &str) -> crate::EventBody {
    let name = path.rsplit('/').next().unwrap_or(path);
    let name = name.split('~').next().unwrap_or(name);
    step_with(path, &format!("un{name}"), "", Err("no way"))
}

#[test]
fn what_is_done_is_undone_newest_first_by_the_order_of_entries() {
    let code = workflow(|ctx| async move {
        let _ = join(undoable(&ctx, "a"), join(undoable(&ctx, "b"), ctx.call("c"))).await;
        let _ = undoable(&ctx, "d").await;
        let first = told(ctx.rollback().await);
        done(&format!("{first}; then {}", told(ctx.rollback().await)))
    });
    check(
        &code,
        &["dispatch a", "dispatch b", "dispatch c"],
        vec![
            (step("b", "1"), &[]),
            (step("a", "2"), &[]),
            (step("c", "3"), &["dispatch d"]),
            (step_with("d", "d", "", Err("no")), &["dispatch undo/a"]),
            (undone("undo/a", "2"), &["dispatch undo/b"]),
            (
                undone("undo/b", "1"),
                &["completed undone a b; failed ; then undone ; failed "],
            ),
        ],
    );
}

#[test]
fn what_could_not_be_undone_is_told_those_before_it_are_undone_and_it_can_be_tried_again() {
    let code = workflow(|ctx| async move {
        let _ = undoable(&ctx, "a").await;
        let _ = undoable(&ctx, "b").await;
        let _ = undoable(&ctx, "c").await;
        let first = told(ctx.rollback().await);
        ctx.call("later").await?;
        done(&format!("{first}; then {}", told(ctx.rollback().await)))
    });
    check(
        &code,
        &["dispatch a"],
        vec![
            (step("a", ""), &["dispatch b"]),
            (step("b", ""), &["dispatch c"]),
            (step("c", "unusable"), &["record undo/c: invalid value: cannot be undone"]),
            (step_with("undo/c", "unc", "", Err("cannot be undone")), &["dispatch undo/b"]),
            (not_undone("undo/b"), &["dispatch undo/a"]),
            (undone("undo/a", ""), &["dispatch later"]),
            (step("later", ""), &["record undo/c~2: invalid value: cannot be undone"]),
            (
                step_with("undo/c~2", "unc", "", Err("cannot be undone")),
                &["dispatch undo/b~2"],
            ),
            (
                undone("undo/b~2", ""),
                &[
                    "completed undone a; failed c (fatal error: cannot be undone) b (fatal error: no way); then undone b; failed c (fatal error: cannot be undone)",
                ],
            ),
        ],
    );
}

#[test]
fn a_step_that_was_given_up_is_undone_if_it_turns_out_to_be_done() {
    let code = workflow(|ctx| async move {
        let mut slow = undoable(&ctx, "slow");
        let mut other = undoable(&ctx, "other");
        let mut quick = ctx.call("quick");
        select_biased! { _ = slow => {}, _ = other => {}, _ = quick => {} }
        drop((slow, other));
        done(&told(ctx.rollback().await))
    });
    check(
        &code,
        &["dispatch slow", "dispatch other", "dispatch quick"],
        vec![
            (step("quick", ""), &["cancel step slow", "cancel step other"]),
            (step("slow", "done all the same"), &[]),
            (step_with("other", "other", "", Err("cancelled")), &["dispatch undo/slow"]),
            (undone("undo/slow", "done all the same"), &["completed undone slow; failed "]),
        ],
    );
}

#[test]
fn what_was_never_sent_out_needs_no_undoing_and_no_waiting() {
    let code = workflow(|ctx| async move {
        let mut never = undoable(&ctx, "never");
        poll_fn(|cx| Poll::Ready(never.poll_unpin(cx).is_ready())).await;
        drop(never);
        done(&told(ctx.rollback().await))
    });
    check(&code, &["completed undone ; failed "], vec![]);
}

#[test]
fn a_cancelled_run_can_roll_back() {
    let code = workflow(|ctx| async move {
        undoable(&ctx, "a").await?;
        let cancelled = undoable(&ctx, "b").await;
        assert_eq!(cancelled, Err(WaitError::Cancelled));
        assert_eq!(told(ctx.rollback().await), "undone a; failed ");
        Err(WorkflowFailure::Cancelled)
    });
    check(
        &code,
        &["dispatch a"],
        vec![
            (step("a", "1"), &["dispatch b"]),
            (cancel(), &["cancel step b"]),
            (step_with("b", "b", "", Err("cancelled")), &["dispatch undo/a"]),
            (undone("undo/a", "1"), &["end: cancelled: cancelled: no longer wanted"]),
        ],
    );
}

#[test]
fn a_rollback_that_is_dropped_leaves_the_rest_to_another_one() {
    let code = workflow(|ctx| async move {
        let _ = undoable(&ctx, "a").await;
        let mut gate = ctx.call("gate");
        let mut dropped = Box::pin(ctx.rollback().fuse());
        select_biased! { _ = gate => {}, _ = dropped => {} }
        drop(dropped);
        done(&told(ctx.rollback().await))
    });
    check(
        &code,
        &["dispatch a"],
        vec![
            (step("a", "1"), &["dispatch gate", "dispatch undo/a"]),
            (step("gate", ""), &["cancel step undo/a", "dispatch undo/a~2"]),
            (undone("undo/a~2", "1"), &["completed undone a; failed "]),
        ],
    );
}

#[test]
fn two_rollbacks_at_once_undo_nothing_twice() {
    let code = workflow(|ctx| async move {
        let _ = undoable(&ctx, "a").await;
        let _ = undoable(&ctx, "b").await;
        let (one, other) = join(ctx.rollback(), ctx.rollback()).await;
        done(&format!("{} and {}", told(one), told(other)))
    });
    check(
        &code,
        &["dispatch a"],
        vec![
            (step("a", ""), &["dispatch b"]),
            (step("b", ""), &["dispatch undo/b", "dispatch undo/a"]),
            (undone("undo/a", ""), &[]),
            (undone("undo/b", ""), &["completed undone b; failed  and undone a; failed "]),
        ],
    );
}

#[test]
fn steps_of_scopes_are_undone_under_their_own_keys() {
    let code = workflow(|ctx| async move {
        ctx.scope("left", async { undoable(&ctx, "a").await }).await?;
        ctx.scope("left", async { undoable(&ctx, "a").key("mine").await }).await?;
        done(&told(ctx.rollback().await))
    });
    let entries: Vec<(crate::EventBody, &[&str])> = vec![
        (step("left/a", ""), &["dispatch mine"]),
        (step_with("mine", "a", "", Ok("")), &["dispatch undo/mine"]),
        (step_with("undo/mine", "una", "", Ok("")), &["dispatch undo/left/a"]),
        (undone("undo/left/a", ""), &["completed undone mine left/a; failed "]),
    ];
    check(&code, &["dispatch left/a"], entries);
}

#[test]
fn nothing_waits_for_a_rollback_that_was_dropped() {
    let code = workflow(|ctx| async move {
        let mut given_up = undoable(&ctx, "a").boxed_local();
        assert!(futures::poll!(&mut given_up).is_pending());
        ctx.call("b").await?;
        drop(given_up);
        let mut rollback = ctx.rollback().boxed_local();
        for _ in 0..3 {
            assert!(futures::poll!(&mut rollback).is_pending());
        }
        drop(rollback);
        futures::future::pending().await
    });
    check(
        &code,
        &["dispatch a", "dispatch b"],
        vec![(step("b", ""), &["parked: stuck"])],
    );
}
