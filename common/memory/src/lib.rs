//! The ports of Everstep in memory: a JetStream model with seeded faults and a simulated clock.
//!
//! The whole engine (orchestrators, workers, clients) runs on one thread against a [`MemoryServer`], in a tokio runtime whose clock is
//! paused, and so a day of it takes a moment and the same seed gives the same history, byte for byte ([`MemoryServer::history`]).
//! Clients are killed at any call of the port ([`MemoryServer::crash_at`]), connections cut, the server restarted, streams wiped.
//!
//! ```text
//! broker, clock   the ports, as the code under test sees them
//! server          network, clients and faults; decides what a client gets to see of the truth
//! model           the truth: JetStream as nats-server 2.15.1 behaves, without time, chance or threads of its own
//! ```
//!
//! *Architecture invariant:* no map with a random order, no chance but the seeded one, no time but tokio's paused clock.
//! That the model behaves like the real server is shown by the conformance suite in `everstep-tests`, which runs on both.

mod broker;
mod clock;
mod faults;
mod history;
mod model;
mod puller;
mod server;
mod subject;

pub use broker::MemoryBroker;
pub use clock::SimClock;
pub use faults::{Faults, Span};
pub use model::{Entry, MAX_PAYLOAD, Nodes};
pub use server::{Call, MemoryServer, Reaction, When};

/// Runs a simulation: a current-thread runtime whose clock is paused and moves on when all tasks wait.
pub fn simulate<T>(simulation: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing that could be missing")
        .block_on(simulation)
}
