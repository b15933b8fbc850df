//! The gate that tasks pass before they are published, and runs before they begin: where there is a limit, they wait here for their place.
//!
//! ```text
//!   dispatch ──▶ Gate::enter ──▶ the function's room ──▶ the queue's room ──▶ published
//!                                   │ CAS on `use.function.…`   │ CAS on `use.queue.…`
//!   start ─────▶ Gate::enter ──▶ the workflow's room ──▶ begins
//! ```
//!
//! The place in the room that more share is taken last, so that nobody keeps one from others while it waits for another. What waits here is
//! derived from the journal like every task: whoever takes the partition over derives it again. [`line`] is about who is next, [`room`]
//! about one limit; performing the writes is `flowing.rs`, runs are `placing.rs`.

mod line;
mod room;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use everstep_common::flow::{Flow, Limit, LimitName, Slot, Usage};
use everstep_common::ids::{Partition, QueueName, RunId};
use everstep_common::key::StepKey;
use everstep_common::ports::Instant;
use everstep_common::task::Task;
use everstep_common::view::{GATE_WAITS_MAX, GateWait};
use jiff::Timestamp;

use self::room::{Moment, Room};
use crate::limits::Change;

/// A task, or a run, on its way through the gate.
#[derive(Debug)]
pub(crate) struct Passing {
    /// Whose place it is.
    pub slot: Slot,
    /// That of its run and of itself together.
    pub priority: i16,
    pub what: What,
}

/// What is done when it has passed.
#[derive(Debug)]
pub(crate) enum What {
    /// A task is published.
    Task {
        queue: QueueName,
        task: Box<Task>,
        input: Bytes,
    },
    /// The run begins.
    Run,
}

impl Passing {
    pub(crate) fn task(queue: QueueName, task: Task, input: Bytes, key: Option<String>, priority: i16) -> Self {
        let slot = Slot {
            run: task.run.clone(),
            step: task.key.clone(),
            attempt: task.attempt,
            key,
            started: None,
        };
        let task = Box::new(task);
        Self {
            slot,
            priority,
            what: What::Task { queue, task, input },
        }
    }
}

/// A limit on the way of something, and what the code says of it.
pub(crate) type Limited = (LimitName, Limit);

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

/// Pairs of runs that were dealt with lately; told again they would be told the same.
#[derive(Debug, Default)]
pub(crate) struct LatelyTold {
    known: BTreeSet<(RunId, RunId)>,
    order: VecDeque<(RunId, RunId)>,
}

/// How many pairs are remembered.
const LATELY_MAX: usize = 10_000;

impl LatelyTold {
    /// Whether the pair is new.
    pub(crate) fn insert(&mut self, pair: (RunId, RunId)) -> bool {
        if !self.known.insert(pair.clone()) {
            return false;
        }
        self.order.push_back(pair);
        if self.order.len() > LATELY_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
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

    /// Something wants to pass; the limit that more share is named first.
    pub(crate) fn enter(&mut self, passing: Passing, limits: impl IntoIterator<Item = Limited>, now: Instant) {
        let step = (passing.slot.run.clone(), passing.slot.step.clone());
        if let Some((waiting, _)) = self.waiting.get(&step) {
            if waiting.slot.attempt >= passing.slot.attempt {
                return;
            }
            self.leave(&step.0, &step.1, None);
        }
        // Rooms are passed from the end: the one that more share comes last.
        let mut rooms = Vec::with_capacity(2);
        for (name, declared) in limits {
            if !self.limit(&name, &declared).is_none() {
                self.room(&name, now).declared = declared;
                rooms.push(name);
            }
        }
        self.go_on(passing, rooms, now);
    }

    /// The slot passed before, when somebody else owned the partition.
    pub(crate) fn claim(&mut self, (name, declared): Limited, slot: Slot, now: Instant) {
        let room = self.room(&name, now);
        room.declared = declared;
        room.claim(slot);
    }

    /// What operators have set of it.
    pub(crate) fn setting(&self, name: &LimitName) -> Option<Limit> {
        self.settings.get(name).copied().flatten()
    }

    fn limit(&self, name: &LimitName, declared: &Limit) -> Limit {
        effective(name, declared, self.setting(name))
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
            let slot = passing.slot.clone();
            let turn: Arc<str> = slot.key.as_deref().unwrap_or(slot.run.as_str()).into();
            let priority = passing.priority;
            let room = self.room(&name, now);
            if !room.has(&slot) {
                if !room.awaits(&slot) {
                    room.line.push(slot, priority, turn);
                    room.look_at = Some(now);
                }
                let step = (passing.slot.run.clone(), passing.slot.step.clone());
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

    /// Who waits in a room for the place of another of their key, and that other one.
    pub(crate) fn kept_waiting(&self, name: &LimitName) -> Vec<(Slot, Slot)> {
        self.rooms.get(name).map(Room::kept_waiting).unwrap_or_default()
    }

    /// The steps of a run that wait here, and why; some of them, if they are many.
    pub(crate) fn waits_of(&self, run: &RunId) -> Vec<GateWait> {
        let mut steps = self.steps_of(run);
        steps.sort_unstable();
        let waits = steps.into_iter().filter_map(|step| {
            let (passing, rooms) = self.waiting.get(&(run.clone(), step.clone()))?;
            let name = rooms.last()?;
            let room = self.rooms.get(name)?;
            let limit = self.limit(name, &room.declared);
            Some(GateWait {
                step,
                limit: name.to_string(),
                why: room.why_waits(&limit, passing.slot.key.as_deref()),
            })
        });
        waits.take(GATE_WAITS_MAX).collect()
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
            let limit = effective(&name, &room.declared, setting);
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

/// What holds: what operators have set, or what the code says. How many runs of one key there may be is always for the code to say.
fn effective(name: &LimitName, declared: &Limit, set: Option<Limit>) -> Limit {
    let limit = set.unwrap_or(*declared);
    match name {
        LimitName::Workflow(_) => Limit {
            per_key: declared.per_key.or(limit.per_key),
            ..limit
        },
        LimitName::Function(_) | LimitName::Queue(_) => limit,
    }
}
