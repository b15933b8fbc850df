//! Time: what memory knows to be due, and what the server's schedules say.

use std::time::Duration;

use everstep_common::ids::RunId;
use everstep_common::key::StepKey;
use everstep_common::ports::{Ack, Delivery, Instant};
use everstep_common::subject::TimerSort;
use everstep_common::wire;
use jiff::Timestamp;

use super::Partition;
use super::effect::Effect;
use super::io::Input;
use super::schedule::Scheduled;
use super::upkeep::ScanReason;

/// How long a schedule that fires waits before it is looked at again while only its run, which is being read back, can tell what it means.
const READ_BACK_WITHIN: Duration = Duration::from_secs(1);

impl Partition {
    /// Fires what is due by the partition's idea of the server's time.
    pub(super) fn fire_due(&mut self, now: Instant) {
        let Some(at) = self.server_clock.at(now) else { return };
        if self.stopping {
            return;
        }
        // The server's schedule fires as well, within a quarter of a second, and is acknowledged then: taking it back would cost more.
        while let Some((due, wake_up, attempt)) = self.wheel.pop_due(at) {
            let scheduled = Scheduled {
                attempt,
                ..Scheduled::at(due)
            };
            self.wake(&wake_up.run, wake_up.sort, wake_up.key, scheduled);
        }
    }

    fn wake(&mut self, run: &RunId, sort: TimerSort, key: StepKey, scheduled: Scheduled) {
        if sort == TimerSort::Sleep {
            return self.fire_timer(run, key, scheduled.due);
        }
        let Some(live) = self.slots.live(run) else {
            // Dropped from memory: reading it back arms or does what is due.
            return self.wake_unknown(run);
        };
        match sort {
            TimerSort::Retry => live.run.retry_due(&key, scheduled.attempt),
            TimerSort::Deadline => live.run.deadline_passed(&key, scheduled.due),
            TimerSort::Sleep => {}
        }
        self.decide(run, None);
    }

    /// Reads a run back that is not in memory. One that stands still is read when it goes on.
    fn wake_unknown(&mut self, run: &RunId) {
        if !self.slots.has_ended(run) && self.slots.parked(run).is_none() {
            self.load_newest(run);
        }
    }

    /// The deadline of a wait for an event has come, and only the run can tell what it looks for.
    fn fire_event_deadline(&mut self, run: &RunId, key: StepKey, due: Timestamp) -> Ack {
        if self.events.has_deadline(run, &key) {
            self.fire_timer(run, key, due);
            Ack::Done
        } else if self.slots.parked(run).is_some() {
            // It is due at once when the run goes on.
            Ack::Done
        } else {
            self.wake_unknown(run);
            Ack::Retry(READ_BACK_WITHIN)
        }
    }

    /// The server's schedules have fired. They are acknowledged when what follows is on its way; a lost wake-up of a run that stays open is
    /// found by the next owner's scan.
    pub(super) fn schedules_fired(&mut self, deliveries: Vec<Delivery>, now: Instant) {
        for delivery in deliveries {
            self.server_clock.observe(delivery.time, now);
            let broker = self.store.broker().clone();
            let Some((run, sort, key)) = self.store.names().parse_wake_up(&delivery.subject) else {
                tracing::warn!(subject = %delivery.subject, "not a timer; removed");
                broker.ack(&delivery.ack, Ack::Terminate);
                continue;
            };
            let scheduled = wire::decode::<Scheduled>(&delivery.payload);
            let armed = self.wheel.due(&run, sort, &key);
            // In memory and not armed for then: it has fired by the clock here, nobody waits for it any more, or it is of a history that was
            // rolled back.
            let is_meant = || armed.is_some_and(|due| scheduled.as_ref().is_ok_and(|scheduled| due <= scheduled.due));
            if self.slots.has_ended(&run) || self.slots.is_live(&run) && !is_meant() {
                broker.ack(&delivery.ack, Ack::Done);
                continue;
            }
            if self.upkeep.scan == Some(ScanReason::Rollback) && !self.slots.is_live(&run) {
                // Only the run itself can tell whether it is still meant.
                broker.ack(&delivery.ack, Ack::Retry(READ_BACK_WITHIN));
                continue;
            }
            self.wheel.disarm(&run, sort, &key);
            match (sort, scheduled) {
                (TimerSort::Sleep, Ok(scheduled)) if scheduled.of_event => {
                    let ack = self.fire_event_deadline(&run, key, scheduled.due);
                    broker.ack(&delivery.ack, ack);
                }
                (TimerSort::Sleep, Ok(scheduled)) => self.fire_scheduled(run, key, scheduled.due, delivery),
                (_, Ok(scheduled)) => {
                    self.wake(&run, sort, key, scheduled);
                    broker.ack(&delivery.ack, Ack::Done);
                }
                (_, Err(error)) => {
                    tracing::warn!(%run, %key, %error, "unreadable timer; removed");
                    broker.ack(&delivery.ack, Ack::Terminate);
                }
            }
        }
    }

    /// A schedule stands. If its run has ended while the server was slow to take it, nobody else takes it back.
    pub(super) fn scheduled(&mut self, run: RunId) {
        if self.slots.has_ended(&run) {
            self.perform(None, Effect::UnscheduleRun { run });
        }
    }

    /// The timer's entry is created without the run being read: the entry brings it back. The delivery is acknowledged after that.
    fn fire_scheduled(&mut self, run: RunId, key: StepKey, due: Timestamp, delivery: Delivery) {
        let performer = self.performer.clone();
        let entry = everstep_common::journal::Entry::Timer(everstep_common::journal::Fired { due });
        let create = Effect::Create {
            run,
            key: everstep_common::journal::EntryKey::Timer(key),
            entry,
        };
        self.io.begin(Box::pin(async move {
            let broker = performer.store.broker().clone();
            let performed = performer.perform(create).await;
            broker.ack(&delivery.ack, Ack::Done);
            Input::Performed(None, performed)
        }));
    }
}
