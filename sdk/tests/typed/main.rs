//! The typed context on the real core: what goes in is encoded, what comes out is decoded, and every refusal says what is wrong.

mod children;
mod combine;
mod kit;
mod outside;
mod refusals;
mod rollback;
mod sessions;
mod updates;

use std::collections::BTreeMap;

use everstep::prelude::*;
use everstep_common::wire::encode_value;
use everstep_core::RunEnd;
use futures::FutureExt as _;
use kit::{BEGINNING, Driven, Log, run_id};
use serde::{Deserialize, Serialize, Serializer};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    total: u64,
    valid: bool,
}

#[function]
async fn validate(ctx: FunctionContext, order_id: String) -> Result<Order, StepError>;

#[function(queue = "payments", retries(max_attempts = 3, max = "30s"), timeout = "10s")]
async fn charge(ctx: FunctionContext, order: Order) -> Result<String, StepError>;

#[function]
async fn confirm(ctx: FunctionContext, order: Order, receipt: String) -> Result<u32, StepError>;

#[workflow]
async fn order(ctx: WorkflowContext, order_id: String) -> Result<u32, WorkflowError> {
    let order = ctx.step(validate, order_id).await?;
    let receipt = ctx.step(charge, order.clone()).await?;
    ctx.sleep(Duration::from_secs(2)).named("settle").await?;
    ctx.step(confirm, (order, receipt)).await
}

#[test]
fn values_go_in_and_come_out_typed_from_step_to_step() {
    let bought = Order {
        total: 1200,
        valid: true,
    };
    let mut run = Driven::start(order, "o-1");
    assert_eq!(run.asked::<String>("validate").0, "o-1");
    run.value("validate", &bought);
    assert_eq!(run.asked::<Order>("charge").0, bought);
    run.value("charge", "receipt");
    run.timer("settle");
    assert_eq!(run.asked::<(Order, String)>("confirm").0, (bought, "receipt".to_owned()));
    run.value("confirm", 7);
    assert_eq!(run.completed::<u32>(), 7);
    assert_eq!(
        run.lines()[..4],
        ["step validate", "step charge", "timer settle", "step confirm"]
    );
}

#[test]
fn a_step_is_done_as_its_function_declares() {
    let mut run = Driven::start(order, "o-1");
    run.value("validate", Order { total: 1, valid: true });
    let options = run.asked::<Order>("charge").1;
    assert_eq!(options, charge::declaration().options);
    assert_eq!(
        (options.queue.as_str(), options.timeout),
        ("payments", Some(Duration::from_secs(10)))
    );
}

#[workflow]
async fn overriding(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    let order = Order { total: 1, valid: true };
    let first = ctx
        .step(charge, order.clone())
        .key("deposit")
        .queue("slow")
        .retries(7)
        .timeout(Duration::from_secs(99));
    let second = ctx.step(charge, order).total_timeout(Duration::from_secs(60)).at_most_once();
    try_join!(first, second)?;
    Ok(())
}

#[test]
fn a_call_overrides_what_the_function_declares() {
    let run = Driven::start(overriding, ());
    let declared = &charge::declaration().options;
    let (deposit, second) = (run.asked::<Order>("deposit").1, run.asked::<Order>("charge~2").1);
    assert_eq!(
        (deposit.queue.as_str(), deposit.timeout),
        ("slow", Some(Duration::from_secs(99)))
    );
    assert_eq!(
        deposit.retries,
        RetryPolicy {
            max_attempts: 7,
            ..declared.retries.clone()
        }
    );
    assert_eq!((second.total_timeout, second.at_most_once), (Duration::from_secs(60), true));
    assert_eq!(second.retries, RetryPolicy::once());
}

#[test]
fn a_failed_step_is_told_by_name_and_ends_the_run_with_its_kind() {
    let mut run = Driven::start(order, "o-1");
    run.answer("validate", Err(Failure::new(FailureKind::Exhausted, "no such order")));
    assert_eq!(
        *run.failed(),
        Failure::new(FailureKind::Exhausted, "step `validate` failed: no such order")
    );
}

#[test]
fn a_recorded_value_of_another_type_names_step_and_type() {
    let mut run = Driven::start(order, "o-1");
    run.value("validate", vec!["not", "an", "order"]);
    let failure = run.failed();
    assert_eq!(failure.kind, FailureKind::Invalid);
    assert!(
        failure
            .message
            .starts_with("the result of step `validate` was recorded, but is not a typed::Order: "),
        "{failure}"
    );
}

#[test]
fn an_input_of_another_type_names_workflow_and_type() {
    let run = Driven::start(order, 7);
    let failure = run.failed();
    assert_eq!(failure.kind, FailureKind::Invalid);
    assert!(
        failure
            .message
            .starts_with("the input is not what workflow `order` v1 takes (alloc::string::String): "),
        "{failure}"
    );
}

/// Cannot be encoded, whatever it holds.
#[derive(Debug, Deserialize)]
struct Unspeakable;

impl Serialize for Unspeakable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it has no words"))
    }
}

#[function]
async fn speak(ctx: FunctionContext, what: Unspeakable) -> Result<(), StepError>;

#[workflow]
async fn speechless(ctx: WorkflowContext) -> Result<Unspeakable, WorkflowError> {
    if let Err(error) = ctx.step(speak, Unspeakable).await {
        ctx.log(&error);
    }
    Ok(Unspeakable)
}

#[test]
fn what_cannot_be_encoded_fails_the_step_or_the_run_that_says_it() {
    let mut run = Driven::start(speechless, ());
    let lines = run.lines();
    let refused = "the input of step `speak` (typed::Unspeakable) cannot be encoded: it has no words";
    assert_eq!(lines, [format!("record speak: invalid value: {refused}")]);
    run.answer("speak", Err(Failure::new(FailureKind::Invalid, refused)));
    assert_eq!(run.failed().kind, FailureKind::Invalid);
    assert!(
        run.failed()
            .message
            .starts_with("the result of workflow `speechless` (typed::Unspeakable) cannot be encoded"),
        "{}",
        run.failed()
    );
}

#[workflow]
async fn in_no_queue(ctx: WorkflowContext) -> Result<Order, WorkflowError> {
    ctx.step(validate, "o-1".into()).queue("a.b").await
}

#[test]
fn a_queue_that_cannot_be_is_refused_when_the_step_is_awaited() {
    let run = Driven::start(in_no_queue, ());
    let failure = run.failed();
    assert_eq!((failure.kind, run.lines().len()), (FailureKind::Invalid, 1));
    assert!(
        failure.message.contains("step `validate`: \"a.b\" is not a queue name"),
        "{failure}"
    );
}

#[workflow]
async fn twice_under_one_key(ctx: WorkflowContext) -> Result<bool, WorkflowError> {
    let first = ctx.step(validate, "o-1".into()).key("same");
    let second = ctx.step(validate, "o-2".into()).key("same");
    let (first, second) = join!(first, second);
    Ok(first.is_ok()
        && second
            .unwrap_err()
            .failure()
            .is_some_and(|failure| failure.kind == FailureKind::Invalid))
}

#[test]
fn a_key_asked_for_twice_is_an_error_to_the_second_only() {
    let mut run = Driven::start(twice_under_one_key, ());
    run.value("same", Order { total: 1, valid: true });
    assert!(run.completed::<bool>());
}

#[workflow]
async fn patient(ctx: WorkflowContext, until: Timestamp) -> Result<(Timestamp, Timestamp), WorkflowError> {
    let began = ctx.now();
    ctx.sleep(Duration::from_secs(60)).await?;
    ctx.sleep_until(until).named("the day").await?;
    Ok((began, ctx.now()))
}

#[test]
fn sleeps_are_due_by_the_time_of_the_entries() {
    let day = BEGINNING + Duration::from_secs(86_400);
    let mut run = Driven::start(patient, day);
    assert_eq!(run.due("sleep"), BEGINNING + Duration::from_secs(60));
    run.timer("sleep");
    assert_eq!(run.due("the day"), day);
    run.timer("the day");
    assert_eq!(
        run.completed::<(Timestamp, Timestamp)>(),
        (BEGINNING, BEGINNING + Duration::from_secs(2))
    );
}

#[workflow]
async fn lottery(ctx: WorkflowContext, fails: bool) -> Result<String, WorkflowError> {
    let draw = move || async move {
        if fails {
            Err("the machine is stuck")?;
        }
        Ok(BTreeMap::from([("drawn".to_owned(), 7)]))
    };
    match ctx.run("draw", draw).timeout(Duration::from_secs(1)).await {
        Ok(drawn) => Ok(format!("{drawn:?}")),
        Err(error) => Err(error.context("drawing")),
    }
}

#[test]
fn a_closure_is_encoded_where_it_runs_and_decoded_where_it_is_awaited() {
    let mut run = Driven::start(lottery, false);
    let (closure, timeout) = run.closure("draw");
    assert_eq!(timeout, Some(Duration::from_secs(1)));
    let result = closure().now_or_never().unwrap();
    assert_eq!(result, Ok(encode_value(&BTreeMap::from([("drawn", 7)])).unwrap()));
    run.local("draw", result);
    assert_eq!(run.completed::<String>(), r#"{"drawn": 7}"#);
}

#[test]
fn a_closure_that_fails_is_told_by_name() {
    let mut run = Driven::start(lottery, true);
    let (closure, _) = run.closure("draw");
    let result = closure().now_or_never().unwrap();
    assert_eq!(result, Err(Failure::new(FailureKind::Fatal, "the machine is stuck")));
    run.local("draw", result);
    assert_eq!(
        *run.failed(),
        Failure::new(FailureKind::Fatal, "drawing: closure `draw` failed: the machine is stuck")
    );
}

#[workflow]
async fn impatient(ctx: WorkflowContext) -> Result<Option<Order>, WorkflowError> {
    select! {
        order = ctx.step(validate, "o-1".into()) => order.map(Some),
        slept = ctx.sleep(Duration::from_secs(5)).named("patience") => slept.map(|()| None),
    }
}

#[test]
fn select_drops_and_cancels_what_came_second() {
    let mut run = Driven::start(impatient, ());
    run.timer("patience");
    assert_eq!(run.completed::<Option<Order>>(), None);
    assert_eq!(run.lines()[..3], ["step validate", "timer patience", "cancel validate"]);
}

#[test]
fn a_cancelled_wait_ends_the_run_as_cancelled() {
    let mut run = Driven::start(impatient, ());
    run.cancel();
    assert!(matches!(run.end(), RunEnd::Cancelled(_)), "{:?}", run.end());
}

#[workflow]
async fn tidies_up(ctx: WorkflowContext) -> Result<String, WorkflowError> {
    match ctx.sleep(Duration::from_secs(5)).await {
        Err(error) if error.is_cancelled() => Ok("tidied up".into()),
        other => other.map(|()| "slept".into()),
    }
}

#[test]
fn a_workflow_that_catches_the_cancel_may_complete() {
    let mut run = Driven::start(tidies_up, ());
    run.cancel();
    assert_eq!(run.completed::<String>(), "tidied up");
}

#[function]
async fn double(ctx: FunctionContext, number: u64) -> Result<u64, StepError> {
    match ctx.attempt() {
        1 if number > 0 => Ok(2 * number),
        _ => Err(StepError::fatal("nothing to double")),
    }
}

#[workflow]
async fn computes(ctx: WorkflowContext, number: u64) -> Result<u64, WorkflowError> {
    Ok(double(ctx.inline(), number).await? + 1)
}

#[test]
fn a_function_called_in_place_is_not_recorded() {
    let run = Driven::start(computes, 3);
    assert_eq!((run.completed::<u64>(), run.lines().len()), (7, 1));
    let failed = Driven::start(computes, 0);
    assert_eq!(*failed.failed(), Failure::new(FailureKind::Workflow, "nothing to double"));
}

#[workflow]
async fn talkative(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    ctx.log("before");
    ctx.sleep(Duration::from_secs(1)).await?;
    ctx.log_at(LogLevel::WARN, format_args!("after {} s", 1));
    Ok(())
}

#[test]
fn a_line_is_logged_when_reached_first_and_not_on_replay() {
    let logged = |known_until| {
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(log.clone())
            .without_time()
            .with_ansi(false)
            .finish();
        tracing::subscriber::with_default(subscriber, || Driven::start_known(talkative, (), known_until).timer("sleep"));
        log.text()
    };
    let (before, after) = (
        format!(" INFO everstep::workflow: before run={}\n", run_id()),
        format!(" WARN everstep::workflow: after 1 s run={}\n", run_id()),
    );
    assert_eq!(logged(0), format!("{before}{after}"));
    assert_eq!(logged(1), after);
    assert_eq!(logged(2), "");
}

#[workflow]
async fn derives(ctx: WorkflowContext) -> Result<(String, u64, u64, String), WorkflowError> {
    let (one, other) = (ctx.random(), ctx.random());
    ctx.sleep(Duration::from_secs(1)).await?;
    Ok((ctx.run_id().to_string(), one, other, ctx.uuid().to_string()))
}

#[test]
fn random_numbers_and_ids_are_the_same_on_replay() {
    let derived = || {
        let mut run = Driven::start(derives, ());
        run.timer("sleep");
        run.completed::<(String, u64, u64, String)>()
    };
    let (run, one, other, uuid) = derived();
    assert_eq!(run, run_id().to_string());
    assert_ne!(one, other);
    assert_eq!(derived(), (run, one, other, uuid));
}

#[test]
fn a_handler_speaks_bytes_and_refuses_what_is_not_its_input() {
    let (name, handler) = everstep::handler(double);
    let context = || FunctionContext::inline(run_id(), kit::key("double"), Default::default());
    assert_eq!(name.as_str(), "double");
    let doubled = handler(context(), encode_value(&21_u64).unwrap()).now_or_never().unwrap();
    assert_eq!(doubled.unwrap(), encode_value(&42_u64).unwrap());
    let refused = handler(context(), encode_value("twenty-one").unwrap())
        .now_or_never()
        .unwrap()
        .unwrap_err();
    assert!(!refused.is_retryable());
    assert!(
        refused
            .message()
            .starts_with("the input is not what function `double` takes (u64): "),
        "{refused}"
    );
}
