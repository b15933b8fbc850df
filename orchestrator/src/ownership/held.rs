//! A lease that is ours: what is to stand in it, and what its partition has said.

use std::collections::BTreeSet;

use everstep_common::ids::ProcessId;
use everstep_common::ports::Instant;
use futures::channel::oneshot;

use super::code::Needed;
use super::handle::{Released, Said};
use super::record::LeaseRecord;

/// Code that a partition is known to lack; what is beyond is told again by its next owner.
const LACKS_MAX: usize = 64;

/// A lease that is ours.
#[derive(Debug)]
pub(super) struct Held {
    /// The revision it was taken with.
    pub epoch: u64,
    /// The revision that our next write names.
    pub revision: u64,
    /// What is to stand there; each renewal writes it.
    pub record: LeaseRecord,
    /// When it was taken.
    pub taken: Instant,
    /// When it was last written.
    pub renewed: Instant,
    /// Its writes fail, and that has been said.
    pub failing: bool,
    /// It was left to us for our code.
    pub offered: bool,
    /// Answered when the record as it is now stands there.
    pub noted: Vec<oneshot::Sender<()>>,
    /// Code that runs wait for and that we do not have.
    pub lacks: BTreeSet<Needed>,
    /// Set while its thread is asked to stop.
    pub releasing: Option<Releasing>,
}

/// A partition that is being given away.
#[derive(Debug)]
pub(super) struct Releasing {
    /// Resolves when its thread has stopped.
    pub stopped: oneshot::Receiver<Released>,
    /// Whom it is left to, if not to whoever comes first.
    pub to: Option<ProcessId>,
}

impl Held {
    /// Takes in what the partition says; whether that must stand in the lease at once and not only with the next renewal.
    pub(super) fn hear(&mut self, said: Said) -> bool {
        let record = &mut self.record;
        match said {
            Said::Polling(run, noted) => {
                record.polling = Some(run);
                self.noted.push(noted);
                true
            }
            Said::Polled(run) => record.polling.take_if(|polling| *polling == run).is_some(),
            Said::Forgive(run) => {
                let before = record.strikes.len();
                record.strikes.retain(|(struck, _)| *struck != run);
                record.strikes.len() < before
            }
            Said::Calm(guilty) => {
                record.deaths = 0;
                record.strikes.retain(|(struck, _)| guilty.contains(struck));
                false
            }
            Said::Lacks(needed) => {
                if self.lacks.len() < LACKS_MAX {
                    self.lacks.insert(needed);
                }
                false
            }
            Said::Stopped => {
                // The other end is dropped here: there is nothing to wait for.
                let stopped = oneshot::channel().1;
                self.releasing = Some(Releasing { stopped, to: None });
                false
            }
        }
    }
}
