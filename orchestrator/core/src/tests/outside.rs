//! What comes from outside: signals and replies, kept, ordered, counted once; against deadlines, drops, cancels and edited code.

use std::time::Duration;

use bytes::Bytes;
use everstep_common::journal::LocalKind;
use everstep_common::payload::Payload;
use everstep_common::question::{PayloadHash, Question, Reply, Terms, Vote, answer_slot};
use everstep_common::wire;
use futures::future::{join, poll_fn};
use futures::{FutureExt, select_biased};

use super::combine::CANCELLED;
use super::kit::*;
use super::world::reload;
use crate::{Answered, Context, Decision, Definition, Due, Event, EventBody, Limits, Mismatch, Parked, Record, WaitError};

pub(super) fn signal(name: &str, value: &'static str) -> EventBody {
    EventBody::Signal(name.into(), Bytes::from_static(value.as_bytes()))
}

pub(super) fn in_seconds(seconds: u64) -> Due {
    Due::After(Duration::from_secs(seconds))
}

pub(super) fn hash(of: &str) -> PayloadHash {
    PayloadHash::of_canonical(of.as_bytes())
}

pub(super) fn plain() -> Question {
    Question {
        text: "which?".to_owned(),
        ..Question::default()
    }
}

pub(super) fn approval(of: &str, quorum: u32) -> Question {
    Question {
        approval: Some(Terms {
            hash: hash(of),
            payload: None,
            quorum,
            requester: Some("bob".to_owned()),
        }),
        ..plain()
    }
}

/// The entry by which a question can be seen; its deadline is that of a question asked by the start for `seconds`.
pub(super) fn shown(path: &str, question: Question, seconds: Option<u64>) -> EventBody {
    let question = Question {
        deadline: seconds.map(|seconds| time(1) + Duration::from_secs(seconds)),
        ..question
    };
    let recorded = wire::encode_value(&question).unwrap();
    EventBody::About(key(path), Record::Local(LocalKind::Question, Ok(recorded)))
}

pub(super) fn reply_under(id: &str, path: &str, by: &str, reply: Reply) -> EventBody {
    let answered = Answered {
        id: everstep_common::journal::InboundId::new(id).unwrap(),
        by: by.to_owned(),
        groups: Vec::new(),
        reason: None,
        reply,
    };
    EventBody::About(key(path), Record::Answer(Box::new(answered)))
}

pub(super) fn reply(path: &str, by: &str, value: &'static str) -> EventBody {
    let value = Reply::Value(Payload::Inline(Bytes::from_static(value.as_bytes())));
    reply_under(answer_slot(&key(path)).as_str(), path, by, value)
}

fn approve(path: &str, by: &str, of: &str) -> EventBody {
    reply_under(&format!("answer.{path}.{by}"), path, by, Reply::Approve(hash(of)))
}

/// Who settled a question, and with what.
pub(super) fn who(said: Result<Bytes, WaitError>) -> String {
    let votes: Vec<Vote> = match said {
        Ok(votes) => wire::decode(&votes).unwrap(),
        Err(error) => return format!("({error})"),
    };
    let told = votes.iter().map(|vote| match &vote.reply {
        Reply::Value(Payload::Inline(value)) => format!("{}: {}", vote.by, String::from_utf8_lossy(value)),
        other => format!("{}: {}", vote.by, format!("{other:?}").split('(').next().unwrap()),
    });
    told.collect::<Vec<_>>().join(", ")
}

fn asks(question: impl Fn() -> Question + Send + Sync + 'static, seconds: Option<u64>) -> Definition {
    let question = std::sync::Arc::new(question);
    workflow(move |ctx| {
        let question = question.clone();
        async move {
            let mut asked = ctx.question("q", question());
            if let Some(seconds) = seconds {
                asked = asked.deadline(in_seconds(seconds));
            }
            done(&who(asked.await))
        }
    })
}

fn listens(seconds: Option<u64>) -> Definition {
    workflow(move |ctx| async move {
        let mut paid = ctx.signal("paid");
        if let Some(seconds) = seconds {
            paid = paid.deadline(in_seconds(seconds));
        }
        done(&text(paid.await))
    })
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
    check(
        &code,
        &["dispatch a"],
        vec![
            (signal("paid", "1"), &[]),
            (signal("paid", "2"), &[]),
            (step("a", ""), &["completed 1 2"]),
        ],
    );
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
    check(
        &early,
        &["dispatch a"],
        vec![
            (signal("paid", "1"), &[]),
            (signal("paid", "2"), &[]),
            (step("a", ""), &["completed 1 2"]),
        ],
    );
}

/// A wait that is woken by its signal and dropped before it is polled.
#[test]
fn a_signal_is_taken_by_being_returned_and_not_by_arriving() {
    let code = workflow(|ctx| async move {
        let mut first = ctx.signal("paid");
        // Asked for, and given the signal by the next entry, which also wakes this poll; it is dropped unpolled.
        let mut polls = 0;
        poll_fn(|cx| {
            polls += 1;
            if polls == 1 {
                assert!(first.poll_unpin(cx).is_pending());
                return std::task::Poll::Pending;
            }
            std::task::Poll::Ready(())
        })
        .await;
        drop(first);
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

#[test]
fn a_question_is_recorded_before_it_can_be_answered() {
    let mut driven = Driven::start(&asks(plain, None));
    let asked = driven.commands();
    assert!(asked[0].starts_with("ask q: ") && asked.len() == 1, "{asked:?}");
    // Nobody can have seen it yet.
    driven.apply(reply("q", "ada", "early"));
    driven.apply(shown("q", plain(), None));
    assert!(driven.commands().is_empty());
    driven.apply(reply("q", "ada", "blue"));
    assert_eq!(driven.commands(), ["completed ada: blue"]);
}

#[test]
fn of_an_answer_and_its_deadline_the_earlier_entry_counts() {
    let code = asks(plain, Some(60));
    let late = "completed (deadline exceeded: nobody has answered question q in time)";
    let mut driven = Driven::start(&code);
    assert_eq!(driven.commands()[1], "timer q at 1061");
    driven.apply(shown("q", plain(), Some(60)));
    driven.apply(reply("q", "ada", "blue"));
    assert_eq!(driven.commands(), ["close q", "completed ada: blue"]);
    driven.apply(timer("q"));
    assert!(driven.commands().is_empty());

    let mut driven = Driven::start(&code);
    driven.apply(shown("q", plain(), Some(60)));
    driven.apply(timer("q"));
    driven.apply(reply("q", "ada", "blue"));
    assert_eq!(driven.commands(), [late]);
}

#[test]
fn what_people_saw_counts_and_not_what_the_code_asks_now() {
    // The code asked for a minute when it was recorded, and asks for two now.
    let mut driven = Driven::start(&asks(plain, Some(120)));
    driven.apply(shown("q", plain(), Some(60)));
    assert_eq!(driven.commands(), ["timer q at 1061"]);
}

#[test]
fn an_approval_counts_different_people_who_may_and_one_no_ends_it() {
    let code = asks(|| approval("plan", 2), None);
    let begun = || {
        let mut driven = Driven::start(&code);
        driven.apply(shown("q", approval("plan", 2), None));
        drop(driven.commands());
        driven
    };
    let mut driven = begun();
    driven.apply(approve("q", "ada", "plan"));
    // The same person again, the requester, something else, another place: none of it counts.
    driven.apply(approve("q", "ada", "plan"));
    driven.apply(approve("q", "bob", "plan"));
    driven.apply(approve("q", "cyd", "another plan"));
    driven.apply(reply_under("answer.q", "q", "cyd", Reply::Approve(hash("plan"))));
    driven.apply(reply_under("answer.q.dan", "q", "cyd", Reply::Approve(hash("plan"))));
    assert!(driven.commands().is_empty());
    driven.apply(approve("q", "eve", "plan"));
    assert_eq!(driven.commands(), ["completed ada: Approve, eve: Approve"]);

    let mut driven = begun();
    driven.apply(approve("q", "ada", "plan"));
    driven.apply(reply_under("answer.q.eve", "q", "eve", Reply::Reject(hash("plan"))));
    assert_eq!(driven.commands(), ["completed ada: Approve, eve: Reject"]);
}

#[test]
fn code_that_asks_for_the_approval_of_something_else_parks_the_run() {
    let mut driven = Driven::start(&asks(|| approval("another plan", 1), None));
    driven.apply(shown("q", approval("plan", 1), None));
    let Decision::Parked(Parked::Nondeterministic(mismatch)) = driven.run.decide() else {
        panic!("it goes on");
    };
    assert!(matches!(mismatch, Mismatch::Approval { .. }));
    assert!(mismatch.to_string().contains(&hash("plan").to_string()));
}

#[test]
fn a_question_that_is_dropped_is_withdrawn_once() {
    let code = workflow(|ctx| async move {
        let mut asked = ctx.question("q", plain());
        let mut gate = ctx.call("gate");
        select_biased! { _ = asked => {}, _ = gate => {} }
        drop(asked);
        ctx.call("after").await?;
        done("")
    });
    let mut driven = Driven::start(&code);
    driven.apply(shown("q", plain(), None));
    drop(driven.commands());
    driven.apply(step("gate", ""));
    assert_eq!(driven.commands(), ["withdraw q", "dispatch after"]);
    driven.apply(EventBody::About(key("q"), Record::Withdrawn));
    driven.apply(step("after", ""));
    assert_eq!(driven.commands(), ["completed "]);
    // Read back whole, there is nothing left to be withdrawn.
    let mut again = Driven::start(&code);
    again.apply(shown("q", plain(), None));
    again.apply(step("gate", ""));
    again.apply(EventBody::About(key("q"), Record::Withdrawn));
    assert_eq!(again.commands(), ["dispatch after"]);
}

#[test]
fn code_that_no_longer_asks_a_question_parks_and_one_that_no_longer_listens_does_not() {
    let ends = |ctx: Context| async move {
        ctx.call("a").await?;
        done("")
    };
    let mut driven = Driven::start(&workflow(ends));
    driven.apply(signal("paid", "1"));
    assert_eq!(driven.commands(), ["dispatch a"]);
    driven.apply(reply("q", "ada", "blue"));
    assert!(
        driven.commands().is_empty(),
        "what comes from outside says nothing about the code"
    );
    driven.apply(shown("q", plain(), None));
    assert_eq!(driven.commands(), ["parked: nondeterministic"]);
}

#[test]
fn a_reply_that_was_there_before_the_question_was_asked_again_is_found() {
    // The question was moved behind a step; what people saw and said is found when it is asked.
    let code = workflow(|ctx| async move {
        ctx.call("a").await?;
        done(&who(ctx.question("q", plain()).await))
    });
    let mut driven = Driven::start(&code);
    driven.apply(shown("q", plain(), None));
    driven.apply(reply("q", "ada", "blue"));
    driven.apply(step("a", ""));
    assert_eq!(driven.commands(), ["completed ada: blue"]);
}

#[test]
fn an_answer_to_what_is_no_question_moves_nobody() {
    let code = workflow(|ctx| async move {
        ctx.call("a").await?;
        done("")
    });
    check(
        &code,
        &["dispatch a"],
        vec![(reply("a", "ada", "blue"), &[]), (step("a", ""), &["completed "])],
    );
}

/// At the same instant, by the clock: which entry comes first is chance, what follows from it is not.
#[test]
fn an_answer_and_its_deadline_at_the_same_instant_have_one_outcome_a_thousand_times() {
    let mut dice = Dice::new(first_seed());
    for _ in 0..1_000 {
        let mut entries = vec![shown("q", plain(), Some(60))];
        let answer_first = dice.one_in(2);
        let (answer, timeout) = (reply("q", "ada", "blue"), timer("q"));
        entries.extend(if answer_first { [answer, timeout] } else { [timeout, answer] });
        let live = || {
            let mut driven = Driven::start(&asks(plain, Some(60)));
            let mut said = driven.commands();
            for entry in &entries {
                driven.apply(entry.clone());
                said.extend(driven.commands());
            }
            (said, driven.run.fingerprint())
        };
        let (once, again) = (live(), live());
        assert_eq!(once, again);
        let ends: Vec<_> = once.0.iter().filter(|line| line.starts_with("completed")).collect();
        let expected = if answer_first {
            "completed ada"
        } else {
            "completed (deadline"
        };
        assert!(ends.len() == 1 && ends[0].starts_with(expected), "{ends:?}");
    }
}
