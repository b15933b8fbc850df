//! What runs share in a session, on the simulated server: each write once, none lost, whoever dies or stands still.

use everstep_tests::simulation::{Scenario, Settings, at_some_places, play, play_under_seeds};

mod each_write_is_done_once {
    use super::*;

    everstep_tests::deaths_at_every_entry!([Scenario::SHARED]; orchestrator, client, server);
    everstep_tests::deaths_at_every_call!([Scenario::SHARED]; orchestrator / 2);
}

#[test]
fn runs_that_write_at_once_lose_nothing() {
    play_under_seeds(&Scenario::SHARED_AT_ONCE, &Settings::of_several_partitions(), 10);
}

#[test]
fn runs_that_write_at_once_lose_nothing_on_three_nodes() {
    let settings = Settings::of_several_partitions().on_three_nodes();
    play_under_seeds(&Scenario::SHARED_AT_ONCE, &settings, 5);
}

#[test]
fn runs_that_write_at_once_lose_nothing_whoever_dies() {
    // What each is told depends on who came first, so only the sums are compared: by the scenario itself.
    at_some_places(&Scenario::SHARED_AT_ONCE, &Settings::of_several_partitions(), 4, false);
}

#[test]
fn runs_that_write_at_once_lose_nothing_though_acknowledgements_are_lost() {
    let settings = Settings::of_several_partitions().without_some_answers();
    play_under_seeds(&Scenario::SHARED_AT_ONCE, &settings, 10);
}

#[test]
fn an_owner_that_stood_still_writes_nothing_a_second_time() {
    play_under_seeds(&Scenario::SHARED_BY_THE_FROZEN, &Settings::default().with_latency(), 40);
}

#[test]
fn a_run_can_be_looked_into_whoever_drives_it() {
    play(&Scenario::LOOKED_INTO, Settings::default());
}

#[test]
fn a_run_that_is_not_in_memory_can_be_looked_into() {
    let settings = Settings {
        live_runs_max: 1,
        ..Settings::default()
    };
    play(&Scenario::LOOKED_INTO, settings);
}
