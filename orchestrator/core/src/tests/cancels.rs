//! What nobody waits for any more: dropped futures, reloads, and runs that are asked to cancel.

use everstep_common::failure::Failure;
use everstep_common::failure::FailureKind;
use everstep_common::journal::AttemptError;
use futures::FutureExt;
use futures::future::join3;
use futures::select_biased;

use super::kit::*;
use crate::{EventBody, WaitError, WorkflowFailure};

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
        vec![(
            cancel(),
            &[
                "cancel step a",
                "completed (cancelled with the run or branch that asked for it)",
            ],
        )],
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
fn what_is_recorded_and_asked_for_only_after_a_cancel_counts_as_asked() {
    let code = workflow(|ctx| async move {
        let _ = ctx.call("a").await;
        ctx.call("b").await?;
        done("")
    });
    let said = ["cancel step a", "end: cancelled: cancelled: no longer wanted"];
    check(
        &code,
        &["dispatch a"],
        vec![(step("b", ""), &["parked: nondeterministic"]), (cancel(), &said)],
    );
}
