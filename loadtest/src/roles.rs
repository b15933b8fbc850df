//! The roles that children of the harness play.

use clap::ValueEnum;
use serde::de::DeserializeOwned;
use tokio::runtime::{Builder, Runtime};

use crate::engine;
use crate::harness::role::Stage;
use crate::scenarios::crash::ledger;
use crate::scenarios::floor;

/// One role of one scenario; the command line of a child names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// The bare loop's: publishes tasks and reads the feed.
    FloorOrchestrator,
    /// The bare loop's: pulls tasks and creates results.
    FloorWorker,
    /// Drives runs.
    Orchestrator,
    /// Runs functions.
    Worker,
    /// Starts runs and waits for their results.
    Client,
    /// Counts bookings.
    Ledger,
}

impl Role {
    /// How the command line spells it.
    pub fn name(self) -> String {
        let value = self.to_possible_value().expect("no role is skipped");
        value.get_name().to_owned()
    }

    /// The engine's processes have the runtime that an application has: functions and closures run there, and connections on
    /// current-thread runtimes of their own. All others live by their one connection.
    fn runtime(self) -> std::io::Result<Runtime> {
        match self {
            Self::Orchestrator | Self::Worker => Builder::new_multi_thread().enable_all().build(),
            Self::FloorOrchestrator | Self::FloorWorker | Self::Client | Self::Ledger => {
                Builder::new_current_thread().enable_all().build()
            }
        }
    }
}

/// Plays `role` until it is done or the harness is gone.
pub fn play(role: Role, settings: &str) -> anyhow::Result<()> {
    let stage = Stage::enter();
    let runtime = role.runtime()?;
    match role {
        Role::FloorOrchestrator => runtime.block_on(floor::orchestrator::play(read(settings)?, stage)),
        Role::FloorWorker => runtime.block_on(floor::worker::play(read(settings)?, stage)),
        Role::Orchestrator => runtime.block_on(engine::roles::orchestrate(read(settings)?, stage)),
        Role::Worker => runtime.block_on(engine::roles::work(read(settings)?, stage)),
        Role::Client => runtime.block_on(engine::load::play(read(settings)?, stage)),
        Role::Ledger => runtime.block_on(ledger::play(read(settings)?, stage)),
    }
}

fn read<T: DeserializeOwned>(settings: &str) -> anyhow::Result<T> {
    Ok(serde_json::from_str(settings)?)
}
