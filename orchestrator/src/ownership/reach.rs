//! Time as it may be counted against others: it stands still while this process cannot see them.
//!
//! A lease that is not renewed while the server is away says nothing about its owner. So a lease's time stands still while the connection is
//! gone, and begins anew when it is back: the owner gets all of its time to renew before anybody takes its partition, and an outage moves no
//! partition, however long it was.
//!
//! Beginning anew has an end: a connection that comes and goes must not keep a contender from a dead owner's partitions for ever. It counts
//! as stable if it stood for the time of a lease. After one that did not, time only stands still and what was counted counts on. So a dead
//! owner's lease runs out after at most one such time of being connected, plus one for each stable connection that was lost just before, and
//! a connection that is stable once more is enough by itself. A contender that is connected all the while counts without a pause: a takeover
//! is no later than it was.

use std::time::Duration;

use everstep_common::ports::Instant;

/// This process's connection, over time.
#[derive(Debug)]
pub(super) struct Reach {
    /// How long it was gone altogether.
    lost: Duration,
    /// Since when it is gone.
    away: Option<Instant>,
    /// Since when it stands, or stood before it went.
    since: Instant,
    /// It stood for long before it went.
    stable: bool,
}

impl Reach {
    /// Connected from now on.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            lost: Duration::ZERO,
            away: None,
            since: now,
            stable: false,
        }
    }

    /// The counted time.
    pub(super) fn counted(&self, now: Instant) -> Instant {
        let until = self.away.unwrap_or(now);
        Instant(until.0.saturating_sub(self.lost))
    }

    /// The connection is gone; it is stable if it stood for `stable_after`.
    pub(super) fn disconnected(&mut self, now: Instant, stable_after: Duration) {
        if self.away.is_none() {
            self.away = Some(now);
            self.stable = now.since(self.since) >= stable_after;
        }
    }

    /// The connection is back; whether what was counted before begins anew.
    pub(super) fn reconnected(&mut self, now: Instant, stable_after: Duration) -> bool {
        // That it went may not have been told.
        self.disconnected(now, stable_after);
        if let Some(away) = self.away.take() {
            self.lost += now.since(away);
        }
        self.since = now;
        self.stable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_millis(1_500);

    fn at(ms: u64) -> Instant {
        Instant(Duration::from_millis(ms))
    }

    #[test]
    fn an_outage_is_not_counted_and_what_was_begins_anew() {
        let mut reach = Reach::new(at(0));
        assert_eq!(reach.counted(at(10_000)), at(10_000));
        reach.disconnected(at(10_000), TTL);
        assert_eq!(reach.counted(at(70_000)), at(10_000));
        assert!(reach.reconnected(at(70_000), TTL));
        assert_eq!(reach.counted(at(70_500)), at(10_500));
    }

    #[test]
    fn a_loss_that_was_not_told_counts_as_one() {
        let mut reach = Reach::new(at(0));
        assert!(reach.reconnected(at(10_000), TTL));
        assert_eq!(reach.counted(at(11_000)), at(11_000));
    }

    #[test]
    fn a_connection_that_comes_and_goes_counts_on() {
        let mut reach = Reach::new(at(0));
        let mut seen = reach.counted(at(10_000));
        let mut now = 10_000;
        let mut rounds = 0;
        while reach.counted(at(now)).since(seen) < TTL {
            reach.disconnected(at(now), TTL);
            now += 2_000;
            if reach.reconnected(at(now), TTL) {
                seen = reach.counted(at(now));
            }
            now += 300;
            rounds += 1;
        }
        assert_eq!(rounds, 5, "a second and a half of being connected, 300 ms at a time");
    }
}
