//! Starts that come later: the server is asked to remind us of them.
//!
//! ```text
//! event ──▶ later.delayed.<workflow>.<run> ──at its time──▶ due.delayed.… ──▶ the start
//! ```
//!
//! A reminder may be fired, and asked for, again: the start is made once all the same.

use std::time::Duration;

use bytes::Bytes;
use everstep_common::ids::RunId;
use everstep_common::key::{StepKey, escape};
use everstep_common::payload::{Payload, StoredPayload};
use everstep_common::ports::{Delivery, Publish, PublishError, Schedule};
use everstep_common::store::{Store, TriggerError, TriggeredRun};
use everstep_common::trigger::NoRun;
use everstep_common::wire;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::work::{Origin, What, Work, perform, refuse};

/// What a reminder says.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Delayed {
    #[serde(flatten)]
    run: TriggeredRun,
    /// Where its input stands, if that is too large for a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stored: Option<StoredPayload>,
    /// The event.
    #[serde(default)]
    sequence: u64,
}

/// When a start comes that is delayed.
pub(super) fn at(event: Timestamp, delay: Duration) -> Result<Timestamp, NoRun> {
    let at = event.checked_add(delay);
    at.map_err(|_| NoRun::Trigger(format!("{delay:?} after {event} is beyond all time")))
}

/// Has the server remind us of a start.
pub(super) async fn remind_to_start(
    store: &Store,
    origin: &Origin,
    mut run: TriggeredRun,
    at: Timestamp,
) -> Result<(), TriggerError> {
    let stored = match store.put_payload(&id(store, &run), "start", run.input.clone()).await? {
        Payload::Inline(_) => None,
        Payload::Stored(stored) => {
            run.input = Bytes::new();
            Some(stored)
        }
    };
    let key = format!(
        "delayed.{}.{}",
        escape(run.workflow.as_str()),
        StepKey::from_path(&run.key).token()
    );
    let delayed = Delayed {
        run,
        stored,
        sequence: origin.sequence,
    };
    remind(store, &key, encoded(&key, &delayed)?, at).await
}

/// The time of a start has come.
pub(super) async fn begin(store: &Store, delivery: &Delivery) -> Result<(), TriggerError> {
    let delayed: Delayed = match wire::decode(&delivery.payload) {
        Ok(delayed) => delayed,
        Err(error) => {
            tracing::error!(subject = delivery.subject, %error, "a delayed start is unreadable; it is dropped");
            return Ok(());
        }
    };
    let Delayed {
        mut run,
        stored,
        sequence,
    } = delayed;
    let origin = Origin {
        workflow: run.workflow.clone(),
        event: run.tags.get("event").cloned().unwrap_or_default(),
        sequence,
    };
    if let Some(stored) = stored {
        run.input = match store.get_payload(&id(store, &run), &Payload::Stored(stored)).await {
            Ok(input) => input,
            Err(lost) => return refuse(store, origin, lost.to_string()).await,
        };
    }
    let what = What::Start(run);
    perform(store, Work { origin, what }).await
}

fn id(store: &Store, run: &TriggeredRun) -> RunId {
    RunId::keyed(&run.workflow, &run.key, store.deployment().keyed_partitions)
}

/// Stores a schedule unless that very one stands: a body that is fired at `at` under `key`.
pub(super) async fn remind(store: &Store, key: &str, body: Bytes, at: Timestamp) -> Result<(), TriggerError> {
    let (subject, target) = store.names().later(key);
    let mut publish = Publish::new(subject.clone(), body).create_only();
    publish.schedule = Some(Schedule { at, target });
    match store.broker().publish(publish).await {
        Ok(_) | Err(PublishError::Refused) => Ok(()),
        Err(source) => Err(TriggerError::Publish { subject, source }),
    }
}

/// A reminder's body.
pub(super) fn encoded(key: &str, body: &impl Serialize) -> Result<Bytes, TriggerError> {
    wire::encode(body).map_err(|error| TriggerError::Unwritable {
        what: key.to_owned(),
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use everstep_common::ids::WorkflowName;

    use super::*;

    fn run() -> TriggeredRun {
        TriggeredRun {
            workflow: WorkflowName::new("w").unwrap(),
            version: 1,
            key: "event:|a".into(),
            input: Bytes::from_static(&[7]),
            tags: [("event".to_owned(), "a".to_owned())].into(),
            traceparent: None,
            event: Some(Timestamp::UNIX_EPOCH),
            session: None,
            terms: Default::default(),
        }
    }

    #[test]
    fn a_reminder_of_a_run_alone_is_read_too() {
        let delayed: Delayed = wire::decode(&wire::encode(&run()).unwrap()).unwrap();
        assert_eq!((delayed.run, delayed.stored, delayed.sequence), (run(), None, 0));
        let delayed = Delayed {
            run: run(),
            stored: Some(StoredPayload {
                owner: "start".into(),
                digest: "d".into(),
                bytes: 1,
            }),
            sequence: 5,
        };
        assert_eq!(wire::decode::<Delayed>(&wire::encode(&delayed).unwrap()).unwrap(), delayed);
    }

    #[test]
    fn a_delay_beyond_all_time_is_no_start_at_once() {
        assert!(at(Timestamp::UNIX_EPOCH, Duration::MAX).is_err());
    }
}
