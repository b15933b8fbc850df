//! One partition's word with the loop that holds its lease, as long as it is held.

use std::collections::BTreeSet;

use everstep_common::ids::{Partition, RunId};
use futures::channel::oneshot;
use futures::lock::OwnedMutexGuard;

use super::code::Needed;
use super::handle::{Handle, Request, Said};

/// What a partition tells of itself; once its lease is somebody else's nobody listens.
#[derive(Clone, Debug)]
pub struct Tenure {
    handle: Handle,
    partition: Partition,
    /// The revision with which the lease was taken.
    epoch: u64,
}

/// A run that stands in the lease as being polled, until this is dropped.
#[derive(Debug)]
pub struct Noted {
    tenure: Tenure,
    run: RunId,
    /// Given back after the word that the poll is over was sent.
    _turn: OwnedMutexGuard<()>,
}

impl Tenure {
    pub(super) fn new(handle: Handle, partition: Partition, epoch: u64) -> Self {
        Self {
            handle,
            partition,
            epoch,
        }
    }

    /// Has the run stand in the lease before it is polled: if it takes the process with it, its next owner knows. Waits for other runs of
    /// this process to come back first. Never returns if the lease is lost: then the partition is being stopped.
    pub async fn note(&self, run: RunId) -> Noted {
        let turn = self.handle.noting.clone().lock_owned().await;
        if self.polling(run.clone()).await.is_err() {
            drop(turn);
            return std::future::pending().await;
        }
        Noted {
            tenure: self.clone(),
            run,
            _turn: turn,
        }
    }

    /// The run is being polled; resolves when that stands in the lease.
    pub fn polling(&self, run: RunId) -> oneshot::Receiver<()> {
        let (done, written) = oneshot::channel();
        self.say(Said::Polling(run, done));
        written
    }

    /// The run came back from its poll, or a later death would be laid at its door.
    pub fn polled(&self, run: RunId) {
        self.say(Said::Polled(run));
    }

    /// The run is to be tried anew, or has ended: no strike counts against it any more.
    pub fn forgive(&self, run: RunId) {
        self.say(Said::Forgive(run));
    }

    /// Everything open was polled and nobody died. Only `guilty` keep their strikes, and no earlier death counts.
    pub fn calm(&self, guilty: BTreeSet<RunId>) {
        self.say(Said::Calm(guilty));
    }

    /// A run waits for code that this process does not have.
    pub fn lacks(&self, needed: Needed) {
        self.say(Said::Lacks(needed));
    }

    /// The partition is not driven any more: its lease is handed over, and left to others for a while.
    pub fn stopped(&self) {
        self.say(Said::Stopped);
    }

    fn say(&self, said: Said) {
        // If the loop is gone its leases run out.
        let _ = self
            .handle
            .requests
            .unbounded_send(Request::Said(self.partition, self.epoch, said));
    }
}

impl Noted {
    /// The run.
    pub fn run(&self) -> &RunId {
        &self.run
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.tenure.polled(self.run.clone());
    }
}
