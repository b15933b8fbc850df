//! Steps that say how they are undone, and how runs end that were rolled back.

use everstep::prelude::*;
use everstep_core::RunEnd;

use crate::kit::Driven;

#[function]
async fn book(ctx: FunctionContext, what: String) -> Result<u64, StepError>;

#[function(queue = "desk")]
async fn cancel(ctx: FunctionContext, booking: u64) -> Result<(), StepError>;

#[function]
async fn refund(ctx: FunctionContext, booking: u64, to: String) -> Result<(), StepError>;

#[workflow(on_failure = "rollback")]
async fn trip(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
    let flight = ctx.step(book, "flight".to_owned()).key("flight").compensate(cancel).await?;
    let hotel = ctx.step(book, "hotel".to_owned()).key("hotel");
    let hotel = hotel.compensate_with(refund, |hotel| (hotel, "ada".to_owned())).await?;
    ctx.sleep(Duration::from_secs(1)).await?;
    if hotel > 100 {
        Err(WorkflowError::new("too dear"))
    } else {
        Ok(flight + hotel)
    }
}

/// A trip that has booked both, and waits.
fn booked(price: u64) -> Driven {
    let mut run = Driven::start(trip, ());
    run.value("flight", 7);
    run.value("hotel", price);
    run
}

#[test]
fn a_run_that_succeeds_undoes_nothing() {
    let mut run = booked(50);
    run.timer("sleep");
    assert_eq!(run.completed::<u64>(), 57);
    assert_eq!(run.lines().len(), 4, "{:?}", run.lines());
}

#[test]
fn a_run_that_fails_is_undone_newest_first_and_then_fails_as_it_would_have() {
    let mut run = booked(500);
    run.timer("sleep");
    assert_eq!(run.asked::<(u64, String)>("undo/hotel").0, (500, "ada".to_owned()));
    run.value("undo/hotel", ());
    let (booking, options) = run.asked::<u64>("undo/flight");
    assert_eq!((booking, options.queue.as_str()), (7, "desk"));
    run.value("undo/flight", ());
    assert_eq!(run.failed(), &Failure::new(FailureKind::Workflow, "too dear"));
}

#[test]
fn a_run_that_is_cancelled_is_undone_and_then_is_cancelled() {
    let mut run = booked(50);
    run.cancel();
    run.value("undo/hotel", ());
    run.value("undo/flight", ());
    assert!(matches!(run.end(), RunEnd::Cancelled(_)), "{:?}", run.end());
}

#[workflow(on_failure = "rollback")]
async fn stages(ctx: WorkflowContext, stage: u32) -> Result<(), WorkflowError> {
    ctx.step(book, format!("stage {stage}"))
        .key("booking")
        .compensate(cancel)
        .await?;
    // Whatever that brings: a cancel does not stop it.
    let rested = ctx.sleep(Duration::from_secs(1)).await;
    ctx.log(format!("{rested:?}"));
    ctx.continue_as_new(stage + 1)
}

#[test]
fn a_run_that_goes_on_in_another_one_has_not_failed_and_undoes_nothing() {
    let mut run = Driven::start(stages, 1);
    run.value("booking", 7_u64);
    run.timer("sleep");
    assert!(matches!(run.end(), RunEnd::Continued { .. }), "{:?}", run.end());
}

#[test]
fn a_cancelled_run_that_would_go_on_is_undone() {
    let mut run = Driven::start(stages, 1);
    run.value("booking", 7_u64);
    run.cancel();
    run.value("undo/booking", ());
    assert!(matches!(run.end(), RunEnd::Cancelled(_)), "{:?}", run.end());
}

#[test]
fn a_run_that_cannot_be_undone_has_failed_whatever_came_before_and_says_both() {
    let mut run = booked(50);
    run.cancel();
    run.answer("undo/hotel", Err(Failure::new(FailureKind::Exhausted, "nobody answers")));
    run.value("undo/flight", ());
    assert_eq!(run.failed().kind, FailureKind::RollbackFailed);
    assert_eq!(
        run.failed().message,
        "cancelled; rolled back: 1 undone; step `hotel` is not undone: nobody answers"
    );
}

#[workflow]
async fn by_hand(ctx: WorkflowContext) -> Result<String, WorkflowError> {
    ctx.step(book, "flight".to_owned()).key("flight").compensate(cancel).await?;
    match ctx.rollback().await {
        Err(error) => match error.kind() {
            WorkflowErrorKind::Rollback { undone, failed } => Ok(format!("{undone} undone, {} left; {error}", failed.len())),
            _ => Err(error),
        },
        Ok(undone) => Ok(format!("{undone} undone")),
    }
}

#[test]
fn a_rollback_tells_what_it_undid_and_what_it_did_not() {
    let mut run = Driven::start(by_hand, ());
    run.value("flight", 7);
    run.value("undo/flight", ());
    assert_eq!(run.completed::<String>(), "1 undone");
    let mut run = Driven::start(by_hand, ());
    run.value("flight", 7);
    run.answer("undo/flight", Err(Failure::new(FailureKind::Fatal, "too late")));
    let told = "0 undone, 1 left; 0 undone; step `flight` is not undone: fatal error: too late";
    assert_eq!(run.completed::<String>(), told);
}
