//! Changed code, versions and patches without deaths, and with a death at every journal entry and at every call of the port.

use everstep_tests::simulation::{Settings, Victim, at_every_call, at_every_entry, edit_scenarios, play, version_scenarios};

#[test]
fn every_scenario_ends_as_it_should_and_is_the_same_story_twice() {
    for scenario in version_scenarios().into_iter().chain(edit_scenarios()) {
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
    for victim in [
        process("orchestrator-1"),
        process("orchestrator-2"),
        process("worker-1"),
        Victim::Server,
    ] {
        for scenario in version_scenarios().into_iter().chain(edit_scenarios()) {
            at_every_entry(&scenario, &victim);
        }
    }
}

macro_rules! at_every_call_of {
    ($($test:ident: $process:literal, $offset:literal;)*) => {
        $(
            #[test]
            fn $test() {
                for scenario in version_scenarios() {
                    at_every_call(&scenario, $process, 2, $offset);
                }
            }
        )*
    };
}

at_every_call_of! {
    an_orchestrator_may_die_at_every_even_call: "orchestrator-1", 0;
    an_orchestrator_may_die_at_every_odd_call: "orchestrator-1", 1;
    the_one_with_other_code_may_die_at_every_even_call: "orchestrator-2", 0;
    the_one_with_other_code_may_die_at_every_odd_call: "orchestrator-2", 1;
}
