//! Who drives a partition, and who must not, or not any more.

use std::time::Duration;

use everstep_tests::simulation::{Scenario, Settings, play};

fn settings(partitions: u32) -> Settings {
    Settings {
        partitions,
        connection_each: true,
        within: Duration::from_secs(1_800),
        ..Settings::default()
    }
}

#[test]
fn a_run_that_ends_its_process_at_once_is_parked_and_can_be_mended() {
    play(&Scenario::DEADLY, settings(1));
}

#[test]
fn a_closure_that_ends_its_process_at_once_is_found_too() {
    play(&Scenario::DEADLY_CLOSURE, settings(1));
}

#[test]
fn closures_do_not_go_on_when_their_partition_is_somebody_elses() {
    play(&Scenario::CLOSURES_LEFT, settings(2));
}

#[test]
fn a_partition_goes_to_the_orchestrator_that_has_the_code() {
    play(&Scenario::CODE_ELSEWHERE, settings(2));
}

#[test]
fn a_partition_is_offered_once_somebody_has_the_code() {
    play(&Scenario::CODE_APPEARS, settings(1));
}

#[test]
fn runs_go_on_though_nobody_has_all_the_code() {
    play(&Scenario::CODE_DIVIDED, settings(1));
}

#[test]
fn an_outage_moves_no_partition() {
    play(&Scenario::ALL_CUT_OFF, settings(4));
}

#[test]
fn records_of_processes_that_are_gone_are_cleared_away() {
    play(&Scenario::COME_AND_GONE, settings(1));
}
