//! The roles that children of the harness play.

use clap::ValueEnum;

use crate::floor;
use crate::harness::role::Stage;

/// One role of one scenario; the command line of a child names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Publishes tasks and reads the feed.
    FloorOrchestrator,
    /// Pulls tasks and creates results.
    FloorWorker,
}

impl Role {
    /// How the command line spells it.
    pub fn name(self) -> String {
        let value = self.to_possible_value().expect("no role is skipped");
        value.get_name().to_owned()
    }
}

/// Plays `role` until it is done or the harness is gone.
pub async fn play(role: Role, settings: &str) -> anyhow::Result<()> {
    let stage = Stage::enter();
    match role {
        Role::FloorOrchestrator => floor::orchestrator::play(serde_json::from_str(settings)?, stage).await,
        Role::FloorWorker => floor::worker::play(serde_json::from_str(settings)?, stage).await,
    }
}
