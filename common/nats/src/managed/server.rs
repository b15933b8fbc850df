//! A single nats-server.

use std::path::Path;

use super::Options;
use super::error::Error;
use super::node::{Folder, Node, Ports, Setup};
use super::store::Store;

/// How often a fresh server that lost its port between the choice and its start is given another. Losing even once takes a
/// stranger that starts to listen in the same millisecond.
const START_TRIES_MAX: u32 = 5;

/// A private nats-server on a loopback port of its own. Dropping it kills it and wipes its temporary folder.
#[derive(Debug)]
pub struct ManagedServer {
    /// Before the folder: the process must be gone when the folder is wiped.
    node: Node,
    /// Held so that a temporary folder lives as long as the server.
    _folder: Folder,
}

impl ManagedServer {
    /// Starts a server and waits until JetStream answers.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let setup = Setup::new(options).await?;
        let mut tries = 1;
        loop {
            let store = Store::open(setup.path()).await?;
            let mut node = Node::new("everstep", Ports::choose()?, None, store, &setup)?;
            node.spawn()?;
            match node.ready().await {
                Ok(()) => {
                    return Ok(Self {
                        node,
                        _folder: setup.into_folder(),
                    });
                }
                Err(error) if tries < START_TRIES_MAX && error.is_address_in_use() => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Where clients connect; the same after a restart.
    pub fn url(&self) -> String {
        self.node.url()
    }

    /// Where the server shows its own figures (`/varz`, `/jsz`, `/healthz`).
    pub fn monitor_url(&self) -> String {
        self.node.monitor_url()
    }

    /// The process, unless it was killed or stopped.
    pub fn pid(&self) -> Option<u32> {
        self.node.process_id()
    }

    /// The folder with store, configuration and log.
    pub fn store(&self) -> &Path {
        self.node.store().folder()
    }

    /// SIGKILL: what is not on the disk or in the system's cache is lost. Does nothing to a server that does not run.
    pub fn kill(&mut self) {
        self.node.kill();
    }

    /// Asks the server to close its store and end, and waits until it has.
    pub async fn stop(&mut self) -> Result<(), Error> {
        self.node.stop().await
    }

    /// Waits for as long as the server runs, or was killed or stopped by its owner: returns only if it ends otherwise, and then with its last
    /// words. A server that nobody restarts is to be waited for like this, or its owner goes on without it and never learns why.
    pub async fn ended(&mut self) -> Error {
        self.node.ended().await
    }

    /// Kills the server if it runs, starts it on the same port and store, and waits until JetStream answers.
    pub async fn restart(&mut self) -> Result<(), Error> {
        self.node.kill();
        self.node.spawn()?;
        self.node.ready().await
    }

    /// Writes the file system of the store to the disk. A relaxed server needs this once after provisioning: a power cut before
    /// the files of a new stream are on the disk loses the whole stream, not only its last writes.
    pub async fn flush_store(&self) -> Result<(), Error> {
        self.node.store().flush().await?;
        tracing::debug!(store = %self.store().display(), "flushed to the disk");
        Ok(())
    }
}
