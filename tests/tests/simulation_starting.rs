//! Runs that begin later, that must be over by some time, and that are started by the dozen: without deaths, and with a death at every
//! journal entry and every call of the port.

use everstep_memory::{Faults, Span};
use everstep_tests::simulation::{Scenario, Settings, Victim, at_every_call, at_every_entry, play, seeds, starting_scenarios};

#[test]
fn every_scenario_ends_as_it_should_and_is_the_same_story_twice() {
    let others = [Scenario::STUBBORN, Scenario::MANY_AT_ONCE];
    for scenario in starting_scenarios().into_iter().chain(others) {
        let [once, again] = [(); 2].map(|()| play(&scenario, Settings::default()));
        println!(
            "{}: {} entries, calls {:?}: {:?}",
            scenario.name, once.entries, once.calls, once.ends
        );
        assert_eq!((once.ends, once.calls), (again.ends, again.calls), "{}", scenario.name);
    }
}

#[test]
fn anybody_may_die_at_every_entry() {
    let processes = ["orchestrator-1", "worker-1", "client-1"].map(|name| Victim::Process(name.to_owned()));
    for victim in processes.into_iter().chain([Victim::Server]) {
        for scenario in starting_scenarios() {
            at_every_entry(&scenario, &victim);
        }
        at_every_entry(&Scenario::STUBBORN, &victim);
        at_every_entry(&Scenario::MANY_AT_ONCE, &victim);
    }
}

#[test]
fn an_orchestrator_may_die_at_every_even_call() {
    for scenario in starting_scenarios() {
        at_every_call(&scenario, "orchestrator-1", 2, 0);
    }
}

#[test]
fn an_orchestrator_may_die_at_every_odd_call() {
    for scenario in starting_scenarios() {
        at_every_call(&scenario, "orchestrator-1", 2, 1);
    }
}

#[test]
fn a_client_may_die_at_every_call() {
    for scenario in starting_scenarios() {
        at_every_call(&scenario, "client-1", 1, 0);
    }
}

#[test]
fn a_client_may_die_at_every_call_of_many_starts() {
    at_every_call(&Scenario::MANY_AT_ONCE, "client-1", 1, 0);
}

#[test]
fn a_run_that_memory_does_not_hold_begins_in_time() {
    for seed in seeds(5) {
        let settings = Settings {
            seed,
            live_runs_max: 1,
            faults: Faults {
                latency: Span::milliseconds(1, 5),
                ..Faults::none()
            },
            ..Settings::default()
        };
        play(&Scenario::BEGUN_LATER, settings);
    }
}
