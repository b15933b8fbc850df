//! So many in so long, evenly spread.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// What was missed within this time, because nobody looked in time, may be made up for. So in any time `t` at most `count × (t + this) / per + 1` begin.
const MADE_UP_FOR: Duration = Duration::from_millis(100);

/// How far apart the clocks of two who ask may be at most, generously: by so much the next one may seem further away than the interval.
const CLOCKS_APART: Duration = Duration::from_secs(1);

/// The fastest rate per second: beyond that compare-and-set on one record is the limit.
const PER_SECOND_MAX: u32 = 10_000;

/// A rate such as `100/s`.
///
/// ```
/// use std::time::Duration;
/// use everstep_common::flow::Rate;
///
/// let rate: Rate = "5/min".parse().unwrap();
/// assert_eq!(rate, Rate { count: 5, per: Duration::from_secs(60) });
/// assert_eq!("10/30s".parse::<Rate>().unwrap().to_string(), "10/30s");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// So many.
    pub count: u32,
    /// In so long.
    pub per: Duration,
}

/// A text or number that is no rate.
///
/// ```
/// use everstep_common::flow::Rate;
///
/// let error = "often".parse::<Rate>().unwrap_err();
/// assert!(error.to_string().starts_with("\"often\" is no rate: write 100/s"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no rate: write 100/s, 5/min, 20/h or 10/30s, at most 10000 a second")]
pub struct InvalidRate(String);

impl Rate {
    /// A rate within its bounds.
    ///
    /// ```
    /// use std::time::Duration;
    /// use everstep_common::flow::Rate;
    ///
    /// assert_eq!(Rate::new(100, Duration::from_secs(1)).unwrap().to_string(), "100/s");
    /// assert!(Rate::new(0, Duration::from_secs(1)).is_err());
    /// ```
    pub fn new(count: u32, per: Duration) -> Result<Self, InvalidRate> {
        let rate = Self { count, per };
        let too_fast = u128::from(count) * 1_000 > u128::from(PER_SECOND_MAX) * per.as_millis();
        if count == 0 || per < Duration::from_millis(1) || too_fast {
            return Err(InvalidRate(rate.to_string()));
        }
        Ok(rate)
    }

    /// The time between two.
    ///
    /// ```
    /// use everstep_common::flow::Rate;
    ///
    /// assert_eq!("20/s".parse::<Rate>().unwrap().interval().as_millis(), 50);
    /// ```
    pub fn interval(self) -> Duration {
        self.per / self.count
    }

    /// How many may begin at `now`, if the next one was to begin at `next`.
    ///
    /// ```
    /// use everstep_common::flow::Rate;
    /// use jiff::{SignedDuration, Timestamp};
    ///
    /// let rate: Rate = "20/s".parse().unwrap();
    /// let now = Timestamp::UNIX_EPOCH;
    /// assert_eq!(rate.ready(None, now), 1);
    /// assert_eq!(rate.ready(Some(now + SignedDuration::from_millis(1)), now), 0);
    /// ```
    pub fn ready(self, next: Option<Timestamp>, now: Timestamp) -> u32 {
        let next = self.due(next, now);
        match Duration::try_from(now.duration_since(next)) {
            Ok(late) => u32::try_from(late.as_nanos() / self.interval().as_nanos().max(1) + 1).unwrap_or(u32::MAX),
            Err(_) => 0,
        }
    }

    /// When the next one may begin after `begun` have begun at `now`.
    ///
    /// ```
    /// use everstep_common::flow::Rate;
    /// use jiff::{SignedDuration, Timestamp};
    ///
    /// let rate: Rate = "20/s".parse().unwrap();
    /// let now = Timestamp::UNIX_EPOCH;
    /// assert_eq!(rate.after(None, now, 2), now + SignedDuration::from_millis(100));
    /// ```
    pub fn after(self, next: Option<Timestamp>, now: Timestamp, begun: u32) -> Timestamp {
        later(self.due(next, now), self.interval().saturating_mul(begun))
    }

    /// When the next one may begin. What a slower rate put off for longer than this one would is not waited for.
    pub fn due(self, next: Option<Timestamp>, now: Timestamp) -> Timestamp {
        let earliest = now
            .checked_sub(SignedDuration::try_from(MADE_UP_FOR).unwrap_or(SignedDuration::ZERO))
            .unwrap_or(now);
        // The first one of all begins now, and makes up for nothing.
        next.filter(|next| self.heeds(*next, now))
            .map_or(now, |next| next.max(earliest))
    }

    /// When more may begin than may at `now`, if that comes by itself.
    ///
    /// ```
    /// use everstep_common::flow::Rate;
    /// use jiff::{SignedDuration, Timestamp};
    ///
    /// let rate: Rate = "20/s".parse().unwrap();
    /// let now = Timestamp::UNIX_EPOCH;
    /// let next = rate.after(None, now, 1);
    /// assert_eq!(rate.more_at(Some(next), now), Some(next));
    /// assert_eq!(rate.more_at(Some(next), next), Some(next + SignedDuration::from_millis(50)), "that one, and one more");
    /// assert_eq!(rate.more_at(Some(next), next + SignedDuration::from_secs(1)), None, "no more is made up for");
    /// ```
    pub fn more_at(self, next: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        let next = next.filter(|next| self.heeds(*next, now))?;
        let ready = self.ready(Some(next), now);
        let more = later(self.due(Some(next), now), self.interval().saturating_mul(ready));
        (more <= later(next, MADE_UP_FOR)).then_some(more)
    }

    /// Whether it waits for the next one to begin: no slower rate has put that off.
    pub(super) fn heeds(self, next: Timestamp, now: Timestamp) -> bool {
        next <= later(now, self.interval().saturating_add(CLOCKS_APART))
    }

    /// From when on it makes no difference that the next one was to begin at `next`: nobody's clock has it ahead, and nothing is made up for.
    pub(super) fn forgotten(next: Timestamp) -> Timestamp {
        later(next, CLOCKS_APART + MADE_UP_FOR)
    }
}

fn later(time: Timestamp, duration: Duration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.per.as_millis() {
            1_000 => write!(f, "{}/s", self.count),
            60_000 => write!(f, "{}/min", self.count),
            3_600_000 => write!(f, "{}/h", self.count),
            _ => write!(f, "{}/{:?}", self.count, self.per),
        }
    }
}

impl FromStr for Rate {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Self, InvalidRate> {
        let invalid = || InvalidRate(text.to_owned());
        let (count, per) = text.split_once('/').ok_or_else(invalid)?;
        let unit = if per.starts_with(|first: char| first.is_ascii_digit()) {
            per.to_owned()
        } else {
            format!("1{per}")
        };
        let per: SignedDuration = unit.parse().map_err(|_| invalid())?;
        let per = Duration::try_from(per).map_err(|_| invalid())?;
        Self::new(count.parse().map_err(|_| invalid())?, per).map_err(|_| invalid())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).unwrap()
    }

    #[test]
    fn rates_are_written_as_people_write_them() {
        for (text, count, seconds) in [("100/s", 100, 1), ("5/min", 5, 60), ("20/h", 20, 3_600), ("10/30s", 10, 30)] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.count, rate.per), (count, Duration::from_secs(seconds)), "{text}");
            assert_eq!(rate.to_string(), text);
        }
        for text in ["", "100", "/s", "0/s", "-1/s", "20000/s", "5/fortnight", "1/0s"] {
            assert!(text.parse::<Rate>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_begins_is_spread_evenly_whoever_looks_when() {
        let rate = Rate::new(10, Duration::from_secs(1)).unwrap();
        let (mut next, mut begun) = (None, Vec::new());
        // Looked at now and then, and not at all between 2 s and 4 s.
        for now in (0..2_000).step_by(7).chain((4_000..6_000).step_by(13)) {
            let ready = rate.ready(next, at(now));
            if ready > 0 {
                next = Some(rate.after(next, at(now), ready));
                begun.extend((0..ready).map(|_| now));
            }
        }
        for (place, first) in begun.iter().enumerate() {
            let within = begun[place..].iter().take_while(|time| **time < first + 1_000).count();
            assert!(within <= 12, "{within} begin within a second from {first} ms on");
        }
        assert!((38..=42).contains(&begun.len()), "{} in four seconds", begun.len());
    }

    #[test]
    fn a_faster_rate_does_not_wait_for_what_a_slower_one_put_off() {
        let slow = Rate::new(1, Duration::from_secs(3_600)).unwrap();
        let fast = Rate::new(100, Duration::from_secs(1)).unwrap();
        let next = slow.after(None, at(0), 1);
        assert_eq!((next, slow.ready(Some(next), at(3_599_999))), (at(3_600_000), 0));
        assert_eq!(fast.ready(Some(next), at(1_000)), 1);
        assert_eq!(fast.after(Some(next), at(1_000), 1), at(1_010));
        assert_eq!(fast.ready(Some(at(1_010)), at(950)), 0, "another one's clock may be behind");
    }
}
