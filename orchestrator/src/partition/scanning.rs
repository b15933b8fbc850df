//! Reading a partition's open runs back: after a takeover, after a rollback, and now and then to find what should not be missing.

use everstep_common::ids::RunId;
use everstep_common::ports::{Instant, StreamInfo};

use super::backlog::Backlog;
use super::cursor::Watermark;
use super::inflight::InFlight;
use super::io::Input;
use super::load::LOADS_MAX;
use super::upkeep::{ScanReason, UpkeepDone};
use super::wheel::Wheel;
use super::{Partition, scan};
use crate::metrics::{Found, metrics};

impl Partition {
    /// Reads every open run of the partition back, in the background.
    pub(super) fn scan(&mut self, reason: ScanReason) {
        self.upkeep.scan = Some(reason);
        self.upkeep.listing = true;
        let (store, partition) = (self.store.clone(), self.id);
        self.io.begin(Box::pin(async move {
            let strays = reason == ScanReason::Rollback;
            Input::Upkeep(UpkeepDone::Scanned(scan::open_runs(&store, partition, strays).await))
        }));
    }

    pub(super) fn scanned(&mut self, runs: Option<Vec<RunId>>, now: Instant) {
        self.upkeep.listing = false;
        let Some(runs) = runs else {
            return self.scan(self.upkeep.scan.unwrap_or(ScanReason::Sweep));
        };
        self.upkeep.next_sweep = Instant(now.0 + self.options.sweep_every);
        let sweeping = self.upkeep.is_sweeping();
        for run in runs {
            if sweeping && self.slots.effects(&run) == 0 {
                self.discard(&run);
            }
            self.upkeep.to_load.push_back(run);
        }
    }

    /// Reads back what a scan found, a few at a time, beside the runs that entries ask for.
    pub(super) fn load_scanned(&mut self) {
        while self.slots.loads() < LOADS_MAX {
            let Some(run) = self.upkeep.to_load.pop_front() else { break };
            if !self.slots.has_ended(&run) && !self.slots.is_live(&run) && self.slots.parked(&run).is_none() {
                self.load_newest(&run);
            } else {
                self.upkeep.inherited.remove(&run);
            }
        }
        let complete = self.upkeep.to_load.is_empty() && !self.upkeep.listing && self.slots.loads() == 0;
        if complete
            && self.rederiving == 0
            && let Some(reason) = self.upkeep.scan.take()
        {
            tracing::debug!(partition = %self.id, ?reason, "every open run has been read back");
        }
    }

    /// Takes away what stands of runs without a start, once it has stood for a whole period. A start is stored only into an empty run, so
    /// none can come in between the look and the purge.
    pub(super) fn sweep_orphans(&self, now: Instant) {
        let due = self
            .upkeep
            .orphans
            .iter()
            .filter(|(_, orphan)| now.since(orphan.since) >= self.options.sweep_every);
        for (run, _) in due {
            let (store, run) = (self.store.clone(), run.clone());
            self.io.begin(Box::pin(async move {
                match scan::bury(&store, &run).await {
                    Ok(()) => Input::Upkeep(UpkeepDone::Buried(run)),
                    Err(error) => {
                        tracing::debug!(%run, error, "what is left of a run without a start was not taken away yet");
                        Input::Upkeep(UpkeepDone::NotBuried)
                    }
                }
            }));
        }
    }

    pub(super) fn buried(&mut self, run: &RunId) {
        tracing::warn!(%run, "what was left of a run without a start is taken away");
        metrics().sweep_found(Found::RunWithoutStart);
        self.slots.may_begin(run);
        if let Some(orphan) = self.upkeep.orphans.remove(run) {
            self.watermark.release(orphan.sequence);
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

    /// The stream is not the one that was followed: look what it is, then read it anew.
    pub(super) fn stream_lost(&mut self, how: &str) {
        tracing::error!(partition = %self.id, how, "the journal stream was rolled back or replaced; reading the partition anew");
        metrics().rollbacks.add(1, &[]);
        let (store, partition) = (self.store.clone(), self.id);
        self.io.begin(Box::pin(async move {
            Input::Upkeep(UpkeepDone::Found(scan::stream_info(&store, partition).await))
        }));
    }

    /// Forgets everything, follows the stream from where it ends now, and reads every open run back.
    pub(super) fn begin_anew(&mut self, info: &StreamInfo) {
        self.slots.clear();
        self.backlog = Backlog::default();
        self.wheel = Wheel::default();
        self.in_flight = InFlight::default();
        self.watermark = Watermark::new(info.last_sequence);
        self.upkeep.known_until = info.last_sequence;
        self.upkeep.created = Some(info.created);
        self.upkeep.newest = None;
        self.upkeep.to_load.clear();
        self.upkeep.orphans.clear();
        self.upkeep.inherited.clear();
        self.io.feed = scan::feed(&self.store, self.id, info.last_sequence + 1);
        self.scan(ScanReason::Rollback);
    }
}
