//! Those who wait for a place: the highest priority first, among equals the keys in turn, and of one key who came first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use everstep_common::flow::{KeyMark, Slot};
use everstep_common::ids::RunId;
use everstep_common::key::StepKey;

/// Who takes turns with others: a key, or a run without one, whatever other keys are called.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Turn {
    Key(Arc<str>),
    Run(RunId),
}

/// Whose turn, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    priority: i16,
    turn: Turn,
    /// In the order of coming.
    number: u64,
}

/// The first of those who share a turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct First<'a> {
    pub(super) slot: &'a Slot,
    /// How its key is remembered, if it has one.
    pub(super) mark: Option<KeyMark>,
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
    order: BTreeMap<u64, Turn>,
    of_key: HashMap<Turn, OfKey>,
    /// How many turns were ever given.
    given: u64,
}

/// Those of one key, in the order of coming.
#[derive(Debug)]
struct OfKey {
    turn: u64,
    /// Here, because everybody is looked at again and again.
    mark: Option<KeyMark>,
    slots: BTreeMap<u64, Slot>,
}

impl Turn {
    fn of(slot: &Slot) -> Self {
        match &slot.key {
            Some(key) => Self::Key(key.as_str().into()),
            None => Self::Run(slot.run.clone()),
        }
    }

    fn mark(&self) -> Option<KeyMark> {
        match self {
            Self::Key(key) => Some(KeyMark::of(key)),
            Self::Run(_) => None,
        }
    }
}

impl OfKey {
    /// Who came first, and when.
    fn first(&self) -> Option<(u64, First<'_>)> {
        let (number, slot) = self.slots.first_key_value()?;
        Some((*number, First { slot, mark: self.mark }))
    }
}

impl Turns {
    /// Those of a key, whose turn comes after all others' if it is new.
    fn of_key(&mut self, key: &Turn) -> &mut OfKey {
        self.of_key.entry(key.clone()).or_insert_with(|| {
            self.given += 1;
            self.order.insert(self.given, key.clone());
            OfKey {
                turn: self.given,
                mark: key.mark(),
                slots: BTreeMap::new(),
            }
        })
    }

    fn take(&mut self, key: &Turn, number: u64) -> Option<Slot> {
        let of_key = self.of_key.get_mut(key)?;
        let slot = of_key.slots.remove(&number);
        if of_key.slots.is_empty() {
            self.order.remove(&of_key.turn);
            self.of_key.remove(key);
        }
        slot
    }

    /// The key has had its turn, and the others have theirs before it has another.
    fn pass_on(&mut self, key: &Turn) {
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
    pub(super) fn push(&mut self, slot: Slot, priority: i16) {
        self.came += 1;
        let (number, turn) = (self.came, Turn::of(&slot));
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
    pub(super) fn keys(&self) -> impl Iterator<Item = (i16, First<'_>, usize)> {
        self.by_priority.iter().flat_map(|(Reverse(priority), turns)| {
            let of_key = turns.of_key.values();
            of_key.filter_map(|of_key| Some((*priority, of_key.first()?.1, of_key.slots.len())))
        })
    }

    /// Everybody.
    pub(super) fn all(&self) -> impl Iterator<Item = &Slot> {
        let of_key = self.by_priority.values().flat_map(|turns| turns.of_key.values());
        of_key.flat_map(|of_key| of_key.slots.values())
    }

    /// The next one whom `admits` lets in: of the highest priority and whose key's turn it is, or (`aged`) who came first of all.
    pub(super) fn pick(&mut self, aged: bool, admits: impl Fn(First<'_>) -> bool) -> Option<(Slot, Place)> {
        let place = if aged { self.oldest(&admits) } else { self.next(&admits) }?;
        let slot = self.take_at(&place)?;
        self.places.remove(&(slot.run.clone(), slot.step.clone()));
        if let Some(turns) = self.by_priority.get_mut(&Reverse(place.priority)) {
            turns.pass_on(&place.turn);
        }
        Some((slot, place))
    }

    fn next(&self, admits: &impl Fn(First<'_>) -> bool) -> Option<Place> {
        self.by_priority.iter().find_map(|(Reverse(priority), turns)| {
            turns.order.values().find_map(|turn| {
                let (number, first) = turns.of_key.get(turn)?.first()?;
                admits(first).then(|| Place {
                    priority: *priority,
                    turn: turn.clone(),
                    number,
                })
            })
        })
    }

    fn oldest(&self, admits: &impl Fn(First<'_>) -> bool) -> Option<Place> {
        let firsts = self.by_priority.iter().flat_map(|(Reverse(priority), turns)| {
            turns.of_key.iter().filter_map(move |(turn, of_key)| {
                let (number, first) = of_key.first()?;
                Some((number, first, *priority, turn))
            })
        });
        let admitted = firsts.filter(|(_, first, ..)| admits(*first));
        let (number, _, priority, turn) = admitted.min_by_key(|(number, ..)| *number)?;
        let turn = turn.clone();
        Some(Place { priority, turn, number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(name: &str, key: Option<&str>) -> Slot {
        Slot {
            run: format!("0-{:032x}", 7).parse().unwrap(),
            step: StepKey::from_path(name),
            attempt: 1,
            key: key.map(str::to_owned),
            started: None,
        }
    }

    fn line(steps: &[(&str, &str, i16)]) -> Line {
        let mut line = Line::default();
        for (name, key, priority) in steps {
            line.push(slot(name, Some(key)), *priority);
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
        let picked = line.pick(false, |first| first.mark != Some(KeyMark::of("a"))).unwrap();
        assert_eq!(picked.0, slot("b1", Some("b")));
        assert!(line.pick(false, |_| false).is_none());
        line.put_back(picked.0, picked.1);
        let a1 = slot("a1", Some("a"));
        assert!(line.remove(&a1.run, &a1.step).is_some() && !line.contains(&a1));
        assert_eq!(order(line), "a2 b1");
    }

    #[test]
    fn the_oldest_is_picked_whatever_its_priority() {
        let mut line = line(&[("low", "a", -5), ("high", "a", 5)]);
        assert_eq!(line.pick(true, |_| true).unwrap().0, slot("low", Some("a")));
        assert_eq!(order(line), "high");
    }

    #[test]
    fn a_key_that_is_called_as_a_run_is_not_that_run() {
        let mut line = Line::default();
        let keyless = slot("keyless", None);
        line.push(slot("keyed", Some(keyless.run.as_str())), 0);
        line.push(keyless.clone(), 0);
        let picked = line.pick(false, |first| first.mark.is_none()).unwrap();
        assert_eq!(picked.0, keyless, "it does not wait for the key's turn");
    }
}
