//! Rollbacks without deaths, and with a death at every journal entry and at every call of the port.

use everstep_tests::simulation::{Scenario, Settings, at_some, rollback_scenarios, seeds};

everstep_tests::same_story_twice!(rollback_scenarios());
everstep_tests::deaths_at_every_entry!(rollback_scenarios(); orchestrator, worker, server);
everstep_tests::deaths_at_every_call!(rollback_scenarios(); orchestrator / 4, worker / 2);

/// What came first may differ between two stories; that what was done is undone may not.
#[test]
fn a_step_that_is_given_up_as_it_is_done_is_undone_if_it_was() {
    for seed in seeds(4) {
        let settings = Settings {
            seed,
            ..Settings::default()
        };
        at_some(&Scenario::GIVEN_UP_LATE, &settings, 10, seed, false);
    }
}
