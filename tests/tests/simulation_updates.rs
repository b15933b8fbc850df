//! Updates without deaths, and with a death at every journal entry and at every call of the port.

use everstep_tests::simulation::{Settings, Victim, at_every_call, at_every_entry, play, update_scenarios};

#[test]
fn every_scenario_ends_as_it_should_and_is_the_same_story_twice() {
    for scenario in update_scenarios() {
        let [once, again] = [(); 2].map(|()| play(&scenario, Settings::default()));
        println!(
            "{}: {} entries, calls {:?}: {:?}",
            scenario.name, once.entries, once.calls, once.ends
        );
        assert_eq!((once.ends, once.calls), (again.ends, again.calls), "{}", scenario.name);
    }
}

fn at_every_entry_of_all(victim: &Victim) {
    for scenario in update_scenarios() {
        at_every_entry(&scenario, victim);
    }
}

#[test]
fn an_orchestrator_may_die_at_every_entry() {
    at_every_entry_of_all(&Victim::Process("orchestrator-1".to_owned()));
}

#[test]
fn a_worker_may_die_at_every_entry() {
    at_every_entry_of_all(&Victim::Process("worker-1".to_owned()));
}

#[test]
fn a_client_may_die_at_every_entry() {
    at_every_entry_of_all(&Victim::Process("client-1".to_owned()));
}

#[test]
fn the_server_may_die_at_every_entry() {
    at_every_entry_of_all(&Victim::Server);
}

macro_rules! at_every_call_of {
    ($($test:ident: $process:literal, $number:literal of $stride:literal;)*) => {
        $(
            #[test]
            fn $test() {
                for scenario in update_scenarios() {
                    at_every_call(&scenario, $process, $stride, $number - 1);
                }
            }
        )*
    };
}

// In as many tests as keep each far from the limit of one, on a machine that has other things to do.
at_every_call_of! {
    an_orchestrator_may_die_at_every_first_of_four_calls: "orchestrator-1", 1 of 4;
    an_orchestrator_may_die_at_every_second_of_four_calls: "orchestrator-1", 2 of 4;
    an_orchestrator_may_die_at_every_third_of_four_calls: "orchestrator-1", 3 of 4;
    an_orchestrator_may_die_at_every_fourth_of_four_calls: "orchestrator-1", 4 of 4;
    a_worker_may_die_at_every_odd_call: "worker-1", 1 of 2;
    a_worker_may_die_at_every_even_call: "worker-1", 2 of 2;
    a_client_may_die_at_every_odd_call: "client-1", 1 of 2;
    a_client_may_die_at_every_even_call: "client-1", 2 of 2;
}
