//! Those who wait for a place: the highest priority first, among equals the keys in turn, and of one key who came first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
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
    /// The keys in the order of their turns.
    order: BTreeMap<u64, Arc<str>>,
    of_key: HashMap<Arc<str>, OfKey>,
    /// How many turns were ever given.
    given: u64,
}

/// Those of one key, in the order of coming.
#[derive(Debug)]
struct OfKey {
    turn: u64,
    slots: BTreeMap<u64, Slot>,
}

impl Turns {
    /// Those of a key, whose turn comes after all others' if it is new.
    fn of_key(&mut self, key: &Arc<str>) -> &mut OfKey {
        self.of_key.entry(key.clone()).or_insert_with(|| {
            self.given += 1;
            self.order.insert(self.given, key.clone());
            OfKey {
                turn: self.given,
                slots: BTreeMap::new(),
            }
        })
    }

    fn take(&mut self, key: &Arc<str>, number: u64) -> Option<Slot> {
        let of_key = self.of_key.get_mut(key)?;
        let slot = of_key.slots.remove(&number);
        if of_key.slots.is_empty() {
            self.order.remove(&of_key.turn);
            self.of_key.remove(key);
        }
        slot
    }

    /// The key has had its turn, and the others have theirs before it has another.
    fn pass_on(&mut self, key: &Arc<str>) {
        if let Some(of_key) = self.of_key.get_mut(key) {
            self.order.remove(&of_key.turn);
            self.given += 1;
            of_key.turn = self.given;
            self.order.insert(self.given, key.clone());
        }
    }
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
        turns.of_key(&place.turn).slots.insert(place.number, slot.clone());
        self.places.insert((slot.run, slot.step), place);
    }

    /// The step no longer waits; who it was.
    pub(super) fn remove(&mut self, run: &RunId, step: &StepKey) -> Option<Slot> {
        self.take_out(run, step).map(|(slot, _)| slot)
    }

    /// The step no longer waits; who it was, and where it stood.
    pub(super) fn take_out(&mut self, run: &RunId, step: &StepKey) -> Option<(Slot, Place)> {
        let place = self.places.remove(&(run.clone(), step.clone()))?;
        Some((self.take_at(&place)?, place))
    }

    fn take_at(&mut self, place: &Place) -> Option<Slot> {
        let turns = self.by_priority.get_mut(&Reverse(place.priority))?;
        let slot = turns.take(&place.turn, place.number);
        if turns.of_key.is_empty() {
            self.by_priority.remove(&Reverse(place.priority));
        }
        slot
    }

    /// Whether that very attempt waits.
    pub(super) fn contains(&self, slot: &Slot) -> bool {
        self.of_step(&slot.run, &slot.step) == Some(slot)
    }

    /// The attempt of a step that waits.
    pub(super) fn of_step(&self, run: &RunId, step: &StepKey) -> Option<&Slot> {
        let place = self.places.get(&(run.clone(), step.clone()))?;
        let turns = self.by_priority.get(&Reverse(place.priority))?;
        turns.of_key.get(&place.turn)?.slots.get(&place.number)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Everybody, by key: the priority, the first of them, and how many they are.
    pub(super) fn keys(&self) -> impl Iterator<Item = (i16, &Slot, usize)> {
        self.by_priority.iter().flat_map(|(Reverse(priority), turns)| {
            let of_key = turns.of_key.values().map(|of_key| &of_key.slots);
            of_key.filter_map(|slots| Some((*priority, slots.first_key_value()?.1, slots.len())))
        })
    }

    /// Everybody.
    pub(super) fn all(&self) -> impl Iterator<Item = &Slot> {
        let of_key = self.by_priority.values().flat_map(|turns| turns.of_key.values());
        of_key.flat_map(|of_key| of_key.slots.values())
    }

    /// The next one whom `admits` lets in: of the highest priority and whose key's turn it is, or (`aged`) who came first of all.
    pub(super) fn pick(&mut self, aged: bool, admits: impl Fn(&Slot) -> bool) -> Option<(Slot, Place)> {
        let place = if aged { self.oldest(&admits) } else { self.next(&admits) }?;
        let slot = self.take_at(&place)?;
        self.places.remove(&(slot.run.clone(), slot.step.clone()));
        if let Some(turns) = self.by_priority.get_mut(&Reverse(place.priority)) {
            turns.pass_on(&place.turn);
        }
        Some((slot, place))
    }

    fn next(&self, admits: &impl Fn(&Slot) -> bool) -> Option<Place> {
        self.by_priority.iter().find_map(|(Reverse(priority), turns)| {
            turns.order.values().find_map(|turn| {
                let (number, slot) = turns.of_key.get(turn)?.slots.first_key_value()?;
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
                let (number, slot) = of_key.slots.first_key_value()?;
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
