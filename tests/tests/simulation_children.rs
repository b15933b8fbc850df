//! Children and runs that go on as new without deaths, and with a death at every journal entry and at every call of the port; with all runs
//! in one partition, and with parents and children in several.

use std::time::Duration;

use everstep_tests::simulation::{
    Scenario, Settings, Victim, apart, at_every_call_in, at_every_entry_in, at_some, child_scenarios, play, seeds,
};

#[test]
fn every_scenario_ends_as_it_should_and_is_the_same_story_twice() {
    for settings in [Settings::default(), apart()] {
        for scenario in child_scenarios() {
            let [once, again] = [(); 2].map(|()| play(&scenario, settings.clone()));
            println!(
                "{}: {} entries, calls {:?}: {:#?}",
                scenario.name, once.entries, once.calls, once.ends
            );
            assert_eq!((once.ends, once.calls), (again.ends, again.calls), "{}", scenario.name);
        }
    }
}

macro_rules! at_every_entry_of {
    ($($test:ident: $settings:expr, $victim:expr, $half:literal of 2;)*) => {
        $(
            #[test]
            fn $test() {
                for scenario in child_scenarios().iter().skip($half - 1).step_by(2) {
                    at_every_entry_in(&$settings, scenario, &$victim);
                }
            }
        )*
    };
}

fn process(name: &str) -> Victim {
    Victim::Process(name.to_owned())
}

// In as many tests as keep each far from the limit of one.
at_every_entry_of! {
    an_orchestrator_may_die_at_every_entry: Settings::default(), process("orchestrator-1"), 1 of 2;
    an_orchestrator_may_die_at_every_entry_of_the_others: Settings::default(), process("orchestrator-1"), 2 of 2;
    an_orchestrator_of_several_partitions_may_die_at_every_entry: apart(), process("orchestrator-1"), 1 of 2;
    an_orchestrator_of_several_partitions_may_die_at_every_entry_of_the_others: apart(), process("orchestrator-1"), 2 of 2;
    a_worker_may_die_at_every_entry: Settings::default(), process("worker-1"), 1 of 2;
    a_worker_may_die_at_every_entry_of_the_others: Settings::default(), process("worker-1"), 2 of 2;
    a_client_may_die_at_every_entry: apart(), process("client-1"), 1 of 2;
    a_client_may_die_at_every_entry_of_the_others: apart(), process("client-1"), 2 of 2;
    the_server_may_die_at_every_entry: apart(), Victim::Server, 1 of 2;
    the_server_may_die_at_every_entry_of_the_others: apart(), Victim::Server, 2 of 2;
}

macro_rules! at_every_call_of {
    ($($test:ident: $settings:expr, $process:literal, $number:literal of $stride:literal;)*) => {
        $(
            mod $test {
                use super::*;

                fn of_each_second(first: usize) {
                    for scenario in child_scenarios().iter().skip(first).step_by(2) {
                        at_every_call_in(&$settings, scenario, $process, $stride, $number - 1);
                    }
                }

                #[test]
                fn of_one_half_of_the_scenarios() {
                    of_each_second(0);
                }

                #[test]
                fn of_the_other_half_of_the_scenarios() {
                    of_each_second(1);
                }
            }
        )*
    };
}

at_every_call_of! {
    an_orchestrator_may_die_at_every_first_of_eight_calls: Settings::default(), "orchestrator-1", 1 of 8;
    an_orchestrator_may_die_at_every_second_of_eight_calls: apart(), "orchestrator-1", 2 of 8;
    an_orchestrator_may_die_at_every_third_of_eight_calls: Settings::default(), "orchestrator-1", 3 of 8;
    an_orchestrator_may_die_at_every_fourth_of_eight_calls: apart(), "orchestrator-1", 4 of 8;
    an_orchestrator_may_die_at_every_fifth_of_eight_calls: Settings::default(), "orchestrator-1", 5 of 8;
    an_orchestrator_may_die_at_every_sixth_of_eight_calls: apart(), "orchestrator-1", 6 of 8;
    an_orchestrator_may_die_at_every_seventh_of_eight_calls: Settings::default(), "orchestrator-1", 7 of 8;
    an_orchestrator_may_die_at_every_eighth_of_eight_calls: apart(), "orchestrator-1", 8 of 8;
    a_client_may_die_at_every_odd_call: apart(), "client-1", 1 of 2;
    a_client_may_die_at_every_even_call: apart(), "client-1", 2 of 2;
    a_worker_may_die_at_every_first_of_four_calls: Settings::default(), "worker-1", 1 of 4;
    a_worker_may_die_at_every_second_of_four_calls: apart(), "worker-1", 2 of 4;
    a_worker_may_die_at_every_third_of_four_calls: Settings::default(), "worker-1", 3 of 4;
    a_worker_may_die_at_every_fourth_of_four_calls: apart(), "worker-1", 4 of 4;
}

#[test]
fn a_chain_is_cancelled_wherever_it_stands() {
    for seed in seeds(60) {
        let settings = Settings { seed, ..apart() };
        play(&Scenario::CHAIN_CANCELLED, settings.clone());
        play(&Scenario::CHAIN_TERMINATED, settings);
    }
}

#[test]
fn whoever_dies_while_a_chain_is_cancelled_it_ends() {
    for seed in seeds(4) {
        let settings = Settings { seed, ..apart() };
        at_some(&Scenario::CHAIN_CANCELLED, &settings, 12, seed, false);
    }
}

#[test]
fn children_end_with_a_parent_that_is_terminated_wherever_it_stands() {
    for seed in seeds(40) {
        let settings = Settings {
            seed,
            within: Duration::from_secs(7_200),
            ..apart()
        };
        play(&Scenario::FAMILY_TERMINATED, settings);
    }
}
