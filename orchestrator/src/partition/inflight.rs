//! What is in flight in the partition: every step whose task was published and whose outcome has not come.
//!
//! Compact, and kept for runs dropped from memory too: when the server forgets a task stream, this is what is published again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use everstep_common::ids::{QueueName, RunId};
use everstep_common::key::StepKey;

use super::small_map::SmallMap;

#[derive(Debug, Default)]
pub(crate) struct InFlight {
    steps: HashMap<RunId, SmallMap<StepKey, InFlightStep>>,
    /// How many steps.
    count: usize,
    /// Steps whose task is lost and which a worker still runs: they are not published as long as it says so.
    running: BTreeMap<QueueName, BTreeSet<(RunId, StepKey)>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InFlightStep {
    /// Where its task is.
    pub queue: QueueName,
    /// The newest attempt published.
    pub attempt: u32,
}

impl InFlight {
    /// A task is being published.
    pub(crate) fn dispatched(&mut self, run: &RunId, key: &StepKey, queue: &QueueName, attempt: u32) {
        let step = InFlightStep {
            queue: queue.clone(),
            attempt,
        };
        let of_run = self.steps.entry(run.clone()).or_default();
        self.count += usize::from(of_run.insert(key.clone(), step).is_none());
    }

    /// The step is over.
    pub(crate) fn ended(&mut self, run: &RunId, key: &StepKey) {
        if !self.running.is_empty() {
            self.stopped(run, key);
        }
        let Some(of_run) = self.steps.get_mut(run) else { return };
        self.count -= usize::from(of_run.remove(key).is_some());
        if of_run.is_empty() {
            self.steps.remove(run);
        }
    }

    fn stopped(&mut self, run: &RunId, key: &StepKey) {
        let id = (run.clone(), key.clone());
        self.running.retain(|_, running| {
            running.remove(&id);
            !running.is_empty()
        });
    }

    /// The run is over; what was in flight for it.
    pub(crate) fn run_ended(&mut self, run: &RunId) -> SmallMap<StepKey, InFlightStep> {
        let of_run = self.steps.remove(run).unwrap_or_default();
        self.count -= of_run.len();
        of_run.iter().for_each(|(key, _)| self.stopped(run, key));
        of_run
    }

    /// What is in flight for a run.
    pub(crate) fn of_run(&self, run: &RunId) -> impl Iterator<Item = &StepKey> {
        self.steps
            .get(run)
            .into_iter()
            .flat_map(|of_run| of_run.iter().map(|(key, _)| key))
    }

    /// The runs that have something in flight in a queue.
    pub(crate) fn runs_in(&self, queue: &QueueName) -> BTreeSet<RunId> {
        let in_queue = |steps: &SmallMap<_, InFlightStep>| steps.iter().any(|(_, step)| step.queue == *queue);
        let runs = self.steps.iter().filter(|(_, steps)| in_queue(steps));
        runs.map(|(run, _)| run.clone()).collect()
    }

    /// The queues that anything is in flight in.
    pub(crate) fn queues(&self) -> BTreeSet<QueueName> {
        let steps = self.steps.values().flat_map(SmallMap::iter);
        let mut queues = BTreeSet::new();
        for (_, step) in steps {
            if !queues.contains(&step.queue) {
                queues.insert(step.queue.clone());
            }
        }
        queues
    }

    /// The workers of a queue whose stream was lost still run these. Once all that is in flight is known the others are of no concern.
    pub(crate) fn still_running(&mut self, queue: &QueueName, mut running: BTreeSet<(RunId, StepKey)>, is_complete: bool) {
        if is_complete {
            running.retain(|(run, key)| self.contains(run, key));
        }
        if running.is_empty() {
            drop(self.running.remove(queue));
        } else {
            drop(self.running.insert(queue.clone(), running));
        }
    }

    /// Whether a worker still runs a step whose task is lost.
    pub(crate) fn is_running(&self, run: &RunId, key: &StepKey) -> bool {
        let id = (run.clone(), key.clone());
        !self.running.is_empty() && self.running.values().any(|running| running.contains(&id))
    }

    /// The steps of a queue that run without a task.
    pub(crate) fn running(&self, queue: &QueueName) -> BTreeSet<(RunId, StepKey)> {
        self.running.get(queue).cloned().unwrap_or_default()
    }

    /// Whether the step is in flight.
    pub(crate) fn contains(&self, run: &RunId, key: &StepKey) -> bool {
        self.steps.get(run).is_some_and(|of_run| of_run.contains(key))
    }

    /// The queues some of whose steps run without a task.
    pub(crate) fn queues_running(&self) -> Vec<QueueName> {
        self.running.keys().cloned().collect()
    }

    /// How many steps.
    pub(crate) fn len(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_workers_still_run_is_kept_until_all_that_is_in_flight_is_known() {
        let run: RunId = format!("0-{:032x}", 1).parse().unwrap();
        let (queue, step) = (QueueName::default_queue(), StepKey::from_path("a"));
        let running = BTreeSet::from([(run.clone(), step.clone())]);
        let mut in_flight = InFlight::default();
        in_flight.still_running(&queue, running.clone(), false);
        assert!(in_flight.is_running(&run, &step), "its run is yet to be read back");
        in_flight.still_running(&queue, running.clone(), true);
        assert!(!in_flight.is_running(&run, &step));
        in_flight.dispatched(&run, &step, &queue, 1);
        in_flight.still_running(&queue, running, true);
        assert!(in_flight.is_running(&run, &step));
        in_flight.ended(&run, &step);
        assert!(in_flight.queues_running().is_empty());
    }

    #[test]
    fn a_run_takes_only_its_own_steps_along() {
        let run = |number: u32| -> RunId { format!("0-{number:032x}").parse().unwrap() };
        let queue = QueueName::default_queue();
        let mut in_flight = InFlight::default();
        for number in 1..=3 {
            in_flight.dispatched(&run(number), &StepKey::from_path("a"), &queue, 1);
            in_flight.dispatched(&run(number), &StepKey::from_path("b"), &queue, 1);
        }
        assert_eq!(in_flight.run_ended(&run(2)).len(), 2);
        assert_eq!(in_flight.runs_in(&queue), BTreeSet::from([run(1), run(3)]));
        assert_eq!(in_flight.len(), 4);
    }
}
