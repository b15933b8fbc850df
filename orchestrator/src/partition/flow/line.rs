//! Those who wait for a place: the highest priority first, among equals the keys in turn, and of one key who came first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use everstep_common::flow::Slot;
use everstep_common::ids::RunId;
use everstep_common::key::StepKey;

/// Whose turn, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) priority: i16,
    /// The key that takes turns with others.
    pub(super) turn: Arc<str>,
    /// In the order of coming.
    number: u64,
}

#[derive(Debug, Default)]
pub(super) struct Line {
    by_priority: BTreeMap<Reverse<i16>, Turns>,
    places: HashMap<(RunId, StepKey), Place>,
    /// How many ever came.
    came: u64,
}

#[derive(Debug, Default)]
struct Turns {
    order: VecDeque<Arc<str>>,
    of_key: HashMap<Arc<str>, BTreeMap<u64, Slot>>,
}

impl Line {
    /// Somebody comes.
    pub(super) fn push(&mut self, slot: Slot, priority: i16, turn: Arc<str>) {
        self.came += 1;
        let number = self.came;
        self.put_back(slot, Place { priority, turn, number });
    }

    /// Somebody was picked for nothing, and stands where he stood.
    pub(super) fn put_back(&mut self, slot: Slot, place: Place) {
        let turns = self.by_priority.entry(Reverse(place.priority)).or_default();
        let of_key = turns.of_key.entry(place.turn.clone()).or_default();
        if of_key.is_empty() {
            turns.order.push_back(place.turn.clone());
        }
        of_key.insert(place.number, slot.clone());
        self.places.insert((slot.run, slot.step), place);
    }

    /// The step no longer waits; who it was.
    pub(super) fn remove(&mut self, run: &RunId, step: &StepKey) -> Option<Slot> {
        let place = self.places.remove(&(run.clone(), step.clone()))?;
        self.take_at(&place)
    }

    fn take_at(&mut self, place: &Place) -> Option<Slot> {
        let turns = self.by_priority.get_mut(&Reverse(place.priority))?;
        let of_key = turns.of_key.get_mut(&place.turn)?;
        let slot = of_key.remove(&place.number);
        if of_key.is_empty() {
            turns.of_key.remove(&place.turn);
            turns.order.retain(|turn| *turn != place.turn);
        }
        if turns.of_key.is_empty() {
            self.by_priority.remove(&Reverse(place.priority));
        }
        slot
    }

    /// Whether that very attempt waits.
    pub(super) fn contains(&self, slot: &Slot) -> bool {
        let place = self.places.get(&(slot.run.clone(), slot.step.clone()));
        let waiting = place.and_then(|place| {
            let turns = self.by_priority.get(&Reverse(place.priority))?;
            turns.of_key.get(&place.turn)?.get(&place.number)
        });
        waiting == Some(slot)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Everybody, by key: the priority, the first of them, and how many they are.
    pub(super) fn keys(&self) -> impl Iterator<Item = (i16, &Slot, usize)> {
        self.by_priority.iter().flat_map(|(Reverse(priority), turns)| {
            turns
                .of_key
                .values()
                .filter_map(|of_key| Some((*priority, of_key.first_key_value()?.1, of_key.len())))
        })
    }

    /// Everybody.
    pub(super) fn all(&self) -> impl Iterator<Item = &Slot> {
        let turns = self.by_priority.values().flat_map(|turns| turns.of_key.values());
        turns.flat_map(BTreeMap::values)
    }

    /// The next one whom `admits` lets in: of the highest priority and whose key's turn it is, or (`aged`) who came first of all.
    pub(super) fn pick(&mut self, aged: bool, admits: impl Fn(&Slot) -> bool) -> Option<(Slot, Place)> {
        let place = if aged { self.oldest(&admits) } else { self.next(&admits) }?;
        let slot = self.take_at(&place)?;
        self.places.remove(&(slot.run.clone(), slot.step.clone()));
        // The others have their turn before this key has another.
        if let Some(turns) = self.by_priority.get_mut(&Reverse(place.priority))
            && let Some(at) = turns.order.iter().position(|turn| *turn == place.turn)
            && let Some(turn) = turns.order.remove(at)
        {
            turns.order.push_back(turn);
        }
        Some((slot, place))
    }

    fn next(&self, admits: &impl Fn(&Slot) -> bool) -> Option<Place> {
        self.by_priority.iter().find_map(|(Reverse(priority), turns)| {
            turns.order.iter().find_map(|turn| {
                let (number, slot) = turns.of_key.get(turn)?.first_key_value()?;
                admits(slot).then(|| Place {
                    priority: *priority,
                    turn: turn.clone(),
                    number: *number,
                })
            })
        })
    }

    fn oldest(&self, admits: &impl Fn(&Slot) -> bool) -> Option<Place> {
        let firsts = self.by_priority.iter().flat_map(|(Reverse(priority), turns)| {
            turns.of_key.iter().filter_map(move |(turn, of_key)| {
                let (number, slot) = of_key.first_key_value()?;
                let place = Place {
                    priority: *priority,
                    turn: turn.clone(),
                    number: *number,
                };
                Some((slot, place))
            })
        });
        let admitted = firsts.filter(|(slot, _)| admits(slot)).map(|(_, place)| place);
        admitted.min_by_key(|place| place.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(name: &str) -> Slot {
        Slot {
            run: format!("0-{:032x}", 7).parse().unwrap(),
            step: StepKey::from_path(name),
            attempt: 1,
            key: None,
            started: None,
        }
    }

    fn line(steps: &[(&str, &str, i16)]) -> Line {
        let mut line = Line::default();
        for (name, key, priority) in steps {
            line.push(slot(name), *priority, (*key).into());
        }
        line
    }

    fn order(mut line: Line) -> String {
        let picks = std::iter::from_fn(|| line.pick(false, |_| true));
        let names: Vec<_> = picks.map(|(slot, _)| slot.step.to_string()).collect();
        assert!(line.is_empty() && line.by_priority.is_empty());
        names.join(" ")
    }

    #[test]
    fn keys_take_turns_and_a_higher_priority_comes_first() {
        let busy = [
            ("a1", "a", 0),
            ("a2", "a", 0),
            ("a3", "a", 0),
            ("b1", "b", 0),
            ("c1", "c", 0),
            ("b2", "b", 0),
        ];
        assert_eq!(order(line(&busy)), "a1 b1 c1 a2 b2 a3");
        let mut urgent = busy.to_vec();
        urgent.push(("u1", "a", 9));
        urgent.push(("l1", "b", -1));
        assert_eq!(order(line(&urgent)), "u1 a1 b1 c1 a2 b2 a3 l1");
    }

    #[test]
    fn who_is_not_let_in_keeps_nobody_else_waiting() {
        let mut line = line(&[("a1", "a", 0), ("a2", "a", 0), ("b1", "b", 0)]);
        let picked = line.pick(false, |slot| !slot.step.to_string().starts_with('a')).unwrap();
        assert_eq!(picked.0, slot("b1"));
        assert!(line.pick(false, |_| false).is_none());
        line.put_back(picked.0, picked.1);
        assert!(line.remove(&slot("a1").run, &slot("a1").step).is_some() && !line.contains(&slot("a1")));
        assert_eq!(order(line), "a2 b1");
    }

    #[test]
    fn the_oldest_is_picked_whatever_its_priority() {
        let mut line = line(&[("low", "a", -5), ("high", "a", 5)]);
        assert_eq!(line.pick(true, |_| true).unwrap().0, slot("low"));
        assert_eq!(order(line), "high");
    }
}
