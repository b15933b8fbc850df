//! Wake-ups held in memory, for precision: the server's schedules are up to 250 ms late.

use std::collections::{BTreeMap, HashMap};

use everstep_common::ids::RunId;
use everstep_common::key::StepKey;
use everstep_common::subject::TimerSort;
use jiff::Timestamp;

use super::small_map::SmallMap;

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
    /// In the order they are due; of those due at once, in the order they were armed.
    by_time: BTreeMap<(Timestamp, u64), WakeUp>,
    armed: HashMap<RunId, SmallMap<(TimerSort, StepKey), Armed>>,
    /// How many were ever armed.
    count: u64,
}

#[derive(Clone, Copy, Debug)]
struct Armed {
    due: Timestamp,
    number: u64,
    /// What a retry is to make, else 0.
    attempt: u32,
}

impl Wheel {
    /// Arms a wake-up, or arms it anew for another time. `attempt` is what a retry is to make, else 0.
    pub(crate) fn arm(&mut self, due: Timestamp, wake_up: WakeUp, attempt: u32) {
        self.count += 1;
        let armed = Armed {
            due,
            number: self.count,
            attempt,
        };
        let of_run = self.armed.entry(wake_up.run.clone()).or_default();
        if let Some(before) = of_run.insert((wake_up.sort, wake_up.key.clone()), armed) {
            self.by_time.remove(&(before.due, before.number));
        }
        self.by_time.insert((due, self.count), wake_up);
    }

    /// Disarms a wake-up; whether it was armed.
    pub(crate) fn disarm(&mut self, run: &RunId, sort: TimerSort, key: &StepKey) -> bool {
        let Some(armed) = self.forget(run, sort, key) else {
            return false;
        };
        self.by_time.remove(&(armed.due, armed.number));
        true
    }

    /// When the run's next wake-up is due.
    pub(crate) fn next_of(&self, run: &RunId) -> Option<Timestamp> {
        self.armed.get(run)?.iter().map(|(_, armed)| armed.due).min()
    }

    /// When it is due, if it is armed.
    pub(crate) fn due(&self, run: &RunId, sort: TimerSort, key: &StepKey) -> Option<Timestamp> {
        self.armed.get(run)?.get(&(sort, key.clone())).map(|armed| armed.due)
    }

    fn forget(&mut self, run: &RunId, sort: TimerSort, key: &StepKey) -> Option<Armed> {
        let of_run = self.armed.get_mut(run)?;
        let armed = of_run.remove(&(sort, key.clone()))?;
        if of_run.is_empty() {
            self.armed.remove(run);
        }
        Some(armed)
    }

    /// What is armed for a run.
    pub(crate) fn of_run(&self, run: &RunId) -> Vec<(Timestamp, WakeUp)> {
        let of_run = self.armed.get(run).into_iter().flat_map(SmallMap::iter);
        of_run
            .map(|((sort, key), armed)| (armed.due, WakeUp::new(run, *sort, key)))
            .collect()
    }

    /// Disarms everything of a run; whether there was anything that the server may have a schedule of.
    pub(crate) fn disarm_run(&mut self, run: &RunId) -> bool {
        let of_run = self.armed.remove(run).unwrap_or_default();
        for (_, armed) in of_run.iter() {
            self.by_time.remove(&(armed.due, armed.number));
        }
        of_run.iter().any(|((sort, _), _)| *sort != TimerSort::Deadline)
    }

    /// When the next one is due.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.by_time.first_key_value().map(|((due, _), _)| *due)
    }

    /// Takes the next one that is due at `now`, if any.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<(Timestamp, WakeUp, u32)> {
        if self.next_due()? > now {
            return None;
        }
        let ((due, _), wake_up) = self.by_time.pop_first()?;
        let armed = self.forget(&wake_up.run, wake_up.sort, &wake_up.key)?;
        Some((due, wake_up, armed.attempt))
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
        assert!(!wheel.disarm(&run(3), TimerSort::Sleep, &StepKey::from_path("nap")));
    }
}
