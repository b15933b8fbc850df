//! More sleepers than fit into memory: who stays, and what it costs to read the others back.

use std::time::Duration;

use everstep_memory::Call;
use futures::FutureExt;

use super::scenarios::{Scenario, scenario, usual};
use super::shop;
use super::world::World;

/// What the tests of this file want for [`Settings::live_runs_max`](super::Settings::live_runs_max).
pub const FIT: usize = 100;

/// How long [`shop::night`] sleeps.
const NIGHT: Duration = Duration::from_secs(300);

impl Scenario {
    /// Twice as many sleepers as fit, that wake one by one: those that wake first are in memory still.
    pub const WAKING_IN_TURN: Self = scenario!(waking_in_turn);
    /// Four times as many as fit, that wake at once.
    pub const WAKING_AT_ONCE: Self = scenario!(waking_at_once);
}

async fn waking_in_turn(world: World) {
    usual(&world);
    let mut runs = Vec::new();
    let pause = Duration::from_secs(1);
    for number in 0..2 * FIT {
        runs.push(world.start(shop::night, (), &format!("night {number}")).await);
        world.pass(pause).await;
    }
    let before = reads(&world);
    // Until most of those that fit are awake, and nobody else.
    world.pass(NIGHT - pause * (FIT as u32 + 10)).await;
    assert_eq!(reads(&world), before, "who wakes next was dropped from memory");
    world.all_ended(&runs).await;
}

async fn waking_at_once(world: World) {
    usual(&world);
    let mut runs = Vec::new();
    for number in 0..4 * FIT {
        runs.push(world.start(shop::night, (), &format!("night {number}")).await);
    }
    world.pass(NIGHT / 2).await;
    let before = reads(&world);
    world.all_ended(&runs).await;
    let asked = reads(&world) - before;
    assert!(asked < FIT as u64, "{asked} questions for the journals of {} runs", 3 * FIT);
}

/// Questions for journals so far.
fn reads(world: &World) -> u64 {
    let calls = world.server().calls("orchestrator-1-partition-0");
    calls.get(&Call::GetLast).copied().unwrap_or_default()
}
