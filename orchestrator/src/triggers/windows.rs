//! Batch windows: events of a stretch of time that one run takes together.
//!
//! ```text
//! event ──▶ reminder at the window's end ──▶ member.<workflow>.<event>.<window>.<key> ──due──▶ runs of its members
//! ```
//!
//! The stretches follow one another without a gap from the beginning of time on, so that an event's window is told by the event's own time. An
//! event is a member of one window only: its member message is created under a guard over all windows that the workflow has for events of
//! that name, also of other triggers and of other lengths. A window is closed only when every event of its time has been taken up, so its
//! members are complete, whoever closes it and however often.

use std::time::Duration;

use everstep_common::event::Event;
use everstep_common::ids::{RunId, WorkflowName};
use everstep_common::key::{StepKey, escape};
use everstep_common::limits::{PAYLOAD_BYTES_MAX, PAYLOAD_INLINE_BYTES_MAX};
use everstep_common::payload::{Payload, StoredPayload};
use everstep_common::ports::{Delivery, Expect, Message, Publish, PublishError};
use everstep_common::store::{Store, TriggerError, TriggeredRun};
use everstep_common::trigger::registration::Registration;
use everstep_common::trigger::{Batch, EventTrigger, NoRun, RunTerms, encoded};
use everstep_common::wire;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::reminder::remind;
use super::work::{Origin, What, Work, perform};

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
    /// Tells the windows of triggers apart that listen to the same and begin together: the length, and a digest of the trigger.
    of: String,
    /// Under which terms its runs are started.
    #[serde(default)]
    terms: RunTerms,
}

/// What a member message holds.
#[derive(Debug, Serialize, Deserialize)]
struct Body {
    /// The event's place in its stream, by which members are ordered.
    sequence: u64,
    #[serde(default)]
    value: Value,
    /// Where the value stands instead, if it is too large for a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stored: Option<StoredPayload>,
}

/// What the events of one run make together.
#[derive(Default)]
struct Share {
    /// The first of them.
    first: u64,
    values: Vec<Value>,
    bytes: usize,
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
                of: told_apart(trigger, batch),
                terms: trigger.terms.clone(),
            },
            key,
            body: Body {
                sequence: event.sequence,
                value,
                stored: None,
            },
        }
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }
}

impl Window {
    /// What the keys of the workflow's windows for these events begin with.
    fn events(&self) -> String {
        format!(
            "{}.{}",
            escape(self.workflow.as_str()),
            StepKey::from_path(&self.event).token()
        )
    }

    /// Tells it from all other windows for these events.
    fn token(&self) -> String {
        format!("{}-{}", self.begins.as_millisecond(), self.of)
    }

    /// The key of its run of that number.
    fn run_key(&self, number: usize) -> String {
        format!("batch:{}@{}/{}#{number}", self.event, self.begins, self.of)
    }

    /// Under which run a value stands that is too large for a message: the first one, which there always is.
    fn keeper(&self, store: &Store) -> RunId {
        RunId::keyed(&self.workflow, &self.run_key(0), store.deployment().keyed_partitions)
    }

    /// What the runs of these members are given: at most `max` of them each, and no more than one input holds.
    fn shares(&self, members: Vec<Body>) -> Vec<Share> {
        let mut shares: Vec<Share> = Vec::new();
        for member in members {
            let bytes = member.value.to_string().len();
            let has_room = |share: &Share| share.values.len() < self.max as usize && share.bytes + bytes < PAYLOAD_BYTES_MAX / 2;
            if !shares.last().is_some_and(has_room) {
                shares.push(Share {
                    first: member.sequence,
                    ..Share::default()
                });
            }
            if let Some(share) = shares.last_mut() {
                share.bytes += bytes;
                share.values.push(member.value);
            }
        }
        shares
    }

    /// What is to be done for the share of that number.
    fn work(&self, number: usize, share: Share) -> Work {
        let origin = Origin {
            workflow: self.workflow.clone(),
            event: self.event.clone(),
            sequence: share.first,
        };
        let what = match self.run(number, share.values) {
            Ok(run) => What::Start(run),
            Err(error) => What::Refuse(error.to_string()),
        };
        Work { origin, what }
    }

    fn run(&self, number: usize, values: Vec<Value>) -> Result<TriggeredRun, NoRun> {
        let mut tags = self.terms.tags.clone();
        tags.extend([
            ("event".to_owned(), self.event.clone()),
            ("window".to_owned(), self.begins.to_string()),
        ]);
        let (session, terms) = self.terms.of(None)?;
        Ok(TriggeredRun {
            workflow: self.workflow.clone(),
            version: self.version,
            key: self.run_key(number),
            input: encoded(&Value::Array(values))?,
            tags,
            traceparent: None,
            event: None,
            session,
            terms,
        })
    }
}

/// The length of a trigger's windows, and a digest of the trigger.
fn told_apart(trigger: &EventTrigger, batch: Batch) -> String {
    format!("{}ms-{}", batch.window.as_millis(), trigger.fingerprint())
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
    let reminder = format!("window.{}.{}", window.events(), window.token());
    // First, so that no member is without one.
    let at = window.ends.checked_add(GRACE).unwrap_or(window.ends);
    remind(store, &reminder, window, at).await?;
    let (names, key) = (store.names(), StepKey::from_path(&member.key));
    let subject = names.batch_member(&window.events(), &window.token(), key.token());
    let body = written(store, member).await?;
    let publish = Publish::new(subject.clone(), body).expecting(Expect::LastSequenceOf {
        filter: names.batch_member(&window.events(), "*", key.token()),
        sequence: 0,
    });
    match store.broker().publish(publish).await {
        Ok(_) => Ok(()),
        // A cluster refuses a guarded write also while another one under the same guard is under way.
        Err(PublishError::Refused) if store.is_member(&window.events(), key.token()).await? => Ok(()),
        Err(source) => Err(TriggerError::Publish { subject, source }),
    }
}

/// The member as its message holds it; a large value is stored first.
async fn written(store: &Store, member: &Member) -> Result<Vec<u8>, TriggerError> {
    let body = json_of(&member.body)?;
    if body.len() <= PAYLOAD_INLINE_BYTES_MAX {
        return Ok(body);
    }
    let (run, owner) = (member.window.keeper(store), StepKey::from_path(&member.key));
    let value = json_of(&member.body.value)?;
    match store.put_payload(&run, owner.token(), value.into()).await? {
        Payload::Inline(_) => Ok(body),
        Payload::Stored(stored) => json_of(&Body {
            sequence: member.body.sequence,
            value: Value::Null,
            stored: Some(stored),
        }),
    }
}

fn json_of(value: &impl Serialize) -> Result<Vec<u8>, TriggerError> {
    serde_json::to_vec(value).map_err(|error| TriggerError::Unwritable {
        what: "a member of a window".to_owned(),
        reason: error.to_string(),
    })
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
    let messages = store.batch_members(&window.events(), &window.token()).await?;
    let mut members = Vec::with_capacity(messages.len());
    for message in &messages {
        match read(store, &window, message).await {
            Ok(member) => members.push(member),
            Err(reason) => tracing::error!(
                subject = message.subject,
                reason,
                "a member of a window is unreadable; it is left out"
            ),
        }
    }
    members.sort_by_key(|member| member.sequence);
    for (number, share) in window.shares(members).into_iter().enumerate() {
        perform(store, window.work(number, share)).await?;
    }
    Ok(())
}

async fn read(store: &Store, window: &Window, message: &Message) -> Result<Body, String> {
    let mut member: Body = serde_json::from_slice(&message.payload).map_err(|error| error.to_string())?;
    if let Some(stored) = member.stored.take() {
        let value = store.get_payload(&window.keeper(store), &Payload::Stored(stored)).await;
        let value = value.map_err(|error| error.to_string())?;
        member.value = serde_json::from_slice(&value).map_err(|error| error.to_string())?;
    }
    Ok(member)
}

#[cfg(test)]
mod tests {
    use everstep_common::trigger::Trigger;
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

    fn window(trigger: &EventTrigger, seconds: u64) -> Window {
        let batch = Batch {
            window: Duration::from_secs(seconds),
            max: 2,
        };
        let (begins, ends) = window_of(at(0), batch.window);
        Window {
            workflow: WorkflowName::new("w").unwrap(),
            version: 1,
            event: trigger.event.clone(),
            begins,
            ends,
            max: batch.max,
            of: told_apart(trigger, batch),
            terms: trigger.terms.clone(),
        }
    }

    #[test]
    fn a_window_with_many_members_makes_several_runs_with_keys_of_their_own() {
        let window = window(&Trigger::event("a.b"), 10);
        let member = |sequence| Body {
            sequence,
            value: json!(sequence),
            stored: None,
        };
        let shares = window.shares((1..=5).map(member).collect());
        let given: Vec<_> = shares.iter().map(|share| (share.first, share.values.clone())).collect();
        assert_eq!(
            given,
            [
                (1, vec![json!(1), json!(2)]),
                (3, vec![json!(3), json!(4)]),
                (5, vec![json!(5)])
            ]
        );
        let keys: std::collections::BTreeSet<_> = (0..3).map(|number| window.run_key(number)).collect();
        assert_eq!(keys.len(), 3);
        assert!(window.shares(Vec::new()).is_empty());
    }

    #[test]
    fn windows_that_begin_together_are_told_apart_by_their_length_and_their_trigger() {
        let plain = Trigger::event("a.b");
        let filtered = EventTrigger {
            filter: Some("x".into()),
            ..plain.clone()
        };
        let windows = [window(&plain, 10), window(&plain, 60), window(&filtered, 10)];
        let tokens: std::collections::BTreeSet<_> = windows.iter().map(Window::token).collect();
        let keys: std::collections::BTreeSet<_> = windows.iter().map(|window| window.run_key(0)).collect();
        assert_eq!((tokens.len(), keys.len()), (3, 3));
        assert!(windows.iter().all(|window| window.events() == windows[0].events()));
    }
}
