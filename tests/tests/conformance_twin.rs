//! The list of behaviours on the simulated server, one node and three, without and with delays.

use everstep_memory::{Faults, Span};
use everstep_tests::conformance::{Nodes, disturbing, report, twin, undisturbed};

#[test]
fn every_behaviour_holds_on_the_simulated_server() -> anyhow::Result<()> {
    show_all(1, Faults::none())
}

#[test]
fn every_behaviour_holds_on_the_simulated_server_when_messages_take_time() -> anyhow::Result<()> {
    let first: u64 = std::env::var("EVERSTEP_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(1);
    for seed in first..first + 3 {
        println!("EVERSTEP_SEED={seed}");
        show_all(
            seed,
            Faults {
                latency: Span::milliseconds(0, 8),
                ..Faults::none()
            },
        )?;
    }
    Ok(())
}

fn show_all(seed: u64, faults: Faults) -> anyhow::Result<()> {
    for nodes in [Nodes::One, Nodes::Three] {
        let all = undisturbed().into_iter().chain(disturbing());
        let results = all.map(|behaviour| (behaviour, twin::show(nodes, seed, faults.clone(), behaviour)));
        report(results.collect()).map_err(|error| error.context(format!("{nodes:?}")))?;
    }
    Ok(())
}
