//! Domains: what a cancel reaches, what a shield keeps from it, and where that belongs which outlives its block.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use everstep_common::failure::{Failure, FailureKind};
use futures::FutureExt;
use futures::future::join;
use futures::select_biased;

use super::combine::{CANCELLED, numbered, parallel, told};
use super::kit::*;
use crate::{Step, WaitError};

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
