//! Writing the cursor, and what a partition reports of itself while it does.

use std::time::Duration;

use everstep_common::ports::Instant;
use everstep_common::store::{LEASES, PutError};
use everstep_common::wire;
use jiff::Timestamp;

use super::Partition;
use super::cursor::{CursorRecord, cursor_key};
use super::io::Input;
use super::upkeep::UpkeepDone;
use crate::metrics::Standing;

impl Partition {
    pub(super) fn write_cursor(&mut self, now: Instant) {
        let due = now >= self.upkeep.next_cursor || self.stopping;
        if !due || self.upkeep.writing || self.upkeep.finished {
            return;
        }
        self.upkeep.next_cursor = Instant(now.0 + self.options.cursor_every);
        self.report();
        let (position, mut exempt, scan) = self.watermark.position(now);
        exempt.extend(self.upkeep.inherited.iter().cloned());
        let record = CursorRecord {
            epoch: self.upkeep.record.epoch,
            position,
            exempt,
            scan: scan || !self.knows_all_in_flight(),
            created: self.upkeep.created,
            newest: self.upkeep.newest.clone(),
            marks: self.performer.queues.accounted(),
        };
        if record == self.upkeep.record && !self.upkeep.unsure {
            self.upkeep.finished = self.stopping;
            return;
        }
        self.upkeep.writing = true;
        let (store, partition, revision) = (self.store.clone(), self.id, self.upkeep.revision);
        self.io.begin(Box::pin(async move {
            let written = match wire::encode(&record) {
                Ok(value) => store.put_record(LEASES, &cursor_key(partition), value, revision).await,
                Err(error) => Err(PutError::Rejected(error.to_string())),
            };
            Input::Upkeep(UpkeepDone::Cursor(record, written))
        }));
    }

    pub(super) fn cursor_written(&mut self, record: CursorRecord, written: Result<u64, PutError>) {
        self.upkeep.writing = false;
        self.upkeep.unsure = written.is_err();
        match written {
            Ok(revision) => {
                self.upkeep.revision = revision;
                self.upkeep.record = record;
            }
            Err(PutError::Conflict) => return self.find_cursor(),
            Err(error) => tracing::debug!(partition = %self.id, %error, "cursor not written yet"),
        }
        self.upkeep.finished |= self.stopping;
    }

    /// A refusal is a question: an earlier write of ours may stand whose acknowledgement was lost.
    fn find_cursor(&mut self) {
        self.upkeep.writing = true;
        let (store, partition) = (self.store.clone(), self.id);
        self.io.begin(Box::pin(async move {
            let found = match store.get_record(LEASES, &cursor_key(partition)).await {
                Ok(Some(record)) => wire::decode(&record.value).ok().map(|found| (record.revision, found)),
                Ok(None) | Err(_) => None,
            };
            Input::Upkeep(UpkeepDone::CursorFound(found))
        }));
    }

    /// What stands in the cursor's place after our write was refused.
    pub(super) fn cursor_found(&mut self, found: Option<(u64, CursorRecord)>) {
        self.upkeep.writing = false;
        match found {
            Some((_, record)) if record.epoch > self.upkeep.record.epoch => {
                tracing::warn!(partition = %self.id, "another owner writes the cursor; stopping");
                self.stopping = true;
            }
            Some((revision, record)) if record.epoch == self.upkeep.record.epoch => {
                self.upkeep.revision = revision;
                self.upkeep.record = record;
                self.upkeep.unsure = false;
            }
            // Not answered, or by a leader that is behind: the next write asks again.
            _ => {}
        }
        self.upkeep.finished |= self.stopping;
    }

    /// An entry's turn has come.
    pub(super) fn note_lag(&mut self, stored: Timestamp, now: Instant) {
        if let Some(at) = self.server_clock.at(now) {
            let lag = Duration::try_from(at.duration_since(stored)).unwrap_or_default();
            self.upkeep.lag = self.upkeep.lag.max(lag);
        }
    }

    pub(super) fn report(&mut self) {
        self.upkeep.gauges.report(&Standing {
            live: self.slots.len(),
            in_flight: self.in_flight.len(),
            backlog: self.backlog.len(),
            open: self.watermark.open(),
            lag: std::mem::take(&mut self.upkeep.lag),
        });
    }
}
