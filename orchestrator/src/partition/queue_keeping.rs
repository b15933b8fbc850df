//! Keeping an eye on the task streams: the server may forget them, and then everything in flight is published anew.

use std::collections::{BTreeMap, BTreeSet};

use everstep_common::ids::{QueueName, RunId};
use everstep_common::key::StepKey;
use everstep_common::ports::Instant;

use super::io::Input;
use super::upkeep::{ScanReason, UpkeepDone};
use super::{Partition, queue_check};
use crate::metrics::metrics;

impl Partition {
    pub(super) fn check_queues(&mut self, now: Instant) {
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
    pub(super) fn queues_known(&self) -> BTreeMap<QueueName, Option<String>> {
        let accounted = self.performer.queues.accounted();
        let mut known: BTreeMap<_, _> = accounted.into_iter().map(|(queue, mark)| (queue, Some(mark))).collect();
        for queue in self.in_flight.queues() {
            known.entry(queue).or_insert(None);
        }
        known
    }

    pub(super) fn queues_checked(&mut self, lost: Vec<queue_check::Lost>) {
        self.upkeep.checking = false;
        for lost in lost {
            tracing::warn!(queue = %lost.queue, "task stream was lost; publishing what is in flight anew");
            metrics().wiped.add(1, &[]);
            self.in_flight
                .still_running(&lost.queue, lost.running, self.knows_all_in_flight());
            self.republish(&lost.queue);
            self.performer.queues.account(&lost.queue);
        }
    }

    pub(super) fn still_running(&mut self, queue: &QueueName, running: BTreeSet<(RunId, StepKey)>) {
        let before = self.in_flight.running(queue);
        self.in_flight.still_running(queue, running, self.knows_all_in_flight());
        let stopped = before
            .into_iter()
            .filter(|(run, key)| !self.in_flight.is_running(run, key) && self.in_flight.contains(run, key));
        let runs: BTreeSet<RunId> = stopped.map(|(run, _)| run).collect();
        self.reload(runs);
    }

    /// Whether every open run has been read back since the take-over.
    pub(super) fn knows_all_in_flight(&self) -> bool {
        self.upkeep.scan.is_none_or(|reason| reason == ScanReason::Sweep)
    }

    /// Reading a run back asks for everything open again.
    pub(super) fn republish(&mut self, queue: &QueueName) {
        let runs = self.in_flight.runs_in(queue);
        self.reload(runs);
    }

    pub(super) fn reload(&mut self, runs: impl IntoIterator<Item = RunId>) {
        for run in runs {
            self.discard(&run);
            self.upkeep.to_load.push_back(run);
        }
    }
}
