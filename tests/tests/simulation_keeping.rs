//! What an owner keeps right besides driving runs.

use std::time::Duration;

use everstep_tests::simulation::{Scenario, Settings, play};

fn settings() -> Settings {
    Settings {
        sweep_every: Duration::from_secs(60),
        within: Duration::from_secs(10_000),
        ..Settings::default()
    }
}

#[test]
fn a_schedule_that_is_lost_is_made_again_by_the_sweep() {
    play(&Scenario::SCHEDULES_LOST, settings());
}

#[test]
fn a_schedule_of_a_run_that_is_not_in_memory_is_made_again_too() {
    let few = Settings {
        live_runs_max: 1,
        ..settings()
    };
    play(&Scenario::SCHEDULES_LOST, few);
}

#[test]
fn summaries_that_are_lost_are_made_again_by_the_sweep() {
    play(&Scenario::SUMMARIES_LOST, settings());
}

#[test]
fn a_cancelled_run_without_code_here_is_left_to_its_code() {
    play(&Scenario::CANCELLED_BY_ITS_CODE, settings());
}

#[test]
fn a_cancelled_run_without_code_ends_when_it_is_cancelled_again() {
    play(&Scenario::CANCELLED_AS_IT_STANDS, settings());
}

#[test]
fn a_run_that_cannot_be_read_is_listed_as_parked_and_can_be_cancelled() {
    play(&Scenario::UNREADABLE, settings());
}

#[test]
fn a_run_that_can_be_read_again_is_no_longer_listed_as_parked() {
    play(&Scenario::UNREADABLE_FOR_A_WHILE, settings());
}

#[test]
fn a_run_whose_start_is_rolled_back_is_no_longer_listed() {
    play(&Scenario::STARTED_IN_VAIN, settings());
}

#[test]
fn a_stream_that_is_cut_back_under_its_owner_is_read_anew() {
    play(&Scenario::CUT_BACK, settings());
}

#[test]
fn leases_that_are_cut_back_are_held_on() {
    let settings = Settings {
        within: Duration::from_secs(60),
        ..settings()
    };
    play(&Scenario::LEASES_CUT_BACK, settings);
}

#[test]
fn what_stands_of_a_run_without_a_start_is_left_for_a_whole_period() {
    play(&Scenario::NEVER_STARTED, settings());
}

#[test]
fn a_journal_is_warned_about_once_when_it_comes_near_its_limit() {
    play(&Scenario::LONG_JOURNAL, Settings::default());
}
