//! Blocks of branches without deaths, and with a death at every journal entry and at every call of the port.

use everstep_tests::simulation::block_scenarios;

everstep_tests::same_story_twice!(block_scenarios());
everstep_tests::deaths_at_every_entry!(block_scenarios(); orchestrator, worker, server);
everstep_tests::deaths_at_every_call!(block_scenarios(); orchestrator / 2, worker / 2);
