//! Drives runs: who owns which partition, and for each owned partition the loop of feed, replay, dispatch and cursor.
//!
//! *Architecture invariant:* nothing here decides what a run does; that is `everstep-core`. Nothing here knows NATS; the outside is
//! reached through the ports of `everstep-common`.
//!
//! Where to go next: [`service`](Orchestrator) starts and stops everything, `ownership` holds the leases, `partition` is one partition's actor.

mod limits;
mod metrics;
mod ownership;
mod partition;
mod service;
mod simulation;
mod triggers;
mod watchdog;
mod workflows;

pub use ownership::Options as LeaseOptions;
pub use partition::Options as PartitionOptions;
pub use service::{Connect, Connected, Error, Options, Orchestrator};
pub use simulation::{SimulatedConnect, SimulatedOrchestrator};
pub use workflows::{RegisteredTwice, Workflows};
