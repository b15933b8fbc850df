//! Runs that stand still: why, how they are seen, and what moves them again.

use std::sync::Arc;

use bytes::Bytes;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::ids::RunId;
use everstep_common::journal::{Entry, InboundKind, JournalEntry, Start};
use everstep_common::summary::RunStatus;
use everstep_core::{Limits, Parked, Run, RunEnd, pinned_version};
use jiff::Timestamp;

use super::Partition;
use super::backlog::Arrived;
use super::effect::Effect;
use super::slots::{About, ParkedRun};
use crate::metrics::metrics;

impl Partition {
    /// A parked run takes no entry in: they stand in the journal for when it goes on. Only a word from outside moves it.
    pub(super) fn drive_parked(&mut self, run: RunId, arrived: Arrived) {
        let sequence = arrived.sequence;
        // What it ends is over for whoever looks after the run, whenever that goes on.
        self.settle(&run, &arrived.key, self.store.clock().now());
        let inbound = match Entry::decode(&arrived.key, &arrived.payload) {
            Ok(Entry::In(inbound)) => inbound,
            Ok(Entry::End(ended)) => {
                self.parked_run_ended(&run, ended.outcome, sequence, arrived.time);
                return self.watermark.release(sequence);
            }
            Ok(Entry::Timer(_)) => return self.parked_run_struck(&run, &arrived.key, sequence),
            _ => return self.watermark.release(sequence),
        };
        let parked = self.slots.parked(&run);
        let (seen, lacks_code) = parked.map_or((false, false), |parked| (parked.sequence >= sequence, parked.lacks_code));
        match inbound.kind {
            // The replay that parked it has seen this word already.
            InboundKind::Resume { .. } if seen => self.watermark.release(sequence),
            // Where its code is, it may be cleaning up by now; the word is kept for when that goes on.
            InboundKind::Cancel if seen && lacks_code => self.watermark.release(sequence),
            // It stands in the journal for when the run goes on.
            InboundKind::Signal { .. }
            | InboundKind::Update { .. }
            | InboundKind::Event { .. }
            | InboundKind::Answer { .. }
            | InboundKind::Withdrawn { .. } => self.watermark.release(sequence),
            InboundKind::Cancel | InboundKind::Terminate => {
                // Nothing else brings the word again, so a successor must find it where the feed begins.
                self.watermark.pin(sequence);
                let reason = inbound.reason.unwrap_or_default();
                let outcome = match inbound.kind {
                    InboundKind::Terminate => RunEnd::Terminated(Failure::new(FailureKind::Terminated, reason)),
                    _ => RunEnd::Cancelled(Failure::new(FailureKind::Cancelled, reason)),
                };
                self.perform(Some((run.clone(), sequence)), Effect::End { run, outcome });
                self.watermark.release(sequence);
            }
            InboundKind::Resume { .. } => {
                drop(self.forget_parked(&run));
                self.forgive(&run);
                self.backlog.push_back(&run, arrived);
                self.load_for(&run, sequence);
            }
        }
    }

    pub(super) fn forget_parked(&mut self, run: &RunId) -> Option<ParkedRun> {
        let parked = self.slots.unpark(run)?;
        self.watermark.release(parked.sequence);
        Some(parked)
    }

    /// A run with its code, or why it cannot be driven. It is pinned to the version it was started with; without one, to that which its
    /// journal says, or else to the newest that is here.
    pub(super) fn begin_run(
        &mut self,
        run: &RunId,
        start: &Start,
        started: Timestamp,
        known_until: u64,
        journal: &[(JournalEntry, Option<Bytes>)],
    ) -> (Result<Run, Parked>, Arc<About>) {
        let pinned = start
            .version
            .or_else(|| journal.iter().find_map(|(entry, _)| pinned_version(entry)));
        let definition = self.workflows.find(&start.workflow, pinned);
        let version = definition.as_ref().map(|definition| definition.version).or(pinned);
        let mut about = About::new(start, version, started);
        about.traceparent = about.traceparent.or_else(|| self.performer.trace.root(run));
        let about = Arc::new(about);
        let begun = match definition {
            _ if self.upkeep.is_poison(run) => Err(Parked::Poison),
            Some(definition) => {
                let mut code = Run::new(run.clone(), definition, Limits::default(), known_until);
                journal.iter().for_each(|(entry, _)| code.foresee(entry));
                if start.version.is_none() {
                    code.pin_version();
                }
                Ok(code)
            }
            None => Err(Parked::NoCode {
                workflow: start.workflow.clone(),
                version: pinned,
                known: self.workflows.versions(&start.workflow),
            }),
        };
        (begun, about)
    }

    /// The run cannot go on with the code that is here, or the code did what it must not.
    pub(super) fn park(&mut self, run: &RunId, sequence: u64, parked: &Parked, about: Arc<About>, cancelling: bool) {
        tracing::warn!(%run, workflow = %about.workflow, reason = %parked, "run parked");
        self.say_what_is_lacking(parked);
        self.stand_still(run, sequence, parked.to_string(), about, cancelling);
        if let (Parked::NoCode { .. }, Some(run)) = (parked, self.slots.parked_mut(run)) {
            run.lacks_code = true;
        }
    }

    /// An entry of the run, or its value, cannot be read by this build. A run that is not in memory is read back: that tells what is known of it.
    pub(super) fn unreadable(&mut self, run: &RunId, error: &dyn std::error::Error) {
        match self.slots.live(run) {
            None => self.load_newest(run),
            Some(live) => {
                let (sequence, about) = (live.run.applied(), live.about.clone());
                self.park_unreadable(run, sequence, error, about);
            }
        }
    }

    pub(super) fn park_unreadable(&mut self, run: &RunId, sequence: u64, error: &dyn std::error::Error, about: Arc<About>) {
        let source = super::queues::error_source(error);
        let reason = format!("its journal cannot be read by this build: {error}: {source}");
        tracing::error!(%run, workflow = %about.workflow, reason, "run parked");
        self.stand_still(run, sequence, reason, about, false);
    }

    /// The run stands still from here on, exempt from the cursor, until someone acts.
    fn stand_still(&mut self, run: &RunId, sequence: u64, mut reason: String, about: Arc<About>, cancelling: bool) {
        metrics().parked.add(1, &[]);
        if cancelling {
            reason.push_str("; it was asked to cancel: cancel it again to end it as it stands");
        }
        self.discard(run);
        let now = self.store.clock().now();
        self.gate.stop_waiting(run, now);
        let since = self.server_clock.at(now).unwrap_or(about.started);
        self.watermark.park(sequence, run, now);
        let parked = ParkedRun {
            sequence,
            about: about.clone(),
            reason: reason.clone(),
            since,
            lacks_code: false,
        };
        if let Some(before) = self.slots.park(run.clone(), parked) {
            self.watermark.release(before.sequence);
        }
        self.summarise(run, &about, RunStatus::Parked, Some(reason), sequence, since);
    }

    /// Drops a run from memory together with what only memory held for it.
    pub(super) fn discard(&mut self, run: &RunId) {
        drop(self.slots.remove(run));
        self.wheel.disarm_run(run);
        self.summaries.forget(run);
    }

    /// What the run asked for cannot be done as things are: it stands still, visibly, until an operator has mended that.
    pub(super) fn refused(&mut self, run: &RunId, reason: &str) {
        tracing::error!(%run, reason, "an effect is refused");
        if run.partition() != self.id {
            // A word to a run that somebody else drives.
            return;
        }
        self.closures.forget_brought(run);
        if let Some(live) = self.slots.live(run) {
            let (sequence, about, cancelling) = (live.run.applied(), live.about.clone(), live.run.is_cancelling());
            let reason = format!("refused by the server: {reason}");
            self.stand_still(run, sequence, reason, about, cancelling);
        } else if !self.slots.has_ended(run) && self.slots.parked(run).is_none() {
            // Dropped from memory meanwhile: read back it asks for the same again, and stands still over it.
            self.load_newest(run);
        }
    }
}
