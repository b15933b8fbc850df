//! A death at every journal entry and at every call of the port, by loop, each followed by recovery: the same end, each outcome stored once,
//! each effect once.

use std::time::Duration;

use everstep_tests::processes::Seed;
use everstep_tests::simulation::{Scenario, Settings, at_some_places, scenarios};

everstep_tests::deaths_at_every_entry!(scenarios(); orchestrator, worker, client, server);
everstep_tests::deaths_at_every_call!(scenarios(); orchestrator / 4, worker / 2, client / 2);

// These scenarios are too long for every place: each time the tests run they take other ones.

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
