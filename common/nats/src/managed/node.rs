//! One node: its ports, its folder and its process, whether it stands alone or in a cluster.

use std::path::PathBuf;
use std::time::Duration;

use everstep_common::topology::Durability;

use super::config::{ClusterPlace, Config};
use super::error::Error;
use super::port::Reserved;
use super::process::Process;
use super::store::Store;
use super::{Options, binary, probe};

/// A fresh node answers in well under a second, a cluster in a few; one that recovers millions of messages may take ten.
pub(super) const READY_WITHIN: Duration = Duration::from_secs(30);

/// How often a node that is not ready is asked again.
pub(super) const READY_POLL: Duration = Duration::from_millis(5);

/// How often a node that is ready is looked after.
const ALIVE_POLL: Duration = Duration::from_millis(250);

/// How long a terminated server may take to close its store before it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// The ports of one node, its own for as long as it lives.
#[derive(Debug)]
pub(super) struct Ports {
    pub(super) client: Reserved,
    pub(super) monitor: Reserved,
    /// Where the other nodes of its cluster reach it.
    pub(super) route: Reserved,
}

impl Ports {
    pub(super) fn choose() -> Result<Self, Error> {
        Ok(Self {
            client: Reserved::choose()?,
            monitor: Reserved::choose()?,
            route: Reserved::choose()?,
        })
    }
}

/// One nats-server, running or not.
#[derive(Debug)]
pub(super) struct Node {
    name: String,
    binary: PathBuf,
    /// The temporary folder, if any, for the watchdog to wipe when the owner cannot.
    wipe: Option<PathBuf>,
    ports: Ports,
    /// Before the store: its process must be gone before the folder's lock is.
    process: Option<Process>,
    store: Store,
}

impl Node {
    /// Writes the configuration of a node; nothing runs yet.
    pub(super) fn new(name: &str, ports: Ports, cluster: Option<ClusterPlace>, store: Store, setup: &Setup) -> Result<Self, Error> {
        let config = Config {
            name,
            client_port: ports.client.number(),
            monitor_port: ports.monitor.number(),
            store: store.folder(),
            durability: setup.durability,
            cluster,
            extra: &setup.extra_config,
        };
        store.write_config(&config.render())?;
        Ok(Self {
            name: name.to_owned(),
            binary: setup.binary.clone(),
            wipe: setup.temporary(),
            ports,
            process: None,
            store,
        })
    }

    pub(super) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.ports.client.number())
    }

    pub(super) fn monitor_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.monitor.number())
    }

    pub(super) fn monitor_port(&self) -> u16 {
        self.ports.monitor.number()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Starts the process; a running one is left alone.
    pub(super) fn spawn(&mut self) -> Result<(), Error> {
        if self.process.is_none() {
            let process = Process::spawn(
                &self.binary,
                &self.store.config_path(),
                self.store.log(),
                self.wipe.as_deref(),
            );
            self.process = Some(process.map_err(|source| Error::Spawn {
                path: self.binary.clone(),
                source,
            })?);
        }
        Ok(())
    }

    /// Waits until JetStream answers.
    pub(super) async fn ready(&mut self) -> Result<(), Error> {
        let ready = async {
            let mut poll = tokio::time::interval(READY_POLL);
            loop {
                poll.tick().await;
                self.check_alive()?;
                if probe::is_healthy(self.ports.monitor.number()).await {
                    return Ok(());
                }
            }
        };
        let result = tokio::time::timeout(READY_WITHIN, ready).await;
        result.unwrap_or_else(|_| Err(self.not_ready()))
    }

    /// An error, with the server's last words, if the process ended by itself.
    pub(super) fn check_alive(&mut self) -> Result<(), Error> {
        if self.process.as_mut().is_some_and(Process::has_ended) {
            return Err(Error::Exited {
                log_tail: self.store.log_tail(),
            });
        }
        Ok(())
    }

    /// Returns once the process has ended by itself, with its last words.
    pub(super) async fn ended(&mut self) -> Error {
        let mut poll = tokio::time::interval(ALIVE_POLL);
        loop {
            poll.tick().await;
            if let Some(process) = self.process.as_mut()
                && process.has_ended()
            {
                let (pid, log_tail) = (process.id(), self.store.log_tail());
                return Error::Ended { pid, log_tail };
            }
        }
    }

    pub(super) fn not_ready(&self) -> Error {
        Error::NotReady {
            within: READY_WITHIN,
            log_tail: self.store.log_tail(),
        }
    }

    /// SIGKILL; nothing if it does not run.
    pub(super) fn kill(&mut self) {
        self.process = None;
    }

    /// SIGTERM, then waits for the end; SIGKILL if that takes too long.
    pub(super) async fn stop(&mut self) -> Result<(), Error> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        process.terminate().map_err(|source| Error::Signal {
            pid: process.id(),
            source,
        })?;
        let ended = async {
            let mut poll = tokio::time::interval(READY_POLL);
            while !process.has_ended() {
                poll.tick().await;
            }
        };
        // Whether it ended in time or not, dropping the process makes sure of it.
        let _ = tokio::time::timeout(STOP_WITHIN, ended).await;
        Ok(())
    }
}

/// What the nodes of one server or cluster have in common.
pub(super) struct Setup {
    binary: PathBuf,
    durability: Durability,
    extra_config: String,
    folder: Folder,
}

/// The folder above those of the nodes.
#[derive(Debug)]
pub(super) enum Folder {
    /// The caller's, left in place.
    Kept(PathBuf),
    /// Wiped when dropped.
    Temporary(tempfile::TempDir),
}

impl Setup {
    /// Finds the binary and makes the folder.
    pub(super) async fn new(options: Options) -> Result<Self, Error> {
        let given = options.binary;
        let search = tokio::task::spawn_blocking(move || binary::find_server(given.as_deref()));
        let binary = search.await.expect("the search for nats-server does not panic")?;
        let folder = match options.store {
            Some(path) => Folder::Kept(path),
            None => Folder::Temporary(temporary_folder()?),
        };
        Ok(Self {
            binary,
            durability: options.durability,
            extra_config: options.extra_config,
            folder,
        })
    }

    pub(super) fn path(&self) -> PathBuf {
        match &self.folder {
            Folder::Kept(path) => path.clone(),
            Folder::Temporary(folder) => folder.path().to_path_buf(),
        }
    }

    fn temporary(&self) -> Option<PathBuf> {
        matches!(self.folder, Folder::Temporary(_)).then(|| self.path())
    }

    pub(super) fn into_folder(self) -> Folder {
        self.folder
    }
}

fn temporary_folder() -> Result<tempfile::TempDir, Error> {
    let made = tempfile::Builder::new().prefix("everstep-nats-").tempdir();
    made.map_err(|source| Error::Store {
        action: "making a temporary folder in",
        path: std::env::temp_dir(),
        source,
    })
}
