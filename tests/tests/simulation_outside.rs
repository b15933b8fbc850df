//! Waits for signals and people without deaths, and with a death at every journal entry and at every call of the port.

use everstep_tests::simulation::outside_scenarios;

everstep_tests::same_story_twice!(outside_scenarios());
everstep_tests::deaths_at_every_entry!(outside_scenarios(); orchestrator, worker, client, server);
everstep_tests::deaths_at_every_call!(outside_scenarios(); orchestrator / 4, worker / 2, client / 2);
