//! Streams and consumers as data: what provisioning makes and checks, and what the simulated server enforces.
//!
//! Which streams a deployment has, and why each is as it is, stands in [`Deployment`](crate::store::Deployment).

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long a stream keeps its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Retention {
    /// Until a limit or a purge removes them.
    Limits,
    /// Until they are acknowledged.
    WorkQueue,
}

/// Where a stream keeps its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Storage {
    /// On disk.
    File,
    /// In memory: gone with a restarted single server, empty after a restarted cluster.
    Memory,
}

/// What happens to a publish into a full stream (or subject).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Discard {
    /// The oldest message goes.
    Old,
    /// The publish is refused.
    New,
}

/// Stored messages that the server publishes again on core NATS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Republish {
    /// Which subjects.
    pub source: String,
    /// Under which subject; `{{wildcard(n)}}` stands for the n-th wildcard of `source`.
    pub destination: String,
    /// Without the body.
    pub headers_only: bool,
}

/// One stream, as far as its configuration matters to Everstep. What is not named here is left at the server's default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StreamSpec {
    /// Its name.
    pub name: String,
    /// What it is for, shown by `nats stream info`.
    pub description: String,
    /// The subjects it takes.
    pub subjects: Vec<String>,
    /// How long messages stay.
    pub retention: Retention,
    /// Where they are kept.
    pub storage: Storage,
    /// On how many nodes.
    pub replicas: usize,
    /// Messages kept per subject; -1 without limit.
    pub max_messages_per_subject: i64,
    /// Bytes kept; -1 without limit.
    pub max_bytes: i64,
    /// How long a message is kept; without limit if absent.
    pub max_age: Option<Duration>,
    /// What a full stream does.
    pub discard: Discard,
    /// Whether `discard: new` also holds per subject. With one message per subject this makes a write-once stream.
    pub discard_new_per_subject: bool,
    /// Whether replicas answer reads.
    pub allow_direct: bool,
    /// Whether atomic batches are taken.
    pub allow_atomic: bool,
    /// Whether messages may be schedules. Implies rollup: whoever may write here may wipe the stream.
    pub allow_schedules: bool,
    /// Whether single messages may be deleted through the API.
    pub deny_delete: bool,
    /// What is published again.
    pub republish: Option<Republish>,
}

impl StreamSpec {
    /// A limits stream on disk with the given name and subjects; everything optional is off.
    pub fn new(name: impl Into<String>, subjects: impl IntoIterator<Item = String>, replicas: usize) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            subjects: subjects.into_iter().collect(),
            retention: Retention::Limits,
            storage: Storage::File,
            replicas,
            max_messages_per_subject: -1,
            max_bytes: -1,
            max_age: None,
            discard: Discard::Old,
            discard_new_per_subject: false,
            allow_direct: true,
            allow_atomic: false,
            allow_schedules: false,
            deny_delete: false,
            republish: None,
        }
    }
}

/// One durable pull consumer with explicit acknowledgements, unlimited deliveries (`max_deliver -1`) and unlimited pending
/// acknowledgements (`max_ack_pending -1`: the default of 1,000 stalls in silence).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConsumerSpec {
    /// Its durable name.
    pub name: String,
    /// Which subjects it delivers.
    pub filter: String,
    /// After how long an unanswered delivery is made again.
    pub ack_wait: Duration,
}

/// What an acknowledged write survives.
///
/// ```
/// use everstep_common::topology::Durability;
///
/// assert_eq!(Durability::default(), Durability::Strict);
/// assert_eq!(Durability::Relaxed.to_string(), "relaxed");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// The server runs `sync_interval: always`: an acknowledged write survives a power cut. The default.
    #[default]
    Strict,
    /// The server runs `sync_interval: 100ms` (or so): a power cut loses what the last interval held.
    Relaxed,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Strict => "strict",
            Self::Relaxed => "relaxed",
        })
    }
}
