//! Each scenario without deaths and faults.

use std::time::Duration;

use everstep_memory::{Faults, Span};
use everstep_tests::simulation::{FIT, Scenario, Settings, play, play_under_seeds, scenarios};

everstep_tests::same_story_twice!(scenarios());

#[test]
fn an_answer_and_its_timeout_at_the_same_instant_have_one_outcome_a_thousand_times() {
    let settings = Settings {
        within: Duration::from_secs(4 * 3_600),
        ..Settings::default()
    };
    play(&Scenario::SAME_INSTANT, settings);
}

#[test]
fn nothing_on_the_hot_path_lists_keys_asks_about_a_consumer_or_makes_one() {
    let settings = Settings {
        connection_each: true,
        ..Settings::default()
    };
    play(&Scenario::SECOND_ORDER, settings);
}

#[test]
fn many_runs_end_though_few_fit_into_memory() {
    let settings = Settings {
        live_runs_max: 10,
        ..Settings::default()
    };
    play(&Scenario::CROWD, settings);
}

fn few_fit() -> Settings {
    Settings {
        live_runs_max: FIT,
        connection_each: true,
        ..Settings::default()
    }
}

#[test]
fn the_next_sleepers_to_wake_stay_in_memory() {
    play(&Scenario::WAKING_IN_TURN, few_fit());
}

#[test]
fn many_sleepers_that_wake_at_once_are_read_back_by_few_questions() {
    play(&Scenario::WAKING_AT_ONCE, few_fit());
}

#[test]
fn a_worker_that_is_stopped_hands_its_steps_to_another() {
    play(&Scenario::DRAINED, Settings::default());
}

#[test]
fn what_may_begin_once_is_not_begun_again() {
    play(&Scenario::INTERRUPTED, Settings::default());
}

#[test]
fn a_survivor_takes_over_within_the_lease_and_half_a_second() {
    let settings = Settings {
        partitions: 2,
        ..Settings::default()
    };
    play(&Scenario::SURVIVED, settings);
}

#[test]
fn a_deleted_task_stream_is_filled_again_and_nothing_runs_twice() {
    play(&Scenario::QUEUE_DELETED, Settings::default());
}

#[test]
fn a_handle_kept_through_an_outage_tells_the_result() {
    play(&Scenario::HANDLE_KEPT, Settings::default());
}

#[test]
fn large_values_outlast_ten_minutes_without_a_server() {
    let settings = Settings {
        live_runs_max: 1,
        faults: Faults {
            latency: Span::milliseconds(5, 5),
            ..Faults::none()
        },
        within: Duration::from_secs(1_800),
        ..Settings::default()
    };
    play_under_seeds(&Scenario::LARGE_VALUES_CUT_OFF, &settings, 30);
}

#[test]
fn a_lease_whose_renewals_are_not_acknowledged_is_kept() {
    play(&Scenario::LEASE_UNACKNOWLEDGED, Settings::default());
}

#[test]
fn a_deadline_in_an_idle_partition_passes_under_its_next_owner() {
    play(&Scenario::IDLE_TAKEN_OVER, Settings::default());
}

#[test]
fn a_partition_that_could_not_be_taken_over_is_driven_once_it_can() {
    play(&Scenario::CURSOR_MENDED, Settings::default());
}

#[test]
fn an_owner_that_stood_still_changes_nothing_when_it_goes_on() {
    let settings = Settings {
        live_runs_max: 2,
        ..Settings::default()
    };
    play_under_seeds(&Scenario::OWNER_FROZEN, &settings.with_latency(), 12);
}
