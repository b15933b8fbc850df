//! Load scenarios of Everstep: what it does in a second, how long one run takes, and what it survives.
//!
//! ```text
//! everstep-loadtest SCENARIO           (the harness: server, children, figures)
//!   ├── nats-server                    unless --server names another
//!   └── everstep-loadtest role …       orchestrator, worker, client: a process each, the same binary
//! ```
//!
//! [`harness`] knows how to run processes and how to measure them, and nothing of any scenario. A scenario is a module of its
//! own: its settings, its harness side, and the roles that its processes play. Start at [`floor`], the yardstick for all others.

mod arguments;
mod floor;
mod harness;
mod roles;

use clap::Parser;

use crate::arguments::{Arguments, Command};

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    // One thread for each process: the client library is a third cheaper so, and a thread per core is what the figures are about.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match arguments.command {
        Command::Role { role, settings } => runtime.block_on(roles::play(role, &settings)),
        Command::Scenario(scenario) => runtime.block_on(scenario.run(&arguments.common)),
    }
}
