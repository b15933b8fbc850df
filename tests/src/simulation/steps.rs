//! How steps are to be done: timeouts, heartbeats and retries, whoever dies meanwhile.

use everstep::prelude::*;
use everstep_common::ids::FunctionName;
use everstep_core::Definition;
use everstep_worker::Handler;
use futures::FutureExt;

use super::scenarios::{Scenario, expect_completed, scenario, usual};
use super::shop::{self, begins, square, takes};
use super::world::World;

/// Scenarios that end the same whoever dies.
pub fn step_scenarios() -> Vec<Scenario> {
    vec![
        scenario!(unserved_queue),
        scenario!(hung_function),
        scenario!(lost_worker),
        scenario!(final_errors),
    ]
}

/// A step in a queue that nobody serves, and what is done instead.
#[workflow]
async fn impatient(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
    let unserved = ctx.step(square, 3).queue("gpu").start_timeout(Duration::from_secs(5));
    let error = unserved.await.expect_err("nobody serves that queue");
    let kind = error.failure().map(|failure| failure.kind);
    assert_eq!(kind, Some(FailureKind::NotStarted), "{error}");
    ctx.step(square, 4).key("instead").await
}

/// Hangs in the middle of its first attempt.
#[function(heartbeat_timeout = "5s", timeout = "600s", retries(max_attempts = 3, initial = "1s"))]
async fn import(ctx: FunctionContext, pages: u32) -> Result<u32, StepError> {
    let ledger = begins(&ctx);
    let done: u32 = ctx.heartbeat_details().unwrap_or(0);
    for page in done + 1..=pages {
        takes(&ctx, Duration::from_secs(1)).await;
        ctx.heartbeat(page);
        if ctx.attempt() == 1 && page == pages / 2 {
            takes(&ctx, Duration::from_secs(3_600)).await;
        }
    }
    ledger.effect(&ctx, &format!("import of {} from page {done} on", ctx.run_id()));
    Ok(pages)
}

#[workflow]
async fn importing(ctx: WorkflowContext, pages: u32) -> Result<u32, WorkflowError> {
    ctx.step(import, pages).await
}

/// May take less than a worker's death is noticed in by redelivery.
#[function(
    timeout = "10s",
    retries(max_attempts = 5, backoff = "constant", initial = "1s", jitter = false)
)]
async fn urgent(ctx: FunctionContext) -> Result<(), StepError> {
    let ledger = begins(&ctx);
    takes(&ctx, Duration::from_secs(5)).await;
    ledger.effect(&ctx, &format!("urgent {}", ctx.run_id()));
    Ok(())
}

#[workflow]
async fn hurrying(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    ctx.step(urgent, ()).await
}

#[derive(Debug, thiserror::Error)]
#[error("no such page")]
struct NotFound;

#[function(retries(max_attempts = 3, backoff = "linear", initial = "1s", never("NotFound", "panic")))]
async fn fetch(ctx: FunctionContext, how: String) -> Result<(), StepError> {
    begins(&ctx);
    match how.as_str() {
        "not found" => Err(NotFound)?,
        "panics" => panic!("in attempt {}", ctx.attempt()),
        _ => Err(StepError::retryable(format!("busy in attempt {}", ctx.attempt())).named("Busy")),
    }
}

/// Errors that are retried and errors that are not; says how each ended.
#[workflow]
async fn fetching(ctx: WorkflowContext) -> Result<String, WorkflowError> {
    let mut told = Vec::new();
    for how in ["not found", "panics", "busy"] {
        let fetched = ctx.step(fetch, how.to_owned()).await;
        told.push(fetched.expect_err("it never works").to_string());
    }
    Ok(told.join("; "))
}

/// The workflows.
pub(super) fn definitions() -> Vec<Definition> {
    let resources = Default::default;
    vec![
        everstep::definition(impatient, resources()),
        everstep::definition(importing, resources()),
        everstep::definition(hurrying, resources()),
        everstep::definition(fetching, resources()),
    ]
}

/// The functions.
pub(super) fn handlers() -> Vec<(FunctionName, Handler)> {
    vec![everstep::handler(import), everstep::handler(urgent), everstep::handler(fetch)]
}

async fn unserved_queue(world: World) {
    usual(&world);
    let run = world.start(impatient, (), "impatient").await;
    expect_completed(&world, &run).await;
}

async fn hung_function(world: World) {
    usual(&world);
    let before = world.server().time();
    let run = world.start(importing, 8, "importing").await;
    expect_completed(&world, &run).await;
    if world.settings().crash.is_none() {
        let took = world.server().time().duration_since(before);
        assert!(
            took.as_secs() < 30,
            "a hung function is noticed by its heartbeats, after {took:?}"
        );
        let resumed = format!("import of {run} from page 4 on");
        let effects = world.ledger().effects();
        assert!(
            effects.contains_key(&resumed),
            "the second attempt goes on where the first one was: {effects:?}"
        );
    }
}

async fn lost_worker(world: World) {
    usual(&world);
    let before = world.server().time();
    let run = world.start(hurrying, (), "hurrying").await;
    let begun = |world: &World| world.stories().iter().any(|story| story.entries.len() >= 2);
    world.until(begun).await;
    world.pass(Duration::from_secs(1)).await;
    world.kill("worker-1");
    world.worker("worker-2", &["default"]);
    expect_completed(&world, &run).await;
    if world.settings().crash.is_none() {
        let took = world.server().time().duration_since(before);
        assert!(
            took.as_secs() < 25,
            "the timeout holds without its worker, and before the task is delivered again: {took:?}"
        );
    }
}

async fn final_errors(world: World) {
    world.orchestrator("orchestrator-1", shop::code);
    world.worker("worker-1", &["default"]);
    let run = world.start(fetching, (), "fetching").await;
    expect_completed(&world, &run).await;
}
