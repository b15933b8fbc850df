//! The server's time, as far as it is known here: never ahead of it, so that nothing is early.

use everstep_common::ports::{Clock, Instant};
use jiff::Timestamp;

/// The newest time stamp of the server, and how long ago that came.
#[derive(Debug)]
pub(super) struct ServerTime {
    newest: Timestamp,
    since: Instant,
}

impl ServerTime {
    pub(super) fn new(newest: Timestamp, clock: &dyn Clock) -> Self {
        Self {
            newest,
            since: clock.now(),
        }
    }

    /// A message that the server stored then has come.
    pub(super) fn note(&mut self, time: Timestamp, clock: &dyn Clock) {
        if time > self.now(clock) {
            *self = Self::new(time, clock);
        }
    }

    pub(super) fn now(&self, clock: &dyn Clock) -> Timestamp {
        let passed = clock.now().since(self.since);
        self.newest.checked_add(passed).unwrap_or(self.newest)
    }
}
