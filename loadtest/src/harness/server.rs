//! The nats-server under test: a private one, or one that was named.

use std::sync::Arc;

use anyhow::Context;
use everstep_common::topology::Durability;
use everstep_nats::managed::{ManagedServer, Options};
use everstep_nats::{ConnectOptions, NatsBroker};

use super::disk;
use super::report::round;
use super::usage::Usage;

/// A server, and at which durability it is measured.
#[derive(Debug)]
pub struct Server {
    /// Ours, if it is.
    managed: Option<ManagedServer>,
    url: String,
    durability: Durability,
    fdatasync_p50_us: Option<f64>,
    /// What earlier, killed processes of ours had used.
    spent: Usage,
}

impl Server {
    /// The server at `url`, or a private one in a folder of its own.
    pub async fn open(url: Option<String>, durability: Durability) -> anyhow::Result<Self> {
        if let Some(url) = url {
            return Ok(Self {
                managed: None,
                url,
                durability,
                fdatasync_p50_us: None,
                spent: Usage::default(),
            });
        }
        let managed = ManagedServer::start(Options::with_durability(durability)).await?;
        let probe = disk::fdatasync_p50(managed.store())?;
        Ok(Self {
            url: managed.url(),
            managed: Some(managed),
            durability,
            fdatasync_p50_us: Some(round(probe.as_secs_f64() * 1e6, 1)),
            spent: Usage::default(),
        })
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// At which durability it is measured.
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// The same in a report.
    pub fn durability_name(&self) -> &'static str {
        match self.durability {
            Durability::Strict => "strict",
            Durability::Relaxed => "relaxed",
        }
    }

    /// The speed of the disk below it, if that is on this machine.
    pub fn fdatasync_p50_us(&self) -> Option<f64> {
        self.fdatasync_p50_us
    }

    /// What it has used so far, if it is ours.
    pub fn usage(&self) -> anyhow::Result<Option<Usage>> {
        let pid = self.managed.as_ref().and_then(ManagedServer::pid);
        let now = pid.map(Usage::of).transpose()?;
        Ok(now.map(|now| now.and(self.spent)))
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.spent = self
            .usage()?
            .context("a server that was named with --server is not ours to kill")?;
        if let Some(managed) = &mut self.managed {
            managed.kill();
        }
        Ok(())
    }

    /// Starts a killed server on its port and store, and waits until it answers.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        match &mut self.managed {
            Some(managed) => Ok(managed.restart().await?),
            None => Ok(()),
        }
    }

    /// A connection of the harness' own.
    pub async fn connect(&self) -> anyhow::Result<Arc<NatsBroker>> {
        let options = ConnectOptions::to(self.url()).named("everstep-loadtest");
        NatsBroker::connect(options)
            .await
            .with_context(|| format!("connecting to {}", self.url))
    }

    /// Puts new streams of a relaxed server on the disk, as whoever provisions one does.
    pub async fn settle(&self) -> anyhow::Result<()> {
        match &self.managed {
            Some(managed) if self.durability == Durability::Relaxed => Ok(managed.flush_store().await?),
            _ => Ok(()),
        }
    }
}
