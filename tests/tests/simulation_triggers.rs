//! What starts runs by itself, on the simulated server: each event and each time starts its runs once, whoever dies.

use std::time::Duration;

use everstep_tests::simulation::{Scenario, Settings, Victim, at_every_entry, at_some_places, play, play_under_seeds};

fn an_hour() -> Settings {
    Settings {
        within: Duration::from_secs(3_600),
        ..Settings::default()
    }
}

fn in_several_partitions() -> Settings {
    Settings {
        within: Duration::from_secs(3_600),
        ..Settings::of_several_partitions()
    }
}

fn orchestrator(name: &str) -> Victim {
    Victim::Process(name.to_owned())
}

mod an_event_starts_every_workflow_that_listens_once {
    use super::*;

    everstep_tests::deaths_at_every_entry!([Scenario::LISTENED]; orchestrator, client, server);
    everstep_tests::deaths_at_every_call!([Scenario::LISTENED]; orchestrator / 2);
}

#[test]
fn an_event_starts_its_runs_once_though_acknowledgements_are_lost() {
    play_under_seeds(&Scenario::LISTENED, &in_several_partitions().without_some_answers(), 10);
}

#[test]
fn an_event_starts_its_runs_once_on_three_nodes() {
    play_under_seeds(&Scenario::LISTENED, &in_several_partitions().on_three_nodes(), 3);
}

mod events_that_runs_wait_for_reach_each_once {
    use super::*;

    everstep_tests::deaths_at_every_entry!([Scenario::FOLLOWED]; orchestrator, client, server);
    everstep_tests::deaths_at_every_call!([Scenario::FOLLOWED]; orchestrator / 2);
}

#[test]
fn events_that_runs_wait_for_reach_each_once_though_answers_are_lost_and_on_three_nodes() {
    play_under_seeds(&Scenario::FOLLOWED, &in_several_partitions().without_some_answers(), 6);
    play_under_seeds(&Scenario::FOLLOWED, &in_several_partitions().on_three_nodes(), 2);
}

mod runs_that_events_start_take_turns_under_the_keys_that_the_events_tell {
    use super::*;

    everstep_tests::deaths_at_every_entry!([Scenario::TENDED]; orchestrator, client, server);
    everstep_tests::deaths_at_every_call!([Scenario::TENDED]; orchestrator / 2);
}

#[test]
fn runs_that_events_start_take_turns_though_answers_are_lost() {
    play_under_seeds(&Scenario::TENDED, &in_several_partitions().without_some_answers(), 5);
}

#[test]
fn runs_of_batches_and_schedules_have_the_terms_of_their_triggers() {
    play(&Scenario::TENDED_BY_TIME, an_hour());
    at_some_places(&Scenario::TENDED_BY_TIME, &an_hour(), 2, false);
}

mod delayed_runs_are_there_from_their_events_on_and_begin_in_time {
    use super::*;

    everstep_tests::deaths_at_every_entry!([Scenario::POSTPONED]; orchestrator, client, server);
    everstep_tests::deaths_at_every_call!([Scenario::POSTPONED]; orchestrator / 2);
}

#[test]
fn a_delay_counts_from_the_event_and_holds_for_runs_that_were_dropped_from_memory() {
    let settings = Settings {
        live_runs_max: 4,
        ..an_hour()
    };
    play(&Scenario::POSTPONED_UNHEARD, settings);
}

#[test]
fn no_wait_misses_an_event_that_came_in_time_though_its_deadline_passed_while_nobody_was_there() {
    play(&Scenario::OVERDUE, an_hour());
    at_every_entry(&Scenario::OVERDUE, &Settings::default(), &orchestrator("orchestrator-2"));
}

#[test]
fn runs_that_were_dropped_from_memory_are_woken_by_their_events_and_deadlines() {
    let settings = Settings {
        live_runs_max: 4,
        ..an_hour()
    };
    play(&Scenario::PATIENT, settings);
}

#[test]
fn a_run_that_goes_on_in_others_hears_of_each_event_once() {
    play(&Scenario::HOPPING, an_hour());
    at_every_entry(&Scenario::HOPPING, &Settings::default(), &orchestrator("orchestrator-1"));
}

mod a_run_that_goes_on_in_others_misses_no_event_that_came_before_it_did {
    use super::*;

    everstep_tests::deaths_at_every_entry!([Scenario::HURRIED]; orchestrator, client, server);
    everstep_tests::deaths_at_every_call!([Scenario::HURRIED]; orchestrator / 2);
}

#[test]
fn an_event_waits_for_code_and_is_not_heard_by_who_listens_later() {
    play(&Scenario::UNHEARD, an_hour());
}

#[test]
fn events_of_a_window_go_to_one_run_each() {
    play(&Scenario::GATHERED, an_hour());
    // In which window an event is depends on when it comes, so only what the scenario itself checks is compared.
    at_some_places(&Scenario::GATHERED, &an_hour(), 2, false);
}

#[test]
fn a_schedule_goes_on_without_a_gap() {
    play(&Scenario::SCHEDULED, an_hour());
    at_some_places(&Scenario::SCHEDULED, &an_hour(), 2, false);
}

#[test]
fn missed_times_are_made_up_for_as_the_schedule_says() {
    play(&Scenario::MISSED, an_hour());
}

#[test]
fn a_paused_schedule_stands_still_and_a_backfill_makes_up_for_it() {
    play(&Scenario::PAUSED, an_hour());
}

#[test]
fn events_that_grow_or_cannot_even_be_refused_as_they_are_stop_nothing() {
    play(&Scenario::OVERGROWN, an_hour());
}

#[test]
fn records_that_nobody_can_read_stop_nothing_and_stay() {
    play(&Scenario::UNREADABLE_RECORDS, an_hour());
}

#[test]
fn more_schedules_than_one_answer_holds_are_listed_and_stop_nothing() {
    play(&Scenario::MANIFOLD, an_hour());
}

#[test]
fn a_window_is_closed_though_events_come_without_a_pause() {
    play(&Scenario::STEADY, in_several_partitions());
}

#[test]
fn what_is_due_does_not_wait_for_a_backlog_of_events() {
    play(&Scenario::BACKLOG, in_several_partitions());
}

#[test]
fn two_windows_of_different_length_that_begin_together_are_two() {
    play(&Scenario::SORTED, an_hour());
}

#[test]
fn events_that_came_after_a_rollback_are_heard_though_there_are_more_of_them_than_were_lost() {
    play(&Scenario::REGROWN, an_hour());
}

#[test]
fn a_schedule_that_skips_overlaps_waits_for_the_last_run_of_a_chain() {
    play(&Scenario::HOPPED, an_hour());
}

#[test]
fn a_schedule_that_cancels_overlaps_cancels_the_last_run_of_a_chain() {
    play(&Scenario::REPLACED, an_hour());
}

#[test]
fn a_schedule_that_skips_overlaps_does_so_across_a_pause_until_its_run_is_cancelled() {
    play(&Scenario::HELD, an_hour());
}

#[test]
fn a_schedule_that_cancels_overlaps_cancels_nothing_during_a_pause_and_nobody_who_is_over() {
    play(&Scenario::RELIEVED, an_hour());
}

#[test]
fn a_time_that_is_looked_at_half_a_minute_late_was_missed_and_one_a_little_late_was_not() {
    play(&Scenario::PROMPT, an_hour());
}

#[test]
fn times_that_are_made_up_for_at_once_start_one_run_where_they_would_overlap() {
    play(&Scenario::MADE_UP, an_hour());
}

#[test]
fn a_backfill_leaves_overlaps_alone() {
    play(&Scenario::BACKFILLED, an_hour());
}

#[test]
fn a_schedule_that_is_resumed_counts_from_then_on_though_its_last_run_is_yet_to_be_started() {
    play(&Scenario::RESUMED, an_hour());
}
