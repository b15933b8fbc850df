//! What every scenario needs: a server, child processes, measurements, and a way to print them.
//!
//! Knows no scenario. `process` is the harness' end of a child, `role` the child's end; `server` is the nats-server; `usage`, `disk`
//! and `latency` measure; `report` is what was measured, `output` prints it.

pub mod disk;
pub mod latency;
pub mod output;
pub mod process;
pub mod report;
pub mod role;
pub mod server;
pub mod usage;

pub use latency::{Latencies, Summary};
pub use output::Output;
pub use process::Process;
pub use report::Report;
pub use server::Server;
