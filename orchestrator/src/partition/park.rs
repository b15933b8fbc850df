//! Runs that stand still: why, how they are seen, and what moves them again.

use everstep_common::failure::{Failure, FailureKind};
use everstep_common::ids::RunId;
use everstep_common::journal::{Entry, InboundKind, Start};
use everstep_common::summary::RunStatus;
use everstep_core::{Limits, Parked, Run, RunEnd};
use jiff::Timestamp;

use super::Partition;
use super::backlog::Arrived;
use super::effect::Effect;
use super::slots::{About, ParkedRun};
use crate::metrics::metrics;

impl Partition {
    /// A parked run takes no entry in: they stand in the journal for when it goes on. Only a word from outside moves it.
    pub(super) fn drive_parked(&mut self, run: RunId, arrived: Arrived) {
        let sequence = arrived.message.sequence;
        let inbound = match Entry::decode(&arrived.key, &arrived.message.payload) {
            Ok(Entry::In(inbound)) => inbound,
            Ok(Entry::End(ended)) => {
                self.parked_run_ended(&run, ended.outcome, sequence, arrived.message.time);
                return self.watermark.release(sequence);
            }
            _ => return self.watermark.release(sequence),
        };
        match inbound.kind {
            InboundKind::Cancel => {
                let failure = Failure::new(FailureKind::Cancelled, inbound.reason.unwrap_or_default());
                self.perform(
                    Some((run.clone(), sequence)),
                    Effect::End {
                        run,
                        outcome: RunEnd::Cancelled(failure),
                    },
                );
                self.watermark.release(sequence);
            }
            // The replay that parked it has seen this word already.
            InboundKind::Resume { .. } if self.slots.parked(&run).is_some_and(|parked| parked.sequence >= sequence) => {
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

    /// A run with its code, or why it cannot be driven.
    pub(super) fn begin_run(
        &mut self,
        run: &RunId,
        start: &Start,
        started: Timestamp,
        known_until: u64,
    ) -> Result<(Run, About), Box<(Parked, About)>> {
        let definition = self.workflows.find(&start.workflow, start.version);
        let version = definition
            .as_ref()
            .map_or(start.version.unwrap_or(0), |definition| definition.version);
        let about = About {
            start: Box::new(start.clone()),
            version,
            started,
        };
        if self.upkeep.is_poison(run) {
            return Err(Box::new((Parked::Poison, about)));
        }
        match definition {
            Some(definition) => Ok((Run::new(run.clone(), definition, Limits::default(), known_until), about)),
            None => Err(Box::new((
                Parked::NoCode {
                    workflow: start.workflow.clone(),
                    version: start.version,
                },
                about,
            ))),
        }
    }

    /// The run stands still from here on, exempt from the cursor, until someone acts.
    pub(super) fn park(&mut self, run: &RunId, sequence: u64, parked: &Parked, about: &About) {
        tracing::warn!(%run, workflow = %about.start.workflow, reason = %parked, "run parked");
        self.say_what_is_lacking(parked);
        metrics().parked.add(1, &[]);
        self.discard(run);
        self.hold_parked(run, sequence, Some(about.clone()));
        let since = self.server_clock.at(self.store.clock().now()).unwrap_or(about.started);
        self.summarise(run, about, RunStatus::Parked, Some(parked.to_string()), sequence, since);
    }

    pub(super) fn park_unreadable(&mut self, run: &RunId, sequence: u64, error: &dyn std::error::Error) {
        let source = super::queues::error_source(error);
        self.park_because(
            run,
            sequence,
            format!("its journal cannot be read by this build: {error}: {source}"),
        );
    }

    /// Parks a run for a reason that is not the core's.
    pub(super) fn park_because(&mut self, run: &RunId, sequence: u64, reason: String) {
        tracing::error!(%run, reason, "run parked");
        metrics().parked.add(1, &[]);
        let about = self.slots.live(run).map(|live| live.about.clone());
        self.discard(run);
        self.hold_parked(run, sequence, about.clone());
        if let Some(about) = about {
            let since = self.server_clock.at(self.store.clock().now()).unwrap_or(about.started);
            self.summarise(run, &about, RunStatus::Parked, Some(reason), sequence, since);
        }
    }

    pub(super) fn hold_parked(&mut self, run: &RunId, sequence: u64, about: Option<About>) {
        let now = self.store.clock().now();
        self.watermark.park(sequence, run, now);
        if let Some(before) = self.slots.park(run.clone(), ParkedRun { sequence, about }) {
            self.watermark.release(before.sequence);
        }
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
        self.closures.forget_brought(run);
        if let Some(live) = self.slots.live(run) {
            let sequence = live.run.applied();
            self.park_because(run, sequence, format!("refused by the server: {reason}"));
        }
    }
}
