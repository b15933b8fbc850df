//! `latency`: one run of one step after the other, start to result.

use clap::Args;

use crate::engine::load::{Load, Workflow};
use crate::engine::{Engine, SLOTS};
use crate::harness::{Output, Server};

/// How much to do.
#[derive(Clone, Copy, Debug, Args)]
pub struct Settings {
    /// How many runs, one at a time.
    #[arg(long, default_value_t = 1_000)]
    pub runs: u64,
}

/// Runs the scenario and prints the report.
pub async fn run(settings: &Settings, server: &Server, output: &Output) -> anyhow::Result<()> {
    let load = Load {
        workflow: Workflow::Chain,
        size: 1,
        runs: settings.runs,
        concurrency: 1,
    };
    let engine = Engine::start(server, SLOTS).await?;
    engine.warm_up().await?;
    output.print(&engine.measure("latency", load, server, output).await?)?;
    engine.end().await
}
