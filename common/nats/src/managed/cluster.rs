//! Three nats-servers in one cluster, for whatever only replicas show.

use std::collections::HashSet;
use std::path::Path;

use super::config::ClusterPlace;
use super::error::Error;
use super::node::{Folder, Node, Ports, READY_POLL, READY_WITHIN, Setup};
use super::store::Store;
use super::{Options, probe};

/// How many nodes a managed cluster has: the fewest that go on without one of them.
pub const NODES: usize = 3;

/// A private cluster on loopback. Nodes are counted from 0. Dropping it kills all nodes and wipes their temporary folder.
#[derive(Debug)]
pub struct ManagedCluster {
    /// Before the folder: the processes must be gone when the folder is wiped.
    nodes: Vec<Node>,
    /// Held so that a temporary folder lives as long as the cluster.
    _folder: Folder,
}

impl ManagedCluster {
    /// Starts all nodes and waits until they have a leader and are up to date with it.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let setup = Setup::new(options).await?;
        let ports: Vec<Ports> = (0..NODES).map(|_| Ports::choose()).collect::<Result<_, _>>()?;
        let all_ports: Vec<u16> = ports.iter().map(|ports| ports.route.number()).collect();
        let mut nodes = Vec::with_capacity(NODES);
        for (index, ports) in ports.into_iter().enumerate() {
            let name = format!("everstep-{index}");
            let store = Store::open(setup.path().join(&name)).await?;
            let place = ClusterPlace {
                port: ports.route.number(),
                all_ports: all_ports.clone(),
            };
            nodes.push(Node::new(&name, ports, Some(place), store, &setup)?);
        }
        let mut cluster = Self {
            nodes,
            _folder: setup.into_folder(),
        };
        for node in &mut cluster.nodes {
            node.spawn()?;
        }
        cluster.ready().await?;
        Ok(cluster)
    }

    /// Where clients connect, all nodes in one comma-separated list, as `NATS_URL` takes it.
    pub fn url(&self) -> String {
        self.nodes.iter().map(Node::url).collect::<Vec<_>>().join(",")
    }

    /// Where clients connect to one node.
    ///
    /// # Panics
    ///
    /// Here and below, if there is no such node.
    pub fn node_url(&self, node: usize) -> String {
        self.nodes[node].url()
    }

    /// Where one node shows its own figures.
    pub fn monitor_url(&self, node: usize) -> String {
        self.nodes[node].monitor_url()
    }

    /// The process of a node, unless it was killed.
    pub fn pid(&self, node: usize) -> Option<u32> {
        self.nodes[node].process_id()
    }

    /// The folder of a node, with its store, configuration and log.
    pub fn store(&self, node: usize) -> &Path {
        self.nodes[node].store().folder()
    }

    /// The name of a node, as `nats stream report` and leader answers show it.
    pub fn node_name(&self, node: usize) -> &str {
        self.nodes[node].name()
    }

    /// Kills a node with SIGKILL. Does nothing to one that does not run.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].kill();
    }

    /// Starts a node on the same ports and store, and waits for nothing. Does nothing to one that runs.
    pub fn start_node(&mut self, node: usize) -> Result<(), Error> {
        self.nodes[node].spawn()
    }

    /// Kills a node if it runs, starts it on the same ports and store, and waits until all running nodes are up to date.
    ///
    /// Of a cluster of which two nodes are down, the first to come back waits in vain for a leader: use
    /// [`start_node`](Self::start_node) for both, or [`restart_all`](Self::restart_all).
    pub async fn restart(&mut self, node: usize) -> Result<(), Error> {
        self.nodes[node].kill();
        self.nodes[node].spawn()?;
        self.ready().await
    }

    /// Kills every node that runs, starts all on the same ports and stores, and waits until all are up to date.
    pub async fn restart_all(&mut self) -> Result<(), Error> {
        self.nodes.iter_mut().for_each(Node::kill);
        for node in &mut self.nodes {
            node.spawn()?;
        }
        self.ready().await
    }

    /// Waits until the running nodes have a leader that sees all of them up to date, each has recovered its store, and every
    /// stream they hold has a leader among them.
    ///
    /// A publish may be refused for some milliseconds more, for want of responders, by a node that has not heard yet where the
    /// new leader of the stream listens.
    pub async fn ready(&mut self) -> Result<(), Error> {
        let ready = async {
            let mut poll = tokio::time::interval(READY_POLL);
            loop {
                poll.tick().await;
                self.nodes.iter_mut().try_for_each(Node::check_alive)?;
                if self.is_ready().await {
                    return Ok(());
                }
            }
        };
        let result = tokio::time::timeout(READY_WITHIN, ready).await;
        result.unwrap_or_else(|_| Err(self.nodes[0].not_ready()))
    }

    async fn is_ready(&self) -> bool {
        let mut running = 0;
        let mut seen_by_leader = 0;
        let (mut streams, mut led_streams) = (HashSet::new(), HashSet::new());
        for node in self.nodes.iter().filter(|node| node.process_id().is_some()) {
            let view = match probe::is_healthy(node.monitor_port()).await {
                true => probe::cluster_view(node.monitor_port()).await,
                false => None,
            };
            let Some(view) = view else { return false };
            running += 1;
            let is_this_node = |leader: &Option<String>| leader.as_deref() == Some(node.name());
            if is_this_node(&view.leader) {
                seen_by_leader = 1 + view.current_others;
            }
            led_streams.extend(
                view.streams
                    .iter()
                    .filter(|(_, leader)| is_this_node(leader))
                    .map(|(name, _)| name.clone()),
            );
            streams.extend(view.streams.into_iter().map(|(name, _)| name));
        }
        seen_by_leader >= running && streams == led_streams
    }

    /// The node that leads the cluster's own log (not necessarily any stream); `None` while there is none.
    pub async fn leader(&self) -> Option<usize> {
        for (index, node) in self.nodes.iter().enumerate() {
            let view = probe::cluster_view(node.monitor_port()).await;
            if view.and_then(|view| view.leader).as_deref() == Some(node.name()) {
                return Some(index);
            }
        }
        None
    }

    /// Writes the file systems of all stores to the disk; see [`ManagedServer::flush_store`](super::ManagedServer::flush_store).
    pub async fn flush_store(&self) -> Result<(), Error> {
        for node in &self.nodes {
            node.store().flush().await?;
        }
        Ok(())
    }
}
