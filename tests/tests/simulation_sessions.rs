//! What runs share in a session, on the simulated server: each write once, none lost, whoever dies or stands still.

use everstep_memory::{Faults, Nodes, Span};
use everstep_tests::processes::Seed;
use everstep_tests::simulation::{Scenario, Settings, Victim, at_every_call, at_every_entry, at_some, play, seeds};

fn of_several_partitions() -> Settings {
    Settings {
        partitions: 4,
        faults: Faults {
            latency: Span::milliseconds(1, 5),
            ..Faults::none()
        },
        ..Settings::default()
    }
}

#[test]
fn each_write_is_done_once_though_anybody_dies_at_any_entry() {
    for victim in ["orchestrator-1", "client-1"].map(|name| Victim::Process(name.to_owned())) {
        at_every_entry(&Scenario::SHARED, &victim);
    }
    at_every_entry(&Scenario::SHARED, &Victim::Server);
}

#[test]
fn each_write_is_done_once_though_its_owner_dies_at_any_even_call() {
    at_every_call(&Scenario::SHARED, "orchestrator-1", 2, 0);
}

#[test]
fn each_write_is_done_once_though_its_owner_dies_at_any_odd_call() {
    at_every_call(&Scenario::SHARED, "orchestrator-1", 2, 1);
}

#[test]
fn runs_that_write_at_once_lose_nothing() {
    for seed in seeds(10) {
        let settings = Settings {
            seed,
            ..of_several_partitions()
        };
        play(&Scenario::SHARED_AT_ONCE, settings);
    }
}

#[test]
fn runs_that_write_at_once_lose_nothing_on_three_nodes() {
    for seed in seeds(5) {
        let settings = Settings {
            seed,
            nodes: Nodes::Three,
            ..of_several_partitions()
        };
        play(&Scenario::SHARED_AT_ONCE, settings);
    }
}

#[test]
fn runs_that_write_at_once_lose_nothing_whoever_dies() {
    let lot = Seed::from_environment().below(u64::MAX);
    // What each is told depends on who came first, so only the sums are compared: by the scenario itself.
    at_some(&Scenario::SHARED_AT_ONCE, &of_several_partitions(), 4, lot, false);
}

#[test]
fn runs_that_write_at_once_lose_nothing_though_acknowledgements_are_lost() {
    for seed in seeds(10) {
        let settings = Settings {
            seed,
            faults: Faults {
                answer_lost: 0.05,
                ..of_several_partitions().faults
            },
            ..of_several_partitions()
        };
        play(&Scenario::SHARED_AT_ONCE, settings);
    }
}

#[test]
fn an_owner_that_stood_still_writes_nothing_a_second_time() {
    for seed in seeds(40) {
        let settings = Settings {
            seed,
            faults: of_several_partitions().faults,
            ..Settings::default()
        };
        play(&Scenario::SHARED_BY_THE_FROZEN, settings);
    }
}

#[test]
fn a_run_can_be_looked_into_whoever_drives_it() {
    play(&Scenario::LOOKED_INTO, Settings::default());
}

#[test]
fn a_run_that_is_not_in_memory_can_be_looked_into() {
    let settings = Settings {
        live_runs_max: 1,
        ..Settings::default()
    };
    play(&Scenario::LOOKED_INTO, settings);
}
