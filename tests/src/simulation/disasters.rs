//! What befalls the processes and the server while a story is played, drawn from a seed.

use std::time::Duration;

use everstep_common::ids::{Partition, QueueName};
use everstep_memory::Faults;
use jiff::SignedDuration;

use super::world::World;

/// How long things go wrong; after that they only recover.
const TROUBLE_LASTS: Duration = Duration::from_secs(90);

/// The longest pause between two disasters.
const PAUSE_MS_MAX: u64 = 12_000;

/// A small generator of its own, so that disasters draw no lots of the server's.
pub struct Dice(u64);

impl Dice {
    /// The generator of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x6a09_e667_f3bc_c908)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        // SplitMix64 (Steele, Lea and Flood, 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn milliseconds(&mut self, bound: u64) -> Duration {
        Duration::from_millis(self.below(bound))
    }
}

/// Lets disasters happen for a while, then ends all faults.
pub async fn strike(world: World) {
    let mut dice = Dice::new(world.settings().seed);
    let mut trouble = Duration::ZERO;
    while trouble < TROUBLE_LASTS {
        let pause = dice.milliseconds(PAUSE_MS_MAX);
        world.pass(pause).await;
        trouble += pause + strike_once(&world, &mut dice).await;
    }
    world.server().set_faults(Faults::none());
}

/// One disaster; how long it took.
async fn strike_once(world: &World, dice: &mut Dice) -> Duration {
    let which = ["orchestrator-1", "orchestrator-2", "worker-1", "worker-2"][dice.below(4) as usize];
    match dice.below(9) {
        0 | 1 => world.restart(which),
        2 => return freeze(world, which, dice).await,
        3 => world.server().restart(),
        kind @ (4 | 5) => {
            let queue = QueueName::new(["default", "gpu"][dice.below(2) as usize]).expect("a name");
            let stream = world.names().task_stream(&queue);
            if kind == 4 {
                world.server().wipe(&stream);
            } else {
                world.server().delete_stream(&stream);
            }
        }
        6 => world.server().lose_leader(dice.milliseconds(9_000)),
        7 => {
            for connection in world.connections_of(which) {
                world.server().cut(&connection, dice.milliseconds(8_000));
            }
        }
        _ => {
            let skew = SignedDuration::from_secs(dice.below(7_200) as i64 - 3_600);
            for connection in world.connections_of(which) {
                world.server().set_wall_skew(&connection, skew);
            }
        }
    }
    Duration::ZERO
}

/// Stops a process, for longer than a lease or the `ack_wait` now and then, and lets it go on.
async fn freeze(world: &World, which: &str, dice: &mut Dice) -> Duration {
    let connections = world.connections_of(which);
    let longest = if dice.below(3) == 0 { 45_000 } else { 5_000 };
    let long = dice.milliseconds(longest);
    connections.iter().for_each(|connection| world.server().freeze(connection));
    world.pass(long).await;
    connections.iter().for_each(|connection| world.server().thaw(connection));
    long
}

/// Restores the journal of a partition to what it was some entries ago, as a power cut does under relaxed durability.
pub async fn roll_back(world: &World, dice: &mut Dice) {
    let partition = Partition(dice.below(u64::from(world.settings().partitions)) as u32);
    let stream = world.names().journal_stream(partition);
    let last = world.server().stream_info(&stream).map_or(0, |info| info.last_sequence);
    world.server().restart();
    world.server().roll_back(&stream, last.saturating_sub(1 + dice.below(6)));
}
