//! The partition's idea of the server's time.
//!
//! The newest time stamp the feed has brought, plus what has passed since by the monotonic clock. A stamp is made before it
//! arrives, so this is never ahead of the server's clock, whatever the wall clock does: a timer fired by it is never early.

use everstep_common::ports::Instant;
use jiff::{SignedDuration, Timestamp};

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
        let passed = SignedDuration::try_from(now.since(seen)).unwrap_or(SignedDuration::MAX);
        Some(stamp.checked_add(passed).unwrap_or(Timestamp::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_estimate_never_goes_back_and_never_runs_ahead() {
        let stamp = |seconds| Timestamp::from_second(seconds).unwrap();
        let at = |seconds| Instant(Duration::from_secs(seconds));
        let mut clock = ServerClock::default();
        assert_eq!(clock.at(at(5)), None);
        clock.observe(stamp(100), at(5));
        assert_eq!(clock.at(at(7)), Some(stamp(102)));
        clock.observe(stamp(101), at(7));
        assert_eq!(clock.at(at(7)), Some(stamp(102)), "a late message says nothing new");
        clock.observe(stamp(110), at(8));
        assert_eq!(clock.at(at(8)), Some(stamp(110)));
    }
}
