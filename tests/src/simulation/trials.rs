//! Scenarios that each put one reproduced failure to the proof: what once went wrong there must not again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use everstep::Client;
use everstep_common::ids::{Partition, Prefix, QueueName};
use everstep_common::journal::RunOutcome;
use everstep_common::ports::{Broker, Clock, Publish};
use everstep_common::store::LEASES;
use everstep_memory::Faults;
use futures::FutureExt;

use super::scenarios::{Scenario, expect_completed, orders_and_sleepers, scenario, usual};
use super::shop;
use super::world::World;

/// How long anything may take that waits for nothing.
const SOON: Duration = Duration::from_secs(5);

impl Scenario {
    /// A task stream is deleted under load; whoever dispatches next is the first to notice.
    pub const QUEUE_DELETED: Self = scenario!(queue_deleted);
    /// An owner stands still until another one has driven all to its end, and then goes on where it stood. The seed says when.
    pub const OWNER_FROZEN: Self = Self {
        disturbed: true,
        ..scenario!(owner_frozen)
    };
    /// A client keeps the handle of a run through an outage in which the run ends, and asks for the result afterwards.
    pub const HANDLE_KEPT: Self = scenario!(handle_kept);
    /// Ten minutes without a server, somewhere in runs with large values of which memory keeps one. The seed says where.
    pub const LARGE_VALUES_CUT_OFF: Self = Self {
        disturbed: true,
        ..scenario!(large_values_cut_off)
    };
    /// An owner's writes are stored and not acknowledged, for far longer than its lease stands.
    pub const LEASE_UNACKNOWLEDGED: Self = scenario!(lease_unacknowledged);
    /// A partition in which nothing happens but the deadline of a step, and whose owner has died before it.
    pub const IDLE_TAKEN_OVER: Self = scenario!(idle_taken_over);
    /// A partition that nobody can take over for a while, since its cursor is unreadable.
    pub const CURSOR_MENDED: Self = scenario!(cursor_mended);
}

async fn owner_frozen(world: World) {
    world.orchestrator("orchestrator-1", shop::code);
    world.orchestrator("orchestrator-2", shop::code);
    world.worker("worker-1", &["default"]);
    let runs = orders_and_sleepers(&world, 6).await;
    world.pass(Duration::from_millis(50) * world.settings().seed as u32).await;
    let owner = world.owners().remove(&Partition(0)).flatten().expect("somebody drives it");
    let frozen = world.connections_of(owner.as_str());
    frozen.iter().for_each(|connection| world.server().freeze(connection));
    world.all_ended(&runs).await;
    world.pass(SOON).await;
    frozen.iter().for_each(|connection| world.server().thaw(connection));
    world.pass(SOON).await;
}

async fn queue_deleted(world: World) {
    usual(&world);
    let mut runs = Vec::new();
    for number in 0..15 {
        runs.push(world.start(shop::long_steps, 4, &format!("long {number}")).await);
    }
    world.pass(Duration::from_secs(3)).await;
    let stream = world.names().task_stream(&QueueName::default_queue());
    let in_flight = world.server().messages(&stream).len();
    assert!(
        in_flight > 60,
        "{in_flight} tasks are queued or running, and the mark is there"
    );
    world.server().delete_stream(&stream);
    runs.push(world.start(shop::order, "o-1".to_owned(), "order").await);
    let before = world.server().time();
    for run in &runs {
        expect_completed(&world, run).await;
    }
    let took = world.server().time().duration_since(before);
    assert!(
        took.as_secs() < 60,
        "the hourly sweep or a deadline mended it, after {took:?}"
    );
}

async fn handle_kept(world: World) {
    usual(&world);
    let broker = world.new_connection("patient");
    let clock: Arc<dyn Clock> = Arc::new(broker.clock());
    let client = Client::over(Arc::new(broker) as Arc<dyn Broker>, clock, &Prefix::none()).await;
    let client = client.expect("the server is there");
    let mut handles = Vec::new();
    for number in 0..3 {
        let start = client.start(shop::order, format!("o-{number}"));
        handles.push(start.await.expect("the server is there"));
    }
    world.server().disconnect("patient");
    let ended = |world: &World| world.stories().iter().all(|story| story.end().is_some());
    world.until(ended).await;
    world.pass(SOON).await;
    world.server().reconnect("patient");
    world.pass(SOON).await;
    for handle in handles {
        let run = handle.id().clone();
        let result = world.within(SOON, handle.result()).await;
        let result = result.unwrap_or_else(|| panic!("the result of run {run} is never told"));
        assert!(result.is_ok(), "run {run}: {result:?}");
    }
}

async fn large_values_cut_off(world: World) {
    usual(&world);
    let mut runs = Vec::new();
    for number in 0..3 {
        let input = shop::large_input() + &"x".repeat(number);
        runs.push(world.start(shop::large, input, &format!("large {number}")).await);
    }
    let seed = world.settings().seed;
    while world.entries() < seed / 2 {
        world.pass(Duration::from_millis(1)).await;
    }
    // Every second time not at an entry, but in the middle of a value's chunks.
    world.pass(Duration::from_millis(13 * (seed % 2))).await;
    let connections = ["orchestrator-1", "worker-1"]
        .map(|process| world.connections_of(process))
        .concat();
    connections
        .iter()
        .for_each(|connection| world.server().disconnect(connection));
    world.pass(Duration::from_secs(600)).await;
    connections.iter().for_each(|connection| world.server().reconnect(connection));
    for run in &runs {
        expect_completed(&world, run).await;
    }
}

async fn lease_unacknowledged(world: World) {
    usual(&world);
    let run = world.start(shop::sleeper, (), "sleeper").await;
    expect_completed(&world, &run).await;
    let owner = world.epoch(Partition(0));
    world.server().set_faults(Faults {
        answer_lost: 1.0,
        ..Faults::none()
    });
    world.pass(Duration::from_secs(12)).await;
    world.server().set_faults(Faults::none());
    let run = world.start(shop::sleeper, (), "another sleeper").await;
    expect_completed(&world, &run).await;
    assert_eq!(world.epoch(Partition(0)), owner, "the lease was given up, and taken again");
}

async fn idle_taken_over(world: World) {
    world.orchestrator("orchestrator-1", shop::code);
    let run = world.start(shop::hurried, (), "hurried").await;
    let before = world.server().time();
    world.pass(Duration::from_secs(5)).await;
    world.kill("orchestrator-1");
    world.orchestrator("orchestrator-2", shop::code);
    let outcome = world.ended(&run).await;
    assert!(matches!(outcome, RunOutcome::Failed(_)), "{outcome:?}");
    let took = world.server().time().duration_since(before);
    assert!(
        (30..=32).contains(&took.as_secs()),
        "a deadline of 30 s passed after {took:?}"
    );
}

async fn cursor_mended(world: World) {
    world.orchestrator("orchestrator-1", shop::code);
    let run = world.start(shop::order, "o-1".to_owned(), "order").await;
    world.pass(Duration::from_secs(2)).await;
    world.kill("orchestrator-1");
    let good = world.cursor(Partition(0)).expect("it was written").payload;
    world
        .write_cursor(Partition(0), Bytes::from_static(b"\xc1 is no cursor"))
        .await;
    world.orchestrator("orchestrator-2", shop::code);
    world.worker("worker-1", &["default"]);
    world.pass(Duration::from_secs(30)).await;
    let untouched = world.stories().iter().all(|story| story.entries.len() == 2);
    assert!(
        untouched,
        "beside the start and the step that was dispatched nobody writes anything"
    );
    world.write_cursor(Partition(0), good).await;
    let outcome = world.within(SOON * 3, world.ended(&run)).await;
    assert!(matches!(outcome, Some(RunOutcome::Completed(_))), "{outcome:?}");
}

impl World {
    /// What the future brings, if it does so in time.
    async fn within<T>(&self, time: Duration, future: impl Future<Output = T>) -> Option<T> {
        futures::select_biased! {
            done = Box::pin(future).fuse() => Some(done),
            () = Box::pin(self.pass(time)).fuse() => None,
        }
    }

    /// Replaces a cursor, as somebody does who must not.
    async fn write_cursor(&self, partition: Partition, record: Bytes) {
        let subject = self.names().bucket_key(LEASES, &format!("cursor.{partition}"));
        let vandal = self.new_connection("vandal");
        vandal
            .publish(Publish::new(subject, record))
            .await
            .expect("the server is there");
    }
}
