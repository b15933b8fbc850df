//! Updates: taken in order, answered once and for good; against deadlines, drops, cancels, the end of the run and edited code.

use bytes::Bytes;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::journal::LocalKind;
use everstep_common::limits::PAYLOAD_BYTES_MAX;
use futures::future::join;
use futures::{FutureExt, select_biased};

use super::edits::{classes_of, code};
use super::kit::*;
use super::outside::{in_seconds, signal};
use crate::{Context, Decision, Definition, EventBody, Limits, Parked, Record, Update, WaitError};

pub(super) fn update(key: &str, name: &str, input: &'static str) -> EventBody {
    EventBody::Update {
        key: super::kit::key(key),
        name: name.into(),
        input: Bytes::from_static(input.as_bytes()),
    }
}

/// The entry by which the answer to an update is recorded.
pub(super) fn answered(key: &str, answer: Result<&'static str, FailureKind>) -> EventBody {
    let answer = answer
        .map(|value| Bytes::from_static(value.as_bytes()))
        .map_err(|kind| Failure::new(kind, "no"));
    let record = Record::Local(LocalKind::Update, answer);
    EventBody::About(super::kit::key(&format!("answer:{key}")), record)
}

fn rejection(reason: &str) -> Result<Bytes, Failure> {
    Err(Failure::new(FailureKind::Rejected, reason))
}

/// What it asks for, and the same as its answer.
fn echo(update: Update) -> String {
    let input = update.input().clone();
    update.answer(Ok(input.clone())).unwrap();
    text(Ok(input))
}

fn input(taken: Result<Update, WaitError>) -> String {
    match taken {
        Ok(update) => echo(update),
        Err(error) => format!("({error})"),
    }
}

/// What the run is told to do after the entry, without digests.
fn after(driven: &mut Driven, entry: EventBody) -> Vec<String> {
    driven.apply(entry);
    said(driven)
}

fn said(driven: &mut Driven) -> Vec<String> {
    let told = driven.commands().into_iter();
    told.map(
        |line| match line.strip_prefix("answer ").and_then(|line| line.split_once(": ")) {
            Some((key, digest)) if !digest.contains(' ') => format!("answer {key}"),
            _ => line,
        },
    )
    .collect()
}

fn echoes() -> Definition {
    workflow(|ctx| async move {
        let first = input(ctx.update("set").await);
        ctx.call("a").await?;
        let second = input(ctx.update("set").await);
        done(&format!("{first} {second}"))
    })
}

#[test]
fn an_update_is_answered_at_once_and_the_run_ends_when_the_answer_is_recorded() {
    let mut driven = Driven::start(&echoes());
    assert!(said(&mut driven).is_empty());
    assert_eq!(after(&mut driven, update("k", "set", "1")), ["answer answer:k", "dispatch a"]);
    assert!(after(&mut driven, answered("k", Ok("1"))).is_empty());
    // Early, of another name, late: kept until it is asked for.
    assert!(after(&mut driven, update("other", "get", "3")).is_empty());
    assert!(after(&mut driven, update("l", "set", "2")).is_empty());
    assert_eq!(after(&mut driven, step("a", "")), ["answer answer:l"]);
    assert_eq!(after(&mut driven, answered("l", Ok("2"))), ["completed 1 2"]);
}

#[test]
fn a_run_that_is_loaded_anew_gives_the_answers_that_are_not_recorded() {
    let entries = [update("k", "set", "1"), step("a", ""), update("l", "set", "2")];
    let load = |recorded: Option<EventBody>| {
        let mut driven = Driven::start(&echoes());
        entries.iter().cloned().chain(recorded).for_each(|entry| driven.apply(entry));
        said(&mut driven)
    };
    assert_eq!(load(None), ["answer answer:k", "answer answer:l"]);
    assert_eq!(load(Some(answered("l", Ok("2")))), ["answer answer:k"]);
}

#[test]
fn signals_and_updates_of_one_name_are_told_apart_and_ordered_by_the_journal() {
    let code = workflow(|ctx| async move {
        ctx.call("a").await?;
        let mut order = Vec::new();
        let (mut set, mut sent) = (ctx.update("set").fuse(), ctx.signal("set").fuse());
        for _ in 0..2 {
            select_biased! {
                update = set => order.push(format!("update {}", input(update))),
                value = sent => order.push(format!("signal {}", text(value))),
            }
        }
        done(&order.join(", "))
    });
    for (first, second, ended) in [
        (signal("set", "1"), update("k", "set", "2"), "completed signal 1, update 2"),
        (update("k", "set", "2"), signal("set", "1"), "completed update 2, signal 1"),
    ] {
        let mut driven = Driven::start(&code);
        [first, second, step("a", ""), answered("k", Ok("2"))]
            .into_iter()
            .for_each(|entry| driven.apply(entry));
        assert_eq!(said(&mut driven).last().map(String::as_str), Some(ended));
    }
}

#[test]
fn an_update_is_taken_by_being_returned_and_not_by_arriving() {
    let code = workflow(|ctx| async move {
        // Given the update by the next entry, which also wakes this poll.
        asked_and_dropped(ctx.update("set")).await;
        done(&input(ctx.update("set").await))
    });
    let mut driven = Driven::start(&code);
    assert_eq!(after(&mut driven, update("k", "set", "1")), ["answer answer:k"]);
    assert_eq!(after(&mut driven, answered("k", Ok("1"))), ["completed 1"]);
}

#[test]
fn an_update_that_is_dropped_unanswered_has_failed() {
    let code = workflow(|ctx| async move {
        let taken = ctx.update("set").await?;
        let (mut work, mut gate) = (ctx.call("work"), ctx.call("gate"));
        select_biased! { _ = work => {}, _ = gate => {} }
        drop(taken);
        ctx.call("after").await?;
        done("")
    });
    let dropped = "answer answer:k: cancelled: the workflow took the update and dropped it without an answer";
    let mut driven = Driven::start(&code);
    assert_eq!(
        after(&mut driven, update("k", "set", "1")),
        ["dispatch work", "dispatch gate"]
    );
    let told = after(&mut driven, step("gate", ""));
    assert!(told.contains(&dropped.to_owned()), "{told:?}");
    // By the end of the run it is answered, too.
    let ends = workflow(|ctx| async move {
        let _taken = ctx.update("set").await?;
        done("")
    });
    let mut driven = Driven::start(&ends);
    assert_eq!(after(&mut driven, update("k", "set", "1")), [dropped]);
    assert_eq!(after(&mut driven, answered("k", Err(FailureKind::Cancelled))), ["completed "]);
}

#[test]
fn no_cancel_takes_an_answer_back_or_keeps_one_from_being_given() {
    let code = workflow(|ctx| async move {
        let taken = ctx.update("set").await?;
        let slept = ctx.sleep(60_000).await;
        taken.answer(Ok(Bytes::from_static(b"late"))).unwrap();
        // Nothing more can be asked for, and this is dropped without having been asked.
        done(&format!(
            "{} {}",
            text(slept.map(|()| Bytes::new())),
            input(ctx.update("set").await)
        ))
    });
    let mut driven = Driven::start(&code);
    assert_eq!(after(&mut driven, update("k", "set", "1")), ["timer sleep at 1062"]);
    let told = after(&mut driven, cancel());
    assert_eq!(told, ["cancel timer sleep", "answer answer:k"]);
    let told = after(&mut driven, answered("k", Ok("late")));
    assert!(told.len() == 1 && told[0].starts_with("completed (cancelled"), "{told:?}");
}

#[test]
fn a_cancelled_branch_gives_back_what_it_had_not_taken() {
    let code = workflow(|ctx| async move {
        let looks_away = async {
            let mut set = ctx.update("set");
            assert!(futures::poll!(&mut set).is_pending());
            ctx.call("a").await?;
            set.await.map(|update| update.input().clone())
        };
        let gate = async { ctx.call("gate").await };
        let branches = super::combine::numbered(vec![looks_away.boxed_local(), gate.boxed_local()]);
        ctx.block("race").fan(branches).race().await;
        done(&input(ctx.update("set").await))
    });
    let mut driven = Driven::start(&code);
    drop(said(&mut driven));
    assert!(after(&mut driven, update("k", "set", "1")).is_empty());
    let told = after(&mut driven, step("race/1/gate", ""));
    assert_eq!(told, ["cancel step race/0/a", "answer answer:k"]);
}

#[test]
fn of_an_update_and_the_deadline_of_its_wait_the_earlier_entry_counts() {
    let code = workflow(|ctx| async move {
        let set = input(ctx.update("set").deadline(in_seconds(60)).await);
        ctx.call("a").await?;
        done(&set)
    });
    let begun = || {
        let mut driven = Driven::start(&code);
        assert_eq!(said(&mut driven), ["timer update:set at 1061"]);
        driven
    };
    let mut driven = begun();
    let told = after(&mut driven, update("k", "set", "1"));
    assert_eq!(told, ["close update:set", "answer answer:k", "dispatch a"]);
    let mut driven = begun();
    assert_eq!(after(&mut driven, timer("update:set")), ["dispatch a"]);
    assert!(after(&mut driven, update("k", "set", "1")).is_empty());
    let late = "completed (deadline exceeded: no update \"set\" has come in time)";
    assert_eq!(
        after(&mut driven, step("a", "")),
        [late],
        "what nobody takes keeps no run from ending"
    );
}

#[test]
fn waiting_again_keeps_the_deadline_and_the_place_in_the_order_asked() {
    let code = workflow(|ctx| async move {
        let mut set = ctx.update("set").deadline(in_seconds(60));
        let refused = (&mut set).await?;
        refused.answer(rejection("not this one")).unwrap();
        set.again();
        done(&input(set.await))
    });
    let mut driven = Driven::start(&code);
    drop(said(&mut driven));
    let told = after(&mut driven, update("k", "set", "1"));
    let again = [
        "close update:set",
        "answer answer:k: rejected: not this one",
        "timer update:set~2 at 1061",
    ];
    assert_eq!(told, again);
    assert!(after(&mut driven, answered("k", Err(FailureKind::Rejected))).is_empty());
    assert_eq!(
        after(&mut driven, update("l", "set", "2")),
        ["close update:set~2", "answer answer:l"]
    );
}

#[test]
fn more_updates_than_are_kept_are_rejected_and_the_run_goes_on() {
    let limits = Limits {
        updates_kept: 2,
        ..Limits::default()
    };
    let code = workflow(|ctx| async move {
        ctx.call("a").await?;
        let (one, two) = join(ctx.update("set"), ctx.update("set")).await;
        done(&format!("{} {}", input(one), input(two)))
    });
    let mut driven = Driven::start_within(&code, limits);
    drop(said(&mut driven));
    for key in ["k", "l"] {
        assert!(after(&mut driven, update(key, "set", "1")).is_empty());
    }
    let full = "answer answer:m: rejected: the run has not taken the 2 updates before it";
    assert_eq!(after(&mut driven, update("m", "other", "1")), [full]);
    assert!(after(&mut driven, answered("m", Err(FailureKind::Rejected))).is_empty());
    assert_eq!(after(&mut driven, step("a", "")), ["answer answer:k", "answer answer:l"]);
}

#[test]
fn a_terminated_run_answers_nothing_more() {
    let code = workflow(|ctx| async move {
        let _taken = ctx.update("set").await?;
        ctx.call("a").await?;
        done("")
    });
    let mut driven = Driven::start(&code);
    driven.apply(update("k", "set", "1"));
    drop(said(&mut driven));
    let told = after(&mut driven, terminate());
    assert!(told.len() == 1 && told[0].starts_with("end: terminated"), "{told:?}");
}

#[test]
fn an_answer_too_large_is_told_to_both_sides() {
    let code = workflow(|ctx| async move {
        let taken = ctx.update("set").await?;
        let refused = taken.answer(Ok(Bytes::from(vec![0; PAYLOAD_BYTES_MAX + 1]))).unwrap_err();
        done(&format!("{}", refused.kind))
    });
    let mut driven = Driven::start(&code);
    let told = after(&mut driven, update("k", "set", "1"));
    assert!(
        told.len() == 1 && told[0].starts_with("answer answer:k: invalid value"),
        "{told:?}"
    );
    assert_eq!(
        after(&mut driven, answered("k", Err(FailureKind::Invalid))),
        ["completed invalid value"]
    );
}

#[test]
fn the_key_of_an_answer_that_a_step_has_is_told_to_who_answers() {
    let code = workflow(|ctx| async move {
        ctx.call("answer:k").await?;
        let taken = ctx.update("set").await?;
        done(&taken.answer(Ok(Bytes::new())).unwrap_err().message)
    });
    let mut driven = Driven::start(&code);
    drop(said(&mut driven));
    driven.apply(step("answer:k", ""));
    let told = after(&mut driven, update("k", "set", "1"));
    assert!(
        told.len() == 1 && told[0].contains("is asked for by something else"),
        "{told:?}"
    );
}

/// The entries of `a @set c` after its start, in order: each update is answered with what it asks for.
fn journal() -> [EventBody; 5] {
    [
        step("a", ""),
        update("k", "set", "1"),
        answered("k", Ok("1")),
        step("c", ""),
        update("l", "set", "2"),
    ]
}

/// The classes of a run with 0, 1, … 5 entries of the original after its start, which then meets the edited code.
fn check_edit(edited: &'static str, classes: [&str; 6]) {
    assert_eq!(classes_of(edited, &journal()), classes, "{edited:?}");
}

#[test]
fn edited_code_goes_on_if_it_answers_all_that_is_answered_in_the_same_sense() {
    check_edit("a @set c", ["go"; 6]);
    // What is not answered binds nobody; what is must be.
    let removed = "unasked answer:k";
    check_edit("a c", ["go", "go", "go", removed, removed, removed]);
    check_edit(
        "a @other c",
        ["go", "go", "go", removed, "unasked answer:k c", "unasked answer:k c"],
    );
    check_edit(
        "a new @set c",
        ["go", "go", "go", removed, "unasked answer:k c", "unasked answer:k c"],
    );
    // Moved before what came first, and asked for once more at the end.
    check_edit("@set a c", ["go", "unasked a", "go", "go", "go", "go"]);
    check_edit("a @set c @set", ["go"; 6]);
    // Other words are fine, another sense is not.
    check_edit("a @set:other-words c", ["go"; 6]);
    check_edit(
        "a @set:! c",
        ["go", "go", "go", "verdict answer:k", "verdict answer:k", "verdict answer:k"],
    );
}

#[test]
fn code_that_now_refuses_what_it_did_says_so() {
    let mut driven = Driven::start(&code("@set:!"));
    driven.apply(update("k", "set", "1"));
    driven.apply(answered("k", Ok("1")));
    let Decision::Parked(Parked::Nondeterministic(mismatch)) = driven.run.decide() else {
        panic!("it goes on");
    };
    let told = mismatch.to_string();
    assert!(
        told.starts_with(
            "under key answer:k the journal holds that an update was done, which its caller was told (entry 3), and by the code it is rejected"
        ),
        "{told}"
    );
}

/// What the word `@name` of the edits does: takes an update and answers it, `@name:!` with a rejection.
pub(super) async fn take(ctx: &Context, word: &str) -> Result<(), WaitError> {
    let (name, answer) = word.split_once(':').unwrap_or((word, ""));
    let taken = ctx.update(name).await?;
    let answer = match answer {
        "!" => rejection("no"),
        words => Ok(Bytes::copy_from_slice(words.as_bytes())),
    };
    taken.answer(answer).map_err(WaitError::Failed)
}
