//! The gate that tasks pass before they are published: where their function or queue has a limit, they wait here for their place.
//!
//! ```text
//!   dispatch ──▶ Gate::enter ──▶ the function's room ──▶ the queue's room ──▶ published
//!                                   │ CAS on `use.function.…`   │ CAS on `use.queue.…`
//! ```
//!
//! The place in the room that more share is taken last, so that nobody keeps one from others while it waits for another. What waits here is
//! derived from the journal like every task: whoever takes the partition over derives it again. [`line`] is about who is next, [`room`]
//! about one limit; performing the writes is `flowing.rs`.

mod line;
mod room;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use everstep_common::flow::{Flow, Limit, LimitName, Slot, Usage};
use everstep_common::ids::{Partition, QueueName, RunId};
use everstep_common::key::StepKey;
use everstep_common::ports::Instant;
use everstep_common::task::Task;
use jiff::Timestamp;

use self::room::{Moment, Room};
use crate::limits::Change;

/// A task on its way through the gate.
#[derive(Debug)]
pub(crate) struct Passing {
    pub queue: QueueName,
    pub task: Task,
    pub input: Bytes,
    pub flow: Flow,
    /// That of its run and of itself together.
    pub priority: i16,
}

/// A change of a limit's record that is to be made.
#[derive(Debug)]
pub(crate) struct Write {
    pub name: LimitName,
    pub usage: Usage,
    /// The revision that it replaces.
    pub revision: u64,
}

/// What a write came to: the usage that stands, its revision, and whether it is the one written.
#[derive(Debug)]
pub(crate) struct Written {
    pub name: LimitName,
    pub usage: Usage,
    pub revision: u64,
    pub ours: bool,
}

/// How things stand, for what is written.
pub(crate) struct Now<'a> {
    pub time: Timestamp,
    pub now: Instant,
    pub knows_all: bool,
    pub stands_still: &'a dyn Fn(&RunId) -> bool,
}

#[derive(Debug)]
pub(crate) struct Gate {
    partition: Partition,
    rooms: BTreeMap<LimitName, Room>,
    /// What operators want.
    settings: BTreeMap<LimitName, Option<Limit>>,
    /// Who uses limits for which there is no room here.
    usages: BTreeMap<LimitName, (u64, Usage)>,
    /// Those who wait, and the rooms that they have yet to pass.
    waiting: HashMap<(RunId, StepKey), (Passing, Vec<LimitName>)>,
    /// Those who have passed.
    passed: Vec<Passing>,
}

impl Gate {
    pub(crate) fn new(partition: Partition) -> Self {
        Self {
            partition,
            rooms: BTreeMap::new(),
            settings: BTreeMap::new(),
            usages: BTreeMap::new(),
            waiting: HashMap::new(),
            passed: Vec::new(),
        }
    }

    /// Whether a task has no limit to heed: most have none.
    pub(crate) fn is_open_to(&self, flow: &Flow) -> bool {
        flow.limit.is_none() && self.settings.is_empty()
    }

    /// A task wants to be published.
    pub(crate) fn enter(&mut self, passing: Passing, now: Instant) {
        let step = (passing.task.run.clone(), passing.task.key.clone());
        if let Some((waiting, _)) = self.waiting.get(&step) {
            if waiting.task.attempt >= passing.task.attempt {
                return;
            }
            self.leave(&step.0, &step.1, None);
        }
        let function = LimitName::Function(passing.task.function.clone());
        let queue = LimitName::Queue(passing.queue.clone());
        let declared = passing.flow.limit;
        // Rooms are passed from the end: the one that more share comes last.
        let mut rooms = Vec::with_capacity(2);
        for (name, declared) in [(queue, Limit::NONE), (function, declared)] {
            if !self.limit(&name, &declared).is_none() {
                self.room(&name, now).declared = declared;
                rooms.push(name);
            }
        }
        self.go_on(passing, rooms, now);
    }

    fn limit(&self, name: &LimitName, declared: &Limit) -> Limit {
        self.settings.get(name).copied().flatten().unwrap_or(*declared)
    }

    fn room(&mut self, name: &LimitName, now: Instant) -> &mut Room {
        let usages = &mut self.usages;
        self.rooms.entry(name.clone()).or_insert_with(|| {
            let (revision, usage) = usages.remove(name).unwrap_or_default();
            Room::new(revision, usage, now)
        })
    }

    /// Into the next room, or out.
    fn go_on(&mut self, passing: Passing, mut rooms: Vec<LimitName>, now: Instant) {
        while let Some(name) = rooms.last().cloned() {
            let slot = slot_of(&passing);
            let turn: Arc<str> = slot.key.as_deref().unwrap_or(slot.run.as_str()).into();
            let priority = passing.priority;
            let room = self.room(&name, now);
            if !room.has(&slot) {
                if !room.awaits(&slot) {
                    room.line.push(slot, priority, turn);
                    room.look_at = Some(now);
                }
                let step = (passing.task.run.clone(), passing.task.key.clone());
                self.waiting.insert(step, (passing, rooms));
                return;
            }
            rooms.pop();
        }
        self.passed.push(passing);
    }

    fn got_in(&mut self, slots: Vec<Slot>, name: &LimitName, now: Instant) {
        for slot in slots {
            let Some((passing, mut rooms)) = self.waiting.remove(&(slot.run, slot.step)) else {
                continue;
            };
            rooms.retain(|room| room != name);
            self.go_on(passing, rooms, now);
        }
    }

    /// Those who have passed since the last time.
    pub(crate) fn passed(&mut self) -> Vec<Passing> {
        std::mem::take(&mut self.passed)
    }

    /// The step has its outcome, or nobody waits for it any more; or only one of its attempts is over.
    pub(crate) fn leave(&mut self, run: &RunId, step: &StepKey, attempt: Option<u32>) {
        if self.rooms.is_empty() {
            return;
        }
        if attempt.is_none() {
            self.waiting.remove(&(run.clone(), step.clone()));
        }
        for room in self.rooms.values_mut() {
            room.leave(run, step, attempt);
            room.look_at = Some(Instant(std::time::Duration::ZERO));
        }
    }

    /// The run stands still: what of it waits is not published, and asked for again when it goes on. What it holds it holds.
    pub(crate) fn stop_waiting(&mut self, run: &RunId) {
        let steps: Vec<StepKey> = self.steps_of(run);
        for step in steps {
            self.waiting.remove(&(run.clone(), step.clone()));
            for room in self.rooms.values_mut() {
                drop(room.line.remove(run, &step));
            }
        }
    }

    /// The run is over, and so is all that it waits for or holds.
    pub(crate) fn run_over(&mut self, run: &RunId) {
        if self.rooms.is_empty() {
            return;
        }
        let mut steps: BTreeSet<StepKey> = self.steps_of(run).into_iter().collect();
        for room in self.rooms.values() {
            steps.extend(room.steps_of(run));
        }
        for step in steps {
            self.leave(run, &step, None);
        }
    }

    fn steps_of(&self, run: &RunId) -> Vec<StepKey> {
        let of_run = self.waiting.keys().filter(|(of, _)| of == run);
        of_run.map(|(_, step)| step.clone()).collect()
    }

    /// Whether the step waits here.
    pub(crate) fn holds_back(&self, run: &RunId, step: &StepKey) -> bool {
        !self.waiting.is_empty() && self.waiting.contains_key(&(run.clone(), step.clone()))
    }

    /// Something about a limit is new.
    pub(crate) fn learned(&mut self, change: Change, now: Instant) {
        match change {
            Change::Setting(name, limit) => {
                self.settings.insert(name.clone(), limit);
                self.settings.retain(|_, limit| limit.is_some());
                if let Some(room) = self.rooms.get_mut(&name) {
                    room.look_at = Some(now);
                }
            }
            Change::Usage(name, revision, usage) => {
                let holds_ours = usage.slots.iter().any(|slot| slot.run.partition() == self.partition);
                match self.rooms.get_mut(&name) {
                    Some(room) => {
                        let got = room.learned(revision, usage, now);
                        self.got_in(got, &name, now);
                    }
                    None => {
                        self.usages.insert(name.clone(), (revision, usage));
                        if holds_ours {
                            self.room(&name, now);
                        }
                    }
                }
            }
        }
    }

    /// A write of ours has ended.
    pub(crate) fn written(&mut self, written: Written, now: Instant) {
        let Written {
            name,
            usage,
            revision,
            ours,
        } = written;
        let room = self.room(&name, now);
        let got = match ours {
            true => room.written(usage, revision, now),
            false => room.found(usage, revision, now),
        };
        self.got_in(got, &name, now);
    }

    /// The writes that are due.
    pub(crate) fn writes(&mut self, at: &Now<'_>) -> Vec<Write> {
        let mut writes = Vec::new();
        let due: Vec<LimitName> = self
            .rooms
            .iter()
            .filter(|(_, room)| room.look_at.is_some_and(|look_at| look_at <= at.now))
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            let setting = self.settings.get(&name).copied().flatten();
            let Some(room) = self.rooms.get_mut(&name) else { continue };
            let limit = setting.unwrap_or(room.declared);
            if limit.is_none() {
                let all = room.open();
                self.got_in(all, &name, at.now);
            }
            let Some(room) = self.rooms.get_mut(&name) else { continue };
            let moment = Moment {
                partition: self.partition,
                limit,
                time: at.time,
                now: at.now,
                knows_all: at.knows_all,
                stands_still: at.stands_still,
            };
            if let Some((usage, revision)) = room.write(&moment) {
                writes.push(Write { name, usage, revision });
            }
        }
        writes
    }

    /// When there may be something to write, if nothing comes before.
    pub(crate) fn look_at(&self) -> Option<Instant> {
        let mut looks = self.rooms.values().filter_map(|room| room.look_at).collect::<Vec<_>>();
        if !self.passed.is_empty() {
            looks.push(Instant(std::time::Duration::ZERO));
        }
        looks.into_iter().min()
    }
}

fn slot_of(passing: &Passing) -> Slot {
    Slot {
        run: passing.task.run.clone(),
        step: passing.task.key.clone(),
        attempt: passing.task.attempt,
        key: passing.flow.key.clone(),
    }
}
