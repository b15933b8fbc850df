//! Updates without deaths, and with a death at every journal entry and at every call of the port.

use everstep_tests::simulation::update_scenarios;

everstep_tests::same_story_twice!(update_scenarios());
everstep_tests::deaths_at_every_entry!(update_scenarios(); orchestrator, worker, client, server);
everstep_tests::deaths_at_every_call!(update_scenarios(); orchestrator / 4, worker / 2, client / 2);
