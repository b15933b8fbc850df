//! Scenarios about runs that wait for events, and their workflows.

use std::time::Duration;

use everstep::prelude::*;
use everstep::{RunId, WaitedFor};
use everstep_common::journal::RunOutcome;
use everstep_common::payload::Payload;
use everstep_common::wire;
use everstep_core::Definition;
use futures::FutureExt;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::scenarios::{Scenario, scenario};
use super::triggers::{LISTENING, event_code};
use super::world::World;

/// Waits for what happens to its order, in order and at once.
#[workflow]
pub async fn followed(ctx: WorkflowContext, order: u64) -> Result<Vec<u64>, WorkflowError> {
    ctx.sleep(Duration::from_secs(2)).await?;
    let first = ctx.wait_for_event::<Value>("parcel.moved", matching("order", &order)).await?;
    let (second, any) = ctx
        .parallel((
            ctx.wait_for_event::<Value>("parcel.moved", matching("order", &order)),
            ctx.wait_for_event::<Value>("parcel.moved", Matching::any()),
        ))
        .await?;
    let lost = ctx
        .wait_for_event::<Value>("parcel.lost", matching("order", &order))
        .deadline(Duration::from_secs(5))
        .await;
    let is_lost = !lost.as_ref().is_err_and(WorkflowError::is_timed_out);
    let raced = ctx
        .race((
            async {
                let found = ctx.wait_for_event::<Value>("parcel.found", Matching::any()).await?;
                Ok(found.data["step"].as_u64().unwrap_or_default())
            },
            async {
                ctx.sleep(Duration::from_secs(1)).await?;
                Ok(1_000)
            },
        ))
        .await?;
    let steps = [first, second, any].map(|event| event.data["step"].as_u64().unwrap_or_default());
    Ok([&steps[..], &[u64::from(is_lost), raced]].concat())
}

/// Waits for a minute for its parcel to be found.
#[workflow]
pub async fn awaiting_parcel(ctx: WorkflowContext, order: u64) -> Result<bool, WorkflowError> {
    let found = ctx.wait_for_event::<Value>("parcel.found", matching("order", &order));
    match found.deadline(Duration::from_secs(60)).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_timed_out() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Hears of one move of a parcel in each of three runs.
#[workflow]
pub async fn hop_by_hop(ctx: WorkflowContext, seen: Vec<u64>) -> Result<Vec<u64>, WorkflowError> {
    let moved = ctx.wait_for_event::<Value>("parcel.hopped", Matching::any()).await?;
    let seen = [&seen[..], &[moved.data["step"].as_u64().unwrap_or_default()]].concat();
    if seen.len() < 3 {
        return ctx.continue_as_new(seen);
    }
    Ok(seen)
}

/// The workflows.
pub(super) fn definitions() -> Vec<Definition> {
    vec![
        everstep::definition(awaiting_parcel, Default::default()),
        everstep::definition(hop_by_hop, Default::default()),
        everstep::definition(followed, Default::default()),
    ]
}

impl Scenario {
    /// Runs that wait for events, early ones and late ones; whoever dies.
    pub const FOLLOWED: Self = scenario!(followed_parcels);
    /// Waits whose deadline passes while nobody is there: of two, the event of one came in time.
    pub const OVERDUE: Self = scenario!(overdue);
    /// More runs that wait than fit into memory.
    pub const PATIENT: Self = scenario!(patient_runs);
    /// A run that goes on in others, each of which hears of what comes next.
    pub const HOPPING: Self = scenario!(hopping);
    /// The same, and all that comes is there before the first of them has heard of anything, twice; whoever dies.
    pub const HURRIED: Self = scenario!(hurried);
}

async fn followed_parcels(world: World) {
    world.orchestrator("orchestrator-1", event_code);
    world.listening(LISTENING).await;
    world
        .publish("parcel.moved", json!({ "order": 1, "step": 0 }), "before the run")
        .await;
    world.pass(Duration::from_secs(1)).await;
    let mut runs = Vec::new();
    for order in [1_u64, 2] {
        let key = format!("order {order}");
        let start = async |client: &everstep::Client| Ok(client.start(followed, order).key(&key).await?.id().clone());
        runs.push(world.asked(start).await);
    }
    for step in 1..=3_u64 {
        for order in [2_u64, 1] {
            for _ in 0..2 {
                let id = format!("order {order} step {step}");
                world
                    .publish("parcel.moved", json!({ "order": order, "step": step }), &id)
                    .await;
            }
        }
        world.pass(Duration::from_secs(1)).await;
    }
    world
        .until(|world| runs.iter().all(|run| value_of::<Vec<u64>>(world, run).is_some()))
        .await;
    for run in runs {
        // Its own first and second, and the first of all, which was published for the second order; nothing lost, nothing found.
        assert_eq!(value_of(&world, &run), Some(vec![1, 2, 1, 0, 1_000]));
    }
}

/// What a run has returned; nothing before.
fn value_of<T: DeserializeOwned>(world: &World, run: &RunId) -> Option<T> {
    let story = world.stories().into_iter().find(|story| story.run == *run)?;
    match story.end()? {
        RunOutcome::Completed(Payload::Inline(value)) => wire::decode_value(value).ok(),
        other => panic!("{run} has ended otherwise: {other:?}"),
    }
}

impl World {
    /// Starts a run for each of the orders, and returns once all of them wait.
    async fn waiting(&self, orders: std::ops::Range<u64>) -> Vec<RunId> {
        let mut runs = Vec::new();
        for order in orders {
            let key = format!("order {order}");
            let start = async |client: &everstep::Client| Ok(client.start(awaiting_parcel, order).key(&key).await?.id().clone());
            runs.push(self.asked(start).await);
        }
        let waits = |world: &World, run: &RunId| {
            let summary = world.summary(run);
            summary.is_some_and(|summary| summary.waits.iter().any(|wait| wait.kind == WaitedFor::Event))
        };
        self.until(|world| runs.iter().all(|run| waits(world, run))).await;
        runs
    }
}

async fn overdue(world: World) {
    world.orchestrator("orchestrator-1", event_code);
    world.listening(LISTENING).await;
    let runs = world.waiting(1..3).await;
    world.kill("orchestrator-1");
    world.publish("parcel.found", json!({ "order": 1 }), "in time").await;
    world.pass(Duration::from_secs(120)).await;
    world.publish("parcel.lost", json!({ "order": 2 }), "something else").await;
    world.orchestrator("orchestrator-2", event_code);
    world
        .until(|world| runs.iter().all(|run| value_of::<bool>(world, run).is_some()))
        .await;
    let values = runs.iter().map(|run| value_of::<bool>(&world, run));
    assert_eq!(values.collect::<Vec<_>>(), [Some(true), Some(false)]);
}

async fn patient_runs(world: World) {
    world.orchestrator("orchestrator-1", event_code);
    world.listening(LISTENING).await;
    let runs = world.waiting(0..40).await;
    for order in (0..40).step_by(2) {
        world
            .publish("parcel.found", json!({ "order": order }), &format!("found {order}"))
            .await;
    }
    world
        .until(|world| runs.iter().all(|run| value_of::<bool>(world, run).is_some()))
        .await;
    for (order, run) in runs.iter().enumerate() {
        assert_eq!(value_of(&world, run), Some(order % 2 == 0), "order {order}");
    }
}

async fn hurried(world: World) {
    world.orchestrator("orchestrator-1", event_code);
    world.listening(LISTENING).await;
    let start = async |client: &everstep::Client| Ok(client.start(hop_by_hop, vec![]).key("hurried").await?.id().clone());
    let first = world.asked(start).await;
    for step in 1..=3_u64 {
        for _ in 0..2 {
            world
                .publish("parcel.hopped", json!({ "step": step }), &format!("step {step}"))
                .await;
        }
    }
    let last = first.successor().successor();
    world
        .until(|world| world.stories().iter().any(|story| story.run == last && story.end().is_some()))
        .await;
    assert_eq!(value_of(&world, &last), Some(vec![1_u64, 2, 3]));
}

async fn hopping(world: World) {
    world.orchestrator("orchestrator-1", event_code);
    world.listening(LISTENING).await;
    let start = async |client: &everstep::Client| Ok(client.start(hop_by_hop, vec![]).key("hopping").await?.id().clone());
    let first = world.asked(start).await;
    let second = first.successor();
    let last = second.successor();
    for step in 1..=3_u64 {
        world
            .publish("parcel.hopped", json!({ "step": step }), &format!("step {step}"))
            .await;
        world.pass(Duration::from_secs(10)).await;
    }
    world
        .until(|world| world.stories().iter().any(|story| story.run == last && story.end().is_some()))
        .await;
    assert_eq!(value_of(&world, &last), Some(vec![1_u64, 2, 3]));
}
