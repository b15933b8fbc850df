//! Runs that start runs, and runs that go on in others: what becomes of them, whoever dies.

use everstep::prelude::*;
use everstep_common::ids::{FunctionName, RunId};
use everstep_common::journal::RunOutcome;
use everstep_core::Definition;
use everstep_examples::fleet;
use everstep_worker::Handler;
use futures::FutureExt;

use super::scenarios::{Scenario, expect_completed, scenario, usual};
use super::settings::Settings;
use super::shop::{before, large, large_input, refuse, slow, square};
use super::world::World;

/// Scenarios that end the same whoever dies.
pub fn child_scenarios() -> Vec<Scenario> {
    vec![
        scenario!(awaited),
        scenario!(large_child),
        scenario!(failing_children),
        scenario!(detached),
        scenario!(lost),
        scenario!(cancelled_family),
        scenario!(terminated_family),
        scenario!(cancelled_as_it_stood),
        scenario!(continued),
        scenario!(continued_child),
        scenario!(child_that_stood_still),
        scenario!(example),
    ]
}

/// Parents and children in partitions of their own.
pub fn apart() -> Settings {
    Settings {
        partitions: 3,
        ..Settings::default()
    }
}

impl Scenario {
    /// A run that goes on as new every few seconds, and is cancelled somewhere on the way. The seed says where.
    pub const CHAIN_CANCELLED: Self = scenario!(chain_cancelled);
    /// The same, terminated.
    pub const CHAIN_TERMINATED: Self = scenario!(chain_terminated);
    /// A parent is terminated while it starts children. The seed says when.
    pub const FAMILY_TERMINATED: Self = scenario!(family_terminated);
}

/// A step, a nap, and it is there.
#[workflow(name = "squared parcel")]
async fn parcel(ctx: WorkflowContext, number: u64) -> Result<u64, WorkflowError> {
    let squared = ctx.step(square, number).await?;
    ctx.sleep(Duration::from_secs(1)).await?;
    Ok(squared)
}

/// Fails, after a child of its own did.
#[workflow]
async fn refused_parcel(ctx: WorkflowContext, deep: bool) -> Result<(), WorkflowError> {
    if deep {
        ctx.child(refused_parcel, false).await?;
    }
    ctx.step(refuse, ()).await
}

/// Children one after the other and at once.
#[workflow]
async fn shipping(ctx: WorkflowContext) -> Result<String, WorkflowError> {
    let first = ctx.child(parcel, 2).tag("speed", "high").await?;
    let more = (3..6).map(|number| ctx.child(parcel, number).key(format!("parcel {number}")));
    let more = futures::future::try_join_all(more).await?;
    Ok(format!("{first} {more:?}"))
}

/// What a child makes of a large value.
#[workflow]
async fn bulky(ctx: WorkflowContext) -> Result<usize, WorkflowError> {
    Ok(ctx.child(large, large_input()).await?.len())
}

/// Says how its children failed, without their ids.
#[workflow]
async fn unlucky(ctx: WorkflowContext) -> Result<String, WorkflowError> {
    let failed = ctx.child(refused_parcel, true).await.expect_err("it fails");
    let WorkflowErrorKind::Child { child, run, failure } = failed.kind() else {
        return Err(failed);
    };
    assert!(run.is_some(), "it was started");
    Ok(format!("{child}: {:?}", failure.kind))
}

/// Starts a run and does not wait for it.
#[workflow]
async fn dispatcher(ctx: WorkflowContext) -> Result<String, WorkflowError> {
    let run = ctx.child(parcel, 9).detached().await?;
    Ok(run.to_string())
}

/// Rests for an hour, and cleans up when it may not.
#[workflow]
async fn patient_parcel(ctx: WorkflowContext, number: u64) -> Result<u64, WorkflowError> {
    let rested = ctx.sleep(Duration::from_secs(3_600)).await;
    if rested.is_err() {
        ctx.shield(ctx.step(square, number)).await?;
    }
    rested.map(|()| number)
}

/// A child of its own child, cleaned up from below.
#[workflow]
async fn patient_van(ctx: WorkflowContext, number: u64) -> Result<u64, WorkflowError> {
    let carried = ctx.child(patient_parcel, number).await;
    if carried.is_err() {
        ctx.shield(ctx.step(square, number + 100)).await?;
    }
    carried
}

/// Children that lose: to a step, to the time, to a sibling that fails.
#[workflow]
async fn losing(ctx: WorkflowContext) -> Result<String, WorkflowError> {
    let quick = async { ctx.step(slow, 1).await.map(|_| 0) };
    let won = ctx.race((ctx.child(patient_van, 1), quick)).await?;
    let late = ctx.timeout(Duration::from_secs(3), ctx.child(patient_parcel, 2)).await;
    let late = late.expect_err("its time is up");
    let all = ctx.parallel((ctx.child(patient_parcel, 3), ctx.step(refuse, ()))).await;
    Ok(format!("{won} {late} {}", all.is_err()))
}

/// Waits for children who wait.
#[workflow]
async fn patient(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    let shielded = ctx.shield(ctx.child(parcel, 7));
    ctx.parallel((ctx.child(patient_van, 4), ctx.child(patient_parcel, 5), shielded))
        .await?;
    Ok(())
}

/// Panics while a child is open, and so stands still.
#[workflow]
async fn panicking(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    let child = async { ctx.child(patient_parcel, 6).await.map(drop) };
    let panics = async {
        // By then the child is started, whoever died.
        ctx.sleep(Duration::from_secs(15)).await?;
        assert!(ctx.is_cancelled(), "panics while a child is open");
        Ok(())
    };
    ctx.parallel((child, panics)).await?;
    Ok(())
}

/// Squares, one in each run.
#[workflow]
async fn rounds(ctx: WorkflowContext, round: u64, sum: u64) -> Result<u64, WorkflowError> {
    let sum = sum + ctx.step(square, round).await?;
    ctx.sleep(Duration::from_millis(500)).await?;
    if round < 4 {
        return ctx.continue_as_new((round + 1, sum));
    }
    Ok(sum)
}

/// Goes on and on.
#[workflow]
async fn for_ever(ctx: WorkflowContext, round: u64) -> Result<(), WorkflowError> {
    ctx.sleep(Duration::from_millis(900)).await?;
    ctx.continue_as_new(round + 1)
}

/// A child that goes on as new brings what the last run does.
#[workflow]
async fn waits_for_rounds(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
    ctx.child(rounds, (1, 0)).await
}

/// Waits for a run that stands still until its code is mended.
#[workflow]
async fn waits_for_change(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
    ctx.child(before::changing, ()).await
}

/// Children without end, one after the other and at once.
#[workflow]
async fn fertile(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    for round in 0..1_000 {
        let twins = [ctx.child(parcel, 1), ctx.child(parcel, 2)];
        futures::future::try_join_all(twins).await?;
        ctx.child(patient_parcel, round).detached().await?;
    }
    Ok(())
}

/// The workflows.
pub(super) fn definitions() -> Vec<Definition> {
    let resources = Default::default;
    vec![
        everstep::definition(parcel, resources()),
        everstep::definition(refused_parcel, resources()),
        everstep::definition(shipping, resources()),
        everstep::definition(bulky, resources()),
        everstep::definition(unlucky, resources()),
        everstep::definition(dispatcher, resources()),
        everstep::definition(patient_parcel, resources()),
        everstep::definition(patient_van, resources()),
        everstep::definition(losing, resources()),
        everstep::definition(patient, resources()),
        everstep::definition(panicking, resources()),
        everstep::definition(rounds, resources()),
        everstep::definition(for_ever, resources()),
        everstep::definition(waits_for_rounds, resources()),
        everstep::definition(waits_for_change, resources()),
        everstep::definition(fertile, resources()),
        everstep::definition(fleet::parcel, resources()),
        everstep::definition(fleet::tour, resources()),
        everstep::definition(fleet::van, resources()),
    ]
}

/// The functions.
pub(super) fn handlers() -> Vec<(FunctionName, Handler)> {
    vec![everstep::handler(fleet::hand_over)]
}

async fn awaited(world: World) {
    usual(&world);
    let run = world.start(shipping, (), "shipping").await;
    expect_completed(&world, &run).await;
}

async fn large_child(world: World) {
    usual(&world);
    let run = world.start(bulky, (), "bulky").await;
    expect_completed(&world, &run).await;
}

async fn failing_children(world: World) {
    usual(&world);
    let run = world.start(unlucky, (), "unlucky").await;
    expect_completed(&world, &run).await;
}

async fn detached(world: World) {
    usual(&world);
    let run = world.start(dispatcher, (), "dispatcher").await;
    expect_completed(&world, &run).await;
    world
        .until(|world| world.stories().iter().all(|story| story.end().is_some()))
        .await;
}

async fn lost(world: World) {
    usual(&world);
    let run = world.start(losing, (), "losing").await;
    expect_completed(&world, &run).await;
}

/// Returns once there are so many runs, of which one has ended.
async fn busy(world: &World, runs: usize) {
    let under_way = |world: &World| {
        let stories = world.stories();
        stories.len() == runs && stories.iter().filter(|story| story.end().is_some()).count() == 1
    };
    world.until(under_way).await;
    world.pass(Duration::from_secs(1)).await;
}

async fn cancelled_family(world: World) {
    usual(&world);
    let run = world.start(patient, (), "patient").await;
    busy(&world, 5).await;
    world.cancel(&run).await;
    let outcome = world.ended(&run).await;
    assert!(matches!(outcome, RunOutcome::Cancelled(_)), "{outcome:?}");
}

async fn terminated_family(world: World) {
    usual(&world);
    let run = world.start(patient, (), "patient").await;
    busy(&world, 5).await;
    world.terminate(&run).await;
    let outcome = world.ended(&run).await;
    assert!(matches!(outcome, RunOutcome::Terminated(_)), "{outcome:?}");
}

async fn cancelled_as_it_stood(world: World) {
    usual(&world);
    let run = world.start(panicking, (), "panicking").await;
    world.parked(&run, "panicked").await;
    world.pass(Duration::from_secs(1)).await;
    world.cancel(&run).await;
    let outcome = world.ended(&run).await;
    assert!(matches!(outcome, RunOutcome::Cancelled(_)), "{outcome:?}");
}

async fn continued(world: World) {
    usual(&world);
    let run = world.start(rounds, (1, 0), "rounds").await;
    expect_completed(&world, &run).await;
    let again = world.start(rounds, (1, 0), "rounds").await;
    assert_eq!(run, again, "P1: the key stands for the first run of the chain");
    expect_completed(&world, &again).await;
    assert_eq!(world.stories().len(), 4);
}

async fn continued_child(world: World) {
    usual(&world);
    let run = world.start(waits_for_rounds, (), "waits for rounds").await;
    expect_completed(&world, &run).await;
}

async fn child_that_stood_still(world: World) {
    use super::shop;
    usual(&world);
    let run = world.start(waits_for_change, (), "waits for change").await;
    let squared = |world: &World| {
        let stories = world.stories();
        stories.len() == 2 && stories.iter().all(|story| story.entries.len() >= 2)
    };
    world.until(squared).await;
    world.pass(Duration::from_secs(1)).await;
    world.kill("orchestrator-1");
    world.orchestrator("orchestrator-2", shop::changed_code);
    let child = only_child(&world, &run).await;
    world.parked(&child, "nondeterministic").await;
    world.kill("orchestrator-2");
    world.orchestrator("orchestrator-3", shop::code);
    world.pass(Duration::from_secs(2)).await;
    world.resume(&child, false).await;
    expect_completed(&world, &run).await;
}

async fn example(world: World) {
    usual(&world);
    let tour = ["1 Low Road", ""].map(str::to_owned).to_vec();
    let runs = [
        world.start(fleet::van, (1, 2, 0), "van").await,
        world.start(fleet::tour, tour, "tour").await,
    ];
    for run in &runs {
        expect_completed(&world, run).await;
    }
}

async fn only_child(world: &World, run: &RunId) -> RunId {
    let children = world.client(async |client| client.children(run).await).await;
    let children = children.expect("the server is there");
    assert_eq!(children.len(), 1, "{children:?}");
    children[0].run.clone()
}

async fn chain_cancelled(world: World) {
    usual(&world);
    let run = world.start(for_ever, 0, "for ever").await;
    world.pass(Duration::from_millis(70) * world.settings().seed as u32).await;
    world.cancel(&run).await;
    let outcome = world.ended(&run).await;
    assert!(matches!(outcome, RunOutcome::Cancelled(_)), "{outcome:?}");
}

async fn chain_terminated(world: World) {
    usual(&world);
    let run = world.start(for_ever, 0, "for ever").await;
    world.pass(Duration::from_millis(70) * world.settings().seed as u32).await;
    world.terminate(&run).await;
    let outcome = world.ended(&run).await;
    assert!(matches!(outcome, RunOutcome::Terminated(_)), "{outcome:?}");
}

async fn family_terminated(world: World) {
    usual(&world);
    let run = world.start(fertile, (), "fertile").await;
    while world.entries() < 3 + world.settings().seed {
        world.pass(Duration::from_micros(200)).await;
    }
    world.terminate(&run).await;
    let outcome = world.ended(&run).await;
    assert!(matches!(outcome, RunOutcome::Terminated(_)), "{outcome:?}");
    // Those that nobody waits for are not concerned.
    let attached_end = |world: &World| {
        let open = world.stories().into_iter().filter(|story| story.end().is_none());
        let detached: Vec<_> = open.map(|story| (story.start().cloned(), story.run)).collect();
        detached.into_iter().all(|(start, _)| {
            let parent = start.and_then(|start| start.parent);
            parent.is_some_and(|parent| parent.detached)
        })
    };
    world.until(attached_end).await;
    for story in world.stories() {
        if story.end().is_none() {
            world.cancel(&story.run).await;
        }
    }
}
