//! The sweep: now and then what the server holds is compared with what it should, and what is missing is derived again. It should find
//! nothing.
//!
//! It looks at subjects only and reads no run that has what it needs. A run that something happened to while it looked is left to the next
//! one.

use std::collections::BTreeSet;

use everstep_common::ids::RunId;
use everstep_common::ports::Instant;
use everstep_common::subject::TimerSort;
use everstep_common::summary::RunStatus;

use super::Partition;
use super::effect::Effect;
use super::io::Input;
use super::lifespan;
use super::scan::{self, Standing};
use super::upkeep::{ScanReason, UpkeepDone};
use super::wheel::WakeUp;
use crate::metrics::{Found, metrics};

impl Partition {
    /// Begins a sweep if one is due and nothing else is being read back.
    pub(super) fn sweep(&mut self, now: Instant) {
        if now < self.upkeep.next_sweep || self.upkeep.scan.is_some() {
            return;
        }
        self.upkeep.next_sweep = Instant(now.0 + self.options.sweep_every);
        self.sweep_orphans(now);
        self.upkeep.scan = Some(ScanReason::Sweep);
        self.upkeep.listing = true;
        let (store, partition, queues) = (self.store.clone(), self.id, self.in_flight.queues());
        self.io.begin(Box::pin(async move {
            let standing = scan::standing(&store, partition, &queues).await;
            Input::Upkeep(UpkeepDone::Swept(now, standing))
        }));
    }

    /// What the server held; `since` is when the look began.
    pub(super) fn swept(&mut self, since: Instant, standing: Option<Standing>) {
        self.upkeep.listing = false;
        // Not answered: the next sweep looks again.
        let Some(standing) = standing else { return };
        self.upkeep.without_task.clear();
        for run in &standing.open {
            if self.is_deficient(run, since, &standing) {
                self.discard(run);
                self.upkeep.to_load.push_back(run.clone());
            }
        }
        for run in standing.unlisted {
            self.list(run);
        }
        // A read proves that there is nothing of them, and then they are taken off the list.
        self.upkeep.to_load.extend(standing.baseless);
        let over = standing.scheduled.into_iter().map(|wake_up| wake_up.run);
        let over: BTreeSet<RunId> = over.filter(|run| !standing.open.contains(run)).collect();
        for run in over {
            self.unschedule_ended(run);
        }
    }

    /// There are schedules of a run that is not listed as open. A listing alone proves nothing, for a leader that was deposed may have made
    /// it: one that is not known to have ended is read.
    fn unschedule_ended(&mut self, run: RunId) {
        if self.slots.has_ended(&run) {
            self.perform(None, Effect::UnscheduleRun { run });
        } else if !self.slots.is_live(&run) && self.slots.parked(&run).is_none() {
            self.upkeep.to_load.push_back(run);
        }
    }

    /// Brings the summary of a run that has none.
    fn list(&mut self, run: RunId) {
        if let Some(parked) = self.slots.parked(&run) {
            let (about, parked) = (parked.about.clone(), parked.clone());
            self.summarise(
                &run,
                &about,
                RunStatus::Parked,
                Some(parked.reason),
                parked.sequence,
                parked.since,
            );
        } else if let Some(live) = self.slots.live(&run) {
            let (about, sequence) = (live.about.clone(), live.run.applied());
            let (status, why, since) = lifespan::status_of(&live.run, about.started);
            self.summarise(&run, &about, status, why, sequence, since);
        } else {
            // If it has ended, the end is read once more.
            self.slots.forget_ended(&run);
            self.upkeep.to_load.push_back(run);
        }
    }

    /// Whether something that an open run waits for is not there.
    fn is_deficient(&mut self, run: &RunId, since: Instant, standing: &Standing) -> bool {
        let is_idle = self.slots.is_idle_since(run, since);
        if self.slots.has_ended(run) || self.slots.parked(run).is_some() || self.slots.is_loading(run) || is_idle == Some(false) {
            return false;
        }
        let steps = self.in_flight.of_run(run).filter(|key| !self.in_flight.is_running(run, key));
        let steps = steps.map(|key| (run.clone(), key.clone()));
        let without_task: Vec<_> = steps.filter(|step| !standing.tasks.contains(step)).collect();
        if !without_task.is_empty() {
            self.upkeep.without_task.extend(without_task);
            return true;
        }
        if is_idle.is_some() {
            let lost = self.wheel.of_run(run).into_iter().any(|(_, wake_up)| {
                // Deadlines of runs in memory are in memory only.
                wake_up.sort != TimerSort::Deadline && !standing.scheduled.contains(&wake_up)
            });
            // The end of a child is told by whoever drives that, and nothing is sent before: read back, the run looks for it.
            if !lost && self.slots.live(run).is_some_and(|live| live.run.has_children()) {
                return true;
            }
            if lost {
                tracing::warn!(%run, "the sweep found a wake-up without a schedule");
                metrics().sweep_found(Found::WakeUpWithoutSchedule);
            }
            return lost;
        }
        // Not in memory: only a schedule, a task, a closure or a place at the gate brings it back.
        let waits = standing
            .scheduled
            .range(WakeUp::first_of(run)..)
            .next()
            .is_some_and(|wake_up| wake_up.run == *run);
        let is_kept = self.closures.has_any(run) || self.gate.holds_back_some_of(run);
        !waits && !is_kept && self.in_flight.of_run(run).next().is_none()
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
        self.slots.forget_ended(run);
        if let Some(orphan) = self.upkeep.orphans.remove(run) {
            self.watermark.release(orphan.sequence);
        }
    }
}
