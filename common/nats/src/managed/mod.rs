//! A private nats-server as a child process: for `everstep dev`, the demo, the load test and every test on a real server.
//!
//! [`ManagedServer`] is one node, [`ManagedCluster`] three. Both listen on loopback only, keep their ports and their store over
//! any number of kills and restarts, and end with their owner however that ends.
//!
//! ```no_run
//! # async fn example() -> Result<(), everstep_nats::managed::Error> {
//! use everstep_nats::managed::{ManagedServer, Options};
//!
//! let mut server = ManagedServer::start(Options::default()).await?;
//! println!("JetStream answers at {}", server.url());
//! server.kill();
//! server.restart().await?; // the same port, the same store
//! # Ok(())
//! # }
//! ```
//!
//! Knows nothing of Everstep's streams; what is in the server is for others to provision. One file each: `binary`
//! finds nats-server, `config` writes its configuration, `port` reserves ports, `store` holds the folder, `process` is the child
//! and its watchdog, `probe` asks the monitoring port, `node` puts these together.

mod binary;
mod cluster;
mod config;
mod error;
mod node;
mod port;
mod probe;
mod process;
mod server;
mod store;

use std::path::PathBuf;

use everstep_common::topology::Durability;

pub use self::binary::{MINIMUM_VERSION, find_server};
pub use self::cluster::{ManagedCluster, NODES};
pub use self::error::Error;
pub use self::server::ManagedServer;

/// What a managed server or cluster shall be like. The default is strict, in a folder of its own that goes with it.
#[derive(Clone, Debug)]
pub struct Options {
    /// What an acknowledged write survives. Under [`Durability::Relaxed`], call `flush_store` once after provisioning.
    pub durability: Durability,
    /// The folder that keeps store, configuration and log; made if missing, and left in place. Without one a temporary folder
    /// is used and wiped at the end, however that comes. A folder serves one owner at a time.
    pub store: Option<PathBuf>,
    /// The nats-server to run. Without one it is searched for; [`Error::NotFound`] tells where.
    pub binary: Option<PathBuf>,
    /// Appended to the configuration as it is, in nats-server's own syntax.
    pub extra_config: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::Strict,
            store: None,
            binary: None,
            extra_config: String::new(),
        }
    }
}

impl Options {
    /// The default options at another durability.
    pub fn with_durability(durability: Durability) -> Self {
        Self {
            durability,
            ..Self::default()
        }
    }
}
