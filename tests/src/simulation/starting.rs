//! Scenarios about how runs are started: later, with a deadline, many at once; and the workflows that they run.

use std::time::Duration;

use everstep::prelude::*;
use everstep::{FailureKind, IntoWorkflow, StartRun, Workflow};
use everstep_common::ids::RunId;
use everstep_common::journal::{EntryKey, RunOutcome, RunTimer};
use everstep_common::summary::RunStatus;
use everstep_core::Definition;
use futures::FutureExt;

use super::scenarios::{Scenario, expect_completed, scenario, usual};
use super::shop::{self, slow, square};
use super::world::World;

/// Works for longer than it is given, and cleans up.
#[workflow]
pub async fn tidy(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    let worked = ctx.step(slow, 1_800).await;
    ctx.shield(ctx.step(square, 3).key("clean up")).await?;
    worked.map(drop)
}

/// Works for longer than it is given, and lets nobody tell it so.
#[workflow]
pub async fn stubborn(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    ctx.shield(ctx.step(slow, 1_800)).await.map(drop)
}

/// The workflows above.
pub(super) fn definitions() -> [Definition; 2] {
    [
        everstep::definition(tidy, Default::default()),
        everstep::definition(stubborn, Default::default()),
    ]
}

/// All scenarios about starts.
pub fn starting_scenarios() -> Vec<Scenario> {
    vec![
        scenario!(begun_later),
        scenario!(cancelled_before_it_began),
        scenario!(overdue_and_tidy),
        scenario!(overdue_and_stuck),
    ]
}

impl Scenario {
    /// A run does not come to an end though its time is up, and is ended as it stands.
    pub const STUBBORN: Self = scenario!(overdue_and_stubborn);
    /// Several starts are made by one call.
    pub const MANY_AT_ONCE: Self = scenario!(many_at_once);
    /// A run begins when its time has come, to the second, and is told apart until then.
    pub const BEGUN_LATER: Self = scenario!(begun_later);
}

async fn begun_later(world: World) {
    usual(&world);
    let delay = Duration::from_secs(8);
    let order = "o-1".to_owned();
    let run = world.start_as(shop::order, order, "later", |start| start.delay(delay)).await;
    world.until(|world| world.status(&run) == Some(RunStatus::Scheduled)).await;
    world.pass(Duration::from_secs(1)).await;
    assert_eq!(world.status(&run), Some(RunStatus::Scheduled));
    expect_completed(&world, &run).await;
    let stories = world.stories();
    let entries = &stories.iter().find(|story| story.run == run).expect("it was started").entries;
    let begun = entries
        .iter()
        .find(|entry| entry.key == EntryKey::Timer(RunTimer::Begin.key()));
    let waited = begun.expect("it has begun").time.duration_since(entries[0].time);
    assert!(waited.as_secs() >= 8, "it began {waited:?} after its start");
    if world.settings().crash.is_none() {
        assert!(waited.as_millis() < 9_100, "P5: it began {waited:?} after its start");
    }
    assert_eq!(
        entries[1].key,
        EntryKey::Timer(RunTimer::Begin.key()),
        "nothing was done before"
    );
}

async fn cancelled_before_it_began(world: World) {
    usual(&world);
    let delay = Duration::from_secs(8);
    let order = "o-1".to_owned();
    let run = world.start_as(shop::order, order, "never", |start| start.delay(delay)).await;
    world.pass(Duration::from_secs(2)).await;
    world.cancel(&run).await;
    let outcome = world.ended(&run).await;
    assert!(matches!(outcome, RunOutcome::Cancelled(_)), "{outcome:?}");
    world.pass(Duration::from_secs(8)).await;
    assert_eq!(world.ledger().executions_of(&run), 0, "nothing was done for it");
}

async fn overdue_and_tidy(world: World) {
    usual(&world);
    let deadline = Duration::from_secs(5);
    let run = world.start_as(tidy, (), "tidy", |start| start.deadline(deadline)).await;
    world.expect_overdue(&run).await;
}

async fn overdue_and_stubborn(world: World) {
    usual(&world);
    let deadline = Duration::from_secs(20);
    let run = world
        .start_as(stubborn, (), "stubborn", |start| start.deadline(deadline))
        .await;
    world.expect_overdue(&run).await;
}

async fn overdue_and_stuck(world: World) {
    usual(&world);
    let deadline = Duration::from_secs(5);
    let run = world
        .start_as(shop::stuck, (), "stuck", |start| start.deadline(deadline))
        .await;
    world.parked(&run, "stuck").await;
    world.expect_overdue(&run).await;
}

async fn many_at_once(world: World) {
    usual(&world);
    let starts = |client: &everstep::Client| {
        let orders = (0..20).map(|number| {
            client
                .start(shop::order, format!("o-{number}"))
                .key(format!("order {number}"))
        });
        orders.collect::<Vec<_>>()
    };
    let runs = world
        .client(async |client| {
            loop {
                let started = client.start_many(starts(client)).await.expect("they are few");
                let started: Result<Vec<RunId>, _> = started.into_iter().map(|run| run.map(|run| run.id().clone())).collect();
                match started {
                    Ok(runs) => return runs,
                    Err(error) => world.again(&error).await,
                }
            }
        })
        .await;
    for (number, run) in runs.iter().enumerate() {
        let alone = world
            .start(shop::order, format!("o-{number}"), &format!("order {number}"))
            .await;
        assert_eq!(*run, alone, "they come in the order given");
        expect_completed(&world, run).await;
    }
}

impl World {
    /// Starts a run, once for each key, with what else is asked of the start.
    pub async fn start_as<W, Marker>(
        &self,
        workflow: W,
        input: <W::Workflow as Workflow>::Input,
        key: &str,
        with: impl Fn(StartRun<<W::Workflow as Workflow>::Output>) -> StartRun<<W::Workflow as Workflow>::Output>,
    ) -> RunId
    where
        W: IntoWorkflow<Marker> + Copy,
        <W::Workflow as Workflow>::Input: Clone,
    {
        let run = self
            .client(async |client| {
                loop {
                    match with(client.start(workflow, input.clone()).key(key)).await {
                        Ok(handle) => return handle.id().clone(),
                        Err(error) => self.again(&error).await,
                    }
                }
            })
            .await;
        self.0.clients.borrow_mut().started.insert(run.clone());
        run
    }

    pub(super) fn status(&self, run: &RunId) -> Option<RunStatus> {
        self.summary(run).map(|summary| summary.status)
    }

    async fn expect_overdue(&self, run: &RunId) {
        let outcome = self.ended(run).await;
        let overdue = matches!(&outcome, RunOutcome::Failed(failure) if failure.kind == FailureKind::DeadlineExceeded);
        assert!(overdue, "{outcome:?}");
    }
}
