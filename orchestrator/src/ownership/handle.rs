//! What the loop of leases and the partitions' threads say to each other.

use std::collections::BTreeSet;
use std::sync::Arc;

use everstep_common::ids::{Partition, RunId};
use futures::channel::{mpsc, oneshot};
use futures::lock::Mutex;

use super::code::Needed;
use super::tenure::Tenure;

/// What the partitions' threads are told.
#[derive(Debug)]
pub enum Change {
    /// Start driving it.
    Acquired {
        /// Which.
        partition: Partition,
        /// The fence: the lease's revision when it was taken.
        epoch: u64,
        /// What earlier owners left word of.
        omens: Omens,
    },
    /// Somebody else drives it: stop at once.
    Lost {
        /// Which.
        partition: Partition,
    },
    /// Stop driving it, and say so through the answer: it is to be handed over.
    Release {
        /// Which.
        partition: Partition,
        /// To be dropped or sent when it has stopped.
        stopped: oneshot::Sender<Released>,
    },
}

/// What a new owner knows of how earlier ones died.
#[derive(Clone, Debug, Default)]
pub struct Omens {
    /// Runs found under poll when earlier owners died, and how often.
    pub strikes: Vec<(RunId, u32)>,
    /// Owners die soon after they take it: a run is noted in the lease before it is first polled.
    pub cautious: bool,
}

/// A partition has stopped.
#[derive(Debug)]
pub struct Released;

#[derive(Debug)]
pub(super) enum Request {
    /// A partition says something of its lease, which it was given with this epoch.
    Said(Partition, u64, Said),
    Leave,
}

#[derive(Debug)]
pub(super) enum Said {
    /// The run is being polled, or about to be; answered when that stands in the lease, dropped if the lease is lost.
    Polling(RunId, oneshot::Sender<()>),
    /// It came back from its poll.
    Polled(RunId),
    /// What came of the run is no longer to be held against it.
    Forgive(RunId),
    /// Everything open was polled and nobody died: only these runs are still held guilty.
    Calm(BTreeSet<RunId>),
    /// A run waits for code that this process does not have.
    Lacks(Needed),
    /// Nobody drives the partition any more, although nobody asked for that.
    Stopped,
}

/// Talks to the loop.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) requests: mpsc::UnboundedSender<Request>,
    pub(super) leave: mpsc::UnboundedSender<()>,
    /// Held while a run is noted before its first poll: one at a time in the whole process, or an innocent one of another partition would
    /// be found under poll too.
    pub(super) noting: Arc<Mutex<()>>,
}

impl Handle {
    /// The word of the partition that was acquired with this epoch.
    pub fn tenure(&self, partition: Partition, epoch: u64) -> Tenure {
        Tenure::new(self.clone(), partition, epoch)
    }

    /// Hands every partition over and ends the loop.
    pub fn leave(&self) {
        // If the loop is gone it has left.
        let _ = self.requests.unbounded_send(Request::Leave);
        let _ = self.leave.unbounded_send(());
    }
}
