//! Children and runs that go on as new without deaths, and with a death at every journal entry and at every call of the port; with all runs
//! in one partition, and with parents and children in several.

use std::time::Duration;

use everstep_tests::simulation::{Scenario, Settings, apart, at_some, child_scenarios, play_under_seeds, seeds};

mod in_one_partition {
    use super::*;

    everstep_tests::same_story_twice!(child_scenarios());
}

mod in_several_partitions {
    use super::*;

    everstep_tests::same_story_twice!(child_scenarios(), apart());
}

/// The deaths among one half of the scenarios, which keeps each test far from the limit of one. The calls take turns: a process dies at one with
/// all runs in one partition, and at the next with parents and children in several.
macro_rules! deaths_of_half {
    ($half:ident, $first:literal) => {
        mod $half {
            use super::*;

            fn scenarios() -> impl Iterator<Item = Scenario> {
                child_scenarios().into_iter().skip($first).step_by(2)
            }

            mod in_one_partition {
                use super::*;

                everstep_tests::deaths_at_every_entry!(scenarios(); orchestrator, worker);
                everstep_tests::deaths_at_calls! {
                    scenarios();
                    an_orchestrator_may_die_at_every_first_of_eight_calls: "orchestrator-1", 1 of 8;
                    an_orchestrator_may_die_at_every_third_of_eight_calls: "orchestrator-1", 3 of 8;
                    an_orchestrator_may_die_at_every_fifth_of_eight_calls: "orchestrator-1", 5 of 8;
                    an_orchestrator_may_die_at_every_seventh_of_eight_calls: "orchestrator-1", 7 of 8;
                    a_worker_may_die_at_every_first_of_four_calls: "worker-1", 1 of 4;
                    a_worker_may_die_at_every_third_of_four_calls: "worker-1", 3 of 4;
                }
            }

            mod in_several_partitions {
                use super::*;

                everstep_tests::deaths_at_every_entry!(scenarios(), apart(); orchestrator, client, server);
                everstep_tests::deaths_at_every_call!(scenarios(), apart(); client / 2);
                everstep_tests::deaths_at_calls! {
                    scenarios(), apart();
                    an_orchestrator_may_die_at_every_second_of_eight_calls: "orchestrator-1", 2 of 8;
                    an_orchestrator_may_die_at_every_fourth_of_eight_calls: "orchestrator-1", 4 of 8;
                    an_orchestrator_may_die_at_every_sixth_of_eight_calls: "orchestrator-1", 6 of 8;
                    an_orchestrator_may_die_at_every_eighth_of_eight_calls: "orchestrator-1", 8 of 8;
                    a_worker_may_die_at_every_second_of_four_calls: "worker-1", 2 of 4;
                    a_worker_may_die_at_every_fourth_of_four_calls: "worker-1", 4 of 4;
                }
            }
        }
    };
}

deaths_of_half!(of_one_half_of_the_scenarios, 0);
deaths_of_half!(of_the_other_half_of_the_scenarios, 1);

#[test]
fn a_chain_is_cancelled_wherever_it_stands() {
    for scenario in [Scenario::CHAIN_CANCELLED, Scenario::CHAIN_TERMINATED] {
        play_under_seeds(&scenario, &apart(), 60);
    }
}

#[test]
fn whoever_dies_while_a_chain_is_cancelled_it_ends() {
    for seed in seeds(4) {
        let settings = Settings { seed, ..apart() };
        at_some(&Scenario::CHAIN_CANCELLED, &settings, 12, seed, false);
    }
}

#[test]
fn children_end_with_a_parent_that_is_terminated_wherever_it_stands() {
    let settings = Settings {
        within: Duration::from_secs(7_200),
        ..apart()
    };
    play_under_seeds(&Scenario::FAMILY_TERMINATED, &settings, 40);
}
