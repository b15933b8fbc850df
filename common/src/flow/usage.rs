//! Who uses a limit, and who waits for it: one record of each limit, changed by compare-and-set.
//!
//! A slot names the attempt that it is held for, which follows from a run's history. So whoever drives the run knows it again, whatever
//! happened to the one who took it, and the journal says when it is over: no slot is lost with a process.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Limit, Paces};
use crate::ids::{Partition, RunId};
use crate::key::StepKey;
use crate::limits::{LIMIT_AGED_ONE_IN, LIMIT_SLOTS_MAX};

/// An attempt of a step that holds a place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot {
    /// The run.
    pub run: RunId,
    /// The step.
    pub step: StepKey,
    /// The attempt.
    pub attempt: u32,
    /// The key that it counts for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Of a run: when it was started, or the first of those that it goes on for; by which the newer of two is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
}

/// What a partition waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demand {
    /// How many of its steps could use a place now, as far as that matters.
    pub count: u32,
    /// The highest priority among them.
    pub priority: i8,
    /// Since when it waits, or when it last got a place.
    pub since: Timestamp,
}

/// Who uses a limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Who holds a place.
    pub slots: BTreeSet<Slot>,
    /// Who waits for one.
    pub waiting: BTreeMap<Partition, Demand>,
    /// When the next one may begin, if there is a rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
    /// When the next of each key may begin, if keys have a rate.
    #[serde(default, skip_serializing_if = "Paces::is_empty")]
    pub paces: Paces,
    /// How many places were ever given.
    pub given: u64,
    /// What the code said when this was last written, if it limits anything: for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Limit>,
}

impl Usage {
    /// How many more may begin at `now`.
    pub fn free(&self, limit: &Limit, now: Timestamp) -> u32 {
        let held = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let most = limit.concurrency.unwrap_or(LIMIT_SLOTS_MAX).min(LIMIT_SLOTS_MAX);
        let ready = limit.rate.map_or(u32::MAX, |rate| rate.ready(self.next, now));
        most.saturating_sub(held).min(ready)
    }

    /// How many of one key hold a place.
    pub fn held_by(&self, key: &str) -> u32 {
        let of_key = self.slots.iter().filter(|slot| slot.key.as_deref() == Some(key));
        u32::try_from(of_key.count()).unwrap_or(u32::MAX)
    }

    /// How many of each key hold a place.
    pub fn held_by_key(&self) -> HashMap<String, u32> {
        let mut held = HashMap::new();
        for key in self.slots.iter().filter_map(|slot| slot.key.as_ref()) {
            *held.entry(key.clone()).or_default() += 1;
        }
        held
    }

    /// The places that a step holds, for whichever attempt.
    pub fn of_step(&self, run: &RunId, step: &StepKey) -> impl Iterator<Item = &Slot> {
        of_step(&self.slots, run, step)
    }

    /// How many of `free` places are the partition's: places go to the highest priority, among equals in turn, and one in ten to whoever
    /// waits longest, so that nobody starves.
    pub fn share(&self, partition: Partition, free: u32) -> u32 {
        let mut waiting: Vec<(Partition, Demand)> = self
            .waiting
            .iter()
            .map(|(partition, demand)| (*partition, demand.clone()))
            .collect();
        let mut taken: BTreeMap<Partition, u32> = BTreeMap::new();
        for given in 0..u64::from(free) {
            let aged = is_aged(self.given + given);
            let turn = |(partition, demand): &&mut (Partition, Demand)| {
                let priority = if aged { 0 } else { -i16::from(demand.priority) };
                let turns = if aged { 0 } else { taken.get(partition).copied().unwrap_or(0) };
                (priority, turns, demand.since, *partition)
            };
            let Some((next, demand)) = waiting.iter_mut().filter(|(_, demand)| demand.count > 0).min_by_key(turn) else {
                break;
            };
            demand.count -= 1;
            *taken.entry(*next).or_default() += 1;
        }
        taken.get(&partition).copied().unwrap_or(0)
    }
}

/// Those of a step, for whichever attempt.
pub fn of_step<'a>(slots: &'a BTreeSet<Slot>, run: &RunId, step: &StepKey) -> impl Iterator<Item = &'a Slot> {
    let (run, step) = (run.clone(), step.clone());
    let first = Slot {
        run: run.clone(),
        step: step.clone(),
        attempt: 0,
        key: None,
        started: None,
    };
    slots
        .range(first..)
        .take_while(move |slot| slot.run == run && slot.step == step)
}

/// Whether the place of that number goes to whoever has waited longest, whatever its priority.
pub fn is_aged(number: u64) -> bool {
    number % LIMIT_AGED_ONE_IN == LIMIT_AGED_ONE_IN - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(waiting: &[(u32, u32, i8, i64)]) -> Usage {
        let demand = |(partition, count, priority, since): &(u32, u32, i8, i64)| {
            let demand = Demand {
                count: *count,
                priority: *priority,
                since: Timestamp::from_second(*since).unwrap(),
            };
            (Partition(*partition), demand)
        };
        Usage {
            waiting: waiting.iter().map(demand).collect(),
            ..Usage::default()
        }
    }

    fn shares(usage: &Usage, free: u32) -> Vec<u32> {
        usage.waiting.keys().map(|partition| usage.share(*partition, free)).collect()
    }

    #[test]
    fn partitions_share_what_is_free() {
        assert_eq!(shares(&usage(&[(0, 9, 0, 1), (1, 9, 0, 2)]), 4), [2, 2]);
        assert_eq!(shares(&usage(&[(0, 1, 0, 1), (1, 9, 0, 2)]), 4), [1, 3]);
        assert_eq!(
            shares(&usage(&[(0, 9, 0, 2), (1, 9, 0, 1)]), 1),
            [0, 1],
            "who waits longest comes first"
        );
        assert_eq!(
            shares(&usage(&[(0, 9, 0, 1), (1, 9, 5, 2)]), 4),
            [0, 4],
            "a higher priority comes first"
        );
        assert_eq!(shares(&usage(&[(0, 2, 0, 1)]), 4), [2]);
    }

    #[test]
    fn one_place_in_ten_goes_to_whoever_waits_longest() {
        let mut usage = usage(&[(0, 9, 0, 1), (1, 9, 5, 2)]);
        usage.given = 9;
        assert_eq!(shares(&usage, 1), [1, 0]);
        usage.given = 8;
        assert_eq!(shares(&usage, 4), [1, 3]);
    }

    #[test]
    fn what_is_held_is_not_free() {
        let slot = |number: u32| Slot {
            run: format!("0-{number:032x}").parse().unwrap(),
            step: StepKey::from_path("a"),
            attempt: 1,
            key: Some("k".to_owned()),
            started: None,
        };
        let limit = Limit {
            concurrency: Some(3),
            ..Limit::NONE
        };
        let mut usage = Usage::default();
        assert_eq!(usage.free(&limit, Timestamp::UNIX_EPOCH), 3);
        usage.slots.extend([slot(1), slot(2)]);
        assert_eq!((usage.free(&limit, Timestamp::UNIX_EPOCH), usage.held_by("k")), (1, 2));
        usage.slots.extend([slot(3), slot(4)]);
        assert_eq!(
            usage.free(&limit, Timestamp::UNIX_EPOCH),
            0,
            "a limit that was lowered lets nobody in"
        );
    }
}
