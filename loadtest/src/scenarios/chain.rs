//! `chain`: one run after the other, each of several steps one after the other.

use clap::Args;

use crate::engine::load::{Load, Workflow};
use crate::engine::{Engine, SLOTS};
use crate::harness::{Output, Server};

/// How much to do.
#[derive(Clone, Copy, Debug, Args)]
pub struct Settings {
    /// How many runs, one at a time.
    #[arg(long, default_value_t = 200)]
    pub runs: u64,
    /// How many steps each has.
    #[arg(long, default_value_t = 10)]
    pub steps: u64,
}

/// Runs the scenario and prints the report.
pub async fn run(settings: &Settings, server: &Server, output: &Output) -> anyhow::Result<()> {
    let load = Load {
        workflow: Workflow::Chain,
        size: settings.steps,
        runs: settings.runs,
        concurrency: 1,
    };
    let engine = Engine::start(server, SLOTS).await?;
    engine.warm_up().await?;
    output.print(&engine.measure("chain", load, server, output).await?)?;
    engine.end().await
}
