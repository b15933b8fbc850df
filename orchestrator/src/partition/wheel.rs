//! Wake-ups held in memory, for precision: the server's schedules are up to 250 ms late.

use std::collections::{BTreeMap, BTreeSet};

use everstep_common::ids::RunId;
use everstep_common::key::StepKey;
use everstep_common::subject::TimerSort;
use jiff::Timestamp;

/// One thing that is due at a time of the server's clock.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WakeUp {
    /// Of which run.
    pub run: RunId,
    /// What sort.
    pub sort: TimerSort,
    /// Of which step or timer.
    pub key: StepKey,
}

impl WakeUp {
    /// The wake-up of this sort for this step or timer.
    pub(crate) fn new(run: &RunId, sort: TimerSort, key: &StepKey) -> Self {
        Self {
            run: run.clone(),
            sort,
            key: key.clone(),
        }
    }

    /// One before all others of the run, to begin a range with.
    pub(crate) fn first_of(run: &RunId) -> Self {
        Self {
            run: run.clone(),
            sort: TimerSort::Sleep,
            key: StepKey::first(),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Wheel {
    by_time: BTreeSet<(Timestamp, WakeUp)>,
    /// When, and for a retry which attempt.
    due: BTreeMap<WakeUp, (Timestamp, u32)>,
}

impl Wheel {
    /// Arms a wake-up, or arms it anew for another time. `attempt` is what a retry is to make, else 0.
    pub(crate) fn arm(&mut self, due: Timestamp, wake_up: WakeUp, attempt: u32) {
        if let Some((before, _)) = self.due.insert(wake_up.clone(), (due, attempt)) {
            self.by_time.remove(&(before, wake_up.clone()));
        }
        self.by_time.insert((due, wake_up));
    }

    /// Disarms a wake-up; whether it was armed.
    pub(crate) fn disarm(&mut self, wake_up: &WakeUp) -> bool {
        match self.due.remove(wake_up) {
            Some((due, _)) => self.by_time.remove(&(due, wake_up.clone())),
            None => false,
        }
    }

    /// What is armed for a run.
    pub(crate) fn of_run(&self, run: &RunId) -> Vec<(Timestamp, WakeUp)> {
        let armed = self
            .due
            .range(WakeUp::first_of(run)..)
            .take_while(|(wake_up, _)| wake_up.run == *run);
        armed.map(|(wake_up, (due, _))| (*due, wake_up.clone())).collect()
    }

    /// Disarms everything of a run; whether there was anything that the server may have a schedule of.
    pub(crate) fn disarm_run(&mut self, run: &RunId) -> bool {
        let armed = self.of_run(run);
        for (_, wake_up) in &armed {
            self.disarm(wake_up);
        }
        armed.iter().any(|(_, wake_up)| wake_up.sort != TimerSort::Deadline)
    }

    /// When the next one is due.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(due, _)| *due)
    }

    /// Takes the next one that is due at `now`, if any.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<(Timestamp, WakeUp, u32)> {
        let (due, _) = self.by_time.first()?;
        if *due > now {
            return None;
        }
        let (due, wake_up) = self.by_time.pop_first()?;
        let (_, attempt) = self.due.remove(&wake_up)?;
        Some((due, wake_up, attempt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wake_ups_come_in_order_and_never_early() {
        let stamp = |seconds| Timestamp::from_second(seconds).unwrap();
        let run = |number: u32| -> RunId { format!("0-{number:032x}").parse().unwrap() };
        let wake_up = |number| WakeUp {
            run: run(number),
            sort: TimerSort::Sleep,
            key: StepKey::from_path("nap"),
        };
        let mut wheel = Wheel::default();
        wheel.arm(stamp(30), wake_up(3), 0);
        wheel.arm(stamp(10), wake_up(1), 0);
        wheel.arm(stamp(20), wake_up(2), 0);
        wheel.arm(stamp(40), wake_up(1), 0);
        assert_eq!(wheel.pop_due(stamp(19)), None);
        assert_eq!(wheel.pop_due(stamp(20)), Some((stamp(20), wake_up(2), 0)));
        wheel.disarm_run(&run(3));
        assert_eq!(wheel.next_due(), Some(stamp(40)));
        assert!(!wheel.disarm(&wake_up(3)));
    }
}
