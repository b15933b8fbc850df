//! Plays a scenario to its end on one thread, and checks what has come of it.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::task::Poll;

use everstep_common::ports::Clock;
use everstep_orchestrator::SimulatedOrchestrator;
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use tokio::runtime::{Builder, Runtime};

use super::clients::CLIENT;
use super::properties;
use super::scenarios::Scenario;
use super::settings::Settings;
use super::story::{self, seeds};
use super::world::World;

/// Turns without simulated time going on after which the world is called a livelock.
const TURNS_AT_ONCE_MAX: u64 = 20_000;

/// What came of a scenario.
#[derive(Debug)]
pub struct Outcome {
    /// How each run ended and what it recorded, by start key.
    pub ends: BTreeMap<String, Vec<String>>,
    /// How many journal entries were stored.
    pub entries: u64,
    /// How many calls of the port the first process of each name made.
    pub calls: BTreeMap<String, u64>,
    /// The end of what happened, line by line.
    pub history: String,
}

/// Plays the scenario and checks P1 to P7 on what the server holds then.
pub fn play(scenario: &Scenario, settings: Settings) -> Outcome {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing that could be missing");
    let world = runtime.block_on(World::new(settings));
    let telling = Telling {
        scenario: scenario.name,
        world: world.clone(),
    };
    let played = world.clone();
    let (scenario, play) = (*scenario, scenario.play);
    let story = async move {
        play(played.clone()).await;
        properties::come_to_rest(&played, &scenario).await;
    };
    drive(&runtime, &world, &scenario, story.boxed_local());
    properties::check(&world, &scenario);
    let calls = ["orchestrator-1", "orchestrator-2", "worker-1", "worker-2", CLIENT];
    let calls = calls.into_iter().filter(|name| world.0.brokers.borrow().contains_key(*name));
    let outcome = Outcome {
        ends: story::ends(&world),
        entries: world.entries(),
        calls: calls.map(|name| (name.to_owned(), world.server().port_calls(name))).collect(),
        history: tail(&world.server().history()),
    };
    drop(telling);
    outcome
}

/// Plays the scenario under as many seeds as [`seeds`] says.
pub fn play_under_seeds(scenario: &Scenario, settings: &Settings, count: u64) {
    for seed in seeds(count) {
        let settings = settings.clone();
        play(scenario, Settings { seed, ..settings });
    }
}

/// Lets everyone do what there is to do until the story is over.
fn drive(runtime: &Runtime, world: &World, scenario: &Scenario, mut story: LocalBoxFuture<'static, ()>) {
    let mut orchestrators: Vec<(String, SimulatedOrchestrator)> = Vec::new();
    // Made outside the runtime; it is first polled inside.
    let mut late = world.server().clock().sleep(world.settings().within).fuse();
    let mut stall = (world.server().clock().now(), 0_u64);
    loop {
        let over = runtime.block_on(next(world, scenario, &mut orchestrators, &mut story, &mut late));
        if over {
            break;
        }
        for (_, orchestrator) in &mut orchestrators {
            orchestrator.turn();
        }
        see_to(runtime, world, &mut orchestrators);
        let now = world.server().clock().now();
        stall = if now == stall.0 { (now, stall.1 + 1) } else { (now, 0) };
        assert!(
            stall.1 < TURNS_AT_ONCE_MAX,
            "livelock: {TURNS_AT_ONCE_MAX} turns and no time has passed"
        );
    }
}

/// Returns when an orchestrator has something to do, the world has changed, or (true) the story is over.
async fn next(
    world: &World,
    scenario: &Scenario,
    orchestrators: &mut [(String, SimulatedOrchestrator)],
    story: &mut LocalBoxFuture<'static, ()>,
    late: &mut futures::future::Fuse<futures::future::BoxFuture<'static, ()>>,
) -> bool {
    // The server and the workers move too, also while an orchestrator has its hands full.
    tokio::task::yield_now().await;
    let mut changed = std::pin::pin!(world.0.changed.notified());
    let mut waiting: Vec<_> = orchestrators
        .iter_mut()
        .map(|(_, orchestrator)| orchestrator.ready().boxed_local())
        .collect();
    poll_fn(|context| {
        if story.poll_unpin(context).is_ready() {
            return Poll::Ready(true);
        }
        assert!(
            late.poll_unpin(context).is_pending(),
            "P7: not over within {:?}: {}",
            world.settings().within,
            properties::unrest(world, scenario).join("; ")
        );
        let mut ready = changed.as_mut().poll(context).is_ready();
        for orchestrator in &mut waiting {
            ready |= orchestrator.poll_unpin(context).is_ready();
        }
        if ready { Poll::Ready(false) } else { Poll::Pending }
    })
    .await
}

/// Buries the dead, starts whoever is to start, restarts the server if that is planned.
fn see_to(runtime: &Runtime, world: &World, orchestrators: &mut Vec<(String, SimulatedOrchestrator)>) {
    let _inside = runtime.enter();
    if std::mem::take(&mut world.seen().restart) {
        world.server().restart();
    }
    world.revive();
    orchestrators.retain(|(_, orchestrator)| !world.is_buried(orchestrator.process()) && !orchestrator.has_left());
    orchestrators.append(&mut world.0.processes.borrow_mut().started);
}

/// Says what was played when a check fails.
struct Telling {
    scenario: &'static str,
    world: World,
}

impl Drop for Telling {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let settings = self.world.settings();
            eprintln!(
                "EVERSTEP_SEED={} scenario {:?}, crash {:?}\n{}",
                settings.seed,
                self.scenario,
                settings.crash,
                tail(&self.world.server().history())
            );
        }
    }
}

/// As much of a history as a reader can take in; all of it stands in the file that `EVERSTEP_HISTORY` names.
fn tail(history: &str) -> String {
    if let Some(file) = std::env::var_os("EVERSTEP_HISTORY") {
        std::fs::write(file, history).expect("the file of EVERSTEP_HISTORY can be written");
    }
    let beats = |line: &&str| line.contains("leases.member.") || line.contains("leases.lease.");
    let lines: Vec<&str> = history.lines().filter(|line| !beats(line)).collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
