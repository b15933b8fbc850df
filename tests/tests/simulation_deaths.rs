//! A death at every journal entry and at every call of the port, by loop, each followed by recovery: the same end, each outcome stored once,
//! each effect once.

use everstep_tests::simulation::{Victim, at_every_call, at_every_entry, scenarios};

fn at_every_entry_of_all(victim: &Victim) {
    for scenario in scenarios() {
        at_every_entry(&scenario, victim);
    }
}

#[test]
fn an_orchestrator_may_die_at_every_entry() {
    at_every_entry_of_all(&Victim::Process("orchestrator-1".to_owned()));
}

#[test]
fn a_worker_may_die_at_every_entry() {
    at_every_entry_of_all(&Victim::Process("worker-1".to_owned()));
}

#[test]
fn a_client_may_die_at_every_entry() {
    at_every_entry_of_all(&Victim::Process("client-1".to_owned()));
}

#[test]
fn the_server_may_die_at_every_entry() {
    at_every_entry_of_all(&Victim::Server);
}

macro_rules! at_every_call_of {
    ($($test:ident: $process:literal, $offset:literal;)*) => {
        $(
            #[test]
            fn $test() {
                for scenario in scenarios() {
                    at_every_call(&scenario, $process, 2, $offset);
                }
            }
        )*
    };
}

at_every_call_of! {
    an_orchestrator_may_die_at_every_even_call: "orchestrator-1", 0;
    an_orchestrator_may_die_at_every_odd_call: "orchestrator-1", 1;
    a_worker_may_die_at_every_even_call: "worker-1", 0;
    a_worker_may_die_at_every_odd_call: "worker-1", 1;
    a_client_may_die_at_every_even_call: "client-1", 0;
    a_client_may_die_at_every_odd_call: "client-1", 1;
}
