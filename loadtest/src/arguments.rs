//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use everstep_common::topology;

use crate::harness::{Output, Server};
use crate::roles::Role;
use crate::scenarios::{batch, chain, crash, fanout, floor, latency, local, sleepers, throughput};

/// Measures Everstep, or the bare JetStream loop it is compared to.
#[derive(Debug, Parser)]
#[command(name = "everstep-loadtest", version)]
pub struct Arguments {
    /// What every scenario takes.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every scenario takes.
#[derive(Debug, Args)]
pub struct Common {
    /// One JSON object a line instead of a table.
    #[arg(long, global = true)]
    pub json: bool,
    /// What an acknowledged write survives: a power cut, or (relaxed) all but the last 100 ms of one.
    #[arg(long, global = true, value_enum, default_value_t = Durability::Strict)]
    pub durability: Durability,
    /// Use this server instead of a private one; it must be configured for the durability named.
    #[arg(long, global = true, value_name = "URL")]
    pub server: Option<String>,
}

/// The durability levels as the command line spells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Durability {
    /// `sync_interval: always`.
    Strict,
    /// `sync_interval: 100ms`.
    Relaxed,
}

impl From<Durability> for topology::Durability {
    fn from(durability: Durability) -> Self {
        match durability {
            Durability::Strict => Self::Strict,
            Durability::Relaxed => Self::Relaxed,
        }
    }
}

/// A scenario, or a role in one.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// A scenario.
    #[command(flatten)]
    Scenario(Scenario),
    /// What the harness starts its children with.
    #[command(hide = true)]
    Role {
        /// Which.
        #[arg(value_enum)]
        role: Role,
        /// Its settings, as JSON.
        settings: String,
    },
}

/// The scenarios.
#[derive(Debug, Subcommand)]
pub enum Scenario {
    /// The bare JetStream loop: task, pull, create, feed, without any engine code. The yardstick.
    Floor(floor::Settings),
    /// One run of one step after the other.
    Latency(latency::Settings),
    /// One run of several steps after the other.
    Chain(chain::Settings),
    /// Many runs at once, in turn with the bare loop.
    Throughput(throughput::Settings),
    /// Many runs at once, of steps that the orchestrator runs itself.
    Local(throughput::Size),
    /// One run with many steps at once.
    Fanout(fanout::Settings),
    /// One batch of many items, in turn with `throughput`.
    Batch(batch::Settings),
    /// Many runs that sleep.
    Sleepers(sleepers::Settings),
    /// A process killed again and again under load.
    Crash(crash::Settings),
}

impl Scenario {
    /// Runs the scenario and prints what it measured.
    pub async fn run(self, common: &Common) -> anyhow::Result<()> {
        let output = Output::new(common.json);
        let mut server = Server::open(common.server.clone(), common.durability.into()).await?;
        match self {
            Self::Floor(settings) => floor::run(&settings, &server, &output).await,
            Self::Latency(settings) => latency::run(&settings, &server, &output).await,
            Self::Chain(settings) => chain::run(&settings, &server, &output).await,
            Self::Throughput(settings) => throughput::run(&settings, &server, &output).await,
            Self::Local(size) => local::run(&size, &server, &output).await,
            Self::Fanout(settings) => fanout::run(&settings, &server, &output).await,
            Self::Batch(settings) => batch::run(&settings, &server, &output).await,
            Self::Sleepers(settings) => sleepers::run(&settings, &server, &output).await,
            Self::Crash(settings) => crash::run(&settings, &mut server, &output).await,
        }
    }
}
