//! Limits on the simulated server: they hold over all orchestrators and workers, nobody starves under them, and no place is lost with whoever
//! dies.

use everstep_tests::simulation::{Crash, Scenario, Settings, Victim, at_some_places, play, play_under_seeds};

fn for_seeds(scenario: &Scenario, count: u64) {
    play_under_seeds(scenario, &Settings::of_several_partitions(), count);
}

/// Everybody dies at some places.
fn survives_some_deaths(scenario: &Scenario) {
    at_some_places(scenario, &Settings::of_several_partitions(), 2, false);
}

#[test]
fn a_limit_holds_for_everybody() {
    for_seeds(&Scenario::NARROW_FOR_ALL, 10);
}

#[test]
fn a_limit_holds_on_three_nodes() {
    let settings = Settings::of_several_partitions().on_three_nodes();
    play_under_seeds(&Scenario::NARROW_FOR_ALL, &settings, 5);
}

#[test]
fn a_limit_holds_though_acknowledgements_are_lost() {
    let settings = Settings::of_several_partitions().without_some_answers();
    play_under_seeds(&Scenario::NARROW_FOR_ALL, &settings, 10);
}

#[test]
fn a_rate_holds_for_everybody() {
    for_seeds(&Scenario::PACED_FOR_ALL, 5);
}

#[test]
fn keys_have_limits_of_their_own_and_take_turns() {
    for_seeds(&Scenario::KEYS_TAKE_TURNS, 5);
}

#[test]
fn what_is_urgent_goes_first_and_the_rest_goes_too() {
    for_seeds(&Scenario::URGENT_FIRST, 5);
}

#[test]
fn a_small_run_does_not_wait_for_a_large_one() {
    for_seeds(&Scenario::SMALL_BESIDE_LARGE, 5);
}

#[test]
fn the_steps_of_a_rollback_wait_for_their_places() {
    for_seeds(&Scenario::REGRETTED, 5);
    survives_some_deaths(&Scenario::REGRETTED);
}

#[test]
fn limits_are_changed_while_runs_wait() {
    for_seeds(&Scenario::SET_LIVE, 5);
}

#[test]
fn no_place_is_lost_with_whoever_dies() {
    survives_some_deaths(&Scenario::NARROW_FOR_ALL);
}

#[test]
fn no_place_in_two_rooms_is_lost_with_whoever_dies() {
    survives_some_deaths(&Scenario::NARROW_QUEUE);
}

#[test]
fn no_place_of_a_cancelled_run_is_lost_with_whoever_dies() {
    survives_some_deaths(&Scenario::GIVEN_UP);
}

mod no_place_is_lost {
    use super::*;

    everstep_tests::deaths_at_every_entry!([Scenario::NARROW_FOR_ALL]; orchestrator);
    everstep_tests::deaths_at_calls! {
        [Scenario::NARROW_FOR_ALL];
        an_owner_may_die_at_every_first_of_four_calls: "orchestrator-1", 1 of 4;
        an_owner_may_die_at_every_third_of_four_calls: "orchestrator-1", 3 of 4;
    }
}

#[test]
fn a_rate_of_each_key_holds_for_everybody() {
    for_seeds(&Scenario::METERED_FOR_ALL, 10);
    survives_some_deaths(&Scenario::METERED_FOR_ALL);
}

#[test]
fn runs_of_a_key_begin_at_its_rate() {
    for_seeds(&Scenario::METERED_RUNS, 5);
    survives_some_deaths(&Scenario::METERED_RUNS);
}

#[test]
fn the_rate_of_keys_is_changed_while_their_steps_wait() {
    for_seeds(&Scenario::METERED_LIVE, 5);
}

mod no_key_begins_faster {
    use super::*;

    everstep_tests::deaths_at_every_entry!([Scenario::METERED_FOR_ALL]; orchestrator, another_orchestrator, worker);
    everstep_tests::deaths_at_every_call!([Scenario::METERED_FOR_ALL]; orchestrator / 4);
}

#[test]
fn no_more_runs_are_at_work_than_their_workflow_says() {
    for_seeds(&Scenario::TWO_AT_A_TIME, 5);
}

#[test]
fn runs_of_one_key_take_turns() {
    for_seeds(&Scenario::ONE_OF_A_KEY, 5);
}

#[test]
fn a_newer_run_takes_the_place_of_an_older_one() {
    for_seeds(&Scenario::NEWEST_OF_A_KEY, 5);
}

#[test]
fn of_many_runs_of_a_key_the_newest_stays() {
    for_seeds(&Scenario::NEWEST_OF_MANY, 10);
}

#[test]
fn of_many_runs_of_a_key_the_newest_stays_whoever_dies() {
    survives_some_deaths(&Scenario::NEWEST_OF_MANY);
}

#[test]
fn children_wait_for_their_places() {
    for_seeds(&Scenario::CROWDED_FAMILY, 5);
    survives_some_deaths(&Scenario::CROWDED_FAMILY);
}

#[test]
fn the_throttled_example_ends_the_same_whoever_dies() {
    for_seeds(&Scenario::EXAMPLE_THROTTLED, 3);
    survives_some_deaths(&Scenario::EXAMPLE_THROTTLED);
}

#[test]
fn a_run_that_goes_on_in_another_is_not_kept_out_by_itself() {
    for_seeds(&Scenario::RELAY, 5);
    survives_some_deaths(&Scenario::RELAY);
}

#[test]
fn nobody_comes_between_a_run_and_the_one_that_it_goes_on_in() {
    for_seeds(&Scenario::RELAY_UNDISTURBED, 5);
    survives_some_deaths(&Scenario::RELAY_UNDISTURBED);
}

#[test]
fn a_newer_run_takes_the_place_of_an_older_one_that_goes_on_and_on() {
    for_seeds(&Scenario::RELAY_REPLACED, 5);
    survives_some_deaths(&Scenario::RELAY_REPLACED);
}

#[test]
fn a_run_whose_key_is_taken_ends_and_says_by_whom() {
    for_seeds(&Scenario::FIRST_OF_A_KEY, 5);
}

#[test]
fn a_run_is_not_kept_out_by_one_that_has_ended() {
    for_seeds(&Scenario::ONE_AFTER_THE_OTHER, 5);
    // Its place stands in the record until its partition has another owner.
    let entries = play(&Scenario::ONE_AFTER_THE_OTHER, Settings::of_several_partitions()).entries;
    for (number, owner) in (0..entries).zip(["orchestrator-1", "orchestrator-2"].into_iter().cycle()) {
        let victim = Victim::Process(owner.to_owned());
        let settings = Settings {
            crash: Some(Crash::AtEntry { number, victim }),
            ..Settings::of_several_partitions()
        };
        play(&Scenario::ONE_AFTER_THE_OTHER, settings);
    }
}

#[test]
fn how_many_runs_are_at_work_is_changed_while_they_wait() {
    for_seeds(&Scenario::RUNS_SET_LIVE, 5);
}

#[test]
fn no_place_of_a_run_is_lost_with_whoever_dies() {
    survives_some_deaths(&Scenario::TWO_AT_A_TIME);
}

#[test]
fn no_place_of_a_singleton_is_lost_with_whoever_dies() {
    survives_some_deaths(&Scenario::ONE_OF_A_KEY);
    survives_some_deaths(&Scenario::NEWEST_OF_A_KEY);
}

#[test]
fn a_limit_that_comes_late_lets_those_be_that_have_begun() {
    for_seeds(&Scenario::LIMIT_COMES_LATE, 5);
}

#[test]
fn a_limit_that_comes_late_lets_those_be_that_are_dropped_from_memory() {
    let settings = Settings {
        live_runs_max: 0,
        ..Settings::of_several_partitions()
    };
    play_under_seeds(&Scenario::LIMIT_COMES_LATE, &settings, 3);
}

#[test]
fn a_limit_that_was_there_holds_from_the_first_run_on() {
    for_seeds(&Scenario::LIMIT_WAS_THERE, 10);
}
