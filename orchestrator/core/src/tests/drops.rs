//! Drops: eviction is not cancellation, panics get nowhere, and users' values may use their context while they are dropped.

use std::cell::{Cell, RefCell};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::time::Duration;

use futures::future::{FusedFuture, join3, poll_fn};
use futures::{FutureExt, pin_mut, select_biased};

use super::kit::*;
use crate::{Context, Decision, Parked};

thread_local! {
    static DROPS: Cell<u32> = const { Cell::new(0) };
    static CONTEXT: RefCell<Option<Context>> = const { RefCell::new(None) };
}

fn drops() -> u32 {
    DROPS.get()
}

/// A user's value that uses its context in every way when it is dropped.
struct Busy(Context);

impl Drop for Busy {
    fn drop(&mut self) {
        DROPS.set(DROPS.get() + 1);
        let ctx = &self.0;
        let mut asked = ctx.call("asked in a drop");
        let _ = (
            ctx.now(),
            ctx.random(),
            ctx.uuid(),
            ctx.is_replaying(),
            ctx.sleep(1),
            ctx.compute("x"),
            ctx.start().workflow.clone(),
        );
        let _ = asked.poll_unpin(&mut TaskContext::from_waker(Waker::noop()));
        let scoped = ctx.scope("in a drop", async { ctx.call("y").now_or_never() }).now_or_never();
        let shielded = ctx.shield(ctx.call("z")).now_or_never();
        let timed = ctx.timeout(Duration::from_secs(1), ctx.call("z")).now_or_never();
        let branch = || ctx.call("z");
        let fan = ctx.block("fan").fan([("a".to_owned(), branch)]).race().now_or_never();
        drop((scoped, asked, shielded, timed, fan));
    }
}

#[test]
fn an_evicted_run_cancels_nothing_and_its_values_may_use_their_context() {
    let code = workflow(|ctx| async move {
        CONTEXT.set(Some(ctx.clone()));
        let _busy = Busy(ctx.clone());
        let in_closure = MoveOnly;
        let local = ctx.local(
            "local",
            Box::new(move || {
                async move {
                    drop(in_closure);
                    closure("")().await
                }
                .boxed()
            }),
        );
        let _ = join3(ctx.call("a"), ctx.sleep(1), local).await;
        done("")
    });
    let driven = Driven::start(&code);
    drop(driven);
    assert_eq!(drops(), 2, "the value and the closure that was never handed out");
    // What a context that got away asks for is asked of nobody.
    let ctx = CONTEXT.take().unwrap();
    let mut late = ctx.call("late");
    assert!(late.poll_unpin(&mut TaskContext::from_waker(Waker::noop())).is_pending());
    assert!(late.is_terminated());
}

struct MoveOnly;

impl Drop for MoveOnly {
    fn drop(&mut self) {
        DROPS.set(DROPS.get() + 1);
    }
}

#[test]
fn an_evicted_run_stands_where_it_stood_when_it_is_loaded_again() {
    let code = workflow(|ctx| async move {
        let _ = join3(ctx.call("a"), ctx.sleep(1_000), ctx.call("b")).await;
        done("")
    });
    let mut driven = Driven::start(&code);
    driven.apply(step("a", ""));
    drop(driven);
    let mut loaded = Driven::start(&code);
    loaded.apply(step("a", ""));
    assert_eq!(loaded.commands(), ["timer sleep at 1002", "dispatch b"]);
}

#[test]
fn values_dropped_while_the_run_goes_on_may_use_their_context() {
    let code = workflow(|ctx| async move {
        {
            let held = async {
                let _busy = Busy(ctx.clone());
                ctx.call("slow").await
            };
            pin_mut!(held);
            let mut fast = ctx.call("fast");
            select_biased! { _ = held.fuse() => {}, _ = fast => {} }
        }
        ctx.call("next").await?;
        done("")
    });
    let mut driven = Driven::start(&code);
    assert_eq!(driven.commands(), ["dispatch slow", "dispatch fast"]);
    driven.apply(step("fast", ""));
    // What the drop asked for and dropped within one entry was never sent.
    assert_eq!(driven.commands(), ["cancel step slow", "dispatch next"]);
    assert_eq!(drops(), 1);
}

#[test]
fn a_panic_drops_what_the_workflow_holds_and_cancels_nothing() {
    let code = workflow(|ctx| async move {
        let _busy = Busy(ctx.clone());
        let (mut a, mut b) = (ctx.call("a"), ctx.call("b"));
        select_biased! { _ = a => {}, _ = b => {} }
        panic!("while b is open")
    });
    let mut driven = Driven::start(&code);
    driven.apply(step("a", ""));
    assert_eq!(drops(), 1);
    assert!(matches!(driven.run.decide(), Decision::Parked(Parked::Panicked { .. })));
}

/// A user's value that panics when it is dropped.
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        DROPS.set(DROPS.get() + 1);
        if !std::thread::panicking() {
            panic!("{}", self.0);
        }
    }
}

#[test]
fn a_panic_in_a_drop_gets_nowhere() {
    let code = workflow(|ctx| async move {
        let _bomb = Bomb("evicted");
        ctx.call("a").await?;
        done("")
    });
    drop(Driven::start(&code));
    assert_eq!(drops(), 1);

    let mut ended = Driven::start(&code);
    ended.apply(crate::EventBody::End);
    assert!(ended.run.is_ended());
    assert_eq!(drops(), 2);

    let mut returned = Driven::start(&code);
    returned.apply(step("a", ""));
    assert_eq!(returned.commands(), ["parked: panicked"]);

    let panics = workflow(|_| async move { std::panic::panic_any(Bomb("in the payload")) });
    assert_eq!(Driven::start(&panics).commands(), ["parked: panicked"]);

    let in_a_closure = workflow(|ctx| async move {
        let bomb = Bomb("never handed out");
        let local = ctx.local(
            "local",
            Box::new(move || {
                async move {
                    drop(bomb);
                    closure("")().await
                }
                .boxed()
            }),
        );
        local.await.map_err(Into::into)
    });
    drop(Driven::start(&in_a_closure));
    let mut answered = Driven::start(&in_a_closure);
    answered.apply(local("local", ""));
    assert_eq!(answered.commands(), ["parked: panicked"]);
}

/// A waker of the user's own, as his combinators may make them, that uses the context when woken and when dropped.
struct BusyWaker(Waker);

fn use_context() {
    DROPS.set(DROPS.get() + 1);
    CONTEXT.with_borrow(|ctx| drop(ctx.as_ref().map(|ctx| (ctx.now(), ctx.random(), ctx.call("x")))));
}

impl Wake for BusyWaker {
    fn wake(self: Arc<Self>) {
        use_context();
        self.0.wake_by_ref();
    }
}

impl Drop for BusyWaker {
    fn drop(&mut self) {
        use_context();
    }
}

#[test]
fn wakers_may_use_the_context_when_they_are_woken_replaced_and_dropped() {
    let code = workflow(|ctx| async move {
        CONTEXT.set(Some(ctx.clone()));
        let (mut a, mut b) = (ctx.call("a"), ctx.call("b"));
        // Another waker at every poll: the one before is dropped by its successor.
        poll_fn(|cx| {
            let waker = Waker::from(Arc::new(BusyWaker(cx.waker().clone())));
            let cx = &mut TaskContext::from_waker(&waker);
            let _ = b.poll_unpin(cx);
            let _ = b.poll_unpin(&mut TaskContext::from_waker(&Waker::from(Arc::new(BusyWaker(waker.clone())))));
            if a.poll_unpin(cx).is_ready() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        drop(b);
        ctx.call("next").await?;
        done("")
    });
    let mut driven = Driven::start(&code);
    driven.apply(step("a", ""));
    assert_eq!(driven.commands(), ["cancel step b", "dispatch next"]);
    assert!(drops() > 4);
    CONTEXT.take();
}

#[test]
fn the_end_frees_what_the_workflow_holds() {
    let code = workflow(|ctx| async move {
        let _held = MoveOnly;
        ctx.call("a").await?;
        done("")
    });
    let mut driven = Driven::start(&code);
    driven.apply(crate::EventBody::End);
    assert_eq!(drops(), 1);
}

#[test]
fn a_panic_that_the_workflow_catches_cancels_nothing() {
    let code = workflow(|ctx| async move {
        let risky = async {
            let (mut a, mut b) = (ctx.call("a"), ctx.call("b"));
            select_biased! { _ = a => {}, _ = b => {} }
            panic!("while b is open")
        };
        assert!(AssertUnwindSafe(risky).catch_unwind().await.is_err());
        ctx.call("next").await?;
        done("")
    });
    let mut driven = Driven::start(&code);
    driven.apply(step("a", ""));
    assert_eq!(driven.commands(), ["dispatch b", "dispatch next"]);
}

#[test]
fn a_cancel_drops_closures_that_were_never_handed_out() {
    let code = workflow(|ctx| async move {
        let captured = MoveOnly;
        let local = ctx.local(
            "local",
            Box::new(move || {
                async move {
                    drop(captured);
                    closure("")().await
                }
                .boxed()
            }),
        );
        let _ = local.await;
        ctx.call("a").await?;
        done("")
    });
    let mut driven = Driven::start(&code);
    assert_eq!(drops(), 0);
    driven.apply(cancel());
    assert_eq!(drops(), 1);
}

/// A block of two branches, each with a value of the user's, of which the first one ends as `ends` says.
fn with_values(ends: fn() -> Result<(), crate::WaitError>) -> crate::Definition {
    workflow(move |ctx| async move {
        let branches = [("a", true), ("b", false)].map(|(label, first)| {
            let ctx = &ctx;
            let branch = move || {
                async move {
                    let _busy = Busy(ctx.clone());
                    ctx.call("gate").await?;
                    if first { ends() } else { Ok(()) }
                }
                .boxed_local()
            };
            (label.to_owned(), branch)
        });
        ctx.block("block").fan(branches).collect_outcomes(0).await;
        ctx.call("next").await?;
        done("")
    })
}

#[test]
fn values_in_branches_may_use_their_context_while_the_block_is_cancelled() {
    let mut driven = Driven::start(&with_values(|| Err(crate::WaitError::Cancelled)));
    assert_eq!(driven.commands(), ["dispatch block/a/gate", "dispatch block/b/gate"]);
    driven.apply(step("block/a/gate", ""));
    // What the drops asked for and dropped within one entry was never sent.
    assert_eq!(driven.commands(), ["cancel step block/b/gate", "dispatch next"]);
    assert_eq!(drops(), 2);
}

#[test]
fn a_panic_in_a_branch_drops_its_siblings_and_cancels_nothing() {
    let mut driven = Driven::start(&with_values(|| panic!("in a branch")));
    driven.apply(step("block/a/gate", ""));
    assert_eq!(driven.commands(), ["parked: panicked"]);
    assert_eq!(drops(), 2);
}

#[test]
fn an_evicted_block_drops_its_values_and_cancels_nothing() {
    drop(Driven::start(&with_values(|| Ok(()))));
    assert_eq!(drops(), 2);
}
