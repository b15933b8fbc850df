//! What was taken in silence before and is refused now: told with what to do about it, and not to runs that have been there.

use everstep::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::kit::{Driven, run_id};

/// How a run is begun that this workflow, with this input, refuses: the message.
fn refused<W, Marker>(workflow: W, input: impl Serialize) -> String
where
    W: everstep::IntoWorkflow<Marker, Workflow: everstep::WorkflowBody>,
{
    let mut run = Driven::start(workflow, input);
    assert!(run.marked(), "a run that comes there first is told");
    assert_eq!(run.failed().kind, FailureKind::Invalid);
    assert_eq!(run.lines().len(), 2, "nothing is asked: {:?}", run.lines());
    run.failed().message.clone()
}

/// A run whose journal goes on after its start, written by code that refused nothing.
fn taken_before<W, Marker>(workflow: W, input: impl Serialize) -> Driven
where
    W: everstep::IntoWorkflow<Marker, Workflow: everstep::WorkflowBody>,
{
    let mut run = Driven::start_known(workflow, input, 2);
    assert!(!run.marked(), "a run that was further goes on as it did");
    run
}

#[workflow]
async fn release(ctx: WorkflowContext, approvers: Vec<String>, groups: Vec<String>, quorum: u32) -> Result<bool, WorkflowError> {
    let approval = Approval::of("Release", &())
        .approvers(approvers)
        .groups(groups)
        .quorum(quorum)
        .requested_by("bob")
        .expires(Duration::from_secs(60));
    Ok(ctx.await_approval(approval).await?.is_approved())
}

#[test]
fn a_quorum_of_more_than_may_decide_is_refused() {
    let none: [&str; 0] = [];
    let message = refused(release, (["ada"], none, 2));
    assert!(
        message.starts_with("approval `approval` needs a yes of 2 people, and of those it names 1 may decide: name more"),
        "{message}"
    );
    // The same person twice is one, and the one who asked for it is none.
    refused(release, (["ada", "ada"], none, 2));
    refused(release, (["ada", "bob"], none, 2));
    refused(release, (["bob"], none, 1));

    for (approvers, groups, quorum) in [
        (vec!["ada", "eve"], vec![], 2),
        (vec!["ada"], vec!["finance"], 3),
        (vec![], vec!["finance"], 2),
        (vec![], vec![], 9),
    ] {
        let mut run = Driven::start(release, (&approvers, &groups, quorum));
        assert_eq!(run.shown("approval").assignees, [approvers, groups].concat());
    }
}

#[test]
fn an_approval_that_waits_for_too_many_already_waits_on() {
    let mut run = taken_before(release, (["ada"], [(); 0], 2));
    run.shown("approval");
    run.timer("approval");
    assert!(!run.completed::<bool>());
}

#[workflow]
async fn survey(ctx: WorkflowContext, skippable: bool) -> Result<Option<String>, WorkflowError> {
    let question = Question {
        question: "How was it?".to_owned(),
        skippable,
        timeout: Some(Duration::from_secs(60)),
        on_timeout: OnTimeout::Skip,
        ..Question::default()
    };
    Ok(ctx.wait_for_user(question).await?.value)
}

#[test]
fn what_may_not_be_skipped_is_not_skipped_when_its_time_is_up() {
    assert_eq!(
        refused(survey, false),
        "question `question` is skipped when its time is up, and may not be skipped: \
         make it `skippable`, or choose another `on_timeout`"
    );
    for mut run in [taken_before(survey, false), Driven::start(survey, true)] {
        run.shown("question");
        run.timer("question");
        assert_eq!(run.completed::<Option<String>>(), None);
    }
}

#[function]
async fn square(ctx: FunctionContext, number: u64) -> Result<u64, StepError>;

#[function(at_most_once)]
async fn launch(ctx: FunctionContext, rocket: String) -> Result<u64, StepError>;

#[workflow]
async fn retried(ctx: WorkflowContext, attempts: u32, later: bool) -> Result<u64, WorkflowError> {
    match later {
        // What it says before counts too.
        true => ctx.step(square, 3).retries(attempts).at_most_once().await,
        false => ctx.step(launch, "r-7".to_owned()).retries(attempts).await,
    }
}

#[test]
fn retries_of_what_begins_at_most_once_are_refused() {
    for (later, step) in [(false, "launch"), (true, "square")] {
        let message = refused(retried, (2, later));
        assert_eq!(
            message,
            format!("step `{step}` begins at most once and is never tried again: remove either `retries` or `at_most_once`")
        );
        for mut run in [Driven::start(retried, (1, later)), taken_before(retried, (2, later))] {
            run.value(step, 7);
            assert_eq!(run.completed::<u64>(), 7);
        }
    }
}

#[workflow]
async fn squares(ctx: WorkflowContext, numbers: Vec<u64>) -> Result<usize, WorkflowError> {
    Ok(ctx.batch(square, numbers).max_concurrency(0).await?.stats.completed)
}

#[workflow]
async fn mapped(ctx: WorkflowContext, numbers: Vec<u64>) -> Result<usize, WorkflowError> {
    Ok(ctx.map(square, numbers).max_concurrency(0).await?.len())
}

#[test]
fn a_batch_of_none_at_a_time_is_refused() {
    let message = "`max_concurrency(0)` runs no item, ever: give how many are to run at a time, from 1 to 1000";
    assert_eq!(refused(squares, [1, 2]), message);
    assert_eq!(refused(mapped, [1, 2]), message);
    assert_eq!(refused(squares, [0; 0]), message, "also if there is nothing to do this time");
}

#[test]
fn a_batch_of_none_at_a_time_that_has_begun_goes_on_with_one() {
    let done: usize = one_by_one(taken_before(squares, [1, 2]), "batch");
    let mapped: usize = one_by_one(taken_before(mapped, [1, 2]), "map");
    assert_eq!((done, mapped), (2, 2));
}

fn one_by_one<T: DeserializeOwned>(mut run: Driven, block: &str) -> T {
    assert_eq!(run.lines()[1..], [format!("step {block}/0/square")]);
    run.value(&format!("{block}/0/square"), 1);
    run.value(&format!("{block}/1/square"), 4);
    run.completed()
}

#[workflow]
async fn visit(ctx: WorkflowContext) -> Result<u64, WorkflowError>;

#[workflow]
async fn visits(ctx: WorkflowContext, session: String, detached: bool) -> Result<String, WorkflowError> {
    let child = ctx.child(visit, ()).session(session);
    match detached {
        true => Ok(child.detached().await?.to_string()),
        false => Ok(child.await?.to_string()),
    }
}

#[test]
fn a_child_with_a_session_that_is_none_is_refused() {
    for (session, detached, characters) in [(String::new(), false, 0), ("x".repeat(257), true, 257)] {
        let message = refused(visits, (session, detached));
        let expected = format!(
            "child `visit` failed: the id of a session has 1 to 256 characters (SESSION_ID_CHARS_MAX), \
             and this one has {characters}; use a shorter text, such as a digest of this one, or no session"
        );
        assert_eq!(message, expected);
    }
    let run = Driven::start(visits, ("x".repeat(256), false));
    assert_eq!(run.child("visit").session.as_deref().map(str::len), Some(256));
}

#[test]
fn a_child_that_was_started_in_such_a_session_is_awaited() {
    let mut run = taken_before(visits, ("", false));
    run.child_named("visit");
    run.child_value("visit", 7);
    assert_eq!(run.completed::<String>(), "7");
    let mut run = taken_before(visits, ("", true));
    run.child_named("visit");
    assert_eq!(run.completed::<String>(), run_id().successor().to_string());
}
