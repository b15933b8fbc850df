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
//! about one limit; performing the writes is `flowing.rs`, runs are `placing.rs` and what becomes
//! of those whose key is taken `making_way.rs`.

mod line;
mod passing;
mod room;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use everstep_common::flow::{Flow, Limit, LimitName, Slot, Usage, WhenBusy};
use everstep_common::ids::{Partition, RunId};
use everstep_common::journal::RunTimer;
use everstep_common::key::StepKey;
use everstep_common::ports::Instant;
use everstep_common::view::{GATE_WAITS_MAX, GateWait};
use jiff::Timestamp;

use self::room::{Moment, Room};
use crate::limits::Change;

pub(crate) use self::passing::{Busy, Limited, Now, Passing, What, Write, Written};

#[derive(Debug)]
pub(crate) struct Gate {
    partition: Partition,
    rooms: BTreeMap<LimitName, Room>,
    /// What operators want.
    settings: BTreeMap<LimitName, Option<Limit>>,
    /// Who uses limits for which there is no room here.
    usages: BTreeMap<LimitName, (u64, Arc<Usage>)>,
    /// Those who wait.
    waiting: HashMap<RunId, BTreeMap<StepKey, Waiting>>,
    /// Those who have passed.
    passed: Vec<Passing>,
}

/// Somebody who waits, and the rooms yet to pass.
#[derive(Debug)]
struct Waiting {
    passing: Passing,
    rooms: Vec<LimitName>,
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

    /// Something wants to pass; the limit that more share is named first. It is given back if nothing keeps it.
    pub(crate) fn enter(&mut self, passing: Passing, limits: impl IntoIterator<Item = Limited>, now: Instant) -> Option<Passing> {
        let (run, step) = (passing.slot.run.clone(), passing.slot.step.clone());
        if let Some(waiting) = self.waiting(&run, &step) {
            if waiting.passing.slot.attempt >= passing.slot.attempt {
                return None;
            }
            self.leave(&run, &step, None, now);
        }
        // Rooms are passed from the end: the one that more share comes last.
        let mut rooms = Vec::with_capacity(2);
        for (name, declared) in limits {
            if !declared.limit(self.setting(&name)).is_none() {
                self.room(&name, now).declared = Some(declared);
                rooms.push(name);
            }
        }
        self.go_on(passing, rooms, now)
    }

    /// The slot passed before, when somebody else owned the partition.
    pub(crate) fn claim(&mut self, (name, declared): Limited, slot: Slot, now: Instant) {
        let room = self.room(&name, now);
        room.declared = Some(declared);
        room.claim(slot);
    }

    /// What operators have set of it.
    pub(crate) fn setting(&self, name: &LimitName) -> Option<Limit> {
        self.settings.get(name).copied().flatten()
    }

    fn room(&mut self, name: &LimitName, now: Instant) -> &mut Room {
        let usages = &mut self.usages;
        self.rooms.entry(name.clone()).or_insert_with(|| {
            let (revision, usage) = usages.remove(name).unwrap_or_default();
            Room::new(revision, Arc::unwrap_or_clone(usage), now)
        })
    }

    fn waiting(&self, run: &RunId, step: &StepKey) -> Option<&Waiting> {
        self.waiting.get(run)?.get(step)
    }

    fn stop(&mut self, run: &RunId, step: &StepKey) -> Option<Waiting> {
        let of_run = self.waiting.get_mut(run)?;
        let waiting = of_run.remove(step);
        if of_run.is_empty() {
            self.waiting.remove(run);
        }
        waiting
    }

    /// Into the next room, or out.
    fn go_on(&mut self, passing: Passing, mut rooms: Vec<LimitName>, now: Instant) -> Option<Passing> {
        while let Some(name) = rooms.last().cloned() {
            let slot = passing.slot.clone();
            let priority = passing.priority;
            let room = self.room(&name, now);
            if !room.has(&slot) {
                if let What::Run {
                    continues: Some(before), ..
                } = &passing.what
                {
                    room.inherits(slot.run.clone(), before.clone());
                }
                if !room.awaits(&slot) {
                    room.queue(slot, priority, now);
                }
                let (run, step) = (passing.slot.run.clone(), passing.slot.step.clone());
                let of_run = self.waiting.entry(run).or_default();
                of_run.insert(step, Waiting { passing, rooms });
                return None;
            }
            rooms.pop();
        }
        Some(passing)
    }

    fn got_in(&mut self, slots: Vec<Slot>, name: &LimitName, now: Instant) {
        for slot in slots {
            let Some(Waiting { passing, mut rooms }) = self.stop(&slot.run, &slot.step) else {
                continue;
            };
            rooms.retain(|room| room != name);
            let passed = self.go_on(passing, rooms, now);
            self.passed.extend(passed);
        }
    }

    /// Who was given back passes with the others.
    pub(crate) fn let_pass(&mut self, passing: Passing) {
        self.passed.push(passing);
    }

    /// Those who have passed since the last time.
    pub(crate) fn passed(&mut self) -> Vec<Passing> {
        std::mem::take(&mut self.passed)
    }

    /// The step has its outcome, or nobody waits for it any more; or only its attempts up to one are over.
    pub(crate) fn leave(&mut self, run: &RunId, step: &StepKey, attempt: Option<u32>, now: Instant) {
        if self.rooms.is_empty() && self.passed.is_empty() {
            return;
        }
        let is_meant = |slot: &Slot| attempt.is_none_or(|attempt| slot.attempt <= attempt);
        if self.waiting(run, step).is_some_and(|waiting| is_meant(&waiting.passing.slot)) {
            drop(self.stop(run, step));
        }
        self.passed
            .retain(|passing| passing.slot.run != *run || passing.slot.step != *step || !is_meant(&passing.slot));
        for room in self.rooms.values_mut() {
            room.leave(run, step, attempt, now);
        }
    }

    /// The run stands still: what of it was not published is asked for again when it goes on, and has no place until then. What was
    /// published keeps its place.
    pub(crate) fn stop_waiting(&mut self, run: &RunId, now: Instant) {
        for step in self.steps_of(run) {
            self.leave(run, &step, None, now);
        }
    }

    /// The run goes on in another one, to which it leaves its place.
    pub(crate) fn run_goes_on(&mut self, run: &RunId, now: Instant) {
        for room in self.rooms.values_mut() {
            room.bequeath(run, &RunTimer::Place.key(), now);
        }
        self.all_over(run, now, |step| *step != RunTimer::Place.key());
    }

    /// The run is over, and so is all that it waits for or holds.
    pub(crate) fn run_over(&mut self, run: &RunId, now: Instant) {
        self.all_over(run, now, |_| true);
    }

    fn all_over(&mut self, run: &RunId, now: Instant, is_over: impl Fn(&StepKey) -> bool) {
        if self.rooms.is_empty() && self.passed.is_empty() {
            return;
        }
        let mut steps = self.steps_of(run);
        for room in self.rooms.values() {
            steps.extend(room.steps_of(run));
        }
        for step in steps.into_iter().filter(is_over) {
            self.leave(run, &step, None, now);
        }
    }

    /// Its steps that wait, or have passed and are not published yet.
    fn steps_of(&self, run: &RunId) -> BTreeSet<StepKey> {
        let waiting = self.waiting.get(run).into_iter().flat_map(BTreeMap::keys);
        let passed = self.passed.iter().filter(|passing| passing.slot.run == *run);
        waiting.chain(passed.map(|passing| &passing.slot.step)).cloned().collect()
    }

    /// Runs whose key is taken, where their workflow does not have them just wait; none that was told before and nothing has changed since.
    pub(crate) fn busy(&mut self) -> Vec<Busy> {
        let mut busy = Vec::new();
        let of_workflows = self.rooms.iter_mut();
        for (_, room) in of_workflows.filter(|(name, _)| matches!(name, LimitName::Workflow(_))) {
            for (waiting, holder) in room.kept_waiting() {
                let of_run = self.waiting.get(&waiting.run).and_then(|of_run| of_run.get(&waiting.step));
                let Some(What::Run { when_busy, continues }) = of_run.map(|waiting| &waiting.passing.what) else {
                    continue;
                };
                if *when_busy != WhenBusy::Queue && continues.as_ref() != Some(&holder.run) {
                    let when = *when_busy;
                    busy.push(Busy { waiting, holder, when });
                }
            }
        }
        busy
    }

    /// The steps of a run that wait here, and why; some of them, if they are many.
    pub(crate) fn waits_of(&self, run: &RunId, time: Option<Timestamp>) -> Vec<GateWait> {
        let of_run = self.waiting.get(run).into_iter().flatten();
        let waits = of_run.filter_map(|(step, Waiting { passing, rooms })| {
            let name = rooms.last()?;
            let room = self.rooms.get(name)?;
            let limit = room.limit(self.setting(name));
            Some(GateWait {
                step: step.clone(),
                limit: name.to_string(),
                why: room.why_waits(&limit, passing.slot.key.as_deref(), time),
            })
        });
        waits.take(GATE_WAITS_MAX).collect()
    }

    /// Whether the step waits here, or has passed and is not published yet.
    pub(crate) fn holds_back(&self, run: &RunId, step: &StepKey) -> bool {
        let is_it = |passing: &Passing| passing.slot.run == *run && passing.slot.step == *step;
        self.waiting(run, step).is_some() || self.passed.iter().any(is_it)
    }

    /// Whether anything of the run waits here.
    pub(crate) fn holds_back_some_of(&self, run: &RunId) -> bool {
        self.waiting.contains_key(run)
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
                        let got = room.learned(revision, Arc::unwrap_or_clone(usage), now);
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
            let setting = self.setting(&name);
            let Some(room) = self.rooms.get_mut(&name) else { continue };
            let limit = room.limit(setting);
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

#[cfg(test)]
mod tests;
