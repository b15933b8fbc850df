//! What becomes of runs whose key is taken, where their workflow does not have them just wait.

use std::collections::{BTreeSet, VecDeque};

use everstep_common::flow::WhenBusy;
use everstep_common::ids::RunId;
use everstep_common::journal::{Entry, EntryKey, Inbound, InboundId, InboundKind};

use super::Partition;
use super::effect::{Effect, Performed, Performer};
use super::flow::Busy;

/// Pairs of runs that were dealt with lately; told again they would be told the same.
#[derive(Debug, Default)]
pub(crate) struct LatelyTold {
    known: BTreeSet<(RunId, RunId)>,
    order: VecDeque<(RunId, RunId)>,
}

/// How many pairs are remembered.
const LATELY_MAX: usize = 10_000;

impl LatelyTold {
    /// Whether the pair is new.
    fn insert(&mut self, pair: (RunId, RunId)) -> bool {
        if !self.known.insert(pair.clone()) {
            return false;
        }
        self.order.push_back(pair);
        if self.order.len() > LATELY_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

impl Partition {
    /// What workflows say of runs whose key is taken is done.
    pub(super) fn make_way(&mut self) {
        for Busy { waiting, holder, when } in self.gate.busy() {
            let is_newer = (waiting.started, &waiting.run) > (holder.started, &holder.run);
            if when == WhenBusy::CancelInProgress && is_newer {
                if self.told_to_make_way.insert((holder.run.clone(), waiting.run.clone())) {
                    self.perform(None, cancel(&holder.run, &waiting.run, "takes its place"));
                }
            } else if waiting.run != holder.run && self.told_to_make_way.insert((waiting.run.clone(), holder.run.clone())) {
                // It gets no place while the other one is looked at.
                self.gate.leave(&waiting.run, &waiting.step, None, self.store.clock().now());
                let (run, holder) = (waiting.run, holder.run);
                self.perform(None, Effect::Reject { run, holder });
            }
        }
    }

    /// The run that kept it out has ended, and its place is about to be free.
    pub(super) fn waits_after_all(&mut self, run: &RunId) {
        if self.slots.is_live(run) {
            self.see_to_place(run, &None);
        } else if !self.slots.has_ended(run) && self.slots.parked(run).is_none() {
            self.load_newest(run);
        }
    }
}

impl Performer {
    /// Cancels the run, unless the one at work for its key has ended: the record of a limit says so a little later than the journal.
    pub(super) async fn reject(&self, run: RunId, holder: RunId) -> Performed {
        let end = self.patiently(|| self.store.find_entry(&holder, &EntryKey::End)).await;
        match end {
            Ok(None) => {
                let (key, entry) = word(&holder, "is at work for the same key");
                self.create(run, key, entry).await
            }
            Ok(Some(_)) => Performed::WaitsAfterAll { run },
            Err(reason) => {
                tracing::warn!(%run, %holder, reason, "whether the other run of its key has ended cannot be read; it waits");
                Performed::WaitsAfterAll { run }
            }
        }
    }
}

fn cancel(run: &RunId, because_of: &RunId, what: &str) -> Effect {
    let (key, entry) = word(because_of, what);
    let run = run.clone();
    Effect::Create { run, key, entry }
}

fn word(because_of: &RunId, what: &str) -> (EntryKey, Entry) {
    let id = InboundId::new(&format!("busy-{because_of}")).expect("plain words");
    let entry = Entry::In(Inbound {
        kind: InboundKind::Cancel,
        by: None,
        reason: Some(format!("run {because_of} {what}")),
    });
    (EntryKey::In(id), entry)
}
