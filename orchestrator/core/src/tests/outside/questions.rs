//! Questions and approvals: who may answer, what counts, and until when; against drops, cancels and edited code.

use futures::select_biased;

use super::*;
use crate::{Context, Decision, Definition, Mismatch, Parked};

fn approve(path: &str, by: &str, of: &str) -> EventBody {
    reply_under(&format!("answer.{path}.{by}"), path, by, Reply::Approve(hash(of)))
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
