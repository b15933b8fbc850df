//! Load scenarios of Everstep: what it does in a second, how long one run takes, and what it survives.
//!
//! ```text
//! everstep-loadtest SCENARIO           (the harness: server, children, figures)
//!   ├── nats-server                    unless --server names another
//!   └── everstep-loadtest role …       orchestrator, worker, client: a process each, the same binary
//! ```
//!
//! [`harness`] knows how to run processes and how to measure them, [`engine`] what the engine's processes are and do; neither
//! knows a scenario. A scenario is a module in [`scenarios`]; start at `floor`, the yardstick for all others.

mod arguments;
mod engine;
mod harness;
mod roles;
mod scenarios;

use clap::Parser;

use crate::arguments::{Arguments, Command};

/// Engine and floor alike allocate small things all the time; glibc's allocator took a quarter of the orchestrator's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.command {
        Command::Role { role, settings } => roles::play(role, &settings),
        Command::Scenario(scenario) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(scenario.run(&arguments.common))
        }
    }
}
