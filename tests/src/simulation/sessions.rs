//! Scenarios about what runs share in a session, and the workflows that they run.

use std::time::Duration;

use bytes::Bytes;
use everstep::prelude::*;
use everstep_common::ids::{Partition, RunId};
use everstep_common::session::SessionRecord;
use everstep_common::store::SESSIONS;
use everstep_common::wire;
use everstep_core::Definition;
use futures::future::join_all;
use futures::{FutureExt, join};

use super::scenarios::{Scenario, expect_completed, scenario};
use super::shop;
use super::world::World;

/// The session of all runs here.
pub const SESSION: &str = "customer 7";

/// A value that does not stand in a mark itself.
const LARGE: usize = 5_000;

/// Uses its session in every way. What it brings does not depend on when other runs do the same.
#[workflow]
pub async fn visitor(ctx: WorkflowContext, number: u64) -> Result<String, WorkflowError> {
    let session = ctx.session().state();
    ctx.state().set("phase", "counting")?;
    session.update("visit_count", 0, |visits: u64| visits + 1).await?;
    let twice = [(); 2].map(|()| session.update("steps", 0, |steps: u64| steps + 1));
    for step in join_all(twice).await {
        step?;
    }
    let mine = format!("of {number}");
    session.set(&mine, &number).await?;
    let grow = |text: String| text + &"x".repeat(LARGE);
    let large = session.update(&format!("large {number}"), String::new(), grow).await?;
    let refused = session.try_update(&mine, 0, |_: u64| Err(WorkflowError::new("no"))).await;
    let back = session.get(&mine, 0_u64).await?;
    let (deleted, absent) = join!(session.delete(&mine), session.find::<u64>("never set"));
    ctx.state().set("phase", "done")?;
    Ok(format!(
        "{back} {} {} {:?} {}",
        large.len(),
        deleted?,
        absent?,
        refused.is_err()
    ))
}

/// One visit.
#[workflow]
pub async fn visit(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    ctx.session()
        .state()
        .update("visit_count", 0, |visits: u64| visits + 1)
        .await?;
    Ok(())
}

/// What the session holds.
#[workflow]
pub async fn tally(ctx: WorkflowContext) -> Result<(u64, u64, Vec<String>), WorkflowError> {
    let session = ctx.session().state();
    let visits = session.get("visit_count", 0).await?;
    let steps = session.get("steps", 0).await?;
    Ok((visits, steps, session.keys().await?))
}

/// Shows how far it is, and waits.
#[workflow]
pub async fn showing(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    ctx.publish_view(&1)?;
    ctx.state().set("phase", "first")?;
    ctx.sleep(Duration::from_secs(60)).await?;
    ctx.publish_view(&2)?;
    ctx.state().set("phase", "second")?;
    ctx.sleep(Duration::from_secs(60)).await?;
    Ok(())
}

/// The workflows above.
pub(super) fn definitions() -> [Definition; 4] {
    [
        everstep::definition(visitor, Default::default()),
        everstep::definition(visit, Default::default()),
        everstep::definition(tally, Default::default()),
        everstep::definition(showing, Default::default()),
    ]
}

impl Scenario {
    /// Runs of one session, one after the other, and what they leave; whoever dies.
    pub const SHARED: Self = scenario!(shared);
    /// Runs of one session, all at once, on two orchestrators and several partitions.
    pub const SHARED_AT_ONCE: Self = scenario!(shared_at_once);
    /// An owner stands still in the middle of writes that its successor makes and ends; then it goes on.
    pub const SHARED_BY_THE_FROZEN: Self = Self {
        disturbed: true,
        ..scenario!(shared_by_the_frozen)
    };
    /// A client looks into a run, whoever drives it, and whether it is in memory or not.
    pub const LOOKED_INTO: Self = scenario!(looked_into);
}

async fn shared(world: World) {
    world.orchestrator("orchestrator-1", shop::code);
    for number in 0..2 {
        let run = world.start_in(SESSION, visitor, number, &format!("visitor {number}")).await;
        expect_completed(&world, &run).await;
    }
    let tally = world.start_in(SESSION, tally, (), "tally").await;
    expect_completed(&world, &tally).await;
    world.expect_value("visit_count", 2);
    world.expect_value("steps", 4);
}

async fn shared_at_once(world: World) {
    world.orchestrator("orchestrator-1", shop::code);
    world.orchestrator("orchestrator-2", shop::code);
    let mut runs = Vec::new();
    for number in 0..40 {
        runs.push(world.start_in(SESSION, visit, (), &format!("visit {number}")).await);
    }
    for number in 0..3 {
        runs.push(world.start_in(SESSION, visitor, number, &format!("visitor {number}")).await);
    }
    for run in &runs {
        expect_completed(&world, run).await;
    }
    world.expect_value("visit_count", 43);
    world.expect_value("steps", 6);
}

async fn shared_by_the_frozen(world: World) {
    world.orchestrator("orchestrator-1", shop::code);
    world.orchestrator("orchestrator-2", shop::code);
    let mut runs: Vec<RunId> = Vec::new();
    for number in 0..10 {
        runs.push(world.start_in(SESSION, visit, (), &format!("visit {number}")).await);
    }
    world.pass(Duration::from_millis(world.settings().seed)).await;
    let owner = world.owners().remove(&Partition(0)).flatten();
    let frozen = owner.map(|owner| world.connections_of(owner.as_str())).unwrap_or_default();
    frozen.iter().for_each(|connection| world.server().freeze(connection));
    world.all_ended(&runs).await;
    // Marks go away with later writes, and so does what would tell the frozen one what is done.
    for number in 10..60 {
        let run = world.start_in(SESSION, visit, (), &format!("visit {number}")).await;
        expect_completed(&world, &run).await;
    }
    frozen.iter().for_each(|connection| world.server().thaw(connection));
    world.pass(Duration::from_secs(20)).await;
    world.expect_value("visit_count", 60);
}

async fn looked_into(world: World) {
    world.orchestrator("orchestrator-1", shop::code);
    let run = world.start(showing, (), "showing").await;
    let others = 4;
    for number in 0..others {
        world.start(showing, (), &format!("another {number}")).await;
    }
    world.expect_inside(&run, 1, "first").await;
    world.pass(Duration::from_secs(61)).await;
    world.expect_inside(&run, 2, "second").await;
    world.kill("orchestrator-1");
    world.orchestrator("orchestrator-2", shop::code);
    world.expect_inside(&run, 2, "second").await;
    expect_completed(&world, &run).await;
    let over = world.look_inside(&run).await;
    assert!(matches!(over, Err(everstep::ClientError::Ended { .. })), "{over:?}");
}

impl World {
    /// What the session holds under a name.
    fn session_record(&self, key: &str) -> Option<SessionRecord> {
        let bucket = self.names().bucket_stream(SESSIONS);
        let subject = self.names().bucket_key(SESSIONS, &self.names().session_value(SESSION, key));
        let messages = self.server().messages(&bucket);
        let message = messages.into_iter().rev().find(|message| message.subject == subject)?;
        Some(wire::decode(&message.payload).expect("the record is readable"))
    }

    pub(super) fn expect_value(&self, key: &str, expected: u64) {
        let record = self.session_record(key).unwrap_or_else(|| panic!("{key} was never written"));
        let value: Option<Bytes> = record.value;
        let value = value.map(|value| wire::decode_value::<u64>(&value).expect("a number"));
        assert_eq!(value, Some(expected), "{key}");
        assert!(record.marks.len() < 128, "{} marks are left in {key}", record.marks.len());
    }

    async fn look_inside(&self, run: &RunId) -> Result<(Option<u64>, String), everstep::ClientError> {
        let client = self.client_now().await;
        let view = client.view::<u64>(run).boxed_local().await?;
        let state = client.state(run).boxed_local().await?;
        Ok((view, state["phase"].as_str().expect("a text").to_owned()))
    }

    async fn expect_inside(&self, run: &RunId, view: u64, phase: &str) {
        let found = self.look_inside(run).await;
        let found = found.unwrap_or_else(|error| panic!("run {run} shows nothing: {error}"));
        assert_eq!(found, (Some(view), phase.to_owned()));
    }
}
