//! What is run. Each scenario starts its own processes and ends when its runs have; what they recorded is compared between a story without
//! and one with deaths, so it must not depend on when things happen.

use std::time::Duration;

use everstep_common::ids::RunId;
use everstep_common::journal::{Entry, RunOutcome, StepResult};
use futures::future::LocalBoxFuture;
use futures::{FutureExt, join};

use super::disasters::{self, Dice};
use super::shop;
use super::world::World;

/// A story to be played.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// What it is called.
    pub name: &'static str,
    /// What happens.
    pub play: fn(World) -> LocalBoxFuture<'static, ()>,
    /// It disturbs workers itself, so that an attempt may begin more than once.
    pub repeats: bool,
    /// Disasters strike: schedules that were taken back may be left, to fire into nothing.
    pub disturbed: bool,
    /// It takes acknowledged entries back, as durability `relaxed` may.
    pub rolls_back: bool,
}

macro_rules! scenario {
    ($play:ident) => {
        Scenario {
            name: stringify!($play),
            play: |world| $play(world).boxed_local(),
            repeats: false,
            disturbed: false,
            rolls_back: false,
        }
    };
}
pub(super) use scenario;

/// All scenarios that end the same whoever dies.
pub fn scenarios() -> Vec<Scenario> {
    vec![
        scenario!(order_pipeline),
        scenario!(fan_out),
        scenario!(retries),
        scenario!(panics),
        scenario!(attempts_used_up),
        scenario!(fatal_failure),
        scenario!(closures),
        scenario!(overtime),
        scenario!(sleeps),
        scenario!(race),
        scenario!(cancelled_midway),
        scenario!(large_values),
        scenario!(started_twice),
        scenario!(changed_and_mended),
        scenario!(without_code_at_first),
        scenario!(stuck_and_cancelled),
        scenario!(two_queues),
    ]
}

/// Scenarios with something of their own; each is played by its own test.
impl Scenario {
    /// Many runs, few of them in memory.
    pub const CROWD: Self = scenario!(crowd);
    /// One of two orchestrators dies, and the other one drives everything in time.
    pub const SURVIVED: Self = scenario!(survived);
    /// A worker that is stopped while it works.
    pub const DRAINED: Self = Self {
        repeats: true,
        ..scenario!(drained)
    };
    /// A worker that dies in what may begin once only.
    pub const INTERRUPTED: Self = Self {
        repeats: true,
        ..scenario!(interrupted)
    };
    /// A bit of everything on two orchestrators and two workers, while disasters strike.
    pub const BUSTLE: Self = Self {
        repeats: true,
        disturbed: true,
        ..scenario!(bustle)
    };
    /// Journals are rolled back while runs go on; clients that miss their runs start them again.
    pub const ROLLED_BACK: Self = Self {
        repeats: true,
        disturbed: true,
        rolls_back: true,
        ..scenario!(rolled_back)
    };
}

pub(super) fn usual(world: &World) {
    world.orchestrator("orchestrator-1", shop::code);
    world.worker("worker-1", &["default"]);
}

async fn order_pipeline(world: World) {
    usual(&world);
    let run = world.start(shop::order, "o-1".to_owned(), "order").await;
    expect_completed(&world, &run).await;
}

async fn fan_out(world: World) {
    usual(&world);
    let run = world.start(shop::fan_out, 20, "fan-out").await;
    expect_completed(&world, &run).await;
}

async fn retries(world: World) {
    usual(&world);
    let run = world.start(shop::retried, (2, false), "retried").await;
    expect_completed(&world, &run).await;
}

async fn panics(world: World) {
    usual(&world);
    let run = world.start(shop::retried, (1, true), "panicking").await;
    expect_completed(&world, &run).await;
}

async fn attempts_used_up(world: World) {
    usual(&world);
    let run = world.start(shop::retried, (9, false), "used up").await;
    expect_completed(&world, &run).await;
}

async fn fatal_failure(world: World) {
    usual(&world);
    let run = world.start(shop::compensated, (), "compensated").await;
    let outcome = world.ended(&run).await;
    assert!(matches!(outcome, RunOutcome::Failed(_)), "{outcome:?}");
}

async fn closures(world: World) {
    usual(&world);
    let run = world.start(shop::local, (), "closures").await;
    expect_completed(&world, &run).await;
}

async fn overtime(world: World) {
    usual(&world);
    let run = world.start(shop::overtime, (), "overtime").await;
    expect_completed(&world, &run).await;
    let stories = world.stories();
    let recorded = stories[0].entries.iter().find_map(|entry| match &entry.entry {
        Entry::Local(local) => Some(&local.result),
        _ => None,
    });
    let told = matches!(recorded, Some(StepResult::Failure(failure)) if failure.message.contains("longer than its timeout"));
    assert!(told, "{recorded:?}");
}

async fn sleeps(world: World) {
    usual(&world);
    let run = world.start(shop::sleeper, (), "sleeper").await;
    expect_completed(&world, &run).await;
}

async fn race(world: World) {
    usual(&world);
    let run = world.start(shop::race, (), "race").await;
    expect_completed(&world, &run).await;
}

async fn cancelled_midway(world: World) {
    usual(&world);
    let run = world.start(shop::endless, (), "endless").await;
    expect_cancelled_at_work(&world, &run).await;
}

async fn large_values(world: World) {
    usual(&world);
    let run = world.start(shop::large, shop::large_input(), "large").await;
    expect_completed(&world, &run).await;
}

async fn started_twice(world: World) {
    usual(&world);
    let run = world.start(shop::order, "o-1".to_owned(), "order").await;
    let again = world.start(shop::order, "o-1".to_owned(), "order").await;
    assert_eq!(run, again, "P1: the same key is the same run");
    assert!(world.conflicts(shop::order, "o-2".to_owned(), "order").await);
    expect_completed(&world, &run).await;
    let late = world.start(shop::order, "o-1".to_owned(), "order").await;
    assert_eq!(run, late, "P1: the same key is the same run, also after its end");
}

async fn changed_and_mended(world: World) {
    usual(&world);
    let run = world.start(shop::before::changing, (), "changing").await;
    let squared = |world: &World| world.stories().iter().any(|story| story.entries.len() >= 2);
    world.until(squared).await;
    world.pass(Duration::from_secs(3)).await;
    world.kill("orchestrator-1");
    world.orchestrator("orchestrator-2", shop::changed_code);
    world.parked(&run, "nondeterministic").await;
    world.kill("orchestrator-2");
    world.orchestrator("orchestrator-3", shop::code);
    world.pass(Duration::from_secs(5)).await;
    world.resume(&run, false).await;
    expect_completed(&world, &run).await;
}

async fn without_code_at_first(world: World) {
    world.orchestrator("orchestrator-1", shop::order_only);
    world.worker("worker-1", &["default"]);
    let run = world.start(shop::sleeper, (), "sleeper").await;
    world.parked(&run, "no code").await;
    let other = world.start(shop::order, "o-1".to_owned(), "order").await;
    expect_completed(&world, &other).await;
    world.kill("orchestrator-1");
    world.orchestrator("orchestrator-2", shop::code);
    expect_completed(&world, &run).await;
}

async fn stuck_and_cancelled(world: World) {
    usual(&world);
    let run = world.start(shop::stuck, (), "stuck").await;
    world.parked(&run, "stuck").await;
    world.cancel(&run).await;
    let outcome = world.ended(&run).await;
    assert!(matches!(outcome, RunOutcome::Cancelled(_)), "{outcome:?}");
}

async fn two_queues(world: World) {
    world.orchestrator("orchestrator-1", shop::code);
    world.worker("worker-1", &["default"]);
    world.worker("worker-2", &["gpu", "default"]);
    let run = world.start(shop::two_queues, (), "two queues").await;
    expect_completed(&world, &run).await;
}

/// So many runs of both workflows, in turn.
pub(super) async fn orders_and_sleepers(world: &World, count: usize) -> Vec<RunId> {
    let mut runs = Vec::new();
    for number in 0..count {
        let order = format!("order {number}");
        runs.push(world.start(shop::order, format!("o-{number}"), &order).await);
        runs.push(world.start(shop::sleeper, (), &format!("sleeper {number}")).await);
    }
    runs
}

async fn crowd(world: World) {
    usual(&world);
    let runs = orders_and_sleepers(&world, 100).await;
    world.all_ended(&runs).await;
}

async fn drained(world: World) {
    world.orchestrator("orchestrator-1", shop::code);
    world.worker_that_drains("worker-1", &["default"], Duration::from_secs(2));
    let run = world.start(shop::long_steps, 4, "long").await;
    world.pass(Duration::from_secs(3)).await;
    world.worker("worker-2", &["default"]);
    world.drain("worker-1").await;
    expect_completed(&world, &run).await;
}

async fn interrupted(world: World) {
    usual(&world);
    let run = world.start(shop::once, (), "once").await;
    let begun = |world: &World| world.stories().iter().any(|story| story.entries.len() >= 2);
    world.until(begun).await;
    world.pass(Duration::from_secs(1)).await;
    world.restart("worker-1");
    expect_completed(&world, &run).await;
    let begun = world.ledger().executions_of(&run);
    let died_before = begun == 0 && world.settings().crash.is_some();
    assert!(begun == 1 || died_before, "it began {begun} times");
}

async fn survived(world: World) {
    world.orchestrator("orchestrator-1", shop::code);
    world.orchestrator("orchestrator-2", shop::code);
    world.worker("worker-1", &["default"]);
    world.pass(Duration::from_secs(10)).await;
    world.kill("orchestrator-1");
    let before = world.server().time();
    let mut runs = Vec::new();
    for number in 0..8 {
        runs.push(world.start(shop::local, (), &format!("local {number}")).await);
    }
    world.all_ended(&runs).await;
    let took = world.server().time().duration_since(before);
    assert!(
        took.as_millis() <= 2_000,
        "a takeover costs the lease's 1.5 s and half a second, not {took:?}"
    );
}

async fn bustle(world: World) {
    let disasters = disasters::strike(world.clone());
    let work = async {
        let runs = start_bustle(&world).await;
        world.all_ended(&runs).await;
    };
    let ((), ()) = join!(disasters, work);
}

async fn start_bustle(world: &World) -> Vec<RunId> {
    two_of_each(world);
    let mut runs = Vec::new();
    for number in 0..3 {
        runs.push(
            world
                .start(shop::order, format!("o-{number}"), &format!("order {number}"))
                .await,
        );
        runs.push(
            world
                .start(shop::retried, (number, number == 1), &format!("retried {number}"))
                .await,
        );
        runs.push(world.start(shop::local, (), &format!("local {number}")).await);
        runs.push(world.start(shop::sleeper, (), &format!("sleeper {number}")).await);
        world.pass(Duration::from_secs(5)).await;
    }
    runs.push(world.start(shop::fan_out, 20, "fan-out").await);
    runs.push(world.start(shop::two_queues, (), "two queues").await);
    runs.push(world.start(shop::large, shop::large_input(), "large").await);
    runs.push(world.start(shop::once, (), "once").await);
    runs.push(world.start(shop::race, (), "race").await);
    runs.push(world.start(shop::long_steps, 4, "long").await);
    runs.push(world.start(shop::compensated, (), "compensated").await);
    let endless = world.start(shop::endless, (), "endless").await;
    world.pass(Duration::from_secs(20)).await;
    world.cancel(&endless).await;
    runs.push(endless);
    runs
}

fn two_of_each(world: &World) {
    world.orchestrator("orchestrator-1", shop::code);
    world.orchestrator("orchestrator-2", shop::code);
    world.worker("worker-1", &["default", "gpu"]);
    world.worker("worker-2", &["default", "gpu"]);
}

async fn rolled_back(world: World) {
    let mut dice = Dice::new(world.settings().seed);
    two_of_each(&world);
    for round in 0..4 {
        for number in 0..5 {
            world
                .start(shop::order, format!("o-{round}-{number}"), &format!("order {round}-{number}"))
                .await;
            world.start(shop::sleeper, (), &format!("sleeper {round}-{number}")).await;
            world.pass(Duration::from_millis(dice.below(1_500))).await;
        }
        disasters::roll_back(&world, &mut dice).await;
    }
    world.pass(Duration::from_secs(30)).await;
    let mut runs = Vec::new();
    for round in 0..4 {
        for number in 0..5 {
            runs.push(
                world
                    .start(shop::order, format!("o-{round}-{number}"), &format!("order {round}-{number}"))
                    .await,
            );
            runs.push(world.start(shop::sleeper, (), &format!("sleeper {round}-{number}")).await);
        }
    }
    for run in &runs {
        world.ended_at_last(run).await;
    }
}

/// Cancels the run some time after its first step, and waits for it to say so.
pub(super) async fn expect_cancelled_at_work(world: &World, run: &RunId) {
    let has_begun = |world: &World| world.stories().iter().any(|story| story.entries.len() >= 2);
    world.until(has_begun).await;
    world.pass(Duration::from_secs(5)).await;
    world.cancel(run).await;
    let outcome = world.ended(run).await;
    assert!(matches!(outcome, RunOutcome::Cancelled(_)), "{outcome:?}");
}

pub(super) async fn expect_completed(world: &World, run: &RunId) {
    let outcome = world.ended(run).await;
    assert!(matches!(outcome, RunOutcome::Completed(_)), "run {run}: {outcome:?}");
}
