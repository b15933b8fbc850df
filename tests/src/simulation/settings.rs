//! What a world is made with, and the worlds that more than one file of tests wants.

use std::time::Duration;

use everstep_common::topology::Durability;
use everstep_memory::{Faults, Nodes, Span};

use super::crashes::Crash;

/// What a world is made with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Decides every fault.
    pub seed: u64,
    /// One server or three.
    pub nodes: Nodes,
    /// What goes wrong by itself.
    pub faults: Faults,
    /// Partitions of the journal.
    pub partitions: u32,
    /// What an acknowledged write survives.
    pub durability: Durability,
    /// Runs that a partition keeps in memory.
    pub live_runs_max: usize,
    /// How often an orchestrator looks for what should not be missing.
    pub sweep_every: Duration,
    /// Where a process dies.
    pub crash: Option<Crash>,
    /// Whether an orchestrator has a connection for each of its threads, as in earnest. With one for all its death is one moment.
    pub connection_each: bool,
    /// How much simulated time all of it may take.
    pub within: Duration,
}

impl Default for Settings {
    /// One node, one partition, strict; nothing goes wrong.
    fn default() -> Self {
        Self {
            seed: 1,
            nodes: Nodes::One,
            faults: Faults::none(),
            partitions: 1,
            durability: Durability::Strict,
            live_runs_max: 10_000,
            sweep_every: Duration::from_secs(3_600),
            crash: None,
            connection_each: false,
            within: Duration::from_secs(600),
        }
    }
}

impl Settings {
    /// Four partitions on a server that takes its time, so that the seed decides what of many things comes first.
    pub fn of_several_partitions() -> Self {
        Self {
            partitions: 4,
            ..Self::default()
        }
        .with_latency()
    }

    /// Everything on the server takes a few milliseconds.
    pub fn with_latency(mut self) -> Self {
        self.faults.latency = Span::milliseconds(1, 5);
        self
    }

    /// One in twenty writes is stored and not acknowledged.
    pub fn without_some_answers(mut self) -> Self {
        self.faults.answer_lost = 0.05;
        self
    }

    /// A cluster.
    pub fn on_three_nodes(mut self) -> Self {
        self.nodes = Nodes::Three;
        self
    }
}
