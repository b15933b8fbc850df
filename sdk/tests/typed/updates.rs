//! Updates as authors see them: decoded, validated, answered with what is typed; served beside other work.

use std::cell::RefCell;
use std::pin::pin;

use everstep::prelude::*;
use serde::ser::Error as _;
use serde::{Serialize, Serializer};

use super::kit::{BEGINNING, Driven};

#[function]
async fn store(ctx: FunctionContext, value: u64) -> Result<u64, StepError>;

/// Takes one number that will do, and says how many it has seen.
#[workflow]
async fn picky(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
    let set = ctx.update::<u64, String>("set").deadline(Duration::from_secs(60));
    let set = set.validate(|number| if *number > 9 { Err("one digit") } else { Ok(()) });
    let set = match set.await {
        Err(error) if error.is_timed_out() => return Ok(99),
        set => set?,
    };
    let number = *set.input();
    set.reply(&format!("{number} it is"))?;
    Ok(number)
}

#[test]
fn an_update_is_decoded_validated_and_answered() {
    let mut run = Driven::start(picky, ());
    run.update("a", "set", "a text");
    let rejected = run.answer_to::<String>("a").unwrap_err();
    assert_eq!(rejected.kind, FailureKind::Rejected);
    assert!(
        rejected.message.starts_with("the input of update `set` is not of its type: "),
        "{rejected}"
    );
    run.update("b", "set", 10);
    assert_eq!(run.answer_to::<String>("b").unwrap_err().message, "one digit");
    run.update("c", "set", 7);
    assert_eq!(run.answer_to("c"), Ok("7 it is".to_owned()));
    for key in ["a", "b", "c"] {
        run.answer_recorded(key);
    }
    assert_eq!(run.completed::<u64>(), 7);
}

#[test]
fn what_is_rejected_gives_no_more_time() {
    let mut run = Driven::start(picky, ());
    let due = BEGINNING + Duration::from_secs(60);
    assert_eq!(run.due("update:set"), due);
    run.update("a", "set", 10);
    assert_eq!(run.due("update:set~2"), due);
    run.answer_recorded("a");
    run.timer("update:set~2");
    assert_eq!(run.completed::<u64>(), 99);
}

/// Stores what it is given by a step, for as long as it is not told to stop.
#[workflow]
async fn keeper(ctx: WorkflowContext) -> Result<Vec<u64>, WorkflowError> {
    let kept = RefCell::new(Vec::new());
    let keeps = pin!(ctx.update::<u64, usize>("keep").serve(async |value| {
        let stored = ctx.step(store, value).await?;
        kept.borrow_mut().push(stored);
        Ok(kept.borrow().len())
    }));
    select! {
        failed = keeps => match failed? {},
        stop = ctx.signal::<()>("stop") => stop?,
    }
    Ok(kept.take())
}

#[test]
fn updates_are_served_one_after_the_other_and_a_failed_one_alone_fails() {
    let mut run = Driven::start(keeper, ());
    run.update("a", "keep", 1);
    run.update("b", "keep", 2);
    run.update("c", "keep", 3);
    run.value("store", 1);
    assert_eq!(run.answer_to("a"), Ok(1));
    run.answer("store~2", Err(Failure::new(FailureKind::Fatal, "no room")));
    assert_eq!(
        run.answer_to::<usize>("b"),
        Err(Failure::new(FailureKind::Fatal, "step `store` failed: no room"))
    );
    run.value("store~3", 3);
    assert_eq!(run.answer_to("c"), Ok(2));
    ["a", "b", "c"].into_iter().for_each(|key| run.answer_recorded(key));
    run.signal("stop", ());
    assert_eq!(run.completed::<Vec<u64>>(), [1, 3]);
}

#[test]
fn what_is_being_done_when_the_server_is_dropped_has_failed() {
    let mut run = Driven::start(keeper, ());
    run.update("a", "keep", 1);
    run.signal("stop", ());
    assert_eq!(run.answer_to::<usize>("a").unwrap_err().kind, FailureKind::Cancelled);
    run.answer_recorded("a");
    assert!(run.completed::<Vec<u64>>().is_empty());
}

#[test]
fn a_cancel_ends_the_server_and_the_update_that_it_was_at() {
    let mut run = Driven::start(keeper, ());
    run.update("a", "keep", 1);
    run.cancel();
    assert_eq!(run.answer_to::<usize>("a").unwrap_err().kind, FailureKind::Cancelled);
}

/// Refuses and fails what it takes, as it is told to.
#[workflow]
async fn moody(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    loop {
        let update = ctx.update::<String, ()>("do").await?;
        match update.input().as_str() {
            "reject" => update.reject(format_args!("not {}", "today"))?,
            "fail" => update.fail("it broke")?,
            "drop" => drop(update),
            _ => return update.reply(&()),
        }
    }
}

#[test]
fn an_update_is_rejected_failed_dropped_or_done() {
    let mut run = Driven::start(moody, ());
    for what in ["reject", "fail", "drop", "done"] {
        run.update(what, "do", what);
    }
    let failed = |kind, message: &str| Err(Failure::new(kind, message));
    assert_eq!(run.answer_to::<()>("reject"), failed(FailureKind::Rejected, "not today"));
    assert_eq!(run.answer_to::<()>("fail"), failed(FailureKind::Workflow, "it broke"));
    let dropped = "the workflow took the update and dropped it without an answer";
    assert_eq!(run.answer_to::<()>("drop"), failed(FailureKind::Cancelled, dropped));
    assert_eq!(run.answer_to("done"), Ok(()));
}

/// Cannot be encoded.
struct Unspeakable;

impl Serialize for Unspeakable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("it has no words"))
    }
}

#[workflow]
async fn speechless(ctx: WorkflowContext) -> Result<String, WorkflowError> {
    let update = ctx.update::<(), Unspeakable>("speak").await?;
    Ok(update.reply(&Unspeakable).unwrap_err().to_string())
}

#[test]
fn an_answer_that_cannot_be_encoded_is_told_to_both_sides() {
    let mut run = Driven::start(speechless, ());
    run.update("a", "speak", ());
    let told = run.answer_to::<()>("a").unwrap_err();
    assert_eq!(told.kind, FailureKind::Invalid);
    assert!(told.message.contains("the answer to update `speak`"), "{told}");
    run.answer_recorded("a");
    assert_eq!(run.completed::<String>(), told.message);
}

/// Serves until it is told to stop; what it answers has no words.
#[workflow]
async fn mute(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    let speaks = pin!(ctx.update::<(), Unspeakable>("speak").serve(async |()| Ok(Unspeakable)));
    select! {
        failed = speaks => match failed? {},
        stop = ctx.signal::<()>("stop") => stop,
    }
}

#[test]
fn whoever_asks_for_an_answer_that_cannot_be_encoded_does_not_end_the_run() {
    let mut run = Driven::start(mute, ());
    for key in ["a", "b"] {
        run.update(key, "speak", ());
        let told = run.answer_to::<()>(key).unwrap_err();
        assert!(told.message.contains("it has no words"), "{told}");
        run.answer_recorded(key);
    }
    run.signal("stop", ());
    run.completed::<()>();
}
