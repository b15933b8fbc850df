//! Rollbacks without deaths, and with a death at every journal entry and at every call of the port.

use everstep_tests::simulation::{
    Scenario, Settings, Victim, at_every_call, at_every_entry, at_some, play, rollback_scenarios, seeds,
};

#[test]
fn every_scenario_ends_as_it_should_and_is_the_same_story_twice() {
    for scenario in rollback_scenarios() {
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
    let process = |name: &str| Victim::Process(name.to_owned());
    for victim in [process("orchestrator-1"), process("worker-1"), Victim::Server] {
        for scenario in rollback_scenarios() {
            at_every_entry(&scenario, &victim);
        }
    }
}

macro_rules! at_every_call_of {
    ($($test:ident: $process:literal, $stride:literal, $offset:literal;)*) => {
        $(
            #[test]
            fn $test() {
                for scenario in rollback_scenarios() {
                    at_every_call(&scenario, $process, $stride, $offset);
                }
            }
        )*
    };
}

at_every_call_of! {
    an_orchestrator_may_die_at_every_fourth_call: "orchestrator-1", 4, 0;
    an_orchestrator_may_die_at_every_fourth_call_but_one: "orchestrator-1", 4, 1;
    an_orchestrator_may_die_at_every_fourth_call_but_two: "orchestrator-1", 4, 2;
    an_orchestrator_may_die_at_every_fourth_call_but_three: "orchestrator-1", 4, 3;
    a_worker_may_die_at_every_even_call: "worker-1", 2, 0;
    a_worker_may_die_at_every_odd_call: "worker-1", 2, 1;
}

/// What came first may differ between two stories; that what was done is undone may not.
#[test]
fn a_step_that_is_given_up_as_it_is_done_is_undone_if_it_was() {
    for seed in seeds(4) {
        let settings = Settings {
            seed,
            ..Settings::default()
        };
        at_some(&Scenario::GIVEN_UP_LATE, &settings, 10, seed, false);
    }
}
