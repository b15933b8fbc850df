//! `local`: what `throughput` does, with steps that the orchestrator runs itself.

use crate::engine::load::Workflow;
use crate::engine::{Engine, SLOTS};
use crate::harness::{Output, Server};
use crate::scenarios::throughput::Size;

/// Runs the scenario and prints the report.
pub async fn run(size: &Size, server: &Server, output: &Output) -> anyhow::Result<()> {
    let engine = Engine::start(server, SLOTS).await?;
    engine.warm_up().await?;
    output.print(&engine.measure("local", size.of(Workflow::Local), server, output).await?)?;
    engine.end().await
}
