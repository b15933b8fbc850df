//! Schedules of runs at the server: set, set again and taken back.

use everstep_common::ids::RunId;
use everstep_common::key::StepKey;
use everstep_common::ports::{Publish, PublishError, ReadError, Schedule};
use everstep_common::store::Backoff;
use everstep_common::subject::TimerSort;
use everstep_common::wire;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::effect::{Performed, Performer};

/// The body of a schedule, which the server hands back when it fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scheduled {
    /// When it is due.
    pub due: Timestamp,
    /// The attempt that a retry is to make, else 0.
    pub attempt: u32,
    /// It is the deadline of a wait for an event, which passes once all events before it have been looked at.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub of_event: bool,
}

impl Scheduled {
    /// What is due then and makes no attempt.
    pub(crate) fn at(due: Timestamp) -> Self {
        Self {
            due,
            attempt: 0,
            of_event: false,
        }
    }
}

impl Performer {
    pub(super) async fn schedule(&self, run: RunId, sort: TimerSort, key: StepKey, scheduled: Scheduled) -> Performed {
        let names = self.store.names();
        let body = match wire::encode(&scheduled) {
            Ok(body) => body,
            Err(error) => {
                return Performed::Refused {
                    run,
                    reason: error.to_string(),
                };
            }
        };
        let mut publish = Publish::new(names.timer(&run, sort, &key), body);
        publish.schedule = Some(Schedule {
            at: scheduled.due,
            target: names.fired(&run, sort, &key),
        });
        let stream = names.timer_stream(run.partition());
        let mut backoff = Backoff::new();
        loop {
            // A schedule replaces its predecessor of the same subject, so that it may be published again without harm.
            match self.store.publish(&stream, publish.clone()).await {
                Ok(_) | Err(PublishError::Refused) => return Performed::Scheduled { run },
                Err(error @ (PublishError::TooLarge | PublishError::Rejected(_))) => {
                    return Performed::Refused {
                        run,
                        reason: format!("scheduling {key}: {error}"),
                    };
                }
                Err(error) => tracing::debug!(%run, %key, %error, "schedule not acknowledged yet"),
            }
            self.store.clock().sleep(backoff.delay()).await;
        }
    }

    pub(super) async fn purge_timers(&self, run: RunId, filter: String) -> Performed {
        let stream = self.store.names().timer_stream(run.partition());
        let mut backoff = Backoff::new();
        loop {
            match self.store.broker().purge(&stream, &filter).await {
                Ok(_) => return Performed::Done,
                Err(error @ (ReadError::Unavailable(_) | ReadError::TooMany)) => {
                    tracing::debug!(%run, %error, "schedules not taken back yet");
                    self.store.clock().sleep(backoff.delay()).await;
                }
                // What is left over fires into nothing.
                Err(error @ (ReadError::NoStream | ReadError::Rejected(_))) => {
                    tracing::debug!(%run, %error, "schedules left over");
                    return Performed::Done;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use everstep_common::ids::hex;

    use super::*;

    #[test]
    fn schedules_once_written_are_read_for_ever() {
        let scheduled = Scheduled {
            due: "2026-02-03T04:05:06.000000789Z".parse().unwrap(),
            attempt: 2,
            of_event: false,
        };
        let bytes = wire::encode(&scheduled).unwrap();
        assert_eq!(
            hex(&bytes),
            "0182a3647565be323032362d30322d30335430343a30353a30362e3030303030303738395aa7617474656d707402"
        );
        assert_eq!(wire::decode::<Scheduled>(&bytes).unwrap(), scheduled);
        let of_event = Scheduled {
            of_event: true,
            ..scheduled
        };
        let bytes = wire::encode(&of_event).unwrap();
        assert_eq!(
            hex(&bytes),
            "0183a3647565be323032362d30322d30335430343a30353a30362e3030303030303738395aa7617474656d707402a86f665f6576656e74c3"
        );
        assert_eq!(wire::decode::<Scheduled>(&bytes).unwrap(), of_event);
    }
}
