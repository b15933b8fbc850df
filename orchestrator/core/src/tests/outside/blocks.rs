//! Signals and questions in blocks, races, deadlines and shields: their keys, and what a cancel takes back and gives back.

use std::future::poll_fn;
use std::task::Poll;

use futures::FutureExt;
use futures::future::LocalBoxFuture;

use super::*;
use crate::tests::combine::{CANCELLED, Outcome, numbered, parallel, told};
use crate::{Context, Signal};

fn withdrawn(path: &str) -> EventBody {
    EventBody::About(key(path), Record::Withdrawn)
}

async fn race(ctx: &Context, branches: Vec<LocalBoxFuture<'_, Outcome>>) -> Outcome {
    ctx.block("race").fan(numbered(branches)).race().await.expect("a winner").1
}

/// What the run is told to do after the entry, without the text of questions.
fn after(driven: &mut Driven, entry: EventBody) -> Vec<String> {
    driven.apply(entry);
    said(driven)
}

fn said(driven: &mut Driven) -> Vec<String> {
    let told = driven.commands().into_iter();
    told.map(|line| match line.split_once(": ") {
        Some((asked, _)) if asked.starts_with("ask ") => asked.to_owned(),
        _ => line,
    })
    .collect()
}

/// A wait for a signal that is asked for now, and not looked at until it is awaited.
async fn unread(ctx: &Context, name: &str) -> Signal {
    let mut wait = ctx.signal(name);
    let polled = poll_fn(|cx| Poll::Ready(wait.poll_unpin(cx))).await;
    assert!(polled.is_pending(), "nothing has come yet");
    wait
}

/// A branch that loses a race against a step, and then who waits for the next signal.
async fn loses_and_is_followed(ctx: &Context, branch: impl Future<Output = Outcome>) -> Returned {
    let quick = async { ctx.call("quick").await };
    race(ctx, vec![branch.boxed_local(), quick.boxed_local()]).await?;
    done(&text(ctx.signal("paid").await))
}

#[test]
fn questions_of_one_name_in_branches_are_told_apart_by_their_scopes() {
    let code = workflow(|ctx| async move {
        let branch = |ctx: Context| async move { ctx.question("q", plain()).await }.boxed_local();
        let both = ctx
            .block("parallel")
            .fan(numbered(vec![branch(ctx.clone()), branch(ctx.clone())]));
        let both = both.collect_outcomes(0).await;
        let told: Vec<_> = both.outcomes.into_iter().flatten().map(who).collect();
        done(&told.join(" and "))
    });
    let mut driven = Driven::start(&code);
    assert_eq!(said(&mut driven), ["ask parallel/0/q", "ask parallel/1/q"]);
    assert!(after(&mut driven, shown("parallel/0/q", plain(), None)).is_empty());
    assert!(after(&mut driven, shown("parallel/1/q", plain(), None)).is_empty());
    assert!(after(&mut driven, reply("q", "ada", "nowhere")).is_empty());
    assert!(after(&mut driven, reply("parallel/1/q", "ada", "right")).is_empty());
    assert_eq!(
        after(&mut driven, reply("parallel/0/q", "bob", "left")),
        ["completed bob: left and ada: right"]
    );
}

#[test]
fn the_losers_of_a_race_take_back_their_questions_and_deadlines() {
    let code = workflow(|ctx| async move {
        let asks = async { ctx.question("q", plain()).deadline(in_seconds(60)).await };
        let listens = async { ctx.signal("paid").deadline(in_seconds(60)).await };
        let steps = async { ctx.call("a").await };
        let first = race(&ctx, vec![asks.boxed_local(), listens.boxed_local(), steps.boxed_local()]).await;
        ctx.call("after").await?;
        done(&text(first))
    });
    let mut driven = Driven::start(&code);
    let timers = ["timer race/0/q at 1061", "timer race/1/signal:paid at 1061"];
    assert_eq!(said(&mut driven), ["ask race/0/q", timers[0], timers[1], "dispatch race/2/a"]);
    driven.apply(shown("race/0/q", plain(), Some(60)));
    let back = ["withdraw race/0/q", "close race/1/signal:paid", "dispatch after"];
    let mut told = after(&mut driven, step("race/2/a", "1"));
    told.retain(|line| !line.starts_with("timer"));
    assert_eq!(told, back);
    // Said in the moment before it is known that nobody asks it any more.
    assert!(after(&mut driven, reply("race/0/q", "ada", "late")).is_empty());
    assert!(after(&mut driven, withdrawn("race/0/q")).is_empty());
    assert_eq!(after(&mut driven, step("after", "")), ["completed 1"]);
}

#[test]
fn a_failing_branch_a_deadline_and_a_cancel_of_the_run_withdraw_what_was_asked_below_them() {
    let ask = |ctx: Context| async move { ctx.question("q", plain()).await }.boxed_local();
    let fails = workflow(move |ctx| async move {
        let step = async { ctx.call("a").await };
        done(&told(parallel(&ctx, vec![ask(ctx.clone()), step.boxed_local()]).await))
    });
    let late = workflow(move |ctx| async move {
        let asked = ctx.timeout(Duration::from_secs(5), ask(ctx.clone())).await;
        done(&format!("{}", asked.is_err()))
    });
    let cancelled = workflow(move |ctx| async move {
        let asked = ctx.scope("s", ask(ctx.clone())).await;
        done(&text(asked))
    });
    let failed = step_with("parallel/1/a", "a", "", Err("declined"));
    let stopped = format!("completed [{CANCELLED}, (fatal error: declined)] stopped");
    let brought = format!("completed {CANCELLED}");
    for (code, path, entry, ended) in [
        (fails, "parallel/0/q", failed, stopped.as_str()),
        (late, "timeout/q", timer("timeout"), "completed true"),
        (cancelled, "s/q", cancel(), brought.as_str()),
    ] {
        let mut driven = Driven::start(&code);
        drop(driven.commands());
        driven.apply(shown(path, plain(), None));
        assert_eq!(after(&mut driven, entry), [&format!("withdraw {path}"), ended]);
    }
}

#[test]
fn an_answer_that_was_first_stands_though_its_branch_is_cancelled_then() {
    let code = workflow(|ctx| async move {
        let asks = async {
            let answer = ctx.question("q", plain()).await;
            ctx.call("b").await?;
            answer
        };
        let fails = async { ctx.call("a").await };
        done(&told(parallel(&ctx, vec![asks.boxed_local(), fails.boxed_local()]).await))
    });
    let mut driven = Driven::start(&code);
    drop(driven.commands());
    driven.apply(shown("parallel/0/q", plain(), None));
    assert_eq!(
        after(&mut driven, reply("parallel/0/q", "ada", "yes")),
        ["dispatch parallel/0/b"]
    );
    let said = after(&mut driven, step_with("parallel/1/a", "a", "", Err("declined")));
    assert_eq!(
        said[0], "cancel step parallel/0/b",
        "and the question is not withdrawn: {said:?}"
    );
}

#[test]
fn a_signal_that_a_cancelled_wait_holds_goes_to_the_next() {
    let code = workflow(|ctx| async move {
        let holds = async {
            let wait = unread(&ctx, "paid").await;
            ctx.call("slow").await.ok();
            let brought = wait.await;
            assert_eq!(brought, Err(WaitError::Cancelled), "it was not taken before the cancel");
            brought
        };
        loses_and_is_followed(&ctx, holds).await
    });
    check(
        &code,
        &["dispatch race/0/slow", "dispatch race/1/quick"],
        vec![
            (signal("paid", "1"), &[]),
            (signal("paid", "2"), &[]),
            (step("race/1/quick", ""), &["cancel step race/0/slow", "completed 1"]),
        ],
    );
}

#[test]
fn a_signal_that_was_taken_before_the_cancel_stays_taken() {
    let code = workflow(|ctx| async move {
        let takes = async {
            let taken = ctx.signal("paid").await;
            ctx.call("slow").await.ok();
            taken
        };
        loses_and_is_followed(&ctx, takes).await
    });
    check(
        &code,
        &["dispatch race/1/quick"],
        vec![
            (signal("paid", "1"), &["dispatch race/0/slow"]),
            (step("race/1/quick", ""), &["cancel step race/0/slow"]),
            (signal("paid", "2"), &["completed 2"]),
        ],
    );
}

/// Many more waits than are swept at a time: a held signal is not lost to the sweep of what is answered.
#[test]
fn a_held_signal_is_still_given_back_when_its_branch_has_asked_for_much_since() {
    let code = workflow(|ctx| async move {
        let holds = async {
            let wait = unread(&ctx, "paid").await;
            for number in 0..20 {
                ctx.call(&format!("s{number}")).await.ok();
            }
            wait.await
        };
        loses_and_is_followed(&ctx, holds).await
    });
    let mut driven = Driven::start(&code);
    driven.apply(signal("paid", "1"));
    for number in 0..19 {
        driven.apply(step(&format!("race/0/s{number}"), ""));
    }
    drop(driven.commands());
    driven.apply(step("race/1/quick", ""));
    assert_eq!(driven.commands(), ["cancel step race/0/s19", "completed 1"]);
}

#[test]
fn a_held_signal_of_a_closed_block_belongs_to_the_block_round_it() {
    let code = workflow(|ctx| async move {
        let holds = async {
            // The wait outlives the block in which it was asked.
            let block = async {
                let wait = unread(&ctx, "paid").await;
                ctx.call("inside").await.map(|_| wait)
            };
            let wait = ctx.timeout(Duration::from_secs(600), block).await.expect("in time")?;
            ctx.call("slow").await.ok();
            wait.await
        };
        loses_and_is_followed(&ctx, holds).await
    });
    let mut driven = Driven::start(&code);
    driven.apply(signal("paid", "1"));
    driven.apply(step("race/0/timeout/inside", ""));
    drop(driven.commands());
    assert_eq!(
        after(&mut driven, step("race/1/quick", "")),
        ["cancel step race/0/slow", "completed 1"]
    );
}

#[test]
fn what_a_cancelled_run_gives_back_reaches_a_shield() {
    let code = workflow(|ctx| async move {
        let holds = async {
            let wait = unread(&ctx, "paid").await;
            ctx.call("slow").await.ok();
            wait.await
        };
        let cancelled = holds.await;
        let taken = ctx.shield(ctx.signal("paid")).await;
        done(&format!("{} {}", text(cancelled), text(taken)))
    });
    let ended = format!("completed {CANCELLED} 1");
    check(
        &code,
        &["dispatch slow"],
        vec![(signal("paid", "1"), &[]), (cancel(), &["cancel step slow", &ended])],
    );
}

#[test]
fn shielded_questions_and_signals_are_still_waited_for_after_a_cancel() {
    let code = workflow(|ctx| async move {
        let farewell = async {
            let (said, sent) = futures::join!(ctx.question("why", plain()), ctx.signal("bye"));
            format!("{} {}", who(said), text(sent))
        };
        done(&ctx.shield(farewell).await)
    });
    let mut driven = Driven::start(&code);
    assert_eq!(said(&mut driven), ["ask why"]);
    driven.apply(shown("why", plain(), None));
    assert!(after(&mut driven, cancel()).is_empty());
    assert!(after(&mut driven, signal("bye", "1")).is_empty());
    assert_eq!(
        after(&mut driven, reply("why", "ada", "because")),
        ["completed ada: because 1"]
    );
}

#[test]
fn what_is_asked_for_in_a_cancelled_branch_is_never_shown() {
    let code = workflow(|ctx| async move {
        let loses = async {
            ctx.call("slow").await.ok();
            let (asked, sent) = futures::join!(ctx.question("q", plain()), ctx.signal("paid"));
            assert_eq!((asked, sent), (Err(WaitError::Cancelled), Err(WaitError::Cancelled)));
            Err(WaitError::Cancelled)
        };
        loses_and_is_followed(&ctx, loses).await
    });
    check(
        &code,
        &["dispatch race/0/slow", "dispatch race/1/quick"],
        vec![
            (signal("paid", "1"), &[]),
            (step("race/1/quick", ""), &["cancel step race/0/slow", "completed 1"]),
        ],
    );
}

#[test]
fn one_signal_for_two_branches_is_taken_once_and_the_other_branch_waits_on() {
    let code = workflow(|ctx| async move {
        let listens = |ctx: Context| async move { ctx.signal("paid").await }.boxed_local();
        done(&told(parallel(&ctx, vec![listens(ctx.clone()), listens(ctx.clone())]).await))
    });
    check(
        &code,
        &[],
        vec![
            (signal("paid", "1"), &[]),
            // An operator's word in between changes nothing.
            (resume(false), &[]),
            (signal("paid", "2"), &["completed [1, 2]"]),
        ],
    );
}

/// The race was moved behind a step, and all that is recorded of it is found when that ends.
#[test]
fn a_question_that_people_see_is_withdrawn_though_it_loses_in_the_entry_in_which_it_is_asked() {
    let code = workflow(|ctx| async move {
        ctx.call("a").await?;
        let asks = async { ctx.question("q", plain()).await };
        let steps = async { ctx.call("b").await };
        let first = race(&ctx, vec![asks.boxed_local(), steps.boxed_local()]).await;
        ctx.call("after").await?;
        done(&text(first))
    });
    let mut driven = Driven::start(&code);
    driven.apply(shown("race/0/q", plain(), None));
    driven.apply(step("race/1/b", "1"));
    drop(driven.commands());
    assert_eq!(after(&mut driven, step("a", "")), ["withdraw race/0/q", "dispatch after"]);
}
