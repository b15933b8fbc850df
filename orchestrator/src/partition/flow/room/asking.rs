//! Who is let in next: how many of the free places are this partition's, whom their keys let begin, and when to look again if nothing comes.

use std::collections::HashMap;
use std::time::Duration;

use everstep_common::flow::{Demand, KeyMark, Limit, Paces, Rate, Slot, Usage, is_aged};
use everstep_common::journal::RunTimer;
use everstep_common::limits::LIMIT_SLOTS_MAX;
use everstep_common::ports::Instant;
use jiff::Timestamp;

use super::super::line::First;
use super::{Moment, Room};

/// How long others may leave a free place to themselves: whoever it is meant for is gone, and asks again when he is back.
const LEFT_FOR: Duration = Duration::from_secs(5);

/// What the limit says of keys, and how many of each are at work.
struct Keys<'a> {
    limit: &'a Limit,
    time: Timestamp,
    held: HashMap<String, u32>,
}

impl Keys<'_> {
    /// How many more of its key may begin now, if that is limited.
    fn admit(&self, first: First<'_>, paces: &Paces) -> Option<u32> {
        let key = first.slot.key.as_deref()?;
        let held = || self.held.get(key).copied().unwrap_or(0);
        let places = self.limit.per_key.map(|per_key| per_key.saturating_sub(held()));
        let turns = self.rate(first.mark).map(|(mark, rate)| paces.ready(mark, rate, self.time));
        places.into_iter().chain(turns).min()
    }

    fn rate(&self, mark: Option<KeyMark>) -> Option<(KeyMark, Rate)> {
        mark.zip(self.limit.per_key_rate)
    }

    /// One begins.
    fn begin(&mut self, slot: &Slot, paces: &mut Paces) {
        let Some(key) = &slot.key else { return };
        *self.held.entry(key.clone()).or_default() += 1;
        if let Some(rate) = self.limit.per_key_rate {
            paces.begin(KeyMark::of(key), rate, self.time);
        }
    }
}

impl Room {
    /// Takes the places that are ours, and says what we wait for.
    pub(super) fn ask(&mut self, usage: &mut Usage, at: &Moment<'_>) {
        self.inherit(usage);
        let inherited = self.asked.len();
        let free = usage.free(&at.limit, at.time);
        let mut keys = Keys {
            limit: &at.limit,
            time: at.time,
            held: usage.held_by_key(),
        };
        self.demand(usage, &keys, at);
        let share = usage.share(at.partition, free);
        for _ in 0..share {
            let admits = |first: First<'_>| keys.admit(first, &usage.paces).is_none_or(|more| more > 0);
            let Some((slot, place)) = self.line.pick(is_aged(usage.given), admits) else {
                break;
            };
            keys.begin(&slot, &mut usage.paces);
            usage.slots.insert(slot.clone());
            usage.given += 1;
            self.asked.push((slot, place));
        }
        let begun = u32::try_from(self.asked.len() - inherited).unwrap_or(u32::MAX);
        if begun > 0 {
            usage.next = at.limit.rate.map(|rate| rate.after(usage.next, at.time, begun));
            self.since = Some(at.time);
        }
        self.demand(usage, &keys, at);
        if self.line.is_empty() {
            return;
        }
        if free > 0 && begun == 0 && usage.waiting.contains_key(&at.partition) {
            if at.now.since(self.changed) >= LEFT_FOR {
                usage.waiting.retain(|partition, _| *partition == at.partition);
            }
            self.look_within(at.now, LEFT_FOR);
        }
        let more_at = at.limit.rate.and_then(|rate| rate.more_at(usage.next, at.time));
        for due in more_at.into_iter().chain(self.next_turn(&usage.paces, &keys)) {
            let until = Duration::try_from(due.duration_since(at.time)).unwrap_or(Duration::ZERO);
            self.look_within(at.now, until.max(Duration::from_millis(1)));
        }
    }

    /// Those who wait for a place that was left to them take it; nobody else does, and no rate keeps them.
    fn inherit(&mut self, usage: &mut Usage) {
        let step = RunTimer::Place.key();
        self.heirs.retain(|heir, _| self.line.of_step(heir, &step).is_some());
        for (heir, from) in &self.heirs {
            let Some(left) = usage.of_step(from, &step).next().cloned() else {
                continue;
            };
            if let Some((slot, place)) = self.line.take_out(heir, &step) {
                usage.slots.remove(&left);
                usage.slots.insert(slot.clone());
                self.asked.push((slot, place));
            }
        }
    }

    /// When the next key of those that wait for their turn may begin.
    fn next_turn(&self, paces: &Paces, keys: &Keys<'_>) -> Option<Timestamp> {
        let rate = keys.limit.per_key_rate?;
        // There is room for one more: whose turn is not remembered waits for nothing.
        let room_at = if paces.room() == 0 { paces.room_at() } else { None };
        let marks = self.line.keys().filter_map(|(_, first, _)| first.mark);
        let due = marks.filter_map(|mark| paces.due(mark, rate, keys.time).or(room_at));
        due.filter(|due| *due > keys.time).min()
    }

    pub(super) fn look_within(&mut self, now: Instant, duration: Duration) {
        let at = Instant(now.0 + duration);
        self.look_at = Some(self.look_at.map_or(at, |before| before.min(at)));
    }

    /// Says in the record what this partition waits for, as far as that matters to the others.
    fn demand(&mut self, usage: &mut Usage, keys: &Keys<'_>, at: &Moment<'_>) {
        let most = at.limit.concurrency.unwrap_or(LIMIT_SLOTS_MAX).min(LIMIT_SLOTS_MAX);
        let (mut count, mut priority) = (0, i16::MIN);
        for (of_key, first, waiting) in self.line.keys() {
            let may = keys.admit(first, &usage.paces).unwrap_or(most);
            let could = may.min(u32::try_from(waiting).unwrap_or(u32::MAX));
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
}
