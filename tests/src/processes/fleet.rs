//! One server, some orchestrators and workers, all of them processes of their own, killed as a seed says.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use everstep::{Client, ConnectOptions, Prefix};
use everstep_common::ports::Broker;
use everstep_common::store::Deployment;
use everstep_nats::managed::{ManagedCluster, ManagedServer, NODES, Options};
use everstep_nats::{NatsBroker, TokioClock};
use tokio::process::{Child, Command};

use super::ledger::Ledger;
use super::{DEADLINE, LEDGER_VARIABLE};

/// How soon a killed worker's tasks are delivered again: short, for these tests wait for it.
const ACK_WAIT: Duration = Duration::from_secs(2);

/// Everything that can be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// One of the workers.
    Worker,
    /// One of the orchestrators.
    Orchestrator,
    /// The server, or one of its three nodes.
    Server,
}

/// One node or three.
#[derive(Debug)]
enum Servers {
    One(ManagedServer),
    Three(ManagedCluster),
}

impl Servers {
    fn url(&self) -> String {
        match self {
            Self::One(server) => server.url(),
            Self::Three(cluster) => cluster.url(),
        }
    }
}

/// Numbers that follow from a seed, which is printed and taken back.
#[derive(Debug)]
pub struct Seed(u64);

impl Seed {
    /// `EVERSTEP_SEED`, or a fresh one.
    pub fn from_environment() -> Self {
        let given = std::env::var("EVERSTEP_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| u64::from(std::process::id()).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        println!("EVERSTEP_SEED={seed}");
        Self(seed)
    }

    /// The next number below `bound` (SplitMix64).
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// One of these.
    pub fn one_of<T: Copy>(&mut self, these: &[T]) -> T {
        these[self.below(these.len() as u64) as usize]
    }
}

/// The processes.
#[derive(Debug)]
pub struct Fleet {
    /// Asked by the functions; in this process, which nobody kills.
    pub ledger: Ledger,
    /// For the test itself.
    pub client: Client,
    servers: Servers,
    binary: PathBuf,
    orchestrators: Vec<Child>,
    workers: Vec<Child>,
}

impl Fleet {
    /// Starts a strict server, and so many orchestrators and workers of `binary`.
    pub async fn start(binary: &Path, orchestrators: usize, workers: usize) -> anyhow::Result<Self> {
        Self::start_with(Options::default(), binary, orchestrators, workers).await
    }

    /// The same on a server with options of its own.
    pub async fn start_with(options: Options, binary: &Path, orchestrators: usize, workers: usize) -> anyhow::Result<Self> {
        let servers = Servers::One(ManagedServer::start(options).await?);
        Self::start_on(servers, 1, binary, orchestrators, workers).await
    }

    /// The same on a cluster of three nodes, everything kept on all of them.
    pub async fn start_on_three_nodes(binary: &Path, orchestrators: usize, workers: usize) -> anyhow::Result<Self> {
        let servers = Servers::Three(ManagedCluster::start(Options::default()).await?);
        Self::start_on(servers, NODES, binary, orchestrators, workers).await
    }

    async fn start_on(
        servers: Servers,
        replicas: usize,
        binary: &Path,
        orchestrators: usize,
        workers: usize,
    ) -> anyhow::Result<Self> {
        let connect = ConnectOptions::to(servers.url());
        let broker: std::sync::Arc<dyn Broker> = NatsBroker::connect(connect.clone()).await?;
        let deployment = Deployment::single_node(Prefix::none())
            .with_partitions(2)
            .with_replicas(replicas)
            .with_ack_wait(ACK_WAIT);
        deployment.provision(&broker, &TokioClock).await?;
        let client = Client::connect(connect).await?;
        let ledger = Ledger::start().await?;
        let mut fleet = Self {
            ledger,
            client,
            servers,
            binary: binary.to_owned(),
            orchestrators: Vec::new(),
            workers: Vec::new(),
        };
        for _ in 0..orchestrators {
            fleet.orchestrators.push(fleet.spawn("orchestrator")?);
        }
        for _ in 0..workers {
            fleet.workers.push(fleet.spawn("worker")?);
        }
        Ok(fleet)
    }

    /// The broker of a connection of its own.
    pub async fn broker(&self) -> anyhow::Result<std::sync::Arc<dyn Broker>> {
        Ok(NatsBroker::connect(ConnectOptions::to(self.servers.url())).await?)
    }

    fn spawn(&self, role: &str) -> anyhow::Result<Child> {
        let mut command = Command::new(&self.binary);
        command
            .args([role, "--server", &self.servers.url()])
            .env(LEDGER_VARIABLE, self.ledger.address().to_string());
        if std::env::var_os("EVERSTEP_LOG").is_none() {
            command.env("EVERSTEP_LOG", "off");
        }
        command
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {role}"))
    }

    /// SIGKILL to one victim, and a new one in its place.
    pub async fn kill(&mut self, victim: Victim, seed: &mut Seed) -> anyhow::Result<()> {
        match victim {
            Victim::Server => match &mut self.servers {
                Servers::One(server) => {
                    server.kill();
                    server.restart().await?;
                }
                Servers::Three(cluster) => {
                    let node = seed.below(NODES as u64) as usize;
                    cluster.kill(node);
                    cluster.restart(node).await?;
                }
            },
            Victim::Worker => {
                let place = seed.below(self.workers.len() as u64) as usize;
                self.workers[place].kill().await?;
                self.workers[place] = self.spawn("worker")?;
            }
            Victim::Orchestrator => {
                let place = seed.below(self.orchestrators.len() as u64) as usize;
                self.orchestrators[place].kill().await?;
                self.orchestrators[place] = self.spawn("orchestrator")?;
            }
        }
        Ok(())
    }

    /// SIGKILL to the server, or to all of its nodes, and nothing in its place.
    pub fn kill_server(&mut self) {
        match &mut self.servers {
            Servers::One(server) => server.kill(),
            Servers::Three(cluster) => (0..NODES).for_each(|node| cluster.kill(node)),
        }
    }

    /// SIGKILL to one node of a cluster, and nothing in its place.
    pub fn kill_node(&mut self, node: usize) {
        if let Servers::Three(cluster) = &mut self.servers {
            cluster.kill(node);
        }
    }

    /// Starts a node of a cluster again.
    pub fn start_node(&mut self, node: usize) -> anyhow::Result<()> {
        if let Servers::Three(cluster) = &mut self.servers {
            cluster.start_node(node)?;
        }
        Ok(())
    }

    /// Starts the orchestrators again that have died by themselves, as a supervisor does; how many those were.
    pub fn revive_orchestrators(&mut self) -> anyhow::Result<usize> {
        let mut revived = 0;
        for place in 0..self.orchestrators.len() {
            if self.orchestrators[place].try_wait()?.is_some() {
                self.orchestrators[place] = self.spawn("orchestrator")?;
                revived += 1;
            }
        }
        Ok(revived)
    }

    /// How the first orchestrator has ended, if it has by itself.
    pub fn orchestrators_end(&mut self) -> anyhow::Result<Option<std::process::ExitStatus>> {
        Ok(self.orchestrators[0].try_wait()?)
    }

    /// SIGTERM to the first worker (or orchestrator); how it ended.
    pub async fn terminate(&mut self, victim: Victim) -> anyhow::Result<std::process::ExitStatus> {
        let children = if victim == Victim::Worker {
            &mut self.workers
        } else {
            &mut self.orchestrators
        };
        let mut child = children.remove(0);
        let id = child.id().context("it has ended already")?.to_string();
        Command::new("kill").args(["-TERM", &id]).status().await?;
        Ok(tokio::time::timeout(DEADLINE, child.wait())
            .await
            .context("it did not end")??)
    }
}
