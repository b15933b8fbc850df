//! What a partition does beside driving runs: cursor, marks, summaries, scans.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use everstep_common::ids::{Partition as PartitionId, QueueName, RunId};
use everstep_common::key::StepKey;
use everstep_common::ports::{Instant, Message, StreamInfo};
use everstep_common::store::{LEASES, PutError};
use everstep_common::wire;
use opentelemetry::KeyValue;

use super::backlog::Backlog;
use super::cursor::{CursorRecord, Newest, Watermark, cursor_key};
use super::inflight::InFlight;
use super::io::{Input, PAUSE_MAX};
use super::load::LOADS_MAX;
use super::summary::Pending;
use super::wheel::Wheel;
use super::{Partition, queue_check, scan, summary};
use crate::metrics::metrics;

/// How long summaries are gathered before they are written together.
const SUMMARIES_EVERY: Duration = Duration::from_millis(250);

/// A piece of upkeep that is done.
pub(crate) enum UpkeepDone {
    /// The cursor was written, or not.
    Cursor(CursorRecord, Result<u64, PutError>),
    /// The summaries that are written, and those that are not.
    Summaries(Vec<Pending>, Vec<Pending>),
    /// The task streams that were found lost, made ready again, and what their workers still run.
    Queues(Vec<queue_check::Lost>),
    /// What workers of lost streams still run.
    StillRunning(QueueName, BTreeSet<(RunId, StepKey)>),
    /// The open runs of the partition, or nothing if they could not be listed.
    Scanned(Option<Vec<RunId>>),
    /// Whether the journal stream was rolled back.
    Checked(Result<Option<String>, String>),
    /// The stream as it is found after it was lost.
    Found(StreamInfo),
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

pub(crate) struct Upkeep {
    /// The partition, as metrics name it.
    pub labels: [KeyValue; 1],
    /// Entries up to here may have been acted on by a predecessor.
    pub known_until: u64,
    /// Runs that owners died over.
    pub poison: BTreeSet<RunId>,
    newest: Option<Newest>,
    created: Option<jiff::Timestamp>,
    /// The cursor as it stands in the bucket, and its revision.
    pub(super) record: CursorRecord,
    pub(super) revision: u64,
    writing: bool,
    next_cursor: Instant,
    next_summaries: Instant,
    flushing: bool,
    next_marks: Instant,
    checking: bool,
    next_sweep: Instant,
    /// Open runs that are still to be read back, and why.
    to_load: VecDeque<RunId>,
    scan: Option<ScanReason>,
    listing: bool,
    /// Marks under which everything in flight is known to be published.
    published_under: BTreeMap<QueueName, String>,
    /// The last cursor is written.
    finished: bool,
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
            labels: [KeyValue::new("partition", i64::from(partition.0))],
            known_until: info.last_sequence,
            poison,
            newest: record.newest.clone(),
            created: Some(info.created),
            published_under: record.marks.clone(),
            record,
            revision,
            writing: false,
            next_cursor: now,
            next_summaries: now,
            flushing: false,
            next_marks: now,
            checking: false,
            next_sweep: now,
            to_load: VecDeque::new(),
            scan: None,
            listing: false,
            finished: false,
        }
    }

    /// These runs are read back before any others.
    pub(crate) fn load_first(&mut self, runs: impl IntoIterator<Item = RunId>) {
        self.to_load.extend(runs);
    }

    /// An entry has come by the feed.
    pub(crate) fn newest(&mut self, message: &Message) {
        self.newest = Some(Newest {
            sequence: message.sequence,
            time: message.time,
            subject: message.subject.clone(),
        });
    }

    pub(crate) fn is_poison(&self, run: &RunId) -> bool {
        self.poison.contains(run)
    }

    /// Whether what is published for the run now should have been there.
    pub(crate) fn is_sweeping(&self) -> bool {
        self.scan == Some(ScanReason::Sweep)
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
        if now >= self.upkeep.next_sweep && self.upkeep.scan.is_none() {
            self.scan(ScanReason::Sweep);
        }
    }

    /// Takes in what a piece of upkeep brought.
    pub(super) fn upkept(&mut self, done: UpkeepDone, now: Instant) {
        match done {
            UpkeepDone::Cursor(record, written) => self.cursor_written(record, written),
            UpkeepDone::Summaries(written, failed) => self.summaries_written(written, failed),
            UpkeepDone::Queues(lost) => self.queues_checked(lost),
            UpkeepDone::StillRunning(queue, running) => self.still_running(&queue, running),
            UpkeepDone::Scanned(runs) => self.scanned(runs, now),
            UpkeepDone::Checked(answer) => self.stream_checked(answer),
            UpkeepDone::Found(info) => self.begin_anew(&info),
        }
    }

    // --- cursor ---

    fn write_cursor(&mut self, now: Instant) {
        let due = now >= self.upkeep.next_cursor || self.stopping;
        if !due || self.upkeep.writing || self.upkeep.finished {
            return;
        }
        self.upkeep.next_cursor = Instant(now.0 + self.options.cursor_every);
        self.report();
        let (position, exempt, scan) = self.watermark.position(now);
        let record = CursorRecord {
            epoch: self.upkeep.record.epoch,
            position,
            exempt,
            scan: scan || self.upkeep.scan.is_some_and(|reason| reason != ScanReason::Sweep),
            created: self.upkeep.created,
            newest: self.upkeep.newest.clone(),
            marks: self.upkeep.published_under.clone(),
        };
        if record == self.upkeep.record {
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

    fn cursor_written(&mut self, record: CursorRecord, written: Result<u64, PutError>) {
        self.upkeep.writing = false;
        match written {
            Ok(revision) => {
                self.upkeep.revision = revision;
                self.upkeep.record = record;
            }
            Err(PutError::Conflict) => {
                tracing::warn!(partition = %self.id, "another owner writes the cursor; stopping");
                self.upkeep.finished = true;
                self.stopping = true;
            }
            Err(error) => tracing::debug!(partition = %self.id, %error, "cursor not written yet"),
        }
        self.upkeep.finished |= self.stopping;
    }

    fn report(&self) {
        let labels = &self.upkeep.labels;
        metrics().live.record(self.slots.len() as u64, labels);
        metrics().in_flight.record(self.in_flight.len() as u64, labels);
        metrics().backlog.record(self.backlog.len() as u64, labels);
        metrics().lag.record(self.watermark.open() as u64, labels);
    }

    pub(super) fn stop(&mut self) {
        self.stopping = true;
    }

    // --- summaries ---

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
        let store = self.store.clone();
        self.io.begin(Box::pin(async move {
            let (written, failed) = summary::write(&store, summaries).await;
            Input::Upkeep(UpkeepDone::Summaries(written, failed))
        }));
    }

    fn summaries_written(&mut self, written: Vec<Pending>, failed: Vec<Pending>) {
        self.upkeep.flushing = false;
        written.iter().for_each(|pending| self.summaries.written(pending));
        let held = written.into_iter().flat_map(|pending| pending.holds);
        held.for_each(|sequence| self.watermark.release(sequence));
        failed.into_iter().for_each(|pending| self.summaries.put_back(pending));
    }

    // --- task streams ---

    fn check_queues(&mut self, now: Instant) {
        if now < self.upkeep.next_marks || self.upkeep.checking {
            return;
        }
        self.upkeep.next_marks = Instant(now.0 + self.options.marks_every);
        self.upkeep.checking = true;
        let (performer, known) = (self.performer.clone(), self.queues_known());
        self.io.begin(Box::pin(async move {
            Input::Upkeep(UpkeepDone::Queues(queue_check::check(&performer, known).await))
        }));
        for queue in self.in_flight.queues_running() {
            let store = self.store.clone();
            self.io.begin(Box::pin(async move {
                let running = queue_check::ask_running(&store, &queue).await;
                Input::Upkeep(UpkeepDone::StillRunning(queue, running))
            }));
        }
    }

    /// Every queue with something in flight, and the mark it was published under.
    fn queues_known(&self) -> BTreeMap<QueueName, Option<String>> {
        let marks = self.performer.queues.marks();
        let mut known: BTreeMap<_, _> = self
            .upkeep
            .published_under
            .iter()
            .map(|(queue, mark)| (queue.clone(), Some(mark.clone())))
            .collect();
        known.extend(marks.into_iter().map(|(queue, mark)| (queue, Some(mark))));
        for queue in self.in_flight.queues() {
            known.entry(queue).or_insert(None);
        }
        known
    }

    fn queues_checked(&mut self, lost: Vec<queue_check::Lost>) {
        self.upkeep.checking = false;
        for lost in lost {
            tracing::warn!(queue = %lost.queue, "task stream was lost; publishing what is in flight anew");
            metrics().wiped.add(1, &[]);
            self.in_flight.still_running(&lost.queue, lost.running);
            self.republish(&lost.queue);
        }
    }

    fn still_running(&mut self, queue: &QueueName, running: BTreeSet<(RunId, StepKey)>) {
        let before = self.in_flight.running(queue);
        self.in_flight.still_running(queue, running);
        let stopped = before
            .into_iter()
            .filter(|(run, key)| !self.in_flight.is_running(run, key) && self.in_flight.contains(run, key));
        let runs: BTreeSet<RunId> = stopped.map(|(run, _)| run).collect();
        self.reload(runs);
    }

    /// Reading a run back asks for everything open again.
    fn republish(&mut self, queue: &QueueName) {
        let runs = self.in_flight.runs_in(queue);
        self.reload(runs);
    }

    fn reload(&mut self, runs: impl IntoIterator<Item = RunId>) {
        for run in runs {
            self.discard(&run);
            self.upkeep.to_load.push_back(run);
        }
    }

    // --- scans ---

    /// Reads every open run of the partition back, in the background.
    pub(super) fn scan(&mut self, reason: ScanReason) {
        self.upkeep.scan = Some(reason);
        self.upkeep.listing = true;
        let (store, partition) = (self.store.clone(), self.id);
        self.io.begin(Box::pin(async move {
            Input::Upkeep(UpkeepDone::Scanned(scan::open_runs(&store, partition).await))
        }));
    }

    fn scanned(&mut self, runs: Option<Vec<RunId>>, now: Instant) {
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
    fn load_scanned(&mut self) {
        while self.slots.loads() < LOADS_MAX {
            let Some(run) = self.upkeep.to_load.pop_front() else { break };
            if !self.slots.has_ended(&run) && !self.slots.is_live(&run) && self.slots.parked(&run).is_none() {
                self.load_newest(&run);
            }
        }
        let complete = self.upkeep.to_load.is_empty() && !self.upkeep.listing && self.slots.loads() == 0;
        if complete && self.rederiving == 0 {
            if let Some(reason) = self.upkeep.scan.take() {
                tracing::debug!(partition = %self.id, ?reason, "every open run has been read back");
            }
            self.upkeep.published_under = self.performer.queues.marks();
        }
    }

    // --- the stream itself ---

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

    fn stream_checked(&mut self, answer: Result<Option<String>, String>) {
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
    fn begin_anew(&mut self, info: &StreamInfo) {
        self.slots.clear();
        self.backlog = Backlog::default();
        self.wheel = Wheel::default();
        self.in_flight = InFlight::default();
        self.watermark = Watermark::new(info.last_sequence);
        self.upkeep.known_until = info.last_sequence;
        self.upkeep.created = Some(info.created);
        self.upkeep.newest = None;
        self.upkeep.to_load.clear();
        self.io.feed = scan::feed(&self.store, self.id, info.last_sequence + 1);
        self.scan(ScanReason::Rollback);
    }
}
