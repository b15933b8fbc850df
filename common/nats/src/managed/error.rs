//! What can go wrong with a managed server, each with what to do about it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::binary::MINIMUM_VERSION;

/// A managed server could not be started, reached or looked after.
///
/// ```
/// use everstep_nats::managed::Error;
///
/// let error = Error::StoreInUse { path: "/var/lib/shop".into() };
/// assert!(error.to_string().starts_with("the store /var/lib/shop is in use by another managed server"));
/// ```
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No nats-server was found, or none that is new enough.
    #[error(
        "no nats-server >= {MINIMUM_VERSION} found: {}\nhint: run `make nats-server`, or set EVERSTEP_NATS_SERVER to one",
        rejected.join("; ")
    )]
    NotFound {
        /// Every place looked at, and why it would not do.
        rejected: Vec<String>,
    },
    /// The nats-server that was asked for by name cannot be used.
    #[error(
        "cannot use {} as nats-server: {reason}\nhint: run `make nats-server`, or set EVERSTEP_NATS_SERVER to a nats-server >= {MINIMUM_VERSION}",
        path.display()
    )]
    Unusable {
        /// The binary.
        path: PathBuf,
        /// Why not: not there, too old, not a nats-server.
        reason: String,
    },
    /// Another managed server runs on this folder.
    #[error("the store {} is in use by another managed server\nhint: stop that one, or choose another folder", path.display())]
    StoreInUse {
        /// The folder.
        path: PathBuf,
    },
    /// The file system refused something the server needs.
    #[error("{action} {}", path.display())]
    Store {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// No free port was found on loopback.
    #[error("no free loopback port among {tried} tried")]
    NoFreePort {
        /// How many were tried.
        tried: u32,
    },
    /// The process could not be started at all.
    #[error("starting {}", path.display())]
    Spawn {
        /// The binary.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The server ended by itself while being waited for.
    #[error("nats-server ended before JetStream answered: {log_tail}")]
    Exited {
        /// Its last words.
        log_tail: String,
    },
    /// The server ended by itself, or at the hands of somebody else, after JetStream had answered.
    #[error("nats-server (process {pid}) has ended: {log_tail}")]
    Ended {
        /// The process.
        pid: u32,
        /// Its last words.
        log_tail: String,
    },
    /// JetStream did not answer in time.
    #[error("JetStream did not answer within {within:?}: {log_tail}")]
    NotReady {
        /// How long was waited.
        within: Duration,
        /// The end of the server's log.
        log_tail: String,
    },
    /// A signal could not be delivered to the server.
    #[error("sending a signal to nats-server (process {pid})")]
    Signal {
        /// The process.
        pid: u32,
        /// Why it failed.
        source: io::Error,
    },
}

impl Error {
    /// Whether the server ended because someone else listens on one of its ports.
    pub(super) fn is_address_in_use(&self) -> bool {
        matches!(self, Self::Exited { log_tail } if log_tail.contains("address already in use"))
    }
}
