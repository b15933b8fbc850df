//! Every reason for which the core parks a run by itself.

use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context as TaskContext, Poll};
use std::thread;
use std::time::Duration;

use everstep_common::ids::WorkflowName;
use futures::channel::oneshot;
use futures::future::{join, join_all, pending, poll_fn, select};
use futures::stream::{FuturesUnordered, StreamExt};

use super::kit::*;
use crate::{Decision, Definition, EventBody, Limits, Parked, TooMany};

fn parked(driven: &mut Driven) -> Parked {
    match driven.run.decide() {
        Decision::Parked(parked) => parked,
        other => panic!("not parked: {other:?}"),
    }
}

fn check(when: &Definition, entries: Vec<EventBody>, then: Parked) {
    let mut driven = Driven::start(when);
    entries.into_iter().for_each(|entry| driven.apply(entry));
    assert_eq!(parked(&mut driven), then);
    assert_eq!(parked(&mut driven), then, "it stays parked");
}

#[test]
fn a_run_that_waits_for_nothing_of_its_own_is_stuck() {
    check(&workflow(|_| pending()), vec![], Parked::Stuck);
    let after_a_step = workflow(|ctx| async move {
        ctx.call("a").await?;
        let (_sender, receiver) = oneshot::channel::<()>();
        let _ = receiver.await;
        done("")
    });
    assert_eq!(Driven::start(&after_a_step).commands(), ["dispatch a"]);
    check(&after_a_step, vec![step("a", "")], Parked::Stuck);
    let forgetful = workflow(|ctx| async move {
        let never_polled = ctx.call("a");
        pending::<()>().await;
        drop(never_polled);
        done("")
    });
    check(&forgetful, vec![], Parked::Stuck);
}

#[test]
fn waiting_on_after_a_cancel_is_stuck() {
    let stubborn = workflow(|ctx| async move {
        let _ = ctx.call("a").await;
        pending().await
    });
    check(&stubborn, vec![cancel()], Parked::Stuck);
}

#[test]
fn a_wake_from_another_thread_parks_the_run_and_is_not_followed() {
    let (to_thread, from_workflow) = mpsc::channel::<oneshot::Sender<()>>();
    let code = workflow(move |ctx| {
        let to_thread = to_thread.clone();
        async move {
            let (sender, receiver) = oneshot::channel();
            to_thread.send(sender).unwrap();
            let _ = select(receiver, ctx.call("a")).await;
            done("foreign")
        }
    });
    let mut driven = Driven::start(&code);
    let sender = from_workflow.recv().unwrap();
    thread::spawn(move || sender.send(())).join().unwrap().unwrap();
    assert_eq!(parked(&mut driven), Parked::ForeignWake);
}

#[test]
fn a_wake_on_its_own_thread_but_outside_its_entries_is_foreign_too() {
    let (out, wakers) = mpsc::channel();
    let code = workflow(move |ctx| {
        let out = out.clone();
        async move {
            let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
            out.send(waker).unwrap();
            ctx.call("a").await?;
            done("")
        }
    });
    let mut driven = Driven::start(&code);
    assert_eq!(driven.commands(), ["dispatch a"]);
    wakers.recv().unwrap().wake();
    assert_eq!(parked(&mut driven), Parked::ForeignWake);
}

#[test]
fn a_run_that_wakes_itself_for_ever_is_a_livelock_and_one_that_yields_often_is_not() {
    struct Yields(u32);

    impl Future for Yields {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
            if self.0 == 0 {
                return Poll::Ready(());
            }
            self.0 -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    }

    let yields = |times| {
        workflow(move |_| async move {
            Yields(times).await;
            done("")
        })
    };
    check(&yields(100_000), vec![], Parked::Livelock { polls: 100_000 });
    assert_eq!(Driven::start(&yields(99_999)).commands(), ["completed "]);
}

#[test]
fn more_keys_than_one_run_may_have_park_it() {
    let limits = Limits {
        entries: 10,
        ..Limits::default()
    };
    let code = |keys| {
        workflow(move |ctx| async move {
            join_all((0..keys).map(|_| ctx.sleep(1))).await;
            done("")
        })
    };
    assert_eq!(Driven::start_within(&code(10), limits).commands().len(), 10);
    let mut driven = Driven::start_within(&code(11), limits);
    assert_eq!(parked(&mut driven), Parked::TooManySteps(TooMany::Keys { limit: 10 }));
}

#[test]
fn a_journal_that_grows_without_end_parks_the_run() {
    let limits = Limits {
        entries: 10,
        ..Limits::default()
    };
    let mut driven = Driven::start_within(
        &workflow(|ctx| async move { ctx.call("a").await.map_err(Into::into) }),
        limits,
    );
    (1..10).for_each(|number| driven.apply(begun("a", number)));
    assert!(matches!(driven.run.decide(), Decision::Go(_)));
    driven.apply(begun("a", 10));
    assert_eq!(parked(&mut driven), Parked::TooManySteps(TooMany::Entries { limit: 10 }));
    driven.apply(step("a", "at last"));
    assert_eq!(driven.commands(), ["completed at last"]);
}

#[test]
fn more_open_steps_than_allowed_park_the_run_before_any_is_sent() {
    let limits = Limits {
        steps_open: 3,
        ..Limits::default()
    };
    let at_once = workflow(|ctx| async move {
        let steps: FuturesUnordered<_> = (0..4).map(|_| ctx.call("a")).collect();
        steps.collect::<Vec<_>>().await;
        done("")
    });
    let mut driven = Driven::start_within(&at_once, limits);
    assert_eq!(parked(&mut driven), Parked::TooManySteps(TooMany::Open { open: 4, limit: 3 }));
    let bounded = workflow(|ctx| async move {
        let steps = futures::stream::iter(0..4).map(|_| ctx.call("a")).buffer_unordered(3);
        steps.collect::<Vec<_>>().await;
        done("")
    });
    let mut driven = Driven::start_within(&bounded, limits);
    assert_eq!(driven.commands(), ["dispatch a", "dispatch a~2", "dispatch a~3"]);
    driven.apply(step("a~2", ""));
    assert_eq!(driven.commands(), ["dispatch a~4"]);
}

#[test]
fn a_panic_parks_the_run_with_its_message() {
    let panics = |code: fn(&crate::Context)| {
        workflow(move |ctx| async move {
            ctx.call("a").await?;
            code(&ctx);
            done("")
        })
    };
    let message = |text: &str| Parked::Panicked {
        message: text.to_owned(),
    };
    check(&panics(|_| panic!("plain")), vec![step("a", "")], message("plain"));
    check(
        &panics(|ctx| panic!("of {}", ctx.run_id().partition())),
        vec![step("a", "")],
        message("of 0"),
    );
    check(
        &panics(|_| std::panic::panic_any(7)),
        vec![step("a", "")],
        message("a panic without a message"),
    );
    check(
        &workflow_of(|_, _| panic!("in the factory")),
        vec![],
        message("in the factory"),
    );
}

#[test]
fn entries_after_a_panic_are_taken_in_and_the_run_stays_parked() {
    let code = workflow(|ctx| async move {
        ctx.call("a").await?;
        panic!("no way")
    });
    let mut driven = Driven::start(&code);
    for entry in [step("a", ""), step_with("a", "other", "", Ok("")), cancel(), resume(true)] {
        driven.apply(entry);
    }
    assert_eq!(
        parked(&mut driven),
        Parked::Panicked {
            message: "no way".to_owned()
        }
    );
    driven.apply(EventBody::End);
    assert!(driven.run.is_ended());
    assert!(driven.commands().is_empty());
}

#[test]
fn tokio_in_a_workflow_panics_and_the_message_says_what_to_use_instead() {
    #[expect(clippy::disallowed_methods, reason = "the misuse is what is tested")]
    let code = workflow(|_| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        done("")
    });
    let text = parked(&mut Driven::start(&code)).to_string();
    assert!(
        text.contains("ctx.sleep") && text.contains("outside every tokio runtime"),
        "{text}"
    );
}

#[test]
fn every_reason_says_what_to_do() {
    let workflow = WorkflowName::new("order").unwrap();
    let reasons = [
        (Parked::Stuck, "stuck", "ctx.run"),
        (Parked::ForeignWake, "foreign wake", "resume"),
        (Parked::Livelock { polls: 100_000 }, "livelock", "100000"),
        (
            Parked::TooManySteps(TooMany::Keys { limit: 10 }),
            "too many steps",
            "several runs",
        ),
        (
            Parked::TooManySteps(TooMany::Open { open: 4, limit: 3 }),
            "too many steps",
            "ctx.batch",
        ),
        (
            Parked::Panicked {
                message: "no way".to_owned(),
            },
            "panicked",
            "no way. Nothing is lost",
        ),
        (Parked::Poison, "poison", "blocking call"),
        (
            Parked::NoCode {
                workflow: workflow.clone(),
                version: Some(2),
                known: vec![1, 3],
            },
            "no code",
            "version 2 of workflow order and is pinned to it, and this orchestrator does not have that version (it has versions 1, 3). Deploy",
        ),
        (
            Parked::NoCode {
                workflow,
                version: None,
                known: Vec::new(),
            },
            "no code",
            "has workflow order",
        ),
    ];
    for (parked, reason, part) in reasons {
        assert_eq!(parked.reason(), reason);
        let text = parked.to_string();
        assert!(text.starts_with(reason) && text.contains(part), "{text}");
    }
}

#[test]
fn a_wake_from_another_thread_during_a_poll_is_foreign_too() {
    let code = workflow(|ctx| async move {
        let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        thread::spawn(move || waker.wake()).join().unwrap();
        ctx.call("a").await?;
        done("")
    });
    check(&code, vec![], Parked::ForeignWake);
}

#[test]
fn a_parked_run_still_shows_what_it_waits_for() {
    let code = workflow(|ctx| async move {
        let _ = join(ctx.call("a"), ctx.call("b")).await;
        done("")
    });
    let mut driven = Driven::start(&code);
    driven.apply(step_with("a", "other", "", Ok("")));
    assert_eq!(parked(&mut driven).reason(), "nondeterministic");
    let keys: Vec<_> = driven.run.waits().iter().map(|wait| wait.key.to_string()).collect();
    assert_eq!(keys, ["a", "b"]);
}
