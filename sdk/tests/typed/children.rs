//! Children and runs that go on as new, typed.

use everstep::RunId;
use everstep::prelude::*;
use everstep_core::RunEnd;

use crate::kit::{Driven, run_id};

#[workflow(version = 3)]
async fn parcel(ctx: WorkflowContext, address: String, pieces: u32) -> Result<u64, WorkflowError>;

#[workflow]
async fn ship(ctx: WorkflowContext, address: String) -> Result<u64, WorkflowError> {
    let sent = ctx
        .child(parcel, (address, 2))
        .key("the parcel")
        .session("van 1")
        .tag("speed", "high")
        .delay(Duration::from_secs(60))
        .deadline(Duration::from_secs(600));
    Ok(sent.await? + 1)
}

#[test]
fn a_child_is_started_as_it_was_asked_for_and_its_value_comes_out_typed() {
    let mut run = Driven::start(ship, "Low Road");
    let child = run.child("the parcel");
    let asked = (
        child.workflow.as_str(),
        child.version,
        child.session.as_deref(),
        child.detached,
    );
    assert_eq!(asked, ("parcel", Some(3), Some("van 1"), false));
    let terms = (child.terms.delay, child.terms.deadline);
    assert_eq!(terms, (Some(Duration::from_secs(60)), Some(Duration::from_secs(600))));
    assert_eq!(child.tags.get("speed").map(String::as_str), Some("high"));
    let input: (String, u32) = everstep_common::wire::decode_value(&child.input).unwrap();
    assert_eq!(input, ("Low Road".to_owned(), 2));
    run.child_named("the parcel");
    run.child_value("the parcel", 41_u64);
    assert_eq!(run.completed::<u64>(), 42);
}

#[test]
fn a_value_of_another_type_is_told_as_such() {
    let mut run = Driven::start(ship, "Low Road");
    run.child_named("the parcel");
    run.child_value("the parcel", "forty-one");
    let said = run.failed();
    assert_eq!(said.kind, FailureKind::Invalid);
    assert!(said.message.contains("the result of child `the parcel`"), "{said}");
}

#[workflow]
async fn tells(ctx: WorkflowContext) -> Result<String, WorkflowError> {
    let error = ctx.child(parcel, ("Low Road".to_owned(), 1)).await.unwrap_err();
    let WorkflowErrorKind::Child { child, run, failure } = error.kind() else {
        return Err(error);
    };
    assert_eq!((child.as_str(), run.as_ref()), ("parcel", Some(&run_id().successor())));
    assert_eq!(error.failure(), Some(failure));
    Err(error.context("shipping"))
}

#[test]
fn a_failed_child_says_which_run_it_was_and_the_parent_fails_with_its_kind() {
    let mut run = Driven::start(tells, ());
    run.child_named("parcel");
    run.child_failed("parcel", Failure::new(FailureKind::Exhausted, "nobody is at home"));
    let message = format!(
        "shipping: child `parcel` (run {}) failed: nobody is at home",
        run_id().successor()
    );
    assert_eq!(run.failed(), &Failure::new(FailureKind::Exhausted, message));
}

#[workflow]
async fn sends_off(ctx: WorkflowContext) -> Result<RunId, WorkflowError> {
    ctx.child(parcel, ("Low Road".to_owned(), 1)).detached().await
}

#[test]
fn a_detached_child_brings_its_run() {
    let mut run = Driven::start(sends_off, ());
    assert!(run.child("parcel").detached);
    run.child_named("parcel");
    assert_eq!(run.completed::<RunId>(), run_id().successor());
}

#[workflow]
async fn counts(ctx: WorkflowContext, number: u64, more: bool) -> Result<u64, WorkflowError> {
    if more {
        return ctx.continue_as_new((number + 1, false));
    }
    Ok(number)
}

#[test]
fn a_workflow_goes_on_with_the_next_input() {
    let run = Driven::start(counts, (6, true));
    let RunEnd::Continued { input, .. } = run.end() else {
        panic!("{:?}", run.end())
    };
    let input: (u64, bool) = everstep_common::wire::decode_value(input).unwrap();
    assert_eq!(input, (7, false));
    assert_eq!(Driven::start(counts, input).completed::<u64>(), 7);
}

#[workflow]
async fn mistaken(ctx: WorkflowContext, number: u64) -> Result<u64, WorkflowError> {
    ctx.continue_as_new(number.to_string())
}

#[test]
fn a_workflow_does_not_go_on_with_what_it_cannot_take() {
    let run = Driven::start(mistaken, 6);
    let said = run.failed();
    assert_eq!(said.kind, FailureKind::Invalid);
    assert!(said.message.contains("takes a u64, and cannot go on with a"), "{said}");
}
