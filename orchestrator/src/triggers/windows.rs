//! Batch windows: events of a stretch of time that one run takes together.
//!
//! ```text
//! event ──▶ reminder at the window's end ──▶ member.<workflow>.<trigger>.<window>.<key> ──due──▶ runs of its members
//! ```
//!
//! The stretches follow one another without a gap from the beginning of time on, so that an event's window is told by the event's own time. An
//! event is a member of one window only: its member message is created under a guard over all windows. A window is closed only when
//! every event has been taken up, so its members are complete, whoever closes it and however often.

use std::time::Duration;

use everstep_common::event::Event;
use everstep_common::ids::WorkflowName;
use everstep_common::key::{StepKey, escape};
use everstep_common::limits::PAYLOAD_BYTES_MAX;
use everstep_common::ports::{Delivery, Expect, Publish, PublishError};
use everstep_common::store::{Store, TriggerError, TriggeredRun};
use everstep_common::trigger::registration::Registration;
use everstep_common::trigger::{Batch, EventTrigger, encoded};
use everstep_common::wire;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::router::remind;
use super::start;

/// How long after its end a window is closed: the clocks of a cluster's nodes, whose time stamps are compared, differ by less.
const GRACE: Duration = Duration::from_secs(1);

/// An event in its window.
pub(super) struct Member {
    window: Window,
    key: String,
    body: Body,
}

/// A window, as its reminder tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Window {
    workflow: WorkflowName,
    version: u32,
    /// The events that the trigger listens to.
    event: String,
    /// When it begins.
    begins: Timestamp,
    /// When it ends.
    ends: Timestamp,
    /// Events of one run at most.
    max: u32,
}

/// What a member message holds.
#[derive(Debug, Serialize, Deserialize)]
struct Body {
    /// The event's place in its stream, by which members are ordered.
    sequence: u64,
    value: Value,
}

impl Member {
    pub(super) fn new(
        registration: &Registration,
        trigger: &EventTrigger,
        batch: Batch,
        key: String,
        value: Value,
        event: &Event,
    ) -> Self {
        let (begins, ends) = window_of(event.time, batch.window);
        Self {
            window: Window {
                workflow: registration.workflow.clone(),
                version: registration.version,
                event: trigger.event.clone(),
                begins,
                ends,
                max: batch.max,
            },
            key,
            body: Body {
                sequence: event.sequence,
                value,
            },
        }
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }
}

impl Window {
    /// What the keys of its trigger's windows begin with.
    fn trigger(&self) -> String {
        format!(
            "{}.{}",
            escape(self.workflow.as_str()),
            StepKey::from_path(&self.event).token()
        )
    }

    fn number(&self) -> i64 {
        self.begins.as_millisecond()
    }

    /// The runs of these members: at most `max` of them each, and no more than one input holds.
    fn runs(&self, members: Vec<Body>) -> Result<Vec<TriggeredRun>, TriggerError> {
        let mut inputs: Vec<(usize, Vec<Value>)> = Vec::new();
        for member in members {
            let bytes = member.value.to_string().len();
            match inputs.last_mut() {
                Some((held, values)) if values.len() < self.max as usize && *held + bytes < PAYLOAD_BYTES_MAX / 2 => {
                    *held += bytes;
                    values.push(member.value);
                }
                _ => inputs.push((bytes, vec![member.value])),
            }
        }
        let runs = inputs
            .into_iter()
            .enumerate()
            .map(|(number, (_, values))| self.run(number, Value::Array(values)));
        runs.collect()
    }

    fn run(&self, number: usize, values: Value) -> Result<TriggeredRun, TriggerError> {
        let input = encoded(&values).map_err(|error| TriggerError::Publish {
            subject: self.trigger(),
            source: PublishError::Rejected(error.to_string()),
        })?;
        let tags = [("event", self.event.clone()), ("window", self.begins.to_string())];
        Ok(TriggeredRun {
            workflow: self.workflow.clone(),
            version: self.version,
            key: format!("batch:{}@{}#{number}", self.event, self.begins),
            input,
            tags: tags.map(|(name, value)| (name.to_owned(), value)).into(),
            traceparent: None,
            event: None,
        })
    }
}

/// The stretch of time that `time` is in.
fn window_of(time: Timestamp, length: Duration) -> (Timestamp, Timestamp) {
    let length = i64::try_from(length.as_millis()).unwrap_or(i64::MAX).max(1);
    let begins = time.as_millisecond().div_euclid(length).saturating_mul(length);
    let at = |millis: i64| Timestamp::from_millisecond(millis).unwrap_or(time);
    (at(begins), at(begins.saturating_add(length)))
}

/// Makes the event a member of its window, unless it is one of any already.
pub(super) async fn join(store: &Store, member: &Member) -> Result<(), TriggerError> {
    let window = &member.window;
    let reminder = format!("window.{}.{}", window.trigger(), window.number());
    let unsaid = |subject: &str, error: String| TriggerError::Publish {
        subject: subject.to_owned(),
        source: PublishError::Rejected(error),
    };
    let body = wire::encode(window).map_err(|error| unsaid(&reminder, error.to_string()))?;
    // First, so that no member is without one.
    remind(store, &reminder, body, window.ends.checked_add(GRACE).unwrap_or(window.ends)).await?;
    let (names, key) = (store.names(), StepKey::from_path(&member.key));
    let subject = names.batch_member(&window.trigger(), &window.number().to_string(), key.token());
    let body = serde_json::to_vec(&member.body).map_err(|error| unsaid(&subject, error.to_string()))?;
    let publish = Publish::new(subject.clone(), body).expecting(Expect::LastSequenceOf {
        filter: names.batch_member(&window.trigger(), "*", key.token()),
        sequence: 0,
    });
    match store.broker().publish(publish).await {
        Ok(_) => Ok(()),
        // A cluster refuses a guarded write also while another one under the same guard is under way.
        Err(PublishError::Refused) if store.is_member(&window.trigger(), key.token()).await? => Ok(()),
        Err(source) => Err(TriggerError::Publish { subject, source }),
    }
}

/// Starts the runs of a window that has ended.
pub(super) async fn close(store: &Store, due: &Delivery) -> Result<(), TriggerError> {
    let window: Window = match wire::decode(&due.payload) {
        Ok(window) => window,
        Err(error) => {
            tracing::error!(subject = due.subject, %error, "the end of a window is unreadable; it is dropped");
            return Ok(());
        }
    };
    let members = store.batch_members(&window.trigger(), &window.number().to_string()).await?;
    let mut members: Vec<Body> = members
        .iter()
        .filter_map(|message| serde_json::from_slice(&message.payload).ok())
        .collect();
    members.sort_by_key(|member| member.sequence);
    for run in window.runs(members)? {
        start(store, &run).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).unwrap()
    }

    #[test]
    fn windows_follow_one_another_without_a_gap() {
        let length = Duration::from_secs(10);
        assert_eq!(window_of(at(9_999), length), (at(0), at(10_000)));
        assert_eq!(window_of(at(10_000), length), (at(10_000), at(20_000)));
        assert_eq!(window_of(at(-1), length), (at(-10_000), at(0)));
    }

    #[test]
    fn a_window_with_many_members_makes_several_runs_with_keys_of_their_own() {
        let window = Window {
            workflow: WorkflowName::new("w").unwrap(),
            version: 1,
            event: "a.b".into(),
            begins: at(0),
            ends: at(10_000),
            max: 2,
        };
        let member = |sequence| Body {
            sequence,
            value: json!(sequence),
        };
        let runs = window.runs((1..=5).map(member).collect()).unwrap();
        let inputs: Vec<Vec<u64>> = runs.iter().map(|run| wire::decode_value(&run.input).unwrap()).collect();
        assert_eq!(inputs, [vec![1, 2], vec![3, 4], vec![5]]);
        let keys: std::collections::BTreeSet<_> = runs.iter().map(|run| &run.key).collect();
        assert_eq!(keys.len(), 3);
        assert!(window.runs(Vec::new()).unwrap().is_empty());
    }
}
