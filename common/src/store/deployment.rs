//! Which streams a deployment has. How they are made, and the record that says so to every process, is in [`super::provision`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Mark;
use crate::ids::{Partition, Prefix, QueueName};
use crate::ports::{PublishError, ReadError, TopologyError};
use crate::subject::Names;
use crate::topology::{ConsumerSpec, Discard, Durability, Republish, Retention, Storage, StreamSpec};
use crate::wire;

/// The bucket of leases, cursors and the deployment record.
pub const LEASES: &str = "leases";

/// The bucket of run summaries.
pub const RUNS: &str = "runs";

/// The bucket of the values that the runs of a session share.
pub const SESSIONS: &str = "sessions";

/// The bucket of what workflows listen to, and of where schedules stand.
pub const TRIGGERS: &str = "triggers";

/// How long an event is kept: for triggers that are late, for whoever looks back, and for emitting it once.
pub const EVENT_AGE_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The bucket of limits: what operators set, and who uses them.
pub const LIMITS: &str = "limits";

/// The key of the deployment record in [`LEASES`].
pub const DEPLOYMENT_KEY: &str = "deployment";

/// How much one task queue holds in bytes before publishes wait: memory of the server.
pub const TASK_STREAM_BYTES_MAX: i64 = 1024 * 1024 * 1024;

/// After how long a delivered task without sign of life is delivered again, unless provisioned otherwise: above the longest leader
/// pause seen (9 s).
pub const ACK_WAIT: Duration = Duration::from_secs(30);

/// The shortest [`ACK_WAIT`] that can be asked for: a worker gives its signs of life at a third of it.
pub const ACK_WAIT_MIN: Duration = Duration::from_secs(1);

/// What was provisioned; the same for every process of the deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// What sets its names apart.
    pub prefix: Prefix,
    /// How many partitions the journal has. May grow; unkeyed runs use all of them.
    pub partitions: u32,
    /// How many of them keyed starts hash over; never changes.
    pub keyed_partitions: u32,
    /// What an acknowledged write survives, as the operator configured the server.
    pub durability: Durability,
    /// On how many nodes each stream is kept.
    pub replicas: usize,
    /// After how long a delivered task without sign of life is delivered again. Records of before it was a setting do not have it.
    #[serde(default = "ack_wait_default")]
    pub ack_wait: Duration,
}

fn ack_wait_default() -> Duration {
    ACK_WAIT
}

/// Why a deployment could not be made or found.
///
/// ```
/// use everstep_common::ids::Prefix;
/// use everstep_common::store::DeploymentError;
///
/// let error = DeploymentError::Missing { prefix: Prefix::new("staging").unwrap() };
/// assert!(error.to_string().starts_with("nothing is provisioned here under prefix \"staging\": run `everstep provision`"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeploymentError {
    /// Nothing is provisioned under this prefix.
    #[error(
        "nothing is provisioned here{}: run `everstep provision` (or `everstep dev` for a server of your own)",
        under(prefix)
    )]
    Missing {
        /// The prefix.
        prefix: Prefix,
    },
    /// It exists and is another one.
    #[error("the deployment exists with other settings: {}", differences.join("; "))]
    Differs {
        /// `field: wanted A, found B`.
        differences: Vec<String>,
    },
    /// A stream could not be made or is another one.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// The record could not be read.
    #[error("reading the deployment record: {0}")]
    Read(ReadError),
    /// The record could not be written.
    #[error("writing the deployment record: {0}")]
    Write(PublishError),
    /// The record is not one, or of a newer version.
    #[error("the deployment record is unreadable: {0}")]
    Undecodable(wire::Error),
    /// A setting is out of range.
    #[error("{0}")]
    Invalid(String),
}

fn under(prefix: &Prefix) -> String {
    match prefix.as_str() {
        "" => String::new(),
        prefix => format!(" under prefix \"{prefix}\""),
    }
}

impl Deployment {
    /// One node, one partition, strict: what `dev`, demos and tests use.
    pub fn single_node(prefix: Prefix) -> Self {
        Self {
            prefix,
            partitions: 1,
            keyed_partitions: 1,
            durability: Durability::Strict,
            replicas: 1,
            ack_wait: ACK_WAIT,
        }
    }

    /// With this many partitions, all of them keyed.
    #[must_use]
    pub fn with_partitions(self, partitions: u32) -> Self {
        Self {
            partitions,
            keyed_partitions: partitions,
            ..self
        }
    }

    /// With this many partitions in all; keyed starts hash over the same ones as before.
    #[must_use]
    pub fn grown_to(self, partitions: u32) -> Self {
        Self { partitions, ..self }
    }

    /// With this durability.
    #[must_use]
    pub fn with_durability(self, durability: Durability) -> Self {
        Self { durability, ..self }
    }

    /// Kept on this many nodes.
    #[must_use]
    pub fn with_replicas(self, replicas: usize) -> Self {
        Self { replicas, ..self }
    }

    /// With tasks of dead workers delivered again after `ack_wait`. Shorter than a leader pause doubles tasks of workers that live.
    #[must_use]
    pub fn with_ack_wait(self, ack_wait: Duration) -> Self {
        Self { ack_wait, ..self }
    }

    /// Whether creates that wait together are sent as one atomic batch: only where each would cost an fsync of its own.
    pub fn groups_creates(&self) -> bool {
        self.durability == Durability::Strict && self.replicas == 1
    }

    /// Every partition.
    pub fn all_partitions(&self) -> impl Iterator<Item = Partition> + use<> {
        (0..self.partitions).map(Partition)
    }

    /// Every stream but the task queues', which the orchestrators make as they are asked for.
    pub fn streams(&self) -> Vec<StreamSpec> {
        let names = Names::new(self.prefix.clone());
        let mut streams = vec![
            self.bucket(&names, LEASES, "leases, cursors, the deployment record"),
            self.bucket(&names, RUNS, "run summaries"),
            self.bucket(&names, LIMITS, "limits, as operators set them, and who uses them"),
            self.bucket(&names, SESSIONS, "values shared by the runs of a session"),
            self.bucket(&names, TRIGGERS, "what workflows listen to, and where schedules stand"),
            self.event_stream(&names),
            self.trigger_stream(&names),
        ];
        streams.push(self.payload_stream(&names));
        for partition in self.all_partitions() {
            streams.push(self.journal_stream(&names, partition));
            streams.push(self.timer_stream(&names, partition));
        }
        streams
    }

    /// A KV bucket that keeps the last value of each key.
    fn bucket(&self, names: &Names, bucket: &str, what: &str) -> StreamSpec {
        StreamSpec {
            description: format!("Everstep: {what}"),
            max_messages_per_subject: 1,
            discard: Discard::Old,
            allow_atomic: true,
            deny_delete: true,
            ..StreamSpec::new(names.bucket_stream(bucket), [names.bucket_key(bucket, ">")], self.replicas)
        }
    }

    /// Write-once: the first value of a subject stands, whatever a later writer sends.
    fn write_once(&self, name: String, subjects: String, what: &str) -> StreamSpec {
        StreamSpec {
            description: format!("Everstep: {what}"),
            max_messages_per_subject: 1,
            discard: Discard::New,
            discard_new_per_subject: true,
            allow_atomic: true,
            deny_delete: true,
            ..StreamSpec::new(name, [subjects], self.replicas)
        }
    }

    fn journal_stream(&self, names: &Names, partition: Partition) -> StreamSpec {
        let (source, destination) = names.done_rule(partition);
        let what = format!("the journal of partition {partition}");
        StreamSpec {
            republish: Some(Republish {
                source,
                destination,
                headers_only: true,
            }),
            ..self.write_once(names.journal_stream(partition), names.journal_filter(partition), &what)
        }
    }

    fn payload_stream(&self, names: &Names) -> StreamSpec {
        self.write_once(names.payload_stream(), names.payload_filter(), "values over 256 KiB")
    }

    /// What happened elsewhere. Anyone who may publish here may repeat an event, but none can be taken back or replaced.
    fn event_stream(&self, names: &Names) -> StreamSpec {
        StreamSpec {
            description: "Everstep: events, and which of them could not be taken up".into(),
            allow_atomic: true,
            deny_delete: true,
            max_age: Some(EVENT_AGE_MAX),
            ..StreamSpec::new(
                names.event_stream(),
                [
                    names.event_filter(),
                    names.emitted_filter(),
                    names.member_filter(),
                    names.refused_filter(),
                ],
                self.replicas,
            )
        }
    }

    /// As a partition's timers, for what triggers do later.
    fn trigger_stream(&self, names: &Names) -> StreamSpec {
        StreamSpec {
            description: "Everstep: what triggers do later".into(),
            retention: Retention::WorkQueue,
            allow_atomic: true,
            allow_schedules: true,
            ..StreamSpec::new(
                names.trigger_stream(),
                [names.later_filter(), names.due_filter()],
                self.replicas,
            )
        }
    }

    /// The durable consumer of what triggers have to do now; whoever routes pulls.
    pub fn trigger_consumer(&self, names: &Names) -> ConsumerSpec {
        ConsumerSpec {
            name: "router".into(),
            filter: names.due_filter(),
            ack_wait: self.ack_wait,
        }
    }

    /// A work queue that also holds the schedules which fire into it; the consumer's filter leaves those alone.
    fn timer_stream(&self, names: &Names, partition: Partition) -> StreamSpec {
        StreamSpec {
            description: format!("Everstep: the timers of partition {partition}"),
            retention: Retention::WorkQueue,
            allow_atomic: true,
            allow_schedules: true,
            ..StreamSpec::new(
                names.timer_stream(partition),
                [names.timer_schedules(partition), names.timer_fired(partition)],
                self.replicas,
            )
        }
    }

    /// The durable consumer of a partition's fired timers; whoever owns the partition pulls.
    pub fn timer_consumer(&self, names: &Names, partition: Partition) -> ConsumerSpec {
        ConsumerSpec {
            name: "owner".into(),
            filter: names.timer_fired(partition),
            ack_wait: self.ack_wait,
        }
    }

    /// The stream of a task queue: derived data, in memory.
    pub fn task_stream(&self, names: &Names, queue: &QueueName) -> StreamSpec {
        StreamSpec {
            description: format!("Everstep: tasks of queue {queue}; derived from the journal, may be lost"),
            retention: Retention::WorkQueue,
            storage: Storage::Memory,
            max_messages_per_subject: 1,
            max_bytes: TASK_STREAM_BYTES_MAX,
            discard: Discard::New,
            discard_new_per_subject: true,
            ..StreamSpec::new(
                names.task_stream(queue),
                [names.task_filter(queue), names.mark(queue)],
                self.replicas,
            )
        }
    }

    /// The durable consumer that the workers of a queue pull from.
    pub fn task_consumer(&self, names: &Names, queue: &QueueName, mark: &Mark) -> ConsumerSpec {
        ConsumerSpec {
            name: mark.consumer(),
            filter: names.task_filter(queue),
            ack_wait: self.ack_wait,
        }
    }

    /// After how long a delivered task without sign of life is delivered again.
    pub fn task_ack_wait(&self) -> Duration {
        self.ack_wait
    }
}
