//! Heartbeats of functions: heard by whoever drives the run, and recorded by nobody unless their attempt fails.
//!
//! An owner that was deaf for a while, having just taken over or lost its connection, gives every function its full time anew.

use bytes::Bytes;
use everstep_common::ids::RunId;
use everstep_common::key::StepKey;
use everstep_common::limits::HEARTBEAT_DETAILS_BYTES_MAX;
use everstep_common::ports::Instant;

use super::Partition;

impl Partition {
    /// A function is alive. A run that is not in memory is not read back for that: what it waits for is measured anew when it is.
    pub(super) fn heartbeat(&mut self, run: &RunId, key: &StepKey, attempt: u32, details: Bytes, now: Instant) {
        let Some(at) = self.server_clock.at(now) else { return };
        let Some(live) = self.slots.live(run) else { return };
        let is_kept = !details.is_empty() && details.len() <= HEARTBEAT_DETAILS_BYTES_MAX;
        live.run.heartbeat(key, attempt, is_kept.then_some(details), at);
        self.slots.touch(run, now);
    }

    /// The connection is back: heartbeats may have been missed.
    pub(super) fn listen_again(&mut self, now: Instant) {
        let Some(at) = self.server_clock.at(now) else { return };
        self.slots.each_live(|run| run.listen_from(at));
    }
}
