//! Scenarios about who drives a partition: owners that die over a run, that lack its code, that lose sight of the server, that are gone.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use everstep::{IntoWorkflow, Workflow};
use everstep_common::ids::{Partition, ProcessId, RunId};
use everstep_common::ports::Message;
use everstep_common::store::LEASES;
use everstep_common::wire;
use futures::FutureExt;
use serde::Deserialize;

use super::scenarios::{Scenario, expect_completed, orders_and_sleepers, scenario, usual};
use super::shop;
use super::world::World;

impl Scenario {
    /// A workflow that ends its process as soon as it is polled at a certain point.
    pub const DEADLY: Self = scenario!(deadly);
    /// The same by a closure.
    pub const DEADLY_CLOSURE: Self = scenario!(deadly_closure);
    /// A partition changes hands while closures run.
    pub const CLOSURES_LEFT: Self = scenario!(closures_left);
    /// One of two orchestrators lacks a workflow that the other one has.
    pub const CODE_ELSEWHERE: Self = scenario!(code_elsewhere);
    /// No orchestrator has the code of a run, until one comes that does.
    pub const CODE_APPEARS: Self = scenario!(code_appears);
    /// Each of two orchestrators has code that the other one lacks.
    pub const CODE_DIVIDED: Self = scenario!(code_divided);
    /// Nobody reaches the server for far longer than a lease stands; the owners are the last to come back.
    pub const ALL_CUT_OFF: Self = Self {
        disturbed: true,
        ..scenario!(all_cut_off)
    };
    /// Orchestrators that come and go.
    pub const COME_AND_GONE: Self = scenario!(come_and_gone);
}

/// The part of a lease that tells whose it is, and what is held against whom.
#[derive(Debug, Deserialize)]
struct Lease {
    owner: Option<ProcessId>,
    #[serde(default)]
    strikes: Vec<(RunId, u32)>,
    #[serde(default)]
    deaths: u32,
}

async fn deadly(world: World) {
    die_of(world, shop::deadly).await;
}

async fn deadly_closure(world: World) {
    die_of(world, shop::deadly_closure).await;
}

async fn die_of<W, Marker>(world: World, workflow: W)
where
    W: IntoWorkflow<Marker> + Copy,
    W::Workflow: Workflow<Input = ()>,
{
    usual(&world);
    let deaths = Rc::new(Cell::new(0));
    let (counted, dying) = (deaths.clone(), world.clone());
    shop::set_deadly(Some(Box::new(move || {
        counted.set(counted.get() + 1);
        let connections = dying.connections_of("orchestrator-1");
        connections.iter().for_each(|connection| dying.server().kill(connection));
    })));
    let innocent = world.start(shop::sleeper, (), "innocent").await;
    let run = world.start(workflow, (), "deadly").await;
    world.parked(&run, "poison").await;
    assert_eq!(deaths.get(), 5, "two to become cautious, and three strikes");
    expect_completed(&world, &innocent).await;
    let new = world.start(shop::order, "o-1".to_owned(), "order").await;
    expect_completed(&world, &new).await;
    // It stays parked whoever comes next, and once all is calm it alone has strikes.
    world.restart("orchestrator-1");
    world.pass(Duration::from_secs(70)).await;
    assert_eq!(deaths.get(), 5, "it is not polled again");
    let lease = world.lease(Partition(0));
    assert_eq!((lease.deaths, lease.strikes), (0, vec![(run.clone(), 3)]));
    // The code is mended.
    shop::set_deadly(None);
    world.resume(&run, false).await;
    world.pass(Duration::from_secs(3)).await;
    assert_eq!(world.lease(Partition(0)).strikes, []);
    world.restart("orchestrator-1");
    expect_completed(&world, &run).await;
}

async fn closures_left(world: World) {
    usual(&world);
    let finished = Rc::new(Cell::new(0));
    let counted = finished.clone();
    shop::set_deadly(Some(Box::new(move || counted.set(counted.get() + 1))));
    let mut runs = Vec::new();
    for number in 0..6 {
        runs.push(world.start(shop::deadly_closure, (), &format!("closure {number}")).await);
    }
    let asked = |world: &World| world.stories().iter().filter(|story| story.entries.len() == 2).count() == 6;
    world.until(asked).await;
    let owners = world.owners();
    world.orchestrator("orchestrator-2", shop::code);
    for run in &runs {
        expect_completed(&world, run).await;
    }
    assert_ne!(world.owners(), owners);
    assert_eq!(finished.get(), 6, "who gave a partition away ran its closures to their end");
    shop::set_deadly(None);
}

async fn code_elsewhere(world: World) {
    world.orchestrator("orchestrator-1", shop::order_only);
    world.orchestrator("orchestrator-2", shop::code);
    world.worker("worker-1", &["default"]);
    world.pass(Duration::from_secs(10)).await;
    let runs = orders_and_sleepers(&world, 6).await;
    let before = world.server().time();
    for run in &runs {
        expect_completed(&world, run).await;
    }
    let took = world.server().time().duration_since(before);
    assert!(took.as_secs() < 15, "what is missing is found at once, not after {took:?}");
    let owners = world.owners();
    world.pass(Duration::from_secs(180)).await;
    assert_eq!(
        world.owners(),
        owners,
        "nobody gives a partition back to one that has less code"
    );
}

async fn code_appears(world: World) {
    world.orchestrator("orchestrator-1", shop::order_only);
    world.worker("worker-1", &["default"]);
    let run = world.start(shop::sleeper, (), "sleeper").await;
    world.parked(&run, "no code").await;
    world.pass(Duration::from_secs(100)).await;
    world.orchestrator("orchestrator-2", shop::code);
    let before = world.server().time();
    expect_completed(&world, &run).await;
    let took = world.server().time().duration_since(before);
    assert!(
        took.as_secs() < 15,
        "it is offered as soon as somebody has the code, not after {took:?}"
    );
    let other = world.start(shop::order, "o-1".to_owned(), "order").await;
    expect_completed(&world, &other).await;
}

async fn code_divided(world: World) {
    world.orchestrator("orchestrator-1", shop::order_only);
    world.orchestrator("orchestrator-2", shop::sleeper_only);
    world.worker("worker-1", &["default"]);
    let runs = orders_and_sleepers(&world, 3).await;
    let before = world.server().time();
    let mut epochs = BTreeSet::new();
    while world.stories().iter().any(|story| story.end().is_none()) {
        epochs.extend(world.epoch(Partition(0)));
        world.pass(Duration::from_secs(1)).await;
    }
    let minutes = world.server().time().duration_since(before).as_secs() / 60;
    assert!(minutes <= 3, "both have their minute");
    assert!(epochs.len() as i64 <= 2 + minutes, "not more than that: {epochs:?}");
    for run in &runs {
        expect_completed(&world, run).await;
    }
}

async fn all_cut_off(world: World) {
    world.orchestrator("orchestrator-1", shop::code);
    world.pass(Duration::from_secs(5)).await;
    world.orchestrator("orchestrator-2", shop::code);
    world.worker("worker-1", &["default"]);
    world.pass(Duration::from_secs(10)).await;
    let owners = world.owners();
    let epochs = world.epochs();
    assert_eq!(owners.len(), 4);
    let both = ["orchestrator-1", "orchestrator-2"];
    for first in [0, 1] {
        for process in both {
            world
                .connections_of(process)
                .iter()
                .for_each(|name| world.server().disconnect(name));
        }
        world.pass(Duration::from_secs(30)).await;
        for process in [both[first], both[1 - first]] {
            world
                .connections_of(process)
                .iter()
                .for_each(|name| world.server().reconnect(name));
            world.pass(Duration::from_millis(800)).await;
        }
        world.pass(Duration::from_secs(10)).await;
        assert_eq!((world.owners(), world.epochs()), (owners.clone(), epochs.clone()));
    }
    let run = world.start(shop::order, "o-1".to_owned(), "order").await;
    expect_completed(&world, &run).await;
}

async fn come_and_gone(world: World) {
    usual(&world);
    for _ in 0..6 {
        world.pass(Duration::from_secs(10)).await;
        world.restart("orchestrator-1");
    }
    assert!(world.members() >= 6, "each process start has left a record");
    world.pass(Duration::from_secs(700)).await;
    assert_eq!(world.members(), 1, "old ones are cleared away");
    let run = world.start(shop::order, "o-1".to_owned(), "order").await;
    expect_completed(&world, &run).await;
}

impl World {
    fn lease_records(&self) -> impl Iterator<Item = (String, Message)> {
        let prefix = self.names().bucket_key(LEASES, "");
        let messages = self.server().messages(&self.names().bucket_stream(LEASES));
        messages
            .into_iter()
            .filter_map(move |message| Some((message.subject.strip_prefix(&prefix)?.to_owned(), message)))
    }

    fn lease(&self, partition: Partition) -> Lease {
        let key = format!("lease.{partition}");
        let found = self.lease_records().filter(|(candidate, _)| *candidate == key).last();
        let (_, message) = found.expect("the lease was taken");
        wire::decode(&message.payload).expect("the lease is readable")
    }

    /// Who holds each partition's lease.
    pub(super) fn owners(&self) -> BTreeMap<Partition, Option<ProcessId>> {
        let partitions = self.deployment().all_partitions();
        partitions.map(|partition| (partition, self.lease(partition).owner)).collect()
    }

    fn epochs(&self) -> Vec<Option<u64>> {
        let partitions = self.deployment().all_partitions();
        partitions.map(|partition| self.epoch(partition)).collect()
    }

    fn members(&self) -> usize {
        self.lease_records().filter(|(key, _)| key.starts_with("member.")).count()
    }
}
