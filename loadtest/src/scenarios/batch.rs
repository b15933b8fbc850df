//! `batch`: one run with a batch of many items, against many runs with as many steps.
//!
//! Both are measured in turn on the same engine, several times. The ratio is the median of the rounds'.

use anyhow::Context;
use clap::Args;
use tokio::time::Instant;

use super::throughput::{Size, summary};
use crate::engine::load::{Load, Workflow};
use crate::engine::memory::Memory;
use crate::engine::{Engine, SLOTS};
use crate::harness::report::round;
use crate::harness::{Output, Server};

/// How much to do.
#[derive(Clone, Copy, Debug, Args)]
pub struct Settings {
    /// How many items, and as many steps in runs of ten.
    #[arg(long, default_value_t = 10_000)]
    pub items: u64,
    /// How often both are measured.
    #[arg(long, default_value_t = 3)]
    pub rounds: u64,
}

/// How many steps the runs have that the batch is compared to.
const STEPS: u64 = 10;

/// Runs the scenario and prints a report for each half of each round, then the median round again with the ratio of all.
pub async fn run(settings: &Settings, server: &Server, output: &Output) -> anyhow::Result<()> {
    let engine = Engine::start(server, SLOTS).await?;
    engine.warm_up().await?;
    let runs = Size {
        runs: (settings.items / STEPS).max(1),
        steps: STEPS,
        concurrency: 500,
    };
    let batch = Load {
        workflow: Workflow::Batch,
        size: settings.items,
        runs: 1,
        concurrency: 1,
    };
    let mut reports = Vec::new();
    for number in 1..=settings.rounds {
        let many = engine.measure("throughput", runs.of(Workflow::Chain), server, output).await?;
        let many = many.with("round", number);
        output.print_round(&many)?;
        let rss_before = engine.orchestrator_rss_mib(server)?;
        let mut memory = Memory::until(Instant::now());
        let measured = engine.measure("batch", batch, server, output);
        let ours = memory.watch(&engine, server, measured).await?;
        let ours = ours
            .with("round", number)
            .with("orchestrator_rss_before_mb", rss_before)
            .with("orchestrator_rss_peak_mb", memory.peak_mib);
        output.print_round(&ours)?;
        reports.push((round(ours.steps_per_s / many.steps_per_s, 3), ours));
    }
    engine.end().await?;
    output.print(&summary(reports).context("no rounds were asked for")?)
}
