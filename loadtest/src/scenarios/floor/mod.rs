//! `floor`: the bare JetStream loop, against which the engine is measured.
//!
//! ```text
//! orchestrator ── publish, create-only ──▶ tasks (work queue, memory) ── pull ──▶ worker
//!      ▲                                                                            │ create (grouped when strict), then ack
//!      └──────── feed (ordered consumer) ◀── journal (write-once, file) ◀───────────┘
//! ```
//!
//! The same streams, subjects and bodies as a step of the engine has, and no engine code: no journal entries, no replay, no nonces,
//! no store. What the engine loses against this is its own. A latency here is that of one step, from dispatch to feed.

mod body;
pub mod orchestrator;
mod streams;
pub mod worker;

use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use everstep_common::topology::Durability;
use serde::{Deserialize, Serialize};

use crate::harness::report::{Usages, Work};
use crate::harness::{Output, Process, Report, Server, Summary};
use crate::roles::Role;
use crate::scenarios::throughput::Size;
use streams::Streams;

/// How much to do.
#[derive(Clone, Copy, Debug, Args)]
pub struct Settings {
    /// How many runs.
    #[arg(long, default_value_t = 20_000)]
    pub runs: u64,
    /// How many steps each has, one after the other.
    #[arg(long, default_value_t = 10)]
    pub steps: u64,
    /// How many runs are under way at once.
    #[arg(long, default_value_t = 1_000)]
    pub concurrency: u64,
}

impl From<Size> for Settings {
    fn from(
        Size {
            runs,
            steps,
            concurrency,
        }: Size,
    ) -> Self {
        Self {
            runs,
            steps,
            concurrency,
        }
    }
}

/// What both processes are told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Part {
    server: String,
    streams: Streams,
    durability: Durability,
    runs: u64,
    steps: u64,
    concurrency: u64,
}

/// What the orchestrator's process found.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Found {
    wall_s: f64,
    latency: Summary,
    failed: u64,
}

/// Runs the scenario once and prints the report.
pub async fn run(settings: &Settings, server: &Server, output: &Output) -> anyhow::Result<()> {
    output.print(&measure(settings, server, output).await?)
}

/// Runs the loop once, in streams of its own.
pub async fn measure(settings: &Settings, server: &Server, output: &Output) -> anyhow::Result<Report> {
    ensure!(
        settings.runs > 0 && settings.steps > 0 && settings.concurrency > 0,
        "nothing to do"
    );
    let broker = server.connect().await?;
    let streams = Streams::fresh();
    streams.make(&*broker).await?;
    server.settle().await?;
    let part = Part {
        server: server.url().to_owned(),
        streams,
        durability: server.durability(),
        runs: settings.runs,
        steps: settings.steps,
        concurrency: settings.concurrency,
    };
    let report = play(&part, server, output).await?;
    part.streams.empty(&*broker).await?;
    Ok(report)
}

async fn play(part: &Part, server: &Server, output: &Output) -> anyhow::Result<Report> {
    let server_before = server.usage()?;
    let worker = Process::start(Role::FloorWorker, part).await?;
    let mut orchestrator = Process::start(Role::FloorOrchestrator, part).await?;
    let bar = output.bar("floor", part.runs);
    let found: Found = orchestrator.result(|runs| bar.set_position(runs)).await?;
    bar.finish_and_clear();
    let usages = Usages {
        server: server.usage()?.zip(server_before).map(|(now, before)| now.since(before)),
        orchestrator: Some(orchestrator.usage()?),
        worker: Some(worker.usage()?),
        client: None,
    };
    orchestrator.end().await?;
    worker.end().await?;
    let work = Work {
        runs: part.runs,
        steps: part.steps,
        concurrency: part.concurrency,
        wall: Duration::from_secs_f64(found.wall_s),
    };
    let mut report = Report::new("floor", server.durability_name(), work, found.latency, &usages);
    report.failed = found.failed;
    report.fdatasync_p50_us = server.fdatasync_p50_us();
    Ok(report)
}
