//! What can be set about a worker, and the bounds that cannot.

use std::fmt;
use std::time::Duration;

use everstep_common::ids::{ProcessId, QueueName};
use everstep_common::trace::TraceLinks;
use tokio::runtime::Handle;

/// How long one pull waits for a first task; an empty queue among others gives back its slots no sooner.
pub(crate) const PULL_WAIT: Duration = Duration::from_secs(5);

/// How often a queue's mark is looked at, beside the pulling.
pub(crate) const MARK_PAUSE: Duration = Duration::from_secs(5);

/// After how long subscriptions that have ended are made anew.
pub(crate) const SUBSCRIBE_PAUSE: Duration = Duration::from_secs(1);

/// How many in-progress acknowledgements are sent in one `ack_wait`: two may be lost.
pub(crate) const BEATS_PER_ACK_WAIT: u32 = 3;

/// The least time between two in-progress acknowledgements that a function's own heartbeats cause.
pub(crate) const HEARTBEAT_PAUSE: Duration = Duration::from_secs(1);

/// After how long it is recorded that a function with a timeout has begun, if that is not half its time, so that its owner knows if
/// nobody else does any more. One that is done sooner costs no write.
pub(crate) const ANNOUNCE_AFTER: Duration = Duration::from_secs(1);

/// How often in one heartbeat timeout the owner hears of a function that says enough: several may be lost.
pub(crate) const HEARTBEATS_PER_TIMEOUT: u32 = 5;

/// How long a cancelled function may go on before it is dropped.
pub(crate) const CANCEL_GRACE: Duration = Duration::from_secs(10);

/// After how long a task is offered again whose cancellation was heard but is not in the journal.
pub(crate) const CANCEL_RECHECK: Duration = Duration::from_secs(1);

/// The first and the longest delay before a task is offered again whose function is not registered here.
pub(crate) const UNKNOWN_DELAY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How many unknown functions are told apart in the log.
pub(crate) const UNKNOWN_NAMES_MAX: usize = 1_000;

/// The longest delay between two tries of a write that the server refuses (permissions, a deleted stream): an operator must act.
pub(crate) const REFUSED_DELAY_MAX: Duration = Duration::from_secs(10);

/// How long a stopping worker waits for its last acknowledgements to reach the server.
pub(crate) const FLUSH_WAIT: Duration = Duration::from_secs(1);

/// The most executions at once, however many are asked for: each takes some kilobytes.
pub(crate) const SLOTS_MAX: usize = 100_000;

/// How a worker runs.
#[derive(Clone)]
pub struct Options {
    /// Who it is, in the entries that it writes.
    pub process: ProcessId,
    /// The queues that it serves, sharing its slots.
    pub queues: Vec<QueueName>,
    /// How many executions there are at once. It never pulls more tasks than it has free slots.
    pub slots: usize,
    /// How long running functions may go on after the shutdown.
    pub drain_grace: Duration,
    /// Where functions run. `None`: where the worker runs; then a function that blocks its thread delays heartbeats too.
    pub runtime: Option<Handle>,
    /// Makes the span of a step part of its run's trace; set where OpenTelemetry is known.
    pub trace: TraceLinks,
}

impl Options {
    /// A worker of the default queue: 256 slots, 20 s to drain.
    pub fn new(process: ProcessId) -> Self {
        Self {
            process,
            queues: vec![QueueName::default_queue()],
            slots: 256,
            drain_grace: Duration::from_secs(20),
            runtime: None,
            trace: TraceLinks::default(),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            process,
            queues,
            slots,
            drain_grace,
            ..
        } = self;
        f.debug_struct("Options")
            .field("process", process)
            .field("queues", queues)
            .field("slots", slots)
            .field("drain_grace", drain_grace)
            .finish()
    }
}
