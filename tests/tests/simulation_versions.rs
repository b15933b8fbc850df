//! Changed code, versions and patches without deaths, and with a death at every journal entry and at every call of the port. The other
//! orchestrator has other code.

use everstep_tests::simulation::{Scenario, edit_scenarios, version_scenarios};

fn all() -> impl Iterator<Item = Scenario> {
    version_scenarios().into_iter().chain(edit_scenarios())
}

everstep_tests::same_story_twice!(all());
everstep_tests::deaths_at_every_entry!(all(); orchestrator, another_orchestrator, worker, server);
everstep_tests::deaths_at_every_call!(version_scenarios(); orchestrator / 2, another_orchestrator / 2);
