//! Limits on the simulated server: they hold over all orchestrators and workers, nobody starves under them, and no place is lost with whoever
//! dies.

use everstep_memory::{Faults, Nodes, Span};
use everstep_tests::processes::Seed;
use everstep_tests::simulation::{Scenario, Settings, Victim, at_every_call, at_every_entry, at_some, flow_scenarios, play, seeds};

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

fn for_seeds(scenario: &Scenario, count: u64) {
    for seed in seeds(count) {
        let settings = Settings {
            seed,
            ..of_several_partitions()
        };
        play(scenario, settings);
    }
}

#[test]
fn a_limit_holds_for_everybody() {
    for_seeds(&Scenario::NARROW_FOR_ALL, 10);
}

#[test]
fn a_limit_holds_on_three_nodes() {
    for seed in seeds(5) {
        let settings = Settings {
            seed,
            nodes: Nodes::Three,
            ..of_several_partitions()
        };
        play(&Scenario::NARROW_FOR_ALL, settings);
    }
}

#[test]
fn a_limit_holds_though_acknowledgements_are_lost() {
    for seed in seeds(10) {
        let settings = Settings {
            seed,
            faults: Faults {
                answer_lost: 0.05,
                ..of_several_partitions().faults
            },
            ..of_several_partitions()
        };
        play(&Scenario::NARROW_FOR_ALL, settings);
    }
}

#[test]
fn a_rate_holds_for_everybody() {
    for_seeds(&Scenario::PACED_FOR_ALL, 5);
}

#[test]
fn keys_have_limits_of_their_own_and_take_turns() {
    for_seeds(&Scenario::KEYS_TAKE_TURNS, 5);
}

#[test]
fn what_is_urgent_goes_first_and_the_rest_goes_too() {
    for_seeds(&Scenario::URGENT_FIRST, 5);
}

#[test]
fn a_small_run_does_not_wait_for_a_large_one() {
    for_seeds(&Scenario::SMALL_BESIDE_LARGE, 5);
}

#[test]
fn limits_are_changed_while_runs_wait() {
    for_seeds(&Scenario::SET_LIVE, 5);
}

#[test]
fn no_place_is_lost_with_whoever_dies_at_some_entries_and_calls() {
    let lot = Seed::from_environment().below(u64::MAX);
    for scenario in flow_scenarios() {
        at_some(&scenario, &of_several_partitions(), 6, lot, false);
    }
}

#[test]
fn no_place_is_lost_with_an_owner_that_dies_at_any_entry() {
    let victim = Victim::Process("orchestrator-1".to_owned());
    at_every_entry(&Scenario::NARROW_FOR_ALL, &victim);
}

#[test]
fn no_place_is_lost_with_an_owner_that_dies_at_any_fourth_call() {
    for offset in [0, 2] {
        at_every_call(&Scenario::NARROW_FOR_ALL, "orchestrator-1", 4, offset);
    }
}
