//! Fans, races, deadlines and shields: what is asked for, under which keys, and what a cancel reaches.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::journal::AttemptError;
use futures::FutureExt;
use futures::future::{LocalBoxFuture, join};
use futures::select_biased;

use super::kit::*;
use crate::{Collected, Context, DeadlineError, Step, WaitError};

type Outcome = Result<Bytes, WaitError>;

/// Branches of a block, labelled by their places.
fn numbered<'a, T>(futures: Vec<LocalBoxFuture<'a, T>>) -> impl Iterator<Item = (String, impl FnOnce() -> LocalBoxFuture<'a, T>)> {
    let labelled = futures.into_iter().enumerate();
    labelled.map(|(number, future)| (number.to_string(), move || future))
}

async fn parallel(ctx: &Context, branches: Vec<LocalBoxFuture<'_, Outcome>>) -> Collected<Bytes, WaitError> {
    ctx.block("parallel").fan(numbered(branches)).collect_outcomes(0).await
}

async fn race(ctx: &Context, branches: Vec<LocalBoxFuture<'_, Outcome>>) -> String {
    let (number, outcome) = ctx.block("race").fan(numbered(branches)).race().await.expect("a winner");
    format!("{number} {}", text(outcome))
}

fn told(collected: Collected<Bytes, WaitError>) -> String {
    let outcome = |outcome: Option<Outcome>| outcome.map_or("-".to_owned(), text);
    let outcomes: Vec<_> = collected.outcomes.into_iter().map(outcome).collect();
    let stopped = if collected.stopped { " stopped" } else { "" };
    format!("[{}]{stopped}", outcomes.join(", "))
}

fn failed(path: &str) -> crate::EventBody {
    step_with(path, path.rsplit('/').next().unwrap(), "", Err("declined"))
}

const CANCELLED: &str = "(cancelled with the run or branch that asked for it)";

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
fn a_cancel_of_the_run_reaches_every_branch_and_no_shield() {
    let code = workflow(|ctx| async move {
        let shielded = ctx.shield(async {
            let first = ctx.call("first").await;
            join(first.map_or_else(|_| ctx.call("never"), |_| ctx.call("second")), ctx.sleep(1))
                .await
                .0
        });
        let timed = async {
            ctx.timeout(Duration::from_secs(60), ctx.call("timed"))
                .await
                .expect("ends first")
        };
        let all = ctx
            .block("parallel")
            .fan(numbered(vec![shielded.boxed_local(), timed.boxed_local()]));
        let all = all.collect_outcomes(9).await;
        assert!(all.cancelled && !all.stopped && ctx.is_cancelled());
        assert_eq!(ctx.call("later").await, Err(WaitError::Cancelled));
        assert_eq!(
            ctx.block("parallel")
                .fan(numbered(vec![ctx.call("not begun").boxed_local()]))
                .race()
                .await,
            None
        );
        done(&told(all))
    });
    let ended = format!("completed [2, {CANCELLED}]");
    check(
        &code,
        &[
            "dispatch parallel/0/first",
            "dispatch parallel/1/timed",
            "timer parallel/1/timeout at 1061",
        ],
        vec![
            (cancel(), &["cancel step parallel/1/timed", "cancel timer parallel/1/timeout"]),
            (
                step("parallel/0/first", "1"),
                &["dispatch parallel/0/second", "timer parallel/0/sleep at 1003"],
            ),
            (timer("parallel/0/sleep"), &[]),
            (step("parallel/0/second", "2"), &[&ended]),
        ],
    );
}

#[test]
fn a_shield_may_begin_after_the_cancel() {
    let code = workflow(|ctx| async move {
        if ctx.call("a").await.is_err() {
            let undo = async { parallel(&ctx, vec![ctx.call("b").boxed_local(), ctx.call("c").boxed_local()]).await };
            let undone = ctx.shield(undo).await;
            return done(&told(undone));
        }
        done("")
    });
    check(
        &code,
        &["dispatch a"],
        vec![
            (cancel(), &["cancel step a", "dispatch b", "dispatch c"]),
            (step("c", "2"), &[]),
            (step("b", "1"), &["completed [1, 2]"]),
        ],
    );
}

#[test]
fn what_is_still_open_when_its_block_ends_belongs_to_the_block_round_it() {
    let code = workflow(|ctx| async move {
        let slow: Rc<RefCell<Option<Step>>> = Rc::default();
        let leaves_it = async {
            *slow.borrow_mut() = Some(ctx.call("slow"));
            let polled = poll_fn(|cx| Poll::Ready(slow.borrow_mut().as_mut().unwrap().poll_unpin(cx))).await;
            assert!(polled.is_pending());
            ctx.call("quick").await
        };
        let inner = parallel(&ctx, vec![leaves_it.boxed_local()]);
        let waits = async {
            inner.await;
            let slow = slow.take().unwrap();
            slow.await
        };
        let outcome = ctx.timeout(Duration::from_secs(5), waits).await;
        done(&format!("{}", outcome.is_err()))
    });
    check(
        &code,
        &[
            "dispatch timeout/parallel/0/slow",
            "dispatch timeout/parallel/0/quick",
            "timer timeout at 1006",
        ],
        vec![
            (step("timeout/parallel/0/quick", ""), &[]),
            (timer("timeout"), &["cancel step timeout/parallel/0/slow", "completed true"]),
        ],
    );
}

#[test]
fn a_block_that_outlives_the_block_round_it_belongs_to_the_next_one() {
    let code = workflow(|ctx| async move {
        let mut block = parallel(&ctx, vec![ctx.call("a").boxed_local()]).boxed_local().fuse();
        let looks_at_it = async {
            let mut gate = ctx.call("gate");
            select_biased! { _ = block => {}, _ = gate => {} }
        };
        ctx.timeout(Duration::from_secs(5), looks_at_it).await.expect("in time");
        // Domains that begin now take no place that is still needed.
        let others = ctx.timeout(Duration::from_secs(5), ctx.call("b"));
        let (all, _) = join(block, others).await;
        done(&told(all))
    });
    let ended = format!("completed [{CANCELLED}]");
    check(
        &code,
        &["dispatch a", "dispatch timeout/gate", "timer timeout at 1006"],
        vec![
            (
                step("timeout/gate", ""),
                &["cancel timer timeout", "dispatch b", "timer timeout~2 at 1007"],
            ),
            (step("b", ""), &["cancel timer timeout~2"]),
            (cancel(), &["cancel step a", &ended]),
        ],
    );
}

#[test]
fn what_outlives_its_shield_is_cancelled_with_what_is_round_it() {
    let code = workflow(|ctx| async move {
        let mut slow = ctx.call("slow");
        let shielded = async {
            let mut quick = ctx.call("quick");
            select_biased! { _ = slow => {}, _ = quick => {} }
        };
        ctx.shield(shielded).await;
        done(&text(slow.await))
    });
    let ended = format!("completed {CANCELLED}");
    check(
        &code,
        &["dispatch slow", "dispatch quick"],
        vec![(cancel(), &[]), (step("quick", ""), &["cancel step slow", &ended])],
    );
}

#[test]
fn a_block_is_cancelled_with_what_polls_it_not_with_what_made_it() {
    let code = workflow(|ctx| async move {
        let block = parallel(&ctx, vec![ctx.call("a").boxed_local()]);
        let outcome = ctx.timeout(Duration::from_secs(5), block).await;
        assert!(outcome.is_err());
        done("")
    });
    check(
        &code,
        &["dispatch a", "timer timeout at 1006"],
        vec![(timer("timeout"), &["cancel step a", "completed "])],
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
fn a_dropped_block_calls_back_what_it_waits_for_and_an_evicted_one_nothing() {
    let code = workflow(|ctx| async move {
        {
            let block = parallel(
                &ctx,
                vec![ctx.call("a").boxed_local(), ctx.shield(ctx.call("b")).boxed_local()],
            );
            let mut gate = ctx.call("gate");
            select_biased! { _ = block.boxed_local().fuse() => {}, _ = gate => {} }
        }
        ctx.call("next").await?;
        done("")
    });
    let asked: &[&str] = &["dispatch a", "dispatch b", "dispatch gate"];
    check(
        &code,
        asked,
        vec![(step("gate", ""), &["cancel step b", "cancel step a", "dispatch next"])],
    );
    drop(Driven::start(&code));
    let mut again = Driven::start(&code);
    assert_eq!(again.commands(), asked);
}

#[test]
fn a_run_that_returns_the_cancel_of_its_own_branch_has_failed() {
    let code = workflow(|ctx| async move {
        let fails = async {
            ctx.call("quick")
                .await
                .and(Err(WaitError::Failed(Failure::new(FailureKind::Fatal, ""))))
        };
        let mut all = parallel(&ctx, vec![ctx.call("slow").boxed_local(), fails.boxed_local()]).await;
        all.outcomes.remove(0).unwrap().map_err(Into::into)
    });
    let ended = "end: failed: cancelled: the workflow returned that it was cancelled, and only a part of it was";
    check(
        &code,
        &["dispatch slow", "dispatch parallel/1/quick"],
        vec![(step("parallel/1/quick", ""), &["cancel step slow", ended])],
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
fn a_loop_of_blocks_costs_no_more_memory_with_each_round() {
    let code = workflow(|ctx| async move {
        let mut slow = ctx.call("slow");
        for _ in 0..50 {
            let rounds = async {
                let mut gate = ctx.call("gate");
                select_biased! { _ = slow => {}, _ = gate => {} }
            };
            let _ = ctx.timeout(Duration::from_secs(5), rounds).await;
        }
        done("")
    });
    let mut driven = Driven::start(&code);
    for round in 1..=50 {
        let scope = if round == 1 {
            "timeout".to_owned()
        } else {
            format!("timeout~{round}")
        };
        driven.apply(step(&format!("{scope}/gate"), ""));
        assert_eq!(driven.run.domains(), if round < 50 { 2 } else { 1 });
    }
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
