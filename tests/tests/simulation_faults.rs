//! Random seeds with every fault on: two orchestrators, two partitions, two workers, on one node and on three.
//!
//! `EVERSTEP_SEED` plays one seed again, `EVERSTEP_SEEDS` says how many are played.

use std::time::Duration;

use everstep_common::topology::Durability;
use everstep_memory::{Faults, Nodes};
use everstep_tests::simulation::{Scenario, Settings, play, seeds};

fn settings(seed: u64, nodes: Nodes) -> Settings {
    Settings {
        seed,
        nodes,
        faults: Faults::swarm(seed),
        partitions: 2,
        live_runs_max: if seed.is_multiple_of(3) { 2 } else { 10_000 },
        connection_each: true,
        within: Duration::from_secs(3_600),
        ..Settings::default()
    }
}

#[test]
fn a_single_server_may_be_disturbed_in_every_way() {
    for seed in seeds(10) {
        play(&Scenario::BUSTLE, settings(seed, Nodes::One));
    }
}

#[test]
fn a_cluster_may_be_disturbed_in_every_way() {
    for seed in seeds(10) {
        play(&Scenario::BUSTLE, settings(seed, Nodes::Three));
    }
}

/// Every four seconds everything that the server holds is compared with what it should.
#[test]
fn sweeps_may_come_at_any_moment() {
    for seed in seeds(5) {
        let settings = Settings {
            sweep_every: Duration::from_secs(4),
            ..settings(seed, Nodes::Three)
        };
        play(&Scenario::BUSTLE, settings);
    }
}

#[test]
fn a_journal_may_be_rolled_back_under_relaxed_durability() {
    for seed in seeds(10) {
        let settings = Settings {
            durability: Durability::Relaxed,
            sweep_every: Duration::from_secs(60),
            faults: Faults::none(),
            ..settings(seed, Nodes::One)
        };
        play(&Scenario::ROLLED_BACK, settings);
    }
}
