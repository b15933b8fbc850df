//! Runs that begin later, that must be over by some time, and that are started by the dozen: without deaths, and with a death at every
//! journal entry and every call of the port.

use everstep_tests::simulation::{Scenario, Settings, play_under_seeds, starting_scenarios};

fn all() -> impl Iterator<Item = Scenario> {
    starting_scenarios()
        .into_iter()
        .chain([Scenario::STUBBORN, Scenario::MANY_AT_ONCE])
}

everstep_tests::same_story_twice!(all());
everstep_tests::deaths_at_every_entry!(all(); orchestrator, worker, client, server);
everstep_tests::deaths_at_every_call!(starting_scenarios(); orchestrator / 2, client / 1);

everstep_tests::deaths_at_calls! {
    [Scenario::MANY_AT_ONCE];
    a_client_may_die_at_every_call_of_many_starts: "client-1", 1 of 1;
}

#[test]
fn a_run_that_memory_does_not_hold_begins_in_time() {
    let settings = Settings {
        live_runs_max: 1,
        ..Settings::default()
    };
    play_under_seeds(&Scenario::BEGUN_LATER, &settings.with_latency(), 5);
}
