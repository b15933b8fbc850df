//! Step options without deaths, and with a death at every journal entry and at every call of the port.

use everstep_tests::simulation::step_scenarios;

everstep_tests::same_story_twice!(step_scenarios());
everstep_tests::deaths_at_every_entry!(step_scenarios(); orchestrator, worker, server);
everstep_tests::deaths_at_every_call!(step_scenarios(); orchestrator / 4, worker / 2);
