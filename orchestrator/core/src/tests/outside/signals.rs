//! Signals: kept, ordered, counted once; against deadlines, drops and cancels.

use futures::future::join;
use futures::select_biased;

use super::*;
use crate::tests::combine::CANCELLED;
use crate::tests::world::reload;
use crate::{Decision, Definition, Event, Limits};

fn listens(seconds: Option<u64>) -> Definition {
    workflow(move |ctx| async move {
        let mut paid = ctx.signal("paid");
        if let Some(seconds) = seconds {
            paid = paid.deadline(in_seconds(seconds));
        }
        done(&text(paid.await))
    })
}

/// Two signals come while it waits for its step, and it takes them in that order.
fn check_both_early(code: &Definition) {
    check(
        code,
        &["dispatch a"],
        vec![
            (signal("paid", "1"), &[]),
            (signal("paid", "2"), &[]),
            (step("a", ""), &["completed 1 2"]),
        ],
    );
}

#[test]
fn a_signal_reaches_the_wait_for_its_name() {
    check(
        &listens(None),
        &[],
        vec![(signal("sent", "1"), &[]), (signal("paid", "2"), &["completed 2"])],
    );
}

#[test]
fn early_signals_are_kept_and_taken_in_the_order_stored() {
    let code = workflow(|ctx| async move {
        ctx.call("a").await?;
        let first = text(ctx.signal("paid").await);
        let second = text(ctx.signal("paid").await);
        done(&format!("{first} {second}"))
    });
    check_both_early(&code);
}

#[test]
fn waits_for_one_name_are_served_in_the_order_asked() {
    let code = workflow(|ctx| async move {
        let (made_first, made_second) = (ctx.signal("paid"), ctx.signal("paid"));
        // The one that is made later is asked first.
        let (second, first) = join(made_second, made_first).await;
        done(&format!("{} {}", text(second), text(first)))
    });
    check(
        &code,
        &[],
        vec![(signal("paid", "1"), &[]), (signal("paid", "2"), &["completed 1 2"])],
    );
    let early = workflow(|ctx| async move {
        ctx.call("a").await?;
        let (one, other) = join(ctx.signal("paid"), ctx.signal("paid")).await;
        done(&format!("{} {}", text(one), text(other)))
    });
    check_both_early(&early);
}

/// A wait that is woken by its signal and dropped before it is polled.
#[test]
fn a_signal_is_taken_by_being_returned_and_not_by_arriving() {
    let code = workflow(|ctx| async move {
        // Given the signal by the next entry, which also wakes this poll.
        asked_and_dropped(ctx.signal("paid")).await;
        done(&text(ctx.signal("paid").await))
    });
    check(&code, &[], vec![(signal("paid", "1"), &["completed 1"])]);
}

#[test]
fn a_dropped_wait_gives_way_to_the_next_one_and_takes_its_deadline_back() {
    let code = workflow(|ctx| async move {
        let mut first = ctx.signal("paid").deadline(in_seconds(60));
        let mut gate = ctx.call("gate");
        select_biased! { _ = first => {}, _ = gate => {} }
        drop(first);
        done(&text(ctx.signal("paid").await))
    });
    check(
        &code,
        &["timer signal:paid at 1061", "dispatch gate"],
        vec![
            (step("gate", ""), &["close signal:paid"]),
            (signal("paid", "1"), &["completed 1"]),
        ],
    );
}

#[test]
fn of_a_signal_and_its_deadline_the_earlier_entry_counts() {
    let code = listens(Some(60));
    let started = &["timer signal:paid at 1061"];
    check(
        &code,
        started,
        vec![
            (signal("paid", "1"), &["close signal:paid", "completed 1"]),
            (timer("signal:paid"), &[]),
        ],
    );
    check(
        &code,
        started,
        vec![
            (
                timer("signal:paid"),
                &["completed (deadline exceeded: no signal \"paid\" has come in time)"],
            ),
            (signal("paid", "1"), &[]),
        ],
    );
}

#[test]
fn what_a_predecessor_knew_to_be_answered_is_not_closed_again() {
    let code = workflow(|ctx| async move {
        ctx.signal("paid").deadline(in_seconds(60)).await?;
        ctx.call("a").await?;
        let mut paid = ctx.signal("paid").deadline(in_seconds(60));
        let mut gate = ctx.call("gate");
        select_biased! { _ = paid => {}, _ = gate => {} }
        drop(paid);
        ctx.call("b").await?;
        done("")
    });
    let entries = [start(b""), signal("paid", "1"), step("a", ""), step("gate", "")];
    let journal: Vec<Event> = (1..)
        .zip(entries)
        .map(|(sequence, body)| Event {
            sequence,
            time: time(sequence),
            body,
        })
        .collect();
    let said = |entries: usize| match reload(&code, &journal[..entries]).decide() {
        Decision::Go(commands) => lines(&commands),
        other => panic!("{other:?}"),
    };
    assert_eq!(said(2), ["dispatch a"], "it was answered");
    assert_eq!(said(3), ["timer signal:paid~2 at 1063", "dispatch gate"]);
    assert_eq!(said(4), ["close signal:paid~2", "dispatch b"], "it was given up");

    let mut late = reload(&code, &journal[..3]);
    late.apply(Event {
        sequence: 4,
        time: time(4),
        body: timer("signal:paid"),
    });
    let Decision::Go(said) = late.decide() else {
        panic!("it stands still")
    };
    let open = ["timer signal:paid~2 at 1063", "dispatch gate"];
    assert_eq!(lines(&said), open, "a deadline of what is answered moves nobody");
}

#[test]
fn a_wait_for_a_signal_takes_no_number_from_a_step_of_its_name() {
    let code = workflow(|ctx| async move {
        ctx.signal("charge").await?;
        ctx.call("charge").await?;
        done("")
    });
    check(&code, &[], vec![(signal("charge", ""), &["dispatch charge"])]);
}

#[test]
fn a_cancel_reaches_what_waits_for_people_and_signals() {
    let code = workflow(|ctx| async move {
        let both = join(
            ctx.signal("paid").deadline(in_seconds(60)),
            ctx.question("q", plain()).deadline(in_seconds(60)),
        );
        let (signal, answer) = both.await;
        done(&format!("{} {}", text(signal), who(answer)))
    });
    let mut driven = Driven::start(&code);
    drop(driven.commands());
    driven.apply(cancel());
    assert_eq!(
        driven.commands(),
        [
            "close signal:paid".to_owned(),
            "withdraw q".to_owned(),
            format!("completed {CANCELLED} {CANCELLED}")
        ]
    );
}

#[test]
fn too_many_signals_that_nobody_takes_park_the_run() {
    let limits = Limits {
        signals_kept: 2,
        ..Limits::default()
    };
    let code = workflow(|ctx| async move {
        ctx.call("a").await?;
        done("")
    });
    let mut driven = Driven::start_within(&code, limits);
    for _ in 0..2 {
        driven.apply(signal("paid", ""));
        assert_ne!(driven.commands(), ["parked: too many steps"]);
    }
    driven.apply(signal("paid", ""));
    assert_eq!(driven.commands(), ["parked: too many steps"]);
}
