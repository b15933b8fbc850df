//! Fans, races and deadlines: what is asked for, under which keys, and what is called back. What a cancel reaches is in `domains`.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use everstep_common::journal::AttemptError;
use futures::FutureExt;
use futures::future::{LocalBoxFuture, join};
use futures::select_biased;

use super::kit::*;
use crate::{Collected, Context, DeadlineError, WaitError};

pub(super) type Outcome = Result<Bytes, WaitError>;

/// Branches of a block, labelled by their places.
pub(super) fn numbered<'a, T>(
    futures: Vec<LocalBoxFuture<'a, T>>,
) -> impl Iterator<Item = (String, impl FnOnce() -> LocalBoxFuture<'a, T>)> {
    let labelled = futures.into_iter().enumerate();
    labelled.map(|(number, future)| (number.to_string(), move || future))
}

pub(super) async fn parallel(ctx: &Context, branches: Vec<LocalBoxFuture<'_, Outcome>>) -> Collected<Bytes, WaitError> {
    ctx.block("parallel").fan(numbered(branches)).collect_outcomes(0).await
}

async fn race(ctx: &Context, branches: Vec<LocalBoxFuture<'_, Outcome>>) -> String {
    let (number, outcome) = ctx.block("race").fan(numbered(branches)).race().await.expect("a winner");
    format!("{number} {}", text(outcome))
}

pub(super) fn told(collected: Collected<Bytes, WaitError>) -> String {
    let outcome = |outcome: Option<Outcome>| outcome.map_or("-".to_owned(), text);
    let outcomes: Vec<_> = collected.outcomes.into_iter().map(outcome).collect();
    let stopped = if collected.stopped { " stopped" } else { "" };
    format!("[{}]{stopped}", outcomes.join(", "))
}

fn failed(path: &str) -> crate::EventBody {
    step_with(path, path.rsplit('/').next().unwrap(), "", Err("declined"))
}

pub(super) const CANCELLED: &str = "(cancelled with the run or branch that asked for it)";

#[test]
fn branches_have_scopes_of_their_own_under_the_number_of_their_block() {
    let code = workflow(|ctx| async move {
        let made_outside = ctx.call("charge");
        parallel(&ctx, vec![made_outside.boxed_local()]).await;
        let branch = |ctx: Context| async move { ctx.call("charge").await }.boxed_local();
        let both = parallel(&ctx, vec![branch(ctx.clone()), branch(ctx.clone())]).await;
        done(&told(both))
    });
    let second: &[&str] = &["dispatch parallel~2/0/charge", "dispatch parallel~2/1/charge"];
    check(
        &code,
        &["dispatch charge"],
        vec![
            (step("charge", ""), second),
            (step("parallel~2/1/charge", "b"), &[]),
            (step("parallel~2/0/charge", "a"), &["completed [a, b]"]),
        ],
    );
}

#[test]
fn a_failure_cancels_its_siblings_and_awaits_their_clean_up() {
    let code = workflow(|ctx| async move {
        let charge = async {
            let charged = ctx.call("charge").await;
            if charged.is_err() {
                ctx.shield(ctx.call("refund")).await?;
                assert_eq!(ctx.call("more").await, Err(WaitError::Cancelled));
            }
            charged
        };
        let all = parallel(
            &ctx,
            vec![
                charge.boxed_local(),
                ctx.call("ship").boxed_local(),
                ctx.call("tell").boxed_local(),
            ],
        )
        .await;
        assert_eq!(all.first_failed, Some(1));
        ctx.call("next").await?;
        done(&told(all))
    });
    check(
        &code,
        &["dispatch parallel/0/charge", "dispatch ship", "dispatch tell"],
        vec![
            (
                failed("ship"),
                &[
                    "cancel step parallel/0/charge",
                    "cancel step tell",
                    "dispatch parallel/0/refund",
                ],
            ),
            (step("parallel/0/charge", "late"), &[]),
            (step("parallel/0/refund", ""), &["dispatch next"]),
            (
                step("next", ""),
                &[
                    "completed [(cancelled with the run or branch that asked for it), (fatal error: declined), (cancelled with the run or branch that asked for it)] stopped",
                ],
            ),
        ],
    );
}

#[test]
fn what_is_asked_for_and_cancelled_within_one_entry_was_never_sent() {
    let code = workflow(|ctx| async move {
        let gate = ctx.call("gate");
        let asks = async {
            gate.await?;
            let _ = join(join(ctx.call("a"), ctx.sleep(1)), ctx.compute("b")).await;
            ctx.call("c").await
        };
        let fails = async {
            let second = ctx.call("second").await;
            second.and(Err(WaitError::Cancelled))
        };
        // The first branch asks anew in the very poll in which the second one ends the block.
        let all = parallel(&ctx, vec![asks.boxed_local(), fails.boxed_local()]).await;
        ctx.call("next").await?;
        done(&told(all))
    });
    let mut driven = Driven::start(&code);
    assert_eq!(driven.commands(), ["dispatch gate", "dispatch parallel/1/second"]);
    let (gate, second) = (step("gate", ""), step("parallel/1/second", ""));
    driven.apply(second);
    assert_eq!(driven.commands(), ["cancel step gate", "dispatch next"]);
    // Both entries before a decision: what the first one asked for may have been sent by another owner, and is called back.
    let mut driven = Driven::start(&code);
    driven.apply(gate);
    driven.apply(step("parallel/1/second", ""));
    let called_back = [
        "cancel step parallel/0/a",
        "cancel timer parallel/0/sleep",
        "cancel closure parallel/0/b",
        "dispatch next",
    ];
    assert_eq!(driven.commands(), called_back);
}

#[test]
fn what_a_branch_asks_for_as_its_sibling_fails_is_never_sent() {
    let code = workflow(|ctx| async move {
        let shared = Rc::new(RefCell::new(None));
        let fails = async {
            ctx.call("gate").await?;
            shared.replace(Some(ctx.call("made by one")));
            poll_fn(|cx| {
                let _ = shared.borrow_mut().as_mut().unwrap().poll_unpin(cx);
                Poll::Ready(())
            })
            .await;
            Err(WaitError::Cancelled)
        };
        let sleeps = async { ctx.sleep(1_000).await.map(|()| Bytes::new()) };
        parallel(&ctx, vec![fails.boxed_local(), sleeps.boxed_local()]).await;
        ctx.call("next").await?;
        done("")
    });
    check(
        &code,
        &["dispatch parallel/0/gate", "timer parallel/1/sleep at 1002"],
        vec![(
            step("parallel/0/gate", ""),
            &["cancel timer parallel/1/sleep", "dispatch next"],
        )],
    );
}

#[test]
fn a_race_is_won_by_the_first_entry_and_its_losers_clean_up() {
    let code = workflow(|ctx| async move {
        let slow = async {
            let outcome = ctx.call("slow").await;
            ctx.shield(ctx.call("clean up")).await?;
            outcome
        };
        let quick = async { ctx.call("quick").await };
        done(&race(&ctx, vec![slow.boxed_local(), quick.boxed_local()]).await)
    });
    check(
        &code,
        &["dispatch race/0/slow", "dispatch race/1/quick"],
        vec![
            (
                step("race/1/quick", "q"),
                &["cancel step race/0/slow", "dispatch race/0/clean up"],
            ),
            (step("race/0/slow", "late"), &[]),
            (step("race/0/clean up", ""), &["completed 1 q"]),
        ],
    );
}

#[test]
fn a_deadline_has_the_key_of_its_scope_and_is_called_back_when_it_is_met() {
    let code = workflow(|ctx| async move {
        for _ in 0..2 {
            let work = async { ctx.call("work").await };
            let _ = ctx.timeout(Duration::from_secs(5), work).await.expect("in time");
        }
        done("")
    });
    check(
        &code,
        &["dispatch timeout/work", "timer timeout at 1006"],
        vec![
            (
                step("timeout/work", ""),
                &["cancel timer timeout", "dispatch timeout~2/work", "timer timeout~2 at 1007"],
            ),
            (step("timeout~2/work", ""), &["cancel timer timeout~2", "completed "]),
        ],
    );
}

#[test]
fn when_its_time_is_up_a_body_is_cancelled_and_awaited() {
    let code = workflow(|ctx| async move {
        let work = async {
            let worked = ctx.call("work").await;
            ctx.shield(ctx.call("clean up")).await?;
            worked
        };
        let outcome = ctx.timeout(Duration::from_secs(5), work).await;
        assert_eq!(outcome, Err(DeadlineError::Passed(Duration::from_secs(5))));
        done("")
    });
    check(
        &code,
        &["dispatch timeout/work", "timer timeout at 1006"],
        vec![
            (timer("timeout"), &["cancel step timeout/work", "dispatch timeout/clean up"]),
            (step("timeout/clean up", ""), &["completed "]),
        ],
    );
}

#[test]
fn a_window_begins_no_more_than_it_holds_and_nothing_after_a_stop() {
    let code = workflow(|ctx| async move {
        let items = ["a", "b", "c", "d", "e"].map(|name| (name.to_owned(), || ctx.call("item")));
        let fan = ctx.block("batch").fan(items).window(2);
        done(&told(fan.collect_outcomes(1).await))
    });
    let fail = |path: &str| step_with(path, "item", "", Err("declined"));
    let said = format!("completed [(fatal error: declined), {CANCELLED}, (fatal error: declined)] stopped");
    check(
        &code,
        &["dispatch batch/a/item", "dispatch batch/b/item"],
        vec![
            (fail("batch/a/item"), &["dispatch batch/c/item"]),
            (fail("batch/c/item"), &["cancel step batch/b/item", &said]),
        ],
    );
}

#[test]
fn a_step_says_in_how_many_attempts_it_ended() {
    let code = workflow(|ctx| async move {
        let (mut a, mut b, mut never) = (ctx.call("a"), ctx.call("b"), ctx.call("never"));
        select_biased! { _ = a => {}, _ = b => {} }
        let now = (a.attempts(), b.attempts(), never.attempts());
        let _ = (&mut never).now_or_never();
        done(&format!("{now:?} {}", never.attempts()))
    });
    check(
        &code,
        &["dispatch a", "dispatch b"],
        vec![
            (attempt("a", 1, AttemptError::Error), &["retry a attempt 2"]),
            (attempt("b", 1, AttemptError::Error), &["retry b attempt 2"]),
            (attempt("a", 2, AttemptError::Error), &["retry a attempt 3"]),
            (step("b", ""), &["cancel step a", "completed (3, 2, 0) 1"]),
        ],
    );
}

#[test]
fn combinators_are_futures_that_borrow_their_context() {
    fn future<F: Future>(future: F) -> F {
        future
    }
    let code = workflow(|ctx| async move {
        let name = "borrowed".to_owned();
        let all = future(parallel(&ctx, vec![async { ctx.call(&name).await }.boxed_local()]));
        let raced = future(ctx.shield(ctx.timeout(Duration::from_secs(1), all)));
        let _ = raced.await;
        done("")
    });
    check(
        &code,
        &["dispatch timeout/parallel/0/borrowed", "timer timeout at 1002"],
        vec![],
    );
}
