//! One limit as one partition sees it: who waits here, who holds a place, and what is to be written into the limit's record.
//!
//! ```text
//!   waiting ──picked──▶ asked ──written──▶ held ──outcome in the journal──▶ over ──written──▶ gone
//!      ▲──────────────────┘ somebody else wrote first
//! ```
//!
//! Nobody holds a place before the record says so, and a record that has lost it (a bucket that was restored) is told again. What the
//! record says of this partition and nobody here knows is of a predecessor, whose run is read back soon, or of a run that has gone on in
//! another, which takes it over; if it stays unknown for long it is taken out. Who is let in is [`asking`]'s.

mod asking;
mod begun;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use everstep_common::flow::{KeyMark, Limit, RunFlow, Slot, Usage, of_step};
use everstep_common::ids::{Partition, RunId};
use everstep_common::key::StepKey;
use everstep_common::limits::{LIMIT_KEYS_MAX, LIMIT_SLOTS_MAX};
use everstep_common::ports::Instant;
use jiff::Timestamp;

use self::begun::Begun;
use super::line::{Line, Place};

/// How long a place of this partition may be nobody's before it is taken out: what a predecessor did last has come by then.
const STRANGE_FOR: Duration = Duration::from_secs(5);

/// The moment, and what holds in it.
pub(super) struct Moment<'a> {
    pub(super) partition: Partition,
    pub(super) limit: Limit,
    /// The server's time, or a little earlier.
    pub(super) time: Timestamp,
    pub(super) now: Instant,
    /// Whether a place of this partition that is nobody's can be told: every open run was read.
    pub(super) knows_all: bool,
    /// Whether the run stands still, so that what it holds is known to nobody.
    pub(super) stands_still: &'a dyn Fn(&RunId) -> bool,
}

#[derive(Debug)]
pub(super) struct Room {
    line: Line,
    /// What the code says last, if it was heard of here.
    pub(super) declared: Option<RunFlow>,
    asked: Vec<(Slot, Place)>,
    held: BTreeSet<Slot>,
    begun: Begun,
    over: BTreeSet<Slot>,
    strange: BTreeMap<Slot, Instant>,
    /// Who takes the place over of which run.
    heirs: BTreeMap<RunId, RunId>,
    writing: bool,
    /// What came while a write was under way.
    news: Option<(u64, Usage)>,
    usage: Usage,
    revision: u64,
    /// When the record last changed.
    changed: Instant,
    /// Since when this partition waits, or when it last got a place.
    since: Option<Timestamp>,
    /// When to look again, if nothing comes.
    pub(super) look_at: Option<Instant>,
    /// Who keeps whom waiting may be another than when it was last asked.
    reshuffled: bool,
}

impl Room {
    pub(super) fn new(revision: u64, usage: Usage, now: Instant) -> Self {
        Self {
            line: Line::default(),
            declared: None,
            asked: Vec::new(),
            held: BTreeSet::new(),
            begun: Begun::default(),
            over: BTreeSet::new(),
            strange: BTreeMap::new(),
            heirs: BTreeMap::new(),
            writing: false,
            news: None,
            usage,
            revision,
            changed: now,
            since: None,
            look_at: Some(now),
            reshuffled: false,
        }
    }

    /// What holds, given what operators have set.
    pub(super) fn limit(&self, set: Option<Limit>) -> Limit {
        self.declared.unwrap_or_default().limit(set)
    }

    /// Whether the slot holds a place already: taken here, or by a predecessor.
    pub(super) fn has(&mut self, slot: &Slot) -> bool {
        if !self.writing && self.usage.slots.contains(slot) && !self.over.contains(slot) {
            self.held.insert(slot.clone());
        }
        self.held.contains(slot)
    }

    /// The slot is somebody's here, whether the record has been heard of or not.
    pub(super) fn claim(&mut self, slot: Slot) {
        self.held.insert(slot);
    }

    /// Who waits for a place of a key that another one holds, and that other one; nobody, if that is as it was when last asked.
    pub(super) fn kept_waiting(&mut self) -> Vec<(Slot, Slot)> {
        if !std::mem::take(&mut self.reshuffled) {
            return Vec::new();
        }
        let at_work = self.usage.slots.iter().filter(|slot| !self.over.contains(slot));
        let holders: HashMap<Option<&str>, &Slot> = at_work.map(|slot| (slot.key.as_deref(), slot)).collect();
        let holder = |slot: &Slot| holders.get(&slot.key.as_deref()).map(|holder| Slot::clone(holder));
        let waiting = self.line.all();
        waiting.filter_map(|slot| Some((slot.clone(), holder(slot)?))).collect()
    }

    /// Why somebody with that key waits, for people to read.
    pub(super) fn why_waits(&self, limit: &Limit, key: Option<&str>, time: Option<Timestamp>) -> String {
        let of_key = key.and_then(|key| self.why_key_waits(limit, key, time));
        let taken = self.usage.slots.len();
        let why = match of_key {
            Some(of_key) => of_key,
            None if limit.concurrency.is_none() && taken >= LIMIT_SLOTS_MAX as usize => {
                format!("{taken} are at work, and a limit has {LIMIT_SLOTS_MAX} places at most")
            }
            None => format!("{taken} are at work"),
        };
        format!("{limit}; {why}")
    }

    /// What about its key keeps somebody waiting.
    fn why_key_waits(&self, limit: &Limit, key: &str, time: Option<Timestamp>) -> Option<String> {
        let (held, taken) = (self.usage.held_by(key), self.usage.slots.len());
        if limit.per_key.is_some_and(|per_key| held >= per_key) {
            return Some(format!("{held} of key {key:?} and {taken} in all are at work"));
        }
        let (rate, time) = (limit.per_key_rate?, time?);
        match self.usage.paces.due(KeyMark::of(key), rate, time) {
            None => Some(format!(
                "{LIMIT_KEYS_MAX} other keys began lately, and a limit remembers no more of them"
            )),
            Some(due) if due > time => Some(format!("the next of key {key:?} may begin at {due:.0}")),
            Some(_) => None,
        }
    }

    pub(super) fn awaits(&self, slot: &Slot) -> bool {
        self.line.contains(slot) || self.asked.iter().any(|(asked, _)| asked == slot)
    }

    /// Somebody comes, and stands at the end of the line.
    pub(super) fn queue(&mut self, slot: Slot, priority: i16, now: Instant) {
        self.line.push(slot, priority);
        self.look_at = Some(now);
        self.reshuffled = true;
    }

    /// What the run waits for is the place of the one that goes on in it.
    pub(super) fn inherits(&mut self, heir: RunId, from: RunId) {
        self.heirs.insert(heir, from);
    }

    /// The run has gone on in another, to which its place is left. It is nobody's until that one comes.
    pub(super) fn bequeath(&mut self, run: &RunId, step: &StepKey, now: Instant) {
        let held = self.held.len();
        self.held.retain(|slot| slot.run != *run || slot.step != *step);
        if self.held.len() < held {
            self.look_at = Some(now);
        }
    }

    /// The step needs no place any more, or not for this attempt and those before it.
    pub(super) fn leave(&mut self, run: &RunId, step: &StepKey, attempt: Option<u32>, now: Instant) {
        let is_meant = |slot: &Slot| attempt.is_none_or(|attempt| slot.attempt <= attempt);
        let is_it = |slot: &Slot| slot.run == *run && slot.step == *step && is_meant(slot);
        let waited = self.line.of_step(run, step).is_some_and(is_meant) && self.line.remove(run, step).is_some();
        let asked = self.asked.extract_if(.., |(slot, _)| is_it(slot)).map(|(slot, _)| slot);
        let holding = of_step(&self.held, run, step).chain(self.usage.of_step(run, step));
        let over: Vec<Slot> = holding.filter(|slot| is_meant(slot)).cloned().chain(asked).collect();
        if !waited && over.is_empty() {
            return;
        }
        for slot in &over {
            self.held.remove(slot);
        }
        self.over.extend(over);
        self.look_at = Some(now);
        self.reshuffled = true;
    }

    /// What is written next, if anything.
    pub(super) fn write(&mut self, at: &Moment<'_>) -> Option<(Usage, u64)> {
        self.look_at = None;
        if self.writing {
            return None;
        }
        let mut before = self.usage.clone();
        before.paces.forget(at.limit.per_key_rate, at.time);
        if let Some(declared) = self.declared {
            before.code = Some(declared.limit(None)).filter(|limit| !limit.is_none());
        }
        let mut usage = before.clone();
        self.begun.hold_back(&mut usage, &at.limit, at.time);
        usage.slots.retain(|slot| !self.over.contains(slot));
        usage.slots.extend(self.held.iter().cloned());
        self.over.retain(|slot| self.usage.slots.contains(slot));
        self.take_out_strangers(&mut usage, at);
        self.ask(&mut usage, at);
        // That something is forgotten, or that the code says something else, is nothing to write for.
        if usage == before {
            return None;
        }
        self.writing = true;
        Some((usage, self.revision))
    }

    fn take_out_strangers(&mut self, usage: &mut Usage, at: &Moment<'_>) {
        let is_strange = |slot: &Slot| {
            slot.run.partition() == at.partition
                && !self.held.contains(slot)
                && !self.line.contains(slot)
                && !(at.stands_still)(&slot.run)
        };
        let strange: BTreeSet<Slot> = usage.slots.iter().filter(|slot| is_strange(slot)).cloned().collect();
        self.strange.retain(|slot, _| strange.contains(slot));
        for slot in strange {
            let since = *self.strange.entry(slot.clone()).or_insert(at.now);
            if at.knows_all && at.now.since(since) >= STRANGE_FOR {
                usage.slots.remove(&slot);
            } else {
                self.look_within(at.now, STRANGE_FOR);
            }
        }
    }

    /// A write was acknowledged: those who asked hold their places now, and so does who came meanwhile and has one by a predecessor.
    pub(super) fn written(&mut self, usage: Usage, revision: u64, now: Instant) -> Vec<Slot> {
        self.writing = false;
        let mut got: Vec<Slot> = self.asked.drain(..).map(|(slot, _)| slot).collect();
        self.held.extend(got.iter().cloned());
        self.begun.note(&got, &usage);
        got.extend(self.stands(usage, revision, now));
        got.extend(self.catch_up(now));
        got
    }

    /// A write was not made, or not acknowledged; this is what stands.
    pub(super) fn found(&mut self, usage: Usage, revision: u64, now: Instant) -> Vec<Slot> {
        self.writing = false;
        for (slot, place) in std::mem::take(&mut self.asked).into_iter().rev() {
            self.line.put_back(slot, place);
        }
        let mut adopted = self.stands(usage, revision, now);
        adopted.extend(self.catch_up(now));
        adopted
    }

    /// The record has changed.
    pub(super) fn learned(&mut self, revision: u64, usage: Usage, now: Instant) -> Vec<Slot> {
        if self.writing {
            self.news = Some((revision, usage));
            return Vec::new();
        }
        if revision <= self.revision {
            return Vec::new();
        }
        self.stands(usage, revision, now)
    }

    fn catch_up(&mut self, now: Instant) -> Vec<Slot> {
        match self.news.take() {
            Some((revision, usage)) => self.learned(revision, usage, now),
            None => Vec::new(),
        }
    }

    /// That is how it stands. Who waits here and has a place there (a write of ours that was thought lost, or a predecessor's) holds it.
    fn stands(&mut self, usage: Usage, revision: u64, now: Instant) -> Vec<Slot> {
        (self.usage, self.revision, self.changed) = (usage, revision, now);
        self.look_at = Some(now);
        self.reshuffled = true;
        let adopted: Vec<Slot> = self
            .usage
            .slots
            .iter()
            .filter(|slot| self.line.contains(slot))
            .cloned()
            .collect();
        for slot in &adopted {
            drop(self.line.remove(&slot.run, &slot.step));
            self.held.insert(slot.clone());
        }
        self.begun.note(&adopted, &self.usage);
        adopted
    }

    /// Nothing is limited any more: everybody goes.
    pub(super) fn open(&mut self) -> Vec<Slot> {
        std::iter::from_fn(|| self.line.pick(false, |_| true))
            .map(|(slot, _)| slot)
            .collect()
    }

    /// The steps of a run that hold a place or ask for one.
    pub(super) fn steps_of(&self, run: &RunId) -> impl Iterator<Item = StepKey> {
        let holding = self.usage.slots.iter().chain(&self.held);
        let slots = holding.chain(self.asked.iter().map(|(slot, _)| slot));
        slots.filter(move |slot| slot.run == *run).map(|slot| slot.step.clone())
    }
}

#[cfg(test)]
mod tests;
