//! What triggers do: runs that are started once, events that are published once, records that are changed. They are read in `listening`.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::create::NO_STREAM_TRIES_MAX;
use super::{Backoff, CreateError, Created, PayloadError, PutError, Store, TRIGGERS};
use crate::digest::InputDigest;
use crate::event::{Event, NewEvent, RefusedEvent};
use crate::ids::{RunId, WorkflowName};
use crate::journal::{Entry, EntryKey, Start, StartTerms};
use crate::key::StepKey;
use crate::ports::{GetLast, Message, Publish, PublishError, ReadError};
use crate::trigger::registration::{Registration, ScheduleRecord, registration_key, schedule_key};
use crate::trigger::{EventTrigger, Input, NoRun, encoded, fixed};
use crate::wire;

/// Why what triggers keep could not be read or changed.
///
/// ```
/// use everstep_common::ports::PublishError;
/// use everstep_common::store::TriggerError;
///
/// let error = TriggerError::Publish { subject: "event.order.paid".to_owned(), source: PublishError::TooLarge };
/// assert!(error.is_final(), "it is no smaller the next time");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TriggerError {
    /// It could not be read.
    #[error("reading what workflows listen to: {0}")]
    Read(ReadError),
    /// It could not be written.
    #[error("writing {key} of KV triggers: {source}")]
    Write {
        /// The record.
        key: String,
        /// Why.
        source: PutError,
    },
    /// A record is not one, or of a newer version.
    #[error("{key} of KV triggers is unreadable: {source}")]
    Undecodable {
        /// The record.
        key: String,
        /// Why.
        source: wire::Error,
    },
    /// A message could not be published.
    #[error("publishing {subject}: {source}")]
    Publish {
        /// Where to.
        subject: String,
        /// Why.
        source: PublishError,
    },
    /// A run could not be started.
    #[error(transparent)]
    Start(#[from] CreateError),
    /// A run's input could not be stored.
    #[error(transparent)]
    Input(#[from] PayloadError),
    /// Nothing that can be stored.
    #[error("{what} cannot be written: {reason}")]
    Unwritable {
        /// What was to be written.
        what: String,
        /// Why not.
        reason: String,
    },
}

impl TriggerError {
    /// Whether trying again brings the same, whatever becomes of the server.
    ///
    /// ```
    /// use everstep_common::ports::ReadError;
    /// use everstep_common::store::TriggerError;
    ///
    /// assert!(!TriggerError::Read(ReadError::Unavailable("timed out".to_owned())).is_final());
    /// ```
    pub fn is_final(&self) -> bool {
        match self {
            Self::Start(error) => matches!(error, CreateError::Encode { .. } | CreateError::Rejected { .. }),
            Self::Input(error) => matches!(error, PayloadError::TooLarge(_)),
            Self::Publish { source, .. } => matches!(source, PublishError::TooLarge),
            Self::Unwritable { .. } => true,
            Self::Read(_) | Self::Write { .. } | Self::Undecodable { .. } => false,
        }
    }
}

/// A run that a trigger starts: once under its key, whoever does it and however often.
#[derive(Clone, Debug, PartialEq)]
pub struct TriggeredRun {
    /// Which workflow.
    pub workflow: WorkflowName,
    /// Which version of it.
    pub version: u32,
    /// The start key.
    pub key: String,
    /// The input, encoded.
    pub input: Bytes,
    /// Labels, which say where it came from.
    pub tags: BTreeMap<String, String>,
    /// W3C trace context of the event.
    pub traceparent: Option<String>,
    /// When the event was stored that starts it: from there a delay counts.
    pub event: Option<Timestamp>,
    /// The session whose values it shares.
    pub session: Option<String>,
    /// When it begins, by when it must be over, what goes first, and whose work it is.
    pub terms: StartTerms,
}

impl Store {
    /// Writes a registration if its revision is still `expected`.
    pub async fn put_registration(&self, registration: &Registration, expected: u64) -> Result<u64, TriggerError> {
        self.put_trigger(registration_key(&registration.workflow), registration, expected)
            .await
    }

    /// Writes a schedule if its revision is still `expected`.
    pub async fn put_schedule(&self, record: &ScheduleRecord, expected: u64) -> Result<u64, TriggerError> {
        self.put_trigger(schedule_key(&record.workflow, &record.trigger.name), record, expected)
            .await
    }

    async fn put_trigger<T: Serialize>(&self, key: String, value: &T, expected: u64) -> Result<u64, TriggerError> {
        let written = match wire::encode(value) {
            Ok(value) => self.put_record(TRIGGERS, &key, value, expected).await,
            Err(error) => Err(PutError::Rejected(error.to_string())),
        };
        written.map_err(|source| TriggerError::Write { key, source })
    }

    /// Takes a record of KV `triggers` away.
    pub async fn forget_trigger(&self, key: &str) -> Result<(), TriggerError> {
        let (stream, subject) = (self.names().bucket_stream(TRIGGERS), self.names().bucket_key(TRIGGERS, key));
        self.broker()
            .purge(&stream, &subject)
            .await
            .map(drop)
            .map_err(TriggerError::Read)
    }

    /// The run's id, and whether this call started it. Waits as long as the server is away.
    pub async fn start_once(&self, new: &TriggeredRun) -> Result<(RunId, bool), TriggerError> {
        let run = RunId::keyed(&new.workflow, &new.key, self.deployment().keyed_partitions);
        let start = Start {
            workflow: new.workflow.clone(),
            version: Some(new.version),
            input: self.put_payload(&run, "start", new.input.clone()).await?,
            digest: InputDigest::of(&new.input),
            start_key: Some(new.key.clone()),
            session: new.session.clone(),
            parent: None,
            tags: new.tags.clone(),
            traceparent: new.traceparent.clone(),
            continues: None,
            listens_from: new.event,
            listened: Vec::new(),
            terms: new.terms.clone(),
        };
        match self.create(&run, EntryKey::Start, &Entry::Start(start)).await {
            Ok(Created::Ours { .. }) => Ok((run, true)),
            // It was started before, and may be over and purged by now.
            Ok(Created::Theirs(_)) | Err(CreateError::Gone { .. }) => Ok((run, false)),
            Err(error) => Err(error.into()),
        }
    }

    /// Publishes what a workflow emits, once for ever under the run and key: the event and its mark are stored together or not at all.
    pub async fn emit_once(&self, run: &RunId, key: &StepKey, event: &NewEvent) -> Result<(), TriggerError> {
        let mark = Publish::new(self.names().emitted(run, key), Bytes::new()).create_only();
        let batch = vec![event.publish(self.names()), mark.clone()];
        let (mut backoff, mut missing) = (Backoff::new(), 0);
        loop {
            let error = match self.broker().publish_batch(batch.clone()).await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            match error {
                // A refusal may be the answer to our own earlier batch.
                PublishError::Refused | PublishError::Unknown(_) if self.stands(&mark.subject).await => return Ok(()),
                PublishError::Refused | PublishError::Unknown(_) => {}
                PublishError::Full => self.tell_full(&self.names().event_stream()),
                PublishError::NoStream if missing < NO_STREAM_TRIES_MAX => missing += 1,
                source => {
                    let subject = self.names().event(&event.name);
                    return Err(TriggerError::Publish { subject, source });
                }
            }
            self.clock().sleep(backoff.delay()).await;
        }
    }

    async fn stands(&self, subject: &str) -> bool {
        matches!(self.last_of_events(subject.to_owned()).await, Ok(found) if !found.is_empty())
    }

    async fn last_of_events(&self, subject: String) -> Result<Vec<Message>, TriggerError> {
        let request = GetLast {
            stream: self.names().event_stream(),
            subjects: vec![subject],
            up_to: None,
            leader: true,
        };
        Ok(self.broker().get_last(request).await.map_err(TriggerError::Read)?.messages)
    }

    /// Whether the event with this key belongs to a window of the trigger.
    pub async fn is_member(&self, trigger: &str, key: &str) -> Result<bool, TriggerError> {
        Ok(!self
            .last_of_events(self.names().batch_member(trigger, "*", key))
            .await?
            .is_empty())
    }

    /// The members of a trigger's window.
    pub async fn batch_members(&self, trigger: &str, window: &str) -> Result<Vec<Message>, TriggerError> {
        let (stream, filter) = (self.names().event_stream(), self.names().batch_member(trigger, window, "*"));
        Ok(self
            .broker()
            .get_all(&stream, &filter, None)
            .await
            .map_err(TriggerError::Read)?
            .messages)
    }

    /// Keeps in the stream of events that a workflow could not be started by one of them. Said again it changes nothing.
    pub async fn refuse_event(&self, refused: &RefusedEvent) -> Result<(), TriggerError> {
        let subject = self.names().refused_event(&refused.workflow, refused.sequence);
        let body = serde_json::to_vec(refused).expect("texts and a number are JSON");
        match self.broker().publish(Publish::new(subject.clone(), body).create_only()).await {
            Ok(_) | Err(PublishError::Refused) => Ok(()),
            Err(source) => Err(TriggerError::Publish { subject, source }),
        }
    }

    /// The events that workflows could not be started by, as far as they are kept.
    pub async fn refused_events(&self) -> Result<Vec<(Timestamp, RefusedEvent)>, TriggerError> {
        let (stream, filter) = (self.names().event_stream(), self.names().refused_filter());
        let messages = self
            .broker()
            .get_all(&stream, &filter, None)
            .await
            .map_err(TriggerError::Read)?
            .messages;
        // Who may publish events may write nonsense here too.
        let refused = messages
            .into_iter()
            .filter_map(|message| Some((message.time, serde_json::from_slice(&message.payload).ok()?)));
        Ok(refused.collect())
    }
}

impl TriggeredRun {
    /// The run of that key that `event` makes of the registration's workflow, as one of its triggers says.
    pub fn of_event(registration: &Registration, trigger: &EventTrigger, key: String, event: &Event) -> Result<Self, NoRun> {
        let mut tags = trigger.terms.tags.clone();
        tags.insert("event".to_owned(), event.name.to_string());
        if let Some(id) = &event.id {
            tags.insert("event_id".to_owned(), id.clone());
        }
        let (session, terms) = trigger.terms.of(Some(event))?;
        let terms = StartTerms {
            delay: trigger.delay,
            ..terms
        };
        terms.check()?;
        Ok(Self {
            workflow: registration.workflow.clone(),
            version: registration.version,
            key,
            input: encoded(&trigger.input(event)?)?,
            tags,
            traceparent: event.traceparent.clone(),
            event: Some(event.time),
            session,
            terms,
        })
    }
}

impl ScheduleRecord {
    /// The run that stands for one of the schedule's times.
    pub fn run_at(&self, time: Timestamp) -> Result<TriggeredRun, NoRun> {
        let value = match &self.trigger.input {
            Input::Data | Input::Path(_) => json!({ "schedule": self.id(), "time": time }),
            Input::Fixed(json) => fixed(json)?,
            Input::Nothing => Value::Null,
        };
        let mut tags = self.trigger.terms.tags.clone();
        tags.extend([
            ("schedule".to_owned(), self.id()),
            ("scheduled_at".to_owned(), time.to_string()),
        ]);
        let (session, terms) = self.trigger.terms.of(None)?;
        Ok(TriggeredRun {
            workflow: self.workflow.clone(),
            version: self.version,
            key: self.start_key(time),
            input: encoded(&value)?,
            tags,
            traceparent: None,
            event: None,
            session,
            terms,
        })
    }
}
