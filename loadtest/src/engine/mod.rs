//! The engine under test: a deployment of its own on the server, and an orchestrator, a worker and clients in processes of their own.
//!
//! `application` is what it runs, `roles` are the processes, `load` is what a client does to it. Knows no scenario.

mod application;
pub mod load;
pub mod memory;
pub mod roles;

use std::sync::Arc;

use anyhow::{Context, ensure};
use everstep::Prefix;
use everstep_common::ports::Broker;
use everstep_common::store::Deployment;
use everstep_nats::TokioClock;
use uuid::Uuid;

use self::load::{Found, Load};
use self::roles::Part;
use crate::harness::report::{Usages, Work, round};
use crate::harness::usage::Usage;
use crate::harness::{Output, Process, Report, Server};
use crate::roles::Role;

/// Executions that a worker has at once, unless a scenario wants fewer: enough never to be what holds a figure back.
pub const SLOTS: usize = 4_096;

/// Runs that are made before anything is measured: leases are taken, queues made and caches filled by then.
const WARM_UP_RUNS: u64 = 50;

/// A running engine. Dropping it kills its processes.
#[derive(Debug)]
pub struct Engine {
    part: Part,
    orchestrator: Process,
    worker: Process,
    /// What earlier, killed processes had used.
    spent: Usages,
}

impl Engine {
    /// Provisions a deployment and starts its orchestrator and worker.
    pub async fn start(server: &Server, slots: usize) -> anyhow::Result<Self> {
        Self::start_with(server, |part| Part { slots, ..part }).await
    }

    /// The same, with whatever else the processes are to be told.
    pub async fn start_with(server: &Server, tell: impl FnOnce(Part) -> Part) -> anyhow::Result<Self> {
        let prefix = Prefix::new(format!("load{}", &Uuid::new_v4().simple().to_string()[..8]))?;
        let broker: Arc<dyn Broker> = server.connect().await?;
        let deployment = Deployment::single_node(prefix.clone()).with_durability(server.durability());
        deployment.provision(&broker, &TokioClock).await?;
        server.settle().await?;
        let part = tell(Part {
            server: server.url().to_owned(),
            prefix,
            slots: SLOTS,
            ledger: None,
        });
        Ok(Self {
            orchestrator: Process::start(Role::Orchestrator, &part).await?,
            worker: Process::start(Role::Worker, &part).await?,
            part,
            spent: Usages::default(),
        })
    }

    /// What its processes were told.
    pub fn part(&self) -> &Part {
        &self.part
    }

    /// Does a little of everything that is not to be measured.
    pub async fn warm_up(&self) -> anyhow::Result<()> {
        let load = Load {
            workflow: load::Workflow::Chain,
            size: 2,
            runs: WARM_UP_RUNS,
            concurrency: WARM_UP_RUNS,
        };
        let found = self.put(load, |_| {}).await?.0;
        ensure!(
            found.failed == 0,
            "{} of {WARM_UP_RUNS} runs failed before anything was measured",
            found.failed
        );
        Ok(())
    }

    /// Puts a load on it and reports.
    pub async fn measure(&self, scenario: &'static str, load: Load, server: &Server, output: &Output) -> anyhow::Result<Report> {
        let before = self.usages(server)?;
        let bar = output.bar(scenario, load.runs);
        let (found, client) = self.put(load, |runs| bar.set_position(runs)).await?;
        bar.finish_and_clear();
        let mut usages = self.usages(server)?.since(&before);
        usages.client = Some(client);
        Ok(report(scenario, load, &found, &usages, server))
    }

    /// Runs a client with this load to its end; what it found and used.
    async fn put(&self, load: Load, progress: impl FnMut(u64)) -> anyhow::Result<(Found, Usage)> {
        let mut client = self.client(load).await?;
        let found = client.result(progress).await?;
        let usage = client.usage()?;
        client.end().await?;
        Ok((found, usage))
    }

    /// Starts a client, which begins at once.
    pub async fn client(&self, load: Load) -> anyhow::Result<Process> {
        Process::start(Role::Client, &(&self.part, load)).await
    }

    /// What its processes and the server have used so far.
    pub fn usages(&self, server: &Server) -> anyhow::Result<Usages> {
        let now = Usages {
            server: server.usage()?,
            orchestrator: Some(self.orchestrator.usage()?),
            worker: Some(self.worker.usage()?),
            client: None,
        };
        Ok(now.and(&self.spent))
    }

    /// The orchestrator's resident memory now, in MiB.
    pub fn orchestrator_rss_mib(&self, server: &Server) -> anyhow::Result<f64> {
        let usage = self.usages(server)?.orchestrator;
        Ok(round(usage.context("the orchestrator runs")?.rss_mib(), 2))
    }

    /// SIGKILL for the orchestrator.
    pub async fn kill_orchestrator(&mut self) -> anyhow::Result<()> {
        let used = self.orchestrator.kill().await?;
        self.spent.orchestrator = Some(self.spent.orchestrator.unwrap_or_default().and(used));
        Ok(())
    }

    /// A new orchestrator in the place of a killed one.
    pub async fn restart_orchestrator(&mut self) -> anyhow::Result<()> {
        self.orchestrator = Process::start(Role::Orchestrator, &self.part).await?;
        Ok(())
    }

    /// SIGKILL for the worker.
    pub async fn kill_worker(&mut self) -> anyhow::Result<()> {
        let used = self.worker.kill().await?;
        self.spent.worker = Some(self.spent.worker.unwrap_or_default().and(used));
        Ok(())
    }

    /// A new worker in the place of a killed one.
    pub async fn restart_worker(&mut self) -> anyhow::Result<()> {
        self.worker = Process::start(Role::Worker, &self.part).await?;
        Ok(())
    }

    /// Ends its processes.
    pub async fn end(self) -> anyhow::Result<()> {
        self.worker.end().await?;
        self.orchestrator.end().await?;
        Ok(())
    }
}

/// What a client found, as a report.
pub fn report(scenario: &str, load: Load, found: &Found, usages: &Usages, server: &Server) -> Report {
    let work = Work {
        runs: load.runs,
        steps: load.steps(),
        concurrency: load.concurrency,
        wall: found.wall(),
    };
    let mut report = Report::new(scenario, server.durability_name(), work, found.latency, usages);
    report.failed = found.failed;
    report.fdatasync_p50_us = server.fdatasync_p50_us();
    report
}
