//! The partition's idea of the server's time.
//!
//! The newest time stamp the feed has brought, plus what has passed since by the monotonic clock. A stamp is made before it
//! arrives, so this is never ahead of the server's clock, whatever the wall clock does: a timer fired by it is never early. For that two
//! clocks may differ in speed while nothing comes, a little less is counted than has passed; the server's own schedules, a quarter of a
//! second late at most, are then the quicker ones.

use everstep_common::ports::Instant;
use jiff::{SignedDuration, Timestamp};

/// Of how much that passes one part is not counted: two clocks, each slewed by 500 parts in a million, as much as NTP does.
const DRIFT_PARTS: u32 = 1_000;

#[derive(Debug, Default)]
pub(crate) struct ServerClock {
    newest: Option<(Timestamp, Instant)>,
}

impl ServerClock {
    /// A time stamp of the server arrived at `now`.
    pub(crate) fn observe(&mut self, stamp: Timestamp, now: Instant) {
        if self.at(now).is_none_or(|estimate| stamp > estimate) {
            self.newest = Some((stamp, now));
        }
    }

    /// The server's time at `now` or a little earlier; unknown before the first stamp.
    pub(crate) fn at(&self, now: Instant) -> Option<Timestamp> {
        let (stamp, seen) = self.newest?;
        let passed = now.since(seen);
        let passed = SignedDuration::try_from(passed - passed / DRIFT_PARTS).unwrap_or(SignedDuration::MAX);
        Some(stamp.checked_add(passed).unwrap_or(Timestamp::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_estimate_never_goes_back_and_never_runs_ahead() {
        let stamp = |millis| Timestamp::from_millisecond(millis).unwrap();
        let at = |seconds| Instant(Duration::from_secs(seconds));
        let mut clock = ServerClock::default();
        assert_eq!(clock.at(at(5)), None);
        clock.observe(stamp(100_000), at(5));
        assert_eq!(clock.at(at(7)), Some(stamp(101_998)));
        clock.observe(stamp(101_000), at(7));
        assert_eq!(clock.at(at(7)), Some(stamp(101_998)), "a late message says nothing new");
        clock.observe(stamp(110_000), at(8));
        assert_eq!(clock.at(at(8)), Some(stamp(110_000)));
    }

    #[test]
    fn a_slow_server_is_not_overtaken_in_a_day_of_silence() {
        let at = |seconds| Instant(Duration::from_secs(seconds));
        let day = 24 * 60 * 60;
        let mut clock = ServerClock::default();
        clock.observe(Timestamp::UNIX_EPOCH, at(0));
        let slow = Timestamp::from_millisecond(day * 1_000 - day).unwrap();
        assert!(clock.at(at(day.unsigned_abs())).unwrap() <= slow);
    }
}
