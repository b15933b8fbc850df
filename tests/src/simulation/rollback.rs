//! Rollbacks: whoever dies, what was done is undone, and only that.

use std::collections::BTreeSet;

use everstep::prelude::*;
use everstep_common::ids::FunctionName;
use everstep_common::journal::{Entry, EntryKey, RunOutcome, StepResult};
use everstep_common::key::StepKey;
use everstep_core::Definition;
use everstep_examples::trip;
use everstep_worker::Handler;
use futures::FutureExt;

use super::scenarios::{Scenario, scenario, usual};
use super::shop::{begins, refuse, takes};
use super::world::World;

/// Scenarios that end the same whoever dies.
pub fn rollback_scenarios() -> Vec<Scenario> {
    vec![
        scenario!(failed),
        scenario!(cancelled),
        scenario!(not_all_undone),
        scenario!(given_up),
        scenario!(by_hand),
        scenario!(example),
    ]
}

impl Scenario {
    /// A step is given up at the moment at which it is done.
    pub const GIVEN_UP_LATE: Self = scenario!(given_up_late);
}

#[function]
async fn book(ctx: FunctionContext, what: String, seconds: u64) -> Result<String, StepError> {
    let ledger = begins(&ctx);
    takes(&ctx, Duration::from_secs(seconds)).await;
    ledger.effect(&ctx, &format!("book {what} of {}", ctx.run_id()));
    Ok(format!("{what} is booked"))
}

#[function(retries(max_attempts = 2, initial = "1s"))]
async fn unbook(ctx: FunctionContext, booking: String) -> Result<(), StepError> {
    let ledger = begins(&ctx);
    if ctx.attempt() == 1 {
        return Err(StepError::retryable("busy"));
    }
    ledger.effect(&ctx, &format!("undo {booking} of {}", ctx.run_id()));
    Ok(())
}

#[function]
async fn cannot_unbook(ctx: FunctionContext, _booking: String) -> Result<(), StepError> {
    begins(&ctx);
    Err(StepError::fatal("it is too late for that"))
}

fn booked(ctx: &WorkflowContext, what: &str, seconds: u64) -> everstep::StepFuture<String> {
    ctx.step(book, (what.to_owned(), seconds)).key(what).compensate(unbook)
}

#[workflow(on_failure = "rollback")]
async fn failing_trip(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    ctx.parallel((booked(&ctx, "flight", 2), booked(&ctx, "hotel", 1))).await?;
    booked(&ctx, "car", 1).await?;
    ctx.step(refuse, ()).await
}

#[workflow(on_failure = "rollback")]
async fn long_trip(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    booked(&ctx, "flight", 1).await?;
    booked(&ctx, "hotel", 1).await?;
    ctx.sleep(Duration::from_secs(3_600)).await
}

#[workflow(on_failure = "rollback")]
async fn unlucky_trip(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    booked(&ctx, "flight", 1).await?;
    let hotel = ctx.step(book, ("hotel".to_owned(), 1)).key("hotel");
    hotel.compensate(cannot_unbook).await?;
    ctx.step(refuse, ()).await
}

/// A booking is given up while it is being made.
#[workflow(on_failure = "rollback")]
async fn hasty_trip(ctx: WorkflowContext, flight: u64, nap: u64) -> Result<(), WorkflowError> {
    ctx.parallel((booked(&ctx, "flight", flight), booked(&ctx, "hotel", 0), async {
        ctx.sleep(Duration::from_secs(nap)).await?;
        ctx.step(refuse, ()).await
    }))
    .await?;
    Ok(())
}

/// Rolls back by itself, and makes another attempt.
#[workflow]
async fn second_choice(ctx: WorkflowContext) -> Result<String, WorkflowError> {
    booked(&ctx, "flight", 1).await?;
    booked(&ctx, "hotel", 1).await?;
    let undone = ctx.rollback().await?;
    let train = booked(&ctx, "train", 1).await?;
    Ok(format!("{undone} undone, {train}"))
}

/// The workflows.
pub(super) fn definitions() -> Vec<Definition> {
    let resources = Default::default;
    vec![
        everstep::definition(failing_trip, resources()),
        everstep::definition(long_trip, resources()),
        everstep::definition(unlucky_trip, resources()),
        everstep::definition(hasty_trip, resources()),
        everstep::definition(second_choice, resources()),
        everstep::definition(trip::trip_workflow, resources()),
    ]
}

/// The functions.
pub(super) fn handlers() -> Vec<(FunctionName, Handler)> {
    vec![
        everstep::handler(book),
        everstep::handler(unbook),
        everstep::handler(cannot_unbook),
        everstep::handler(trip::book_flight),
        everstep::handler(trip::cancel_flight),
        everstep::handler(trip::book_hotel),
        everstep::handler(trip::cancel_hotel),
        everstep::handler(trip::pay),
    ]
}

impl World {
    /// The steps that are recorded with a value, or with anything.
    fn steps(&self, with_value: bool) -> BTreeSet<String> {
        let stories = self.stories();
        let entries = stories.iter().flat_map(|story| &story.entries);
        let steps = entries.filter_map(|entry| match (&entry.key, &entry.entry) {
            (EntryKey::Step(key), Entry::Step(step)) => Some((key, matches!(step.result, StepResult::Value(_)))),
            _ => None,
        });
        steps
            .filter(|(_, has_value)| *has_value || !with_value)
            .map(|(key, _)| StepKey::to_string(key))
            .collect()
    }

    /// Of these bookings exactly those are undone that were made.
    fn expect_undone(&self, bookings: &[&str]) {
        let (done, tried) = (self.steps(true), self.steps(false));
        for booking in bookings {
            let undo = format!("undo/{booking}");
            let is_right = match done.contains(*booking) {
                true => done.contains(&undo),
                false => !tried.contains(&undo),
            };
            assert!(is_right, "{booking}: done {done:?}, recorded {tried:?}");
        }
    }
}

async fn failed(world: World) {
    usual(&world);
    let run = world.start(failing_trip, (), "failing").await;
    let outcome = world.ended(&run).await;
    let told = matches!(&outcome, RunOutcome::Failed(failure) if failure.message.contains("the card is stolen"));
    assert!(told, "{outcome:?}");
    world.expect_undone(&["parallel/0/flight", "parallel/1/hotel", "flight", "hotel", "car"]);
}

async fn cancelled(world: World) {
    usual(&world);
    let run = world.start(long_trip, (), "long").await;
    world.until(|world| world.steps(true).contains("hotel")).await;
    world.pass(Duration::from_secs(5)).await;
    world.cancel(&run).await;
    let outcome = world.ended(&run).await;
    assert!(matches!(outcome, RunOutcome::Cancelled(_)), "{outcome:?}");
    world.expect_undone(&["flight", "hotel"]);
}

async fn not_all_undone(world: World) {
    usual(&world);
    let run = world.start(unlucky_trip, (), "unlucky").await;
    let RunOutcome::Failed(failure) = world.ended(&run).await else {
        panic!("it fails")
    };
    assert_eq!(failure.kind, FailureKind::RollbackFailed);
    let told =
        "step `refuse` failed: the card is stolen; rolled back: 1 undone; step `hotel` is not undone: it is too late for that";
    assert!(failure.message.ends_with(told), "{failure}");
    world.expect_undone(&["flight"]);
}

async fn given_up(world: World) {
    usual(&world);
    let run = world.start(hasty_trip, (900, 40), "hasty").await;
    let outcome = world.ended(&run).await;
    assert!(matches!(outcome, RunOutcome::Failed(_)), "{outcome:?}");
    world.expect_undone(&["flight", "hotel"]);
}

/// Whether the booking is made or given up is a matter of milliseconds.
async fn given_up_late(world: World) {
    usual(&world);
    let run = world.start(hasty_trip, (2, 2), "hasty").await;
    let outcome = world.ended(&run).await;
    assert!(matches!(outcome, RunOutcome::Failed(_)), "{outcome:?}");
    world.expect_undone(&["flight", "hotel"]);
}

async fn by_hand(world: World) {
    usual(&world);
    let run = world.start(second_choice, (), "second choice").await;
    super::scenarios::expect_completed(&world, &run).await;
    world.expect_undone(&["flight", "hotel"]);
    assert!(!world.steps(false).contains("undo/train"));
}

async fn example(world: World) {
    usual(&world);
    let (rich, poor) = (trip::Trip::new("Ada", 100_000), trip::Trip::new("Grace", 1));
    let paid = world.start(trip::trip_workflow, rich, "rich").await;
    super::scenarios::expect_completed(&world, &paid).await;
    assert!(!world.steps(false).iter().any(|step| step.starts_with("undo/")));
    let unpaid = world.start(trip::trip_workflow, poor, "poor").await;
    let outcome = world.ended(&unpaid).await;
    assert!(matches!(outcome, RunOutcome::Failed(_)), "{outcome:?}");
    let undone = world.steps(true);
    assert!(
        undone.contains("undo/book_flight") && undone.contains("undo/book_hotel"),
        "{undone:?}"
    );
}
