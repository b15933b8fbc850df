//! Scenarios about a rate of each key: it holds over all orchestrators, whoever dies, and nobody waits for another's.

use std::time::Duration;

use everstep::Limit;
use everstep::prelude::*;
use everstep_common::ids::{FunctionName, RunId};
use everstep_common::journal::{EntryKey, RunTimer};
use everstep_core::Definition;
use everstep_worker::Handler;
use futures::FutureExt;
use futures::future::join_all;

use super::flow::{two_of_each, work};
use super::scenarios::{Scenario, expect_completed, scenario};
use super::world::World;

/// The time between two of a key.
const APART: Duration = Duration::from_secs(2);

/// The way from the orchestrator to the worker, which takes one longer than the other, and what may be made up for.
const WAY: Duration = Duration::from_millis(400);

#[function(limit(per_key_rate = "1/2s"))]
async fn metered(ctx: FunctionContext, key: String) -> Result<(), StepError> {
    work(&ctx, &["metered", &key]).await;
    Ok(())
}

/// So many steps at once, some of a key and some of none.
#[workflow]
pub async fn metered_fan(ctx: WorkflowContext, keys: Vec<String>) -> Result<(), WorkflowError> {
    let steps = keys.into_iter().map(|key| match key.as_str() {
        "nobody" => ctx.step(metered, key),
        _ => ctx.step(metered, key.clone()).limit_key(key),
    });
    join_all(steps).await.into_iter().collect()
}

/// Begins, and has nothing more to do.
#[workflow(limit(per_key_rate = "1/2s"))]
pub async fn metered_run(_ctx: WorkflowContext) -> Result<(), WorkflowError> {
    Ok(())
}

/// The workflows above.
pub(super) fn definitions() -> [Definition; 2] {
    [
        everstep::definition(metered_fan, Default::default()),
        everstep::definition(metered_run, Default::default()),
    ]
}

/// The function above.
pub(super) fn handlers() -> [(FunctionName, Handler); 1] {
    [everstep::handler(metered)]
}

impl Scenario {
    /// The steps of each key are apart, over two orchestrators and several partitions.
    pub const METERED_FOR_ALL: Self = scenario!(metered_for_all);
    /// The runs of each key are apart.
    pub const METERED_RUNS: Self = scenario!(metered_runs);
    /// The rate of keys is changed while their steps wait.
    pub const METERED_LIVE: Self = scenario!(metered_live);
}

async fn metered_for_all(world: World) {
    two_of_each(&world);
    let keys = ["busy", "calm", "busy", "nobody", "nobody", "nobody"]
        .map(str::to_owned)
        .to_vec();
    let mut runs = Vec::new();
    for number in 0..3 {
        runs.push(world.start(metered_fan, keys.clone(), &format!("metered {number}")).await);
    }
    for run in &runs {
        expect_completed(&world, run).await;
    }
    let nobody = world.gauge().began("nobody");
    assert!(nobody.len() >= 9);
    if world.settings().crash.is_none() {
        let took = nobody[8] - nobody[0];
        assert!(
            took < Duration::from_secs(2),
            "without a key nobody waits, and they took {took:?}"
        );
    }
    for (key, count) in [("busy", 6), ("calm", 3)] {
        let began = world.gauge().began(key);
        assert!(began.len() >= count, "{} of {key} began", began.len());
        expect_apart(&world, key, &began);
    }
    world.expect_nobody_in("function.metered").await;
}

/// They began one after the other. Whose turn had come when somebody died begins when he is replaced: one whose task was not published yet,
/// and one whose task is delivered again.
fn expect_apart(world: &World, key: &str, began: &[Duration]) {
    let late = if world.settings().crash.is_some() { 2 } else { 0 };
    for (place, first) in began.iter().enumerate() {
        let end = *first + APART - WAY;
        let within = began[place..].iter().take_while(|at| **at < end).count();
        assert!(within <= 1 + late, "{within} of {key} began at once: {began:?}");
    }
    let turns = u32::try_from(began.len().saturating_sub(1 + late)).expect("they are few");
    let took = began[began.len() - 1] - began[0];
    assert!(took + WAY >= APART * turns, "{} of {key} took {took:?}", began.len());
    if late == 0 {
        assert!(took <= APART * turns + WAY * 2, "nobody waits longer than that: {began:?}");
    }
}

async fn metered_runs(world: World) {
    two_of_each(&world);
    let (mut busy, mut calm) = (Vec::new(), Vec::new());
    for number in 0..6 {
        let (customer, runs) = if number % 3 == 0 {
            ("calm", &mut calm)
        } else {
            ("busy", &mut busy)
        };
        let key = format!("{customer} {number}");
        runs.push(world.start_as(metered_run, (), &key, |start| start.limit_key(customer)).await);
    }
    for (customer, runs) in [("busy", busy), ("calm", calm)] {
        for run in &runs {
            expect_completed(&world, run).await;
        }
        expect_apart(&world, customer, &world.given_places(&runs));
    }
    world.expect_nobody_in("workflow.metered_run").await;
}

async fn metered_live(world: World) {
    two_of_each(&world);
    let hourly = Limit {
        per_key_rate: Some("1/h".parse().expect("a rate")),
        ..Limit::NONE
    };
    world.limit("function.metered", Some(hourly)).await;
    world.pass(Duration::from_secs(1)).await;
    let keys = ["busy", "busy", "busy", "busy", "calm"].map(str::to_owned).to_vec();
    let run = world.start(metered_fan, keys, "metered live").await;
    world.pass(Duration::from_secs(20)).await;
    let began = |key| world.gauge().began(key).len();
    assert_eq!((began("busy"), began("calm")), (1, 1), "the others wait for an hour");
    world.limit("function.metered", None).await;
    expect_completed(&world, &run).await;
    let began = world.gauge().began("busy");
    expect_apart(&world, "busy", &began[1..]);
    world.expect_nobody_in("function.metered").await;
}

impl World {
    /// When the runs were given their places, in order, by the server's time stamps.
    fn given_places(&self, runs: &[RunId]) -> Vec<Duration> {
        let place = EntryKey::Timer(RunTimer::Place.key());
        let stories = self.stories();
        let entries = stories
            .iter()
            .filter(|story| runs.contains(&story.run))
            .flat_map(|story| &story.entries);
        let times = entries
            .filter(|entry| entry.key == place)
            .map(|entry| entry.time.as_millisecond());
        let mut times: Vec<_> = times.map(|at| Duration::from_millis(at.unsigned_abs())).collect();
        times.sort_unstable();
        assert_eq!(times.len(), runs.len(), "each waits for its place");
        times
    }
}
