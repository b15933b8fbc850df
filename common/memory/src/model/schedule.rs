//! Message schedules (`@at`): a stored message that the server publishes again, onto its target, when its time has come.
//!
//! The server's scheduler rests for a while after each round, so schedules that come thick are late by up to that; none is early.

use std::time::Duration;

use everstep_common::ports::{Headers, Message, Publish};
use jiff::Timestamp;

use super::publish::server_header;
use super::store::Stream;
use super::{Nodes, later};

/// How long nats-server's scheduler rests between two rounds.
pub(crate) const SCHEDULER_PAUSE: Duration = Duration::from_millis(250);

impl Stream {
    /// Fires every schedule that is due, unless the scheduler still rests.
    pub(super) fn fire_due(&mut self, now: Timestamp, nodes: Nodes, pause: Duration) {
        if now < self.scheduler_rests_until {
            return;
        }
        let due: Vec<u64> = self
            .schedules
            .range(..=(now, u64::MAX))
            .map(|(_, sequence)| *sequence)
            .collect();
        if due.is_empty() {
            return;
        }
        for sequence in due {
            self.fire(now, nodes, sequence);
        }
        self.scheduler_rests_until = later(now, pause);
    }

    /// When the scheduler next has something to fire.
    pub(super) fn next_firing(&self) -> Option<Timestamp> {
        self.schedules.first().map(|(at, _)| (*at).max(self.scheduler_rests_until))
    }

    fn fire(&mut self, now: Timestamp, nodes: Nodes, sequence: u64) {
        // An earlier firing of the same round may have removed it.
        let Some(kept) = self.messages.get(&sequence) else { return };
        let schedule = kept.schedule.clone().expect("only schedules stand in the list of schedules");
        let fired = Publish {
            subject: schedule.target,
            headers: fired_headers(&kept.message),
            payload: kept.message.payload.clone(),
            expect: None,
            schedule: None,
        };
        // A refused firing is lost with its schedule; the only possible refusal is a size that the schedule itself had passed.
        if self.publish(now, nodes, &fired).is_err() {
            self.remove(sequence);
        }
    }
}

/// The headers of a fired message: its writer's, and where it comes from.
fn fired_headers(schedule: &Message) -> Headers {
    let headers = schedule.headers.clone();
    headers
        .with(server_header::SCHEDULER, &schedule.subject)
        .with(server_header::SCHEDULE_NEXT, "purge")
}
