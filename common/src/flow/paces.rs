//! The rate of each key: what a limit remembers of when the next of a key may begin.
//!
//! A key is remembered by a mark of its own length, whatever the key's, so that a record with as many as it may hold fits into one message.
//! It is forgotten when nobody's clock has its next turn ahead any more; while there is no room for another key, what is of a new one waits.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Rate;
use crate::limits::LIMIT_KEYS_MAX;

/// How a key is remembered: the first bytes of its SHA-256. Two keys of one mark would share their turns, and wait for each other.
///
/// ```
/// use everstep_common::flow::KeyMark;
///
/// assert_eq!(KeyMark::of("customer 7"), KeyMark::of("customer 7"));
/// assert_ne!(KeyMark::of("customer 7"), KeyMark::of("customer 8"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyMark(u64);

impl KeyMark {
    /// That of a key.
    pub fn of(key: &str) -> Self {
        let digest: [u8; 32] = Sha256::digest(key).into();
        Self(digest.iter().take(8).fold(0, |mark, byte| (mark << 8) | u64::from(*byte)))
    }
}

/// When the next of each key may begin, of those that began lately.
///
/// ```
/// use everstep_common::flow::{KeyMark, Paces, Rate};
/// use jiff::{SignedDuration, Timestamp};
///
/// let (rate, now): (Rate, _) = ("5/min".parse().unwrap(), Timestamp::UNIX_EPOCH);
/// let (busy, calm) = (KeyMark::of("busy"), KeyMark::of("calm"));
/// let mut paces = Paces::default();
/// paces.begin(busy, rate, now);
/// assert_eq!(paces.due(busy, rate, now), Some(now + SignedDuration::from_secs(12)));
/// assert_eq!(paces.due(calm, rate, now), Some(now));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Paces(BTreeMap<KeyMark, Next>);

/// A moment in nanoseconds since 1970: a quarter of the bytes that it has as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
struct Next(i64);

impl Next {
    /// What is beyond the year 2262 is then.
    fn at(time: Timestamp) -> Self {
        Self(i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX))
    }

    fn time(self) -> Timestamp {
        Timestamp::from_nanosecond(self.0.into()).unwrap_or(Timestamp::MAX)
    }
}

impl Paces {
    /// How many keys are remembered.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// When the next of the key may begin; nothing: its turn could not be remembered, and it waits for [`Paces::room_at`].
    pub fn due(&self, key: KeyMark, rate: Rate, now: Timestamp) -> Option<Timestamp> {
        let next = self.next(key);
        (next.is_some() || self.room() > 0).then(|| rate.due(next, now))
    }

    /// How many of the key may begin at `now`.
    pub fn ready(&self, key: KeyMark, rate: Rate, now: Timestamp) -> u32 {
        let next = self.next(key);
        match next.is_some() || self.room() > 0 {
            true => rate.ready(next, now),
            false => 0,
        }
    }

    /// One of the key begins.
    pub fn begin(&mut self, key: KeyMark, rate: Rate, now: Timestamp) {
        let next = rate.after(self.next(key), now, 1);
        self.0.insert(key, Next::at(next));
    }

    /// Whether the key is remembered.
    pub fn knows(&self, key: KeyMark) -> bool {
        self.0.contains_key(&key)
    }

    /// How many more keys can be remembered.
    pub fn room(&self) -> usize {
        LIMIT_KEYS_MAX.saturating_sub(self.0.len())
    }

    /// When the first of those that are remembered is forgotten.
    pub fn room_at(&self) -> Option<Timestamp> {
        self.0.values().min().map(|next| Rate::forgotten(next.time()))
    }

    /// Forgets the keys whose time no longer tells anything: it has passed for everybody, or a slower rate had put it off.
    pub fn forget(&mut self, rate: Option<Rate>, now: Timestamp) {
        self.0.retain(|_, next| {
            let next = next.time();
            Rate::forgotten(next) > now && rate.is_none_or(|rate| rate.heeds(next, now))
        });
    }

    /// Notes of a key what another record says of it.
    pub fn note(&mut self, key: KeyMark, other: &Self) {
        if let Some(next) = other.0.get(&key) {
            self.0.insert(key, *next);
        }
    }

    /// None of the turns that the other one knows to lie ahead comes earlier than it says.
    pub fn hold_back(&mut self, other: &Self, now: Timestamp) {
        for (key, next) in other.0.iter().filter(|(_, next)| next.time() > now) {
            self.0
                .entry(*key)
                .and_modify(|held| *held = (*held).max(*next))
                .or_insert(*next);
        }
    }

    fn next(&self, key: KeyMark) -> Option<Timestamp> {
        self.0.get(&key).map(|next| next.time())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).unwrap()
    }

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    fn key(number: usize) -> KeyMark {
        KeyMark::of(&format!("key {number}"))
    }

    #[test]
    fn keys_have_turns_of_their_own_and_none_in_a_burst() {
        let (rate, mut paces) = (rate("10/s"), Paces::default());
        let mut begun = [Vec::new(), Vec::new()];
        for now in (0..3_000).step_by(7) {
            for (number, begun) in begun.iter_mut().enumerate() {
                for _ in 0..paces.ready(key(number), rate, at(now)) {
                    paces.begin(key(number), rate, at(now));
                    begun.push(now);
                }
            }
            paces.forget(Some(rate), at(now));
        }
        for begun in begun {
            assert!((29..=31).contains(&begun.len()), "{} in three seconds", begun.len());
            for (place, first) in begun.iter().enumerate() {
                let within = begun[place..].iter().take_while(|time| **time < first + 1_000).count();
                assert!(within <= 11, "{within} of a key within a second from {first} ms on");
            }
        }
    }

    #[test]
    fn a_key_is_forgotten_when_its_turn_has_come_for_everybody() {
        let (rate, mut paces) = (rate("1/s"), Paces::default());
        paces.begin(key(1), rate, at(0));
        for (now, known) in [(999, true), (2_099, true), (2_100, false)] {
            paces.forget(Some(rate), at(now));
            assert_eq!(paces.knows(key(1)), known, "at {now} ms");
        }
    }

    #[test]
    fn what_cannot_be_remembered_waits() {
        let (rate, mut paces) = (rate("1/h"), Paces::default());
        for number in 0..LIMIT_KEYS_MAX {
            assert_eq!(paces.ready(key(number), rate, at(0)), 1);
            paces.begin(key(number), rate, at(0));
        }
        let new = key(LIMIT_KEYS_MAX);
        assert_eq!((paces.ready(new, rate, at(10)), paces.due(new, rate, at(10))), (0, None));
        assert_eq!(
            paces.due(key(7), rate, at(10)),
            Some(at(3_600_000)),
            "the others are remembered"
        );
        let room_at = paces.room_at().unwrap();
        assert_eq!(room_at, at(3_601_100));
        paces.forget(Some(rate), room_at);
        assert_eq!((paces.len(), paces.ready(new, rate, room_at)), (0, 1));
    }

    #[test]
    fn a_faster_rate_forgets_what_a_slower_one_put_off_and_a_slower_one_heeds_it() {
        let (slow, fast, mut paces) = (rate("1/h"), rate("10/s"), Paces::default());
        paces.begin(key(1), slow, at(0));
        let mut faster = paces.clone();
        faster.forget(Some(fast), at(10));
        assert_eq!((faster.len(), faster.due(key(1), fast, at(10))), (0, Some(at(10))));
        faster.begin(key(1), fast, at(10));
        faster.forget(Some(slow), at(20));
        assert_eq!(faster.due(key(1), slow, at(20)), Some(at(110)), "it began a moment ago");
        paces.forget(None, at(10));
        assert_eq!(paces.len(), 1, "a successor that does not know the rate yet leaves it");
    }

    #[test]
    fn an_older_record_gives_no_turn_again() {
        let rate = rate("1/min");
        let (mut ours, mut record) = (Paces::default(), Paces::default());
        record.begin(key(1), rate, at(0));
        let older = record.clone();
        record.begin(key(1), rate, at(60_000));
        ours.note(key(1), &record);
        ours.note(key(2), &record);
        assert_eq!(ours.len(), 1, "of a key that is not there is nothing to note");
        let mut forgetful = Paces::default();
        forgetful.hold_back(&ours, at(120_000));
        assert!(forgetful.is_empty(), "what has passed for somebody is not told again");
        for mut restored in [older, Paces::default()] {
            restored.hold_back(&ours, at(61_000));
            assert_eq!(restored.due(key(1), rate, at(61_000)), Some(at(120_000)));
        }
    }
}
