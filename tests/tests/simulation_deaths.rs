//! A death at every journal entry and at every call of the port, by loop, each followed by recovery: the same end, each outcome stored once,
//! each effect once.

use std::time::Duration;

use everstep_tests::processes::Seed;
use everstep_tests::simulation::{Scenario, Settings, Victim, at_every_call, at_every_entry, at_some, scenarios};

fn at_every_entry_of_all(victim: &Victim) {
    for scenario in scenarios() {
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
                for scenario in scenarios() {
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

/// These scenarios are too long for every place: each time the tests run they take other ones, as `EVERSTEP_SEED` says, which is printed; it
/// is drawn afresh unless it is given.
fn at_some_places(scenario: &Scenario, settings: &Settings, samples: u64, same_end: bool) {
    let lot = Seed::from_environment().below(u64::MAX);
    at_some(scenario, settings, samples, lot, same_end);
}

#[test]
fn anybody_may_die_somewhere_in_a_crowd_of_which_memory_holds_few() {
    let settings = Settings {
        live_runs_max: 10,
        ..Settings::default()
    };
    at_some_places(&Scenario::CROWD, &settings, 1, true);
}

#[test]
fn anybody_may_die_somewhere_while_a_worker_is_drained() {
    at_some_places(&Scenario::DRAINED, &Settings::default(), 6, true);
}

#[test]
fn anybody_may_die_somewhere_around_what_may_begin_once() {
    at_some_places(&Scenario::INTERRUPTED, &Settings::default(), 6, true);
}

/// What is awaited against a clock, or begins once only, ends as chance has it; the promises are kept.
#[test]
fn anybody_may_die_somewhere_among_disasters() {
    let settings = Settings {
        seed: Seed::from_environment().below(1_000),
        within: Duration::from_secs(3_600),
        ..Settings::default()
    };
    at_some_places(&Scenario::BUSTLE, &settings, 1, false);
}
