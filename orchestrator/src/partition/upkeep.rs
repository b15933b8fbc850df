//! What a partition does beside driving runs. Here is what it remembers for it, and the summaries; the cursor, the task streams and the scans
//! have a file each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use everstep_common::ids::{Partition as PartitionId, QueueName, RunId};
use everstep_common::key::StepKey;
use everstep_common::ports::{Instant, StreamInfo};
use everstep_common::store::PutError;

use super::cursor::{CursorRecord, Newest};
use super::io::{Input, PAUSE_MAX};
use super::scan::Standing;
use super::summary::Pending;
use super::{Partition, queue_check};
use crate::metrics::Gauges;

/// How long summaries are gathered before they are written together.
const SUMMARIES_EVERY: Duration = Duration::from_millis(250);

/// A piece of upkeep that is done.
pub(crate) enum UpkeepDone {
    /// The cursor was written, or not.
    Cursor(CursorRecord, Result<u64, PutError>),
    /// The cursor as it stands after a write was refused, and its revision; nothing if it could not be read.
    CursorFound(Option<(u64, CursorRecord)>),
    /// The summaries that are written, and those that are not.
    Summaries(Vec<Pending>, Vec<Pending>),
    /// The task streams that were found lost, made ready again, and what their workers still run.
    Queues(Vec<queue_check::Lost>),
    /// What workers of lost streams still run.
    StillRunning(QueueName, BTreeSet<(RunId, StepKey)>),
    /// The runs of the partition, or nothing if they could not be listed.
    Scanned(Option<BTreeSet<RunId>>),
    /// What the server holds for the partition, or nothing if it did not answer; looked at from then on.
    Swept(Instant, Option<Standing>),
    /// What was left of a run without a start is gone.
    Buried(RunId),
    /// It stands still.
    NotBuried,
    /// Whether the journal stream was rolled back.
    Checked(Result<Option<String>, String>),
}

/// Why open runs are being read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScanReason {
    /// A new owner makes its picture complete.
    Takeover,
    /// The stream was rolled back.
    Rollback,
    /// Looking for what should not be missing.
    Sweep,
}

/// What was found of a run that has no start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Orphan {
    /// The entry by which the run is exempt from the cursor.
    pub sequence: u64,
    /// Since when it is known.
    pub since: Instant,
}

pub(crate) struct Upkeep {
    /// How things stand, as metrics tell it.
    pub(super) gauges: Gauges,
    /// How old the oldest entry was that was applied since they were last told.
    pub(super) lag: Duration,
    /// Entries up to here may have been acted on by a predecessor.
    pub known_until: u64,
    /// Runs that a predecessor exempted from the cursor and that are still to be read back: they stay exempt meanwhile.
    pub inherited: BTreeSet<RunId>,
    /// Runs of which entries stand and no start.
    pub orphans: BTreeMap<RunId, Orphan>,
    /// Runs that owners died over.
    pub poison: BTreeSet<RunId>,
    /// The newest entry that the feed has brought.
    pub(super) newest: Option<Newest>,
    pub(super) created: Option<jiff::Timestamp>,
    /// The cursor as it stands in the bucket, and its revision.
    pub(super) record: CursorRecord,
    pub(super) revision: u64,
    pub(super) writing: bool,
    /// The last write was not acknowledged: another record may stand there than the one known.
    pub(super) unsure: bool,
    pub(super) next_cursor: Instant,
    /// Eviction rests until then.
    pub(super) next_eviction: Instant,
    next_summaries: Instant,
    flushing: bool,
    pub(super) next_marks: Instant,
    pub(super) checking: bool,
    pub(super) next_sweep: Instant,
    /// Journals of ended runs that are being read once more.
    pub(super) comparing: u32,
    /// Open runs that are still to be read back, and why.
    pub(super) to_load: VecDeque<RunId>,
    /// Those of them that are being read.
    pub(super) reading: BTreeSet<RunId>,
    pub(super) scan: Option<ScanReason>,
    pub(super) listing: bool,
    /// Steps that the last sweep found no task of: what is published for them should have been there.
    pub(super) without_task: BTreeSet<(RunId, StepKey)>,
    /// The last cursor is written.
    pub(super) finished: bool,
}

impl Upkeep {
    pub(crate) fn new(
        partition: PartitionId,
        record: CursorRecord,
        revision: u64,
        info: &StreamInfo,
        poison: BTreeSet<RunId>,
        now: Instant,
    ) -> Self {
        Self {
            gauges: Gauges::new(partition),
            lag: Duration::ZERO,
            known_until: info.last_sequence,
            inherited: record.exempt.clone(),
            orphans: BTreeMap::new(),
            poison,
            newest: record.newest.clone(),
            created: Some(info.created),
            record,
            revision,
            writing: false,
            unsure: false,
            next_cursor: now,
            next_eviction: now,
            next_summaries: now,
            flushing: false,
            next_marks: now,
            checking: false,
            next_sweep: now,
            comparing: 0,
            to_load: VecDeque::new(),
            reading: BTreeSet::new(),
            scan: None,
            listing: false,
            without_task: BTreeSet::new(),
            finished: false,
        }
    }

    /// These runs are read back before any others.
    pub(crate) fn load_first(&mut self, runs: impl IntoIterator<Item = RunId>) {
        self.to_load.extend(runs);
    }

    pub(crate) fn is_poison(&self, run: &RunId) -> bool {
        self.poison.contains(run)
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// How long there is no upkeep to begin. What is under way brings an input when it is done.
    pub(crate) fn pause(&self, now: Instant, has_summaries: bool) -> Duration {
        let due = [
            (!self.writing, self.next_cursor),
            (has_summaries && !self.flushing, self.next_summaries),
            (!self.checking, self.next_marks),
        ];
        let next = due.into_iter().filter_map(|(waits, at)| waits.then_some(at)).min();
        next.map_or(PAUSE_MAX, |next| next.since(now))
    }
}

impl Partition {
    /// Begins whatever upkeep is due.
    pub(super) fn keep_up(&mut self, now: Instant) {
        self.write_cursor(now);
        self.flush_summaries(now);
        if self.stopping {
            return;
        }
        self.load_scanned();
        self.check_queues(now);
        self.calm_down(now);
        self.sweep(now);
    }

    /// Takes in what a piece of upkeep brought.
    pub(super) fn upkept(&mut self, done: UpkeepDone, now: Instant) {
        match done {
            UpkeepDone::Cursor(record, written) => self.cursor_written(record, written),
            UpkeepDone::CursorFound(found) => self.cursor_found(found),
            UpkeepDone::Summaries(written, failed) => self.summaries_written(written, failed),
            UpkeepDone::Queues(lost) => self.queues_checked(lost),
            UpkeepDone::StillRunning(queue, running) => self.still_running(&queue, running),
            UpkeepDone::Scanned(runs) => self.scanned(runs, now),
            UpkeepDone::Swept(since, standing) => self.swept(since, standing),
            UpkeepDone::Buried(run) => self.buried(&run),
            UpkeepDone::NotBuried => {}
            UpkeepDone::Checked(answer) => self.stream_checked(answer),
        }
    }

    pub(super) fn stop(&mut self) {
        self.stopping = true;
    }

    fn flush_summaries(&mut self, now: Instant) {
        if self.summaries.is_empty() || self.upkeep.flushing || now < self.upkeep.next_summaries {
            return;
        }
        self.upkeep.next_summaries = Instant(now.0 + SUMMARIES_EVERY);
        let summaries = self.summaries.take(now, self.stopping);
        if summaries.is_empty() {
            return;
        }
        self.upkeep.flushing = true;
        let (store, author) = (self.store.clone(), self.summaries.author());
        self.io.begin(Box::pin(async move {
            let (written, failed) = author.write(&store, summaries).await;
            Input::Upkeep(UpkeepDone::Summaries(written, failed))
        }));
    }

    fn summaries_written(&mut self, written: Vec<Pending>, failed: Vec<Pending>) {
        self.upkeep.flushing = false;
        for pending in &written {
            self.summaries.written(pending, self.slots.is_live(pending.run()));
        }
        let held = written.into_iter().flat_map(|pending| pending.holds);
        held.for_each(|sequence| self.watermark.release(sequence));
        failed.into_iter().for_each(|pending| self.summaries.put_back(pending));
    }
}
