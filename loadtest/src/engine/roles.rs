//! The engine's processes: what an application's own command line would start, told by the harness.

use std::path::PathBuf;

use everstep::{App, AppOptions, ConnectOptions, Prefix, Roles};
use serde::{Deserialize, Serialize};

use super::application::application;
use crate::harness::role::Stage;
use crate::scenarios::crash::ledger::Ledger;

/// What every process of an engine is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Part {
    /// The server's address.
    pub server: String,
    /// The deployment's prefix.
    pub prefix: Prefix,
    /// How many executions a worker has at once.
    pub slots: usize,
    /// Where the ledger listens, if the scenario has one.
    pub ledger: Option<PathBuf>,
}

impl Part {
    /// How to connect.
    pub fn connect(&self) -> ConnectOptions {
        ConnectOptions::to(&self.server)
    }

    fn application(&self) -> App {
        application(self.ledger.clone().map(Ledger::at))
    }
}

/// Drives runs until the harness ends it.
pub async fn orchestrate(part: Part, stage: Stage) -> anyhow::Result<()> {
    play(part, Roles::ORCHESTRATOR, stage).await
}

/// Runs functions until the harness ends it.
pub async fn work(part: Part, stage: Stage) -> anyhow::Result<()> {
    play(part, Roles::WORKER, stage).await
}

async fn play(part: Part, roles: Roles, stage: Stage) -> anyhow::Result<()> {
    let options = AppOptions {
        roles,
        prefix: part.prefix.clone(),
        slots: part.slots,
        ..AppOptions::new(part.connect())
    };
    let mut running = part.application().start(options).await?;
    stage.ready()?;
    Ok(running.ended().await?)
}
