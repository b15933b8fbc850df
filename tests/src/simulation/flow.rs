//! Scenarios about limits: that they hold, whoever dies; that nobody starves; that they can be changed while runs wait.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use everstep::prelude::*;
use everstep::{Limit, LimitName};
use everstep_common::flow::Usage;
use everstep_common::ids::FunctionName;
use everstep_common::journal::RunOutcome;
use everstep_common::store::LIMITS;
use everstep_common::wire;
use everstep_core::Definition;
use everstep_worker::Handler;
use futures::FutureExt;
use futures::future::join_all;

use super::scenarios::{Scenario, expect_completed, scenario};
use super::shop::{self, FunctionClock, begins, takes};
use super::world::World;

/// How long a limited step takes.
const TAKES: Duration = Duration::from_millis(200);

/// How many limited steps run at a time, and when each began: what the outside world sees.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<Mutex<Readings>>);

#[derive(Debug, Default)]
struct Readings {
    running: BTreeMap<String, u32>,
    most: BTreeMap<String, u32>,
    /// By the simulation's clock.
    began: Vec<(String, Duration)>,
}

struct Running(Gauge, Vec<String>);

impl Gauge {
    fn enter(&self, ctx: &FunctionContext, names: &[&str]) -> Running {
        let now = ctx.resource::<FunctionClock>().0.now().0;
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut readings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for name in &names {
            let running = readings.running.entry(name.clone()).or_default();
            *running += 1;
            let running = *running;
            let most = readings.most.entry(name.clone()).or_default();
            *most = (*most).max(running);
            readings.began.push((name.clone(), now));
        }
        Running(self.clone(), names)
    }

    /// The most that ever ran at a time.
    fn most(&self, name: &str) -> u32 {
        let readings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        readings.most.get(name).copied().unwrap_or(0)
    }

    /// When each began, in order.
    pub(super) fn began(&self, name: &str) -> Vec<Duration> {
        let readings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_name = readings.began.iter().filter(|(began, _)| began == name);
        of_name.map(|(_, at)| *at).collect()
    }

    /// Which began, in order.
    fn order(&self) -> Vec<String> {
        let readings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        readings.began.iter().map(|(name, _)| name.clone()).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut readings = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        for name in &self.1 {
            if let Some(running) = readings.running.get_mut(name) {
                *running -= 1;
            }
        }
    }
}

/// Does something for a while, by some names on the gauge.
pub(super) async fn work(ctx: &FunctionContext, names: &[&str]) {
    let ledger = begins(ctx);
    let running = ctx.resource::<Gauge>().enter(ctx, names);
    takes(ctx, TAKES).await;
    drop(running);
    ledger.effect(ctx, &format!("{} of {}", ctx.step_key(), ctx.run_id()));
}

#[function(limit(concurrency = 3))]
async fn narrow(ctx: FunctionContext) -> Result<(), StepError> {
    work(&ctx, &["narrow"]).await;
    Ok(())
}

#[function(limit(rate = "10/s"))]
async fn paced(ctx: FunctionContext) -> Result<(), StepError> {
    work(&ctx, &["paced"]).await;
    Ok(())
}

#[function(limit(concurrency = 4, per_key = 1))]
async fn shared(ctx: FunctionContext, key: String) -> Result<(), StepError> {
    work(&ctx, &["shared", &key]).await;
    Ok(())
}

#[function(queue = "gpu", limit(concurrency = 5), retries(max_attempts = 3, initial = "1s"))]
async fn rendered(ctx: FunctionContext, name: String) -> Result<(), StepError> {
    if ctx.attempt() == 1 && name == "fails first" {
        return Err(StepError::retryable("not yet"));
    }
    work(&ctx, &["rendered", &name]).await;
    Ok(())
}

#[function]
async fn bought(ctx: FunctionContext) -> Result<u32, StepError> {
    begins(&ctx).effect(&ctx, &format!("bought by {}", ctx.run_id()));
    Ok(1)
}

#[function(limit(concurrency = 1))]
async fn returned(ctx: FunctionContext, _what: u32) -> Result<(), StepError> {
    work(&ctx, &["returned"]).await;
    Ok(())
}

/// Fails, and gives back what it bought.
#[workflow(on_failure = "rollback")]
pub async fn regretted(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    ctx.step(bought, ()).compensate(returned).await?;
    Err(WorkflowError::new("it does not fit"))
}

/// So many limited steps at once.
#[workflow]
pub async fn narrow_fan(ctx: WorkflowContext, width: u64) -> Result<(), WorkflowError> {
    join_all((0..width).map(|_| ctx.step(narrow, ()))).await.into_iter().collect()
}

/// So many steps at once, at the rate that they are allowed.
#[workflow]
pub async fn paced_fan(ctx: WorkflowContext, width: u64) -> Result<(), WorkflowError> {
    join_all((0..width).map(|_| ctx.step(paced, ()))).await.into_iter().collect()
}

/// So many steps at once of some keys.
#[workflow]
pub async fn keyed_fan(ctx: WorkflowContext, keys: Vec<String>) -> Result<(), WorkflowError> {
    let steps = keys.into_iter().map(|key| ctx.step(shared, key.clone()).limit_key(key));
    join_all(steps).await.into_iter().collect()
}

/// So many steps at once in a queue that is limited, too.
#[workflow]
pub async fn queued_fan(ctx: WorkflowContext, name: String, width: u64) -> Result<(), WorkflowError> {
    let steps = (0..width).map(|_| ctx.step(rendered, name.clone()));
    join_all(steps).await.into_iter().collect()
}

/// The workflows above.
pub(super) fn definitions() -> [Definition; 5] {
    [
        everstep::definition(narrow_fan, Default::default()),
        everstep::definition(paced_fan, Default::default()),
        everstep::definition(keyed_fan, Default::default()),
        everstep::definition(queued_fan, Default::default()),
        everstep::definition(regretted, Default::default()),
    ]
}

/// The functions above.
pub(super) fn handlers() -> [(FunctionName, Handler); 7] {
    [
        everstep::handler(narrow),
        everstep::handler(paced),
        everstep::handler(shared),
        everstep::handler(rendered),
        everstep::handler(bought),
        everstep::handler(returned),
        everstep::handler(everstep_examples::throttled::fetch),
    ]
}

impl Scenario {
    /// A limit holds over two orchestrators, two workers and several partitions.
    pub const NARROW_FOR_ALL: Self = scenario!(narrow_for_all);
    /// Limits of a function and of its queue hold together, and a failed attempt gives its places back.
    pub const NARROW_QUEUE: Self = scenario!(narrow_queue);
    /// A run that is cancelled in the middle gives its places back.
    pub const GIVEN_UP: Self = scenario!(given_up);
    /// A rate holds over two orchestrators.
    pub const PACED_FOR_ALL: Self = scenario!(paced_for_all);
    /// Keys have limits of their own, and a busy one keeps no other waiting.
    pub const KEYS_TAKE_TURNS: Self = scenario!(keys_take_turns);
    /// What is urgent goes first, and what is not goes too.
    pub const URGENT_FIRST: Self = scenario!(urgent_first);
    /// A run with many steps keeps one with few waiting no longer than its turn.
    pub const SMALL_BESIDE_LARGE: Self = scenario!(small_beside_large);
    /// The steps of a rollback wait for their places, too.
    pub const REGRETTED: Self = scenario!(regrets);
    /// Limits are set and removed while runs wait.
    pub const SET_LIVE: Self = scenario!(set_live);
}

pub(super) fn two_of_each(world: &World) {
    world.orchestrator("orchestrator-1", shop::code);
    world.orchestrator("orchestrator-2", shop::code);
    world.worker("worker-1", &["default", "gpu"]);
    world.worker("worker-2", &["default", "gpu"]);
}

async fn narrow_for_all(world: World) {
    two_of_each(&world);
    let mut runs = Vec::new();
    for number in 0..4 {
        runs.push(world.start(narrow_fan, 4, &format!("narrow {number}")).await);
    }
    for run in &runs {
        expect_completed(&world, run).await;
    }
    let most = world.gauge().most("narrow");
    // A worker that is dead for the simulation drops what it ran, and nobody else runs it sooner than its task is delivered again.
    assert!(most <= 3, "{most} ran at a time");
    let settings = world.settings();
    if settings.crash.is_none() && settings.faults.answer_lost == 0.0 {
        assert_eq!(most, 3, "the limit is made use of");
    }
    world.expect_nobody_in("function.narrow").await;
}

async fn narrow_queue(world: World) {
    two_of_each(&world);
    world.limit("queue.gpu", concurrency(2)).await;
    let first = world.start(queued_fan, ("a".to_owned(), 6), "first").await;
    let failing = world.start(queued_fan, ("fails first".to_owned(), 2), "failing").await;
    for run in [&first, &failing] {
        expect_completed(&world, run).await;
    }
    let most = world.gauge().most("rendered");
    assert!(most <= 2, "{most} ran at a time");
    world.expect_nobody_in("queue.gpu").await;
    world.expect_nobody_in("function.rendered").await;
}

async fn given_up(world: World) {
    two_of_each(&world);
    let run = world.start(narrow_fan, 40, "given up").await;
    world.pass(Duration::from_secs(1)).await;
    world.cancel(&run).await;
    world.ended(&run).await;
    let next = world.start(narrow_fan, 3, "next").await;
    expect_completed(&world, &next).await;
    world.expect_nobody_in("function.narrow").await;
}

async fn paced_for_all(world: World) {
    two_of_each(&world);
    let mut runs = Vec::new();
    for number in 0..4 {
        runs.push(world.start(paced_fan, 10, &format!("paced {number}")).await);
    }
    for run in &runs {
        expect_completed(&world, run).await;
    }
    let began = world.gauge().began("paced");
    assert_eq!(began.len(), 40);
    for (place, first) in began.iter().enumerate() {
        let within = began[place..]
            .iter()
            .take_while(|at| **at < *first + Duration::from_secs(1))
            .count();
        // One more than the rate, one for what may be made up for, and one for the way from the orchestrator to the worker.
        assert!(within <= 13, "{within} began within a second");
    }
    let took = *began.last().expect("there are forty") - began[0];
    assert!(took < Duration::from_secs(6), "forty at ten a second took {took:?}");
}

async fn keys_take_turns(world: World) {
    two_of_each(&world);
    let busy: Vec<String> = (0..30).map(|_| "busy".to_owned()).collect();
    let large = world.start(keyed_fan, busy, "large").await;
    world.pass(Duration::from_secs(1)).await;
    let before = world.gauge().began("busy").len();
    let small = world
        .start(keyed_fan, vec!["quiet".to_owned(), "calm".to_owned()], "small")
        .await;
    expect_completed(&world, &small).await;
    let meanwhile = world.gauge().began("busy").len() - before;
    assert!(meanwhile <= 8, "the small run waited for {meanwhile} steps of the busy key");
    expect_completed(&world, &large).await;
    assert_eq!(world.gauge().most("busy"), 1, "of one key one at a time");
    world.expect_nobody_in("function.shared").await;
}

async fn urgent_first(world: World) {
    two_of_each(&world);
    world.limit("queue.gpu", concurrency(1)).await;
    let low = world
        .start_as(queued_fan, ("low".to_owned(), 20), "low", |start| start.priority(-5))
        .await;
    world.pass(Duration::from_secs(1)).await;
    let urgent = world
        .start_as(queued_fan, ("urgent".to_owned(), 20), "urgent", |start| start.priority(5))
        .await;
    expect_completed(&world, &urgent).await;
    expect_completed(&world, &low).await;
    let order: Vec<String> = world.gauge().order().into_iter().filter(|name| name != "rendered").collect();
    let first = order.iter().position(|name| name == "urgent").expect("it ran");
    let last = order.iter().rposition(|name| name == "urgent").expect("it ran");
    let between = order[first..last].iter().filter(|name| *name == "low").count();
    assert!(between <= 5, "{between} of low priority went before: {order:?}");
    assert!(between >= 1, "one in ten goes to whoever waits longest: {order:?}");
    assert_eq!(world.gauge().most("rendered"), 1);
}

async fn small_beside_large(world: World) {
    two_of_each(&world);
    let large = world.start(narrow_fan, 60, "large").await;
    world.pass(Duration::from_secs(1)).await;
    let before = world.gauge().began("narrow").len();
    let small = world.start(narrow_fan, 1, "small").await;
    expect_completed(&world, &small).await;
    let meanwhile = world.gauge().began("narrow").len() - before;
    assert!(meanwhile <= 10, "the small run waited for {meanwhile} steps of the large one");
    expect_completed(&world, &large).await;
}

async fn regrets(world: World) {
    two_of_each(&world);
    let mut runs = Vec::new();
    for number in 0..5 {
        runs.push(world.start(regretted, (), &format!("regretted {number}")).await);
    }
    for run in &runs {
        let outcome = world.ended(run).await;
        assert!(matches!(outcome, RunOutcome::Failed(_)), "{outcome:?}");
    }
    let gauge = world.gauge();
    assert_eq!((gauge.most("returned"), gauge.began("returned").len() >= 5), (1, true));
    world.expect_nobody_in("function.returned").await;
}

async fn set_live(world: World) {
    two_of_each(&world);
    let first = world.start(narrow_fan, 30, "first").await;
    world.pass(Duration::from_secs(1)).await;
    world.limit("function.narrow", concurrency(1)).await;
    world.pass(Duration::from_secs(1)).await;
    let before = world.gauge().began("narrow").len();
    world.pass(Duration::from_secs(2)).await;
    let slow = world.gauge().began("narrow").len() - before;
    assert!((1..=11).contains(&slow), "one at a time in two seconds: {slow}");
    world.limit("function.narrow", Some(Limit::NONE)).await;
    expect_completed(&world, &first).await;
    assert!(world.gauge().most("narrow") > 3, "without a limit all of them go");
    world.limit("function.narrow", None).await;
    let second = world.start(narrow_fan, 6, "second").await;
    expect_completed(&world, &second).await;
    world.expect_nobody_in("function.narrow").await;
}

fn concurrency(count: u32) -> Option<Limit> {
    Some(Limit {
        concurrency: Some(count),
        ..Limit::NONE
    })
}

impl World {
    /// What the outside world sees.
    pub(super) fn gauge(&self) -> &Gauge {
        &self.0.gauge
    }

    /// Sets a limit.
    pub(super) async fn limit(&self, name: &str, limit: Option<Limit>) {
        let name: LimitName = name.parse().expect("it names a limit");
        self.client(async |client| {
            loop {
                match client.set_limit(&name, limit).await {
                    Ok(()) => return,
                    Err(everstep::ClientError::Limits(_)) => self.pass(Duration::from_millis(500)).await,
                    Err(error) => self.again(&error).await,
                }
            }
        })
        .await;
    }

    fn usage(&self, name: &str) -> Usage {
        let name: LimitName = name.parse().expect("it names a limit");
        let subject = self.names().bucket_key(LIMITS, &name.usage_key());
        let messages = self.server().messages(&self.names().bucket_stream(LIMITS));
        let message = messages.into_iter().rev().find(|message| message.subject == subject);
        message.map_or_else(Usage::default, |message| {
            wire::decode(&message.payload).expect("it is readable")
        })
    }

    /// No place is held for what is over, and nobody waits: however it came to that.
    pub(super) async fn expect_nobody_in(&self, name: &str) {
        self.until(|world| {
            let usage = world.usage(name);
            usage.slots.is_empty() && usage.waiting.is_empty()
        })
        .await;
    }
}
