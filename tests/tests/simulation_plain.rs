//! Each scenario without deaths and faults.

use everstep_tests::simulation::{Scenario, Settings, play, scenarios};

#[test]
fn every_scenario_ends_as_it_should() {
    for scenario in scenarios() {
        let outcome = play(&scenario, Settings::default());
        println!("{}: {} entries, calls {:?}", scenario.name, outcome.entries, outcome.calls);
    }
}

#[test]
fn the_same_scenario_is_the_same_story() {
    for scenario in scenarios() {
        let [once, again] = [(); 2].map(|()| play(&scenario, Settings::default()));
        assert_eq!(
            (once.ends, once.entries, once.calls),
            (again.ends, again.entries, again.calls),
            "{}",
            scenario.name
        );
    }
}

#[test]
fn many_runs_end_though_few_fit_into_memory() {
    let settings = Settings {
        live_runs_max: 10,
        ..Settings::default()
    };
    play(&Scenario::CROWD, settings);
}

#[test]
fn a_worker_that_is_stopped_hands_its_steps_to_another() {
    play(&Scenario::DRAINED, Settings::default());
}

#[test]
fn what_may_begin_once_is_not_begun_again() {
    play(&Scenario::INTERRUPTED, Settings::default());
}

#[test]
fn a_survivor_takes_over_within_the_lease_and_half_a_second() {
    let settings = Settings {
        partitions: 2,
        ..Settings::default()
    };
    play(&Scenario::SURVIVED, settings);
}
