//! Reading a partition's runs back: after a takeover, and after a rollback.

use std::collections::BTreeSet;
use std::time::Duration;

use everstep_common::ids::RunId;
use everstep_common::ports::Instant;

use super::io::Input;
use super::reads::LOADS_MAX;
use super::scan::Which;
use super::upkeep::{ScanReason, UpkeepDone};
use super::{Partition, scan};

impl Partition {
    /// Reads every open run of the partition back, in the background.
    pub(super) fn scan(&mut self, reason: ScanReason) {
        self.upkeep.scan = Some(reason);
        self.upkeep.listing = true;
        let which = match reason {
            ScanReason::Rollback => Which::All,
            ScanReason::Takeover | ScanReason::Sweep => Which::Open,
        };
        let (store, partition) = (self.store.clone(), self.id);
        self.io.begin(Box::pin(async move {
            Input::Upkeep(UpkeepDone::Scanned(scan::runs(&store, partition, which).await))
        }));
    }

    pub(super) fn scanned(&mut self, runs: Option<BTreeSet<RunId>>, now: Instant) {
        self.upkeep.listing = false;
        match (runs, self.upkeep.scan) {
            (Some(runs), reason) => {
                // After a rollback there are summaries and schedules of runs that are no more.
                let sweeps_at_once = reason == Some(ScanReason::Rollback);
                let pause = if sweeps_at_once {
                    Duration::ZERO
                } else {
                    self.options.sweep_every
                };
                self.upkeep.next_sweep = Instant(now.0 + pause);
                self.upkeep.to_load.extend(runs);
            }
            (None, Some(reason)) => self.scan(reason),
            (None, None) => {}
        }
    }

    /// Reads back what a scan found, a few at a time, beside the runs that entries ask for. However many those are, and they may never
    /// cease, the scan gets on and ends.
    pub(super) fn load_scanned(&mut self) {
        let slots = &self.slots;
        self.upkeep.reading.retain(|run| slots.is_loading(run));
        while self.upkeep.reading.len() < LOADS_MAX {
            let Some(run) = self.upkeep.to_load.pop_front() else { break };
            if !self.slots.has_ended(&run) && !self.slots.is_live(&run) && self.slots.parked(&run).is_none() {
                self.load_newest(&run);
                self.upkeep.reading.insert(run);
            } else {
                self.upkeep.inherited.remove(&run);
            }
        }
        let complete = self.upkeep.to_load.is_empty() && !self.upkeep.listing && self.upkeep.reading.is_empty();
        if complete && let Some(reason) = self.upkeep.scan.take() {
            tracing::debug!(partition = %self.id, ?reason, "every open run has been read back");
        }
    }

    /// After a reconnect nothing that was true of the server need be true still.
    pub(super) fn reconnected(&mut self) {
        self.upkeep.next_marks = self.store.clock().now();
        let (store, partition) = (self.store.clone(), self.id);
        let (created, newest) = (self.upkeep.created, self.upkeep.newest.clone());
        self.io.begin(Box::pin(async move {
            Input::Upkeep(UpkeepDone::Checked(
                scan::rolled_back(&store, partition, created, newest).await,
            ))
        }));
    }

    pub(super) fn stream_checked(&mut self, answer: Result<Option<String>, String>) {
        match answer {
            Ok(None) => {}
            Ok(Some(how)) => self.stream_lost(&how),
            Err(error) => {
                tracing::debug!(partition = %self.id, error, "journal stream not checked yet");
                self.reconnected();
            }
        }
    }

    /// The stream is not the one that was followed. Nothing that memory holds need be true of it, so this owner ends; whoever takes the
    /// partition next reads it anew.
    pub(super) fn stream_lost(&mut self, how: &str) {
        if !self.stopping {
            tracing::error!(partition = %self.id, how, "the journal stream was rolled back or replaced; leaving the partition to be read anew");
            self.stop();
        }
    }
}
