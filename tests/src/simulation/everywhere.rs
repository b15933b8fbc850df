//! The tests that every list of scenarios has, written once: the same story twice, a death at every journal entry, a death at every call of the
//! port. A file of tests names its scenarios and who dies; the names of the tests follow from that.
//!
//! ```text
//! everstep_tests::same_story_twice!(update_scenarios());
//! everstep_tests::deaths_at_every_entry!(update_scenarios(); orchestrator, worker, client, server);
//! everstep_tests::deaths_at_every_call!(update_scenarios(); orchestrator / 4, worker / 2, client / 2);
//! ```
//!
//! Behind the scenarios may stand the settings they are played with, after a comma; else they are the default ones.

use super::driver::play;
use super::scenarios::Scenario;
use super::settings::Settings;

/// Plays the scenario twice, and compares.
pub fn is_the_same_story_twice(scenario: &Scenario, settings: &Settings) {
    let [once, again] = [(); 2].map(|()| play(scenario, settings.clone()));
    println!(
        "{}: {} entries, calls {:?}: {:?}",
        scenario.name, once.entries, once.calls, once.ends
    );
    assert_eq!(
        (once.ends, once.entries, once.calls),
        (again.ends, again.entries, again.calls),
        "{}",
        scenario.name
    );
}

/// A test without deaths: all scenarios end as they should, and the same settings give the same story.
#[macro_export]
macro_rules! same_story_twice {
    ($scenarios:expr) => {
        $crate::same_story_twice!($scenarios, $crate::simulation::Settings::default());
    };
    ($scenarios:expr, $settings:expr) => {
        #[test]
        fn every_scenario_ends_as_it_should_and_is_the_same_story_twice() {
            for scenario in $scenarios {
                $crate::simulation::is_the_same_story_twice(&scenario, &$settings);
            }
        }
    };
}

/// A test for each victim: it dies at every journal entry of every scenario.
#[macro_export]
macro_rules! deaths_at_every_entry {
    (@orchestrator $($world:tt)*) => {
        $crate::deaths_at_every_entry!(@test an_orchestrator_may_die_at_every_entry: Process("orchestrator-1".to_owned()), $($world)*);
    };
    (@another_orchestrator $($world:tt)*) => {
        $crate::deaths_at_every_entry!(@test another_orchestrator_may_die_at_every_entry: Process("orchestrator-2".to_owned()), $($world)*);
    };
    (@worker $($world:tt)*) => {
        $crate::deaths_at_every_entry!(@test a_worker_may_die_at_every_entry: Process("worker-1".to_owned()), $($world)*);
    };
    (@client $($world:tt)*) => {
        $crate::deaths_at_every_entry!(@test a_client_may_die_at_every_entry: Process("client-1".to_owned()), $($world)*);
    };
    (@server $($world:tt)*) => {
        $crate::deaths_at_every_entry!(@test the_server_may_die_at_every_entry: Server, $($world)*);
    };
    (@test $test:ident: $victim:ident $(($name:expr))?, $scenarios:expr, $settings:expr) => {
        #[test]
        fn $test() {
            let victim = $crate::simulation::Victim::$victim $(($name))?;
            for scenario in $scenarios {
                $crate::simulation::at_every_entry(&scenario, &$settings, &victim);
            }
        }
    };
    ($scenarios:expr; $($victim:ident),+) => {
        $crate::deaths_at_every_entry!($scenarios, $crate::simulation::Settings::default(); $($victim),+);
    };
    ($scenarios:expr, $settings:expr; $($victim:ident),+) => {
        $($crate::deaths_at_every_entry!(@$victim $scenarios, $settings);)+
    };
}

/// Tests for each process: it dies before and after every call of the port in every scenario. `orchestrator / 4` is in four tests, each of
/// which takes every fourth call: as many as keep each far from the limit of one, on a machine that has other things to do.
#[macro_export]
macro_rules! deaths_at_every_call {
    (@orchestrator / 2, $($world:tt)*) => {
        $crate::deaths_at_calls! { $($world)*;
            an_orchestrator_may_die_at_every_odd_call: "orchestrator-1", 1 of 2;
            an_orchestrator_may_die_at_every_even_call: "orchestrator-1", 2 of 2;
        }
    };
    (@orchestrator / 4, $($world:tt)*) => {
        $crate::deaths_at_calls! { $($world)*;
            an_orchestrator_may_die_at_every_first_of_four_calls: "orchestrator-1", 1 of 4;
            an_orchestrator_may_die_at_every_second_of_four_calls: "orchestrator-1", 2 of 4;
            an_orchestrator_may_die_at_every_third_of_four_calls: "orchestrator-1", 3 of 4;
            an_orchestrator_may_die_at_every_fourth_of_four_calls: "orchestrator-1", 4 of 4;
        }
    };
    (@another_orchestrator / 2, $($world:tt)*) => {
        $crate::deaths_at_calls! { $($world)*;
            another_orchestrator_may_die_at_every_odd_call: "orchestrator-2", 1 of 2;
            another_orchestrator_may_die_at_every_even_call: "orchestrator-2", 2 of 2;
        }
    };
    (@worker / 2, $($world:tt)*) => {
        $crate::deaths_at_calls! { $($world)*;
            a_worker_may_die_at_every_odd_call: "worker-1", 1 of 2;
            a_worker_may_die_at_every_even_call: "worker-1", 2 of 2;
        }
    };
    (@client / 1, $($world:tt)*) => {
        $crate::deaths_at_calls! { $($world)*;
            a_client_may_die_at_every_call: "client-1", 1 of 1;
        }
    };
    (@client / 2, $($world:tt)*) => {
        $crate::deaths_at_calls! { $($world)*;
            a_client_may_die_at_every_odd_call: "client-1", 1 of 2;
            a_client_may_die_at_every_even_call: "client-1", 2 of 2;
        }
    };
    ($scenarios:expr; $($process:ident / $tests:tt),+) => {
        $crate::deaths_at_every_call!($scenarios, $crate::simulation::Settings::default(); $($process / $tests),+);
    };
    ($scenarios:expr, $settings:expr; $($process:ident / $tests:tt),+) => {
        $($crate::deaths_at_every_call!(@$process / $tests, $scenarios, $settings);)+
    };
}

/// A test for each line: in every scenario the process dies before and after some of its calls, `1 of 4` being the first, the fifth, …
#[macro_export]
macro_rules! deaths_at_calls {
    ($scenarios:expr; $($tests:tt)*) => {
        $crate::deaths_at_calls! { $scenarios, $crate::simulation::Settings::default(); $($tests)* }
    };
    ($scenarios:expr, $settings:expr; $($test:ident: $process:literal, $number:literal of $stride:literal;)+) => {
        $(
            #[test]
            fn $test() {
                for scenario in $scenarios {
                    $crate::simulation::at_every_call(&scenario, &$settings, $process, $stride, $number - 1);
                }
            }
        )+
    };
}
