//! One limit as one partition sees it: who waits here, who holds a place, and what is to be written into the limit's record.
//!
//! ```text
//!   waiting ──picked──▶ asked ──written──▶ held ──outcome in the journal──▶ over ──written──▶ gone
//!      ▲──────────────────┘ somebody else wrote first
//! ```
//!
//! Nobody holds a place before the record says so. What the record says of this partition and nobody here knows is of a predecessor, whose
//! run is read back soon; if it stays unknown for long it is taken out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use everstep_common::flow::{Demand, Limit, Slot, Usage, is_aged};
use everstep_common::ids::{Partition, RunId};
use everstep_common::key::StepKey;
use everstep_common::limits::LIMIT_SLOTS_MAX;
use everstep_common::ports::Instant;
use jiff::Timestamp;

use super::line::{Line, Place};

/// How long a place of this partition may be nobody's before it is taken out: what a predecessor did last has come by then.
const STRANGE_FOR: Duration = Duration::from_secs(5);

/// How long others may leave a free place to themselves: whoever it is meant for is gone, and asks again when he is back.
const LEFT_FOR: Duration = Duration::from_secs(5);

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
    pub(super) line: Line,
    /// What the code says last.
    pub(super) declared: Limit,
    asked: Vec<(Slot, Place)>,
    held: BTreeSet<Slot>,
    over: BTreeSet<Slot>,
    strange: BTreeMap<Slot, Instant>,
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
}

impl Room {
    pub(super) fn new(revision: u64, usage: Usage, now: Instant) -> Self {
        Self {
            line: Line::default(),
            declared: Limit::NONE,
            asked: Vec::new(),
            held: BTreeSet::new(),
            over: BTreeSet::new(),
            strange: BTreeMap::new(),
            writing: false,
            news: None,
            usage,
            revision,
            changed: now,
            since: None,
            look_at: Some(now),
        }
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

    /// Who waits for a place of a key that another one holds, and that other one.
    pub(super) fn kept_waiting(&self) -> Vec<(Slot, Slot)> {
        let holder = |slot: &Slot| self.usage.slots.iter().find(|holder| holder.key == slot.key).cloned();
        let waiting = self.line.all();
        waiting.filter_map(|slot| Some((slot.clone(), holder(slot)?))).collect()
    }

    /// Why somebody with that key waits, for people to read.
    pub(super) fn why_waits(&self, limit: &Limit, key: Option<&str>) -> String {
        let taken = self.usage.slots.len();
        match key.filter(|key| !has_room(&self.usage, limit, Some(key))) {
            Some(key) => format!(
                "{limit}; {} of key {key:?} and {taken} in all are at work",
                self.usage.held_by(key)
            ),
            None => format!("{limit}; {taken} are at work"),
        }
    }

    pub(super) fn awaits(&self, slot: &Slot) -> bool {
        self.line.contains(slot) || self.asked.iter().any(|(asked, _)| asked == slot)
    }

    /// The step needs no place any more, or not for this attempt.
    pub(super) fn leave(&mut self, run: &RunId, step: &StepKey, attempt: Option<u32>) {
        let is_it = |slot: &Slot| slot.run == *run && slot.step == *step && attempt.is_none_or(|attempt| slot.attempt <= attempt);
        if attempt.is_none() {
            drop(self.line.remove(run, step));
        }
        let asked = self.asked.extract_if(.., |(slot, _)| is_it(slot)).map(|(slot, _)| slot);
        self.over.extend(asked);
        self.over.extend(self.held.extract_if(.., |slot| is_it(slot)));
        self.over.extend(self.usage.slots.iter().filter(|slot| is_it(slot)).cloned());
    }

    /// What is written next, if anything.
    pub(super) fn write(&mut self, at: &Moment<'_>) -> Option<(Usage, u64)> {
        self.look_at = None;
        if self.writing {
            return None;
        }
        let mut usage = self.usage.clone();
        usage.slots.retain(|slot| !self.over.contains(slot));
        self.over.retain(|slot| self.usage.slots.contains(slot));
        self.take_out_strangers(&mut usage, at);
        self.ask(&mut usage, at);
        if usage == self.usage {
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

    /// Takes the places that are ours, and says what we wait for.
    fn ask(&mut self, usage: &mut Usage, at: &Moment<'_>) {
        let free = usage.free(&at.limit, at.time);
        self.demand(usage, at);
        let share = usage.share(at.partition, free);
        for _ in 0..share {
            let admits = |slot: &Slot| has_room(usage, &at.limit, slot.key.as_deref());
            let Some((slot, place)) = self.line.pick(is_aged(usage.given), admits) else {
                break;
            };
            usage.slots.insert(slot.clone());
            usage.given += 1;
            self.asked.push((slot, place));
        }
        let begun = u32::try_from(self.asked.len()).unwrap_or(u32::MAX);
        if begun > 0 {
            usage.next = at.limit.rate.map(|rate| rate.after(usage.next, at.time, begun));
            self.since = Some(at.time);
        } else if at.limit.rate.is_none() {
            usage.next = None;
        }
        self.demand(usage, at);
        if self.line.is_empty() {
            return;
        }
        if free > 0 && begun == 0 && usage.waiting.contains_key(&at.partition) {
            if at.now.since(self.changed) >= LEFT_FOR {
                usage.waiting.retain(|partition, _| *partition == at.partition);
            }
            self.look_within(at.now, LEFT_FOR);
        }
        if let (Some(_), Some(next)) = (at.limit.rate, usage.next) {
            let until = Duration::try_from(next.duration_since(at.time)).unwrap_or(Duration::ZERO);
            self.look_within(at.now, until.max(Duration::from_millis(1)));
        }
    }

    fn look_within(&mut self, now: Instant, duration: Duration) {
        let at = Instant(now.0 + duration);
        self.look_at = Some(self.look_at.map_or(at, |before| before.min(at)));
    }

    /// Says in the record what this partition waits for, as far as that matters to the others.
    fn demand(&mut self, usage: &mut Usage, at: &Moment<'_>) {
        let most = at.limit.concurrency.unwrap_or(LIMIT_SLOTS_MAX).min(LIMIT_SLOTS_MAX);
        let (mut count, mut priority) = (0, i16::MIN);
        for (of_key, first, waiting) in self.line.keys() {
            let room = match (at.limit.per_key, first.key.as_deref()) {
                (Some(per_key), Some(key)) => per_key.saturating_sub(usage.held_by(key)),
                _ => most,
            };
            let could = room.min(u32::try_from(waiting).unwrap_or(u32::MAX));
            if could > 0 {
                count += could;
                priority = priority.max(of_key);
            }
            if count >= most {
                break;
            }
        }
        if count == 0 {
            usage.waiting.remove(&at.partition);
            if self.line.is_empty() {
                self.since = None;
            }
            return;
        }
        let priority = i8::try_from(priority).unwrap_or(if priority > 0 { i8::MAX } else { i8::MIN });
        let demand = Demand {
            count: count.min(most),
            priority,
            since: *self.since.get_or_insert(at.time),
        };
        usage.waiting.insert(at.partition, demand);
    }

    /// A write was acknowledged: those who asked hold their places now, and so does who came meanwhile and has one by a predecessor.
    pub(super) fn written(&mut self, usage: Usage, revision: u64, now: Instant) -> Vec<Slot> {
        self.writing = false;
        let mut got: Vec<Slot> = self.asked.drain(..).map(|(slot, _)| slot).collect();
        self.held.extend(got.iter().cloned());
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
        let slots = self.usage.slots.iter().chain(self.asked.iter().map(|(slot, _)| slot));
        slots.filter(move |slot| slot.run == *run).map(|slot| slot.step.clone())
    }
}

fn has_room(usage: &Usage, limit: &Limit, key: Option<&str>) -> bool {
    match (limit.per_key, key) {
        (Some(per_key), Some(key)) => usage.held_by(key) < per_key,
        _ => true,
    }
}

#[cfg(test)]
mod tests;
