//! Reads the events and starts what listens to them.
//!
//! ```text
//! cursor ──▶ follow EVENTS ──▶ registrations (leader) ──▶ starts ──▶ cursor
//! ```
//!
//! The registrations are read after the events: one that was acknowledged before an event was published is there when the event is
//! looked at, so it is never missed. The cursor passes events only when everything that follows from them is durable.

use std::collections::BTreeSet;
use std::time::Duration;

use everstep_common::event::{Event, RefusedEvent};
use everstep_common::ids::WorkflowName;
use everstep_common::ports::{
    Ack, ConnectionEvent, Delivery, Followed, From, Message, Publish, PublishError, PullError, ReadError, Schedule,
};
use everstep_common::store::{Kept, LEASES, Store, TRIGGERS, TriggerError, TriggeredRun};
use everstep_common::trigger::registration::{Listening, Registration};
use everstep_common::trigger::{EventTrigger, NoRun, Trigger, encoded};
use everstep_common::wire;
use futures::stream::{BoxStream, TryStreamExt as _};
use futures::{FutureExt, StreamExt, future, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::schedules::Schedules;
use super::server_time::ServerTime;
use super::windows;
use super::{Complaint, PAUSE, start};
use crate::metrics::metrics;

/// Events that are taken up together: their registrations are read once.
const EVENTS_AT_ONCE: usize = 256;

/// Starts that are under way at a time.
const STARTS_AT_ONCE: usize = 64;

/// What is due is asked for so many at a time, and for so long.
const DUE_AT_ONCE: usize = 64;
const DUE_WAIT: Duration = Duration::from_secs(5);

/// The key of the cursor in KV `leases`.
const CURSOR_KEY: &str = "events";

/// Up to where events are taken up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Cursor {
    /// The last event that is.
    sequence: u64,
    /// When its stream was created: another stream begins anew.
    created: Option<Timestamp>,
    /// How often somebody began to route: a write of its own, by which the server's time is learnt.
    takeovers: u64,
}

/// Why routing stopped; it begins again.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error(transparent)]
    Trigger(#[from] TriggerError),
    #[error("following events: {0}")]
    Lost(String),
    #[error("pulling what is due: {0}")]
    Pull(PullError),
    #[error("reading the cursor of events: {0}")]
    Cursor(ReadError),
    #[error("writing the cursor of events: {0}")]
    CursorWrite(everstep_common::store::PutError),
    #[error("the cursor of events is unreadable: {0}")]
    Undecodable(wire::Error),
}

/// Routes until it is dropped.
pub(super) async fn route(store: &Store) {
    let mut complaint = Complaint::default();
    loop {
        let router = match Router::take_over(store).await {
            Ok(router) => {
                complaint.is_over();
                router
            }
            Err(error) => {
                complaint.tell("events and schedules are not looked at", &error);
                store.clock().sleep(PAUSE).await;
                continue;
            }
        };
        if let Err(error) = router.run().await {
            tracing::debug!(%error, "routing begins anew");
            store.clock().sleep(PAUSE).await;
        }
    }
}

struct Router<'a> {
    store: &'a Store,
    cursor: Cursor,
    /// The cursor's revision.
    revision: u64,
    time: ServerTime,
    schedules: Schedules,
}

impl<'a> Router<'a> {
    async fn take_over(store: &'a Store) -> Result<Self, Stop> {
        let registrations = store.registrations().await?;
        let stream = store.names().event_stream();
        let info = store.broker().stream_info(&stream).await.map_err(Stop::Cursor)?;
        let info = info.ok_or(Stop::Cursor(ReadError::NoStream))?;
        let found = store.get_record(LEASES, CURSOR_KEY).await.map_err(Stop::Cursor)?;
        let revision = found.as_ref().map_or(0, |record| record.revision);
        let mut cursor: Cursor = match found {
            Some(record) => wire::decode(&record.value).map_err(Stop::Undecodable)?,
            None => Cursor::default(),
        };
        if cursor.created != Some(info.created) || cursor.sequence > info.last_sequence {
            if cursor.created.is_some() {
                tracing::warn!(
                    from = cursor.sequence,
                    last = info.last_sequence,
                    "the stream of events was replaced or rolled back: it is read anew"
                );
            }
            cursor.sequence = cursor.sequence.min(info.last_sequence);
            if cursor.created != Some(info.created) {
                cursor.sequence = 0;
            }
            cursor.created = Some(info.created);
            listen_again(store, registrations, info.last_sequence).await?;
        }
        cursor.takeovers += 1;
        let revision = put(store, &cursor, revision).await?;
        let written = store.get_record(LEASES, CURSOR_KEY).await.map_err(Stop::Cursor)?;
        let time = written.map_or(info.created, |record| record.time);
        if info.first_sequence > cursor.sequence + 1 && cursor.sequence > 0 {
            tracing::warn!(
                from = cursor.sequence + 1,
                to = info.first_sequence - 1,
                "events were dropped for their age before anyone looked at them"
            );
        }
        Ok(Self {
            store,
            cursor,
            revision,
            time: ServerTime::new(time, store.clock().as_ref()),
            schedules: Schedules::default(),
        })
    }

    async fn run(mut self) -> Result<(), Stop> {
        let (broker, names) = (self.store.broker().clone(), self.store.names().clone());
        let mut events: BoxStream<'static, Vec<Followed>> = broker
            .follow(
                &names.event_stream(),
                &names.event_filter(),
                From::Sequence(self.cursor.sequence + 1),
            )
            .ready_chunks(EVENTS_AT_ONCE)
            .boxed();
        let (bucket, records) = (names.bucket_stream(TRIGGERS), names.bucket_key(TRIGGERS, ">"));
        // From where the bucket stood before its schedules are tended below: a follow begins when it is first polled, and what is registered
        // in between would be seen by neither.
        let info = broker.stream_info(&bucket).await.map_err(TriggerError::Read)?;
        let known = info.ok_or(TriggerError::Read(ReadError::NoStream))?.last_sequence;
        let mut changes = broker
            .follow(&bucket, &records, From::Sequence(known + 1))
            .ready_chunks(EVENTS_AT_ONCE)
            .boxed();
        let mut connection = broker.connection_events().fuse();
        let consumer = self.store.deployment().trigger_consumer(&names).name;
        let mut puller = broker.pull(&names.trigger_stream(), &consumer).await.map_err(Stop::Pull)?;
        let now = self.now();
        self.schedules.tend(self.store, now).await?;
        loop {
            futures::select_biased! {
                event = connection.select_next_some() => if event == ConnectionEvent::Reconnected {
                    // The server may have been away while something was due.
                    return Ok(());
                },
                chunk = events.next().fuse() => self.take_up(chunk.unwrap_or_default()).await?,
                changed = changes.next().fuse() => self.changed(changed.unwrap_or_default()).await?,
                due = puller.next(DUE_AT_ONCE, DUE_WAIT).fuse() => match due {
                    Ok(due) => self.due(due).await?,
                    Err(error) => return Err(Stop::Pull(error)),
                },
            }
        }
    }

    fn now(&self) -> Timestamp {
        self.time.now(self.store.clock().as_ref())
    }

    /// Starts what listens to these events, then passes them.
    async fn take_up(&mut self, chunk: Vec<Followed>) -> Result<(), Stop> {
        let messages = messages(chunk)?;
        let Some(last) = messages.last() else { return Ok(()) };
        self.time.note(last.time, self.store.clock().as_ref());
        let sequence = last.sequence;
        let registrations = self.store.registrations().await?;
        let mut work = Vec::new();
        for message in &messages {
            work.extend(self.of_message(message, &registrations));
        }
        self.count(&messages, work.len());
        let store = self.store;
        stream::iter(work.into_iter().map(Ok))
            .try_for_each_concurrent(STARTS_AT_ONCE, |work| perform(store, work))
            .await?;
        self.cursor.sequence = sequence;
        self.revision = put(store, &self.cursor, self.revision).await?;
        Ok(())
    }

    fn count(&self, messages: &[Message], matched: usize) {
        metrics().seen.add(messages.len() as u64, &[]);
        metrics().matched.add(matched as u64, &[]);
        let oldest = messages.iter().map(|message| message.time).min();
        let lag = oldest.map_or(0.0, |oldest| self.now().duration_since(oldest).as_secs_f64());
        metrics().event_lag.record(lag.max(0.0), &[]);
    }

    /// What follows from one message, for each workflow that listens.
    fn of_message(&self, message: &Message, registrations: &[Kept<Registration>]) -> Vec<Work> {
        let names = self.store.names();
        let Some(name) = names.parse_event(&message.subject) else {
            return Vec::new();
        };
        let mut work = Vec::new();
        for registration in registrations.iter().map(|kept| &kept.value) {
            let mut keys = BTreeSet::new();
            for listening in &registration.listens {
                let Some(trigger) = listens(listening, message, &name) else {
                    continue;
                };
                let made = match Event::read(names, message) {
                    Ok(event) => of_event(registration, trigger, &event),
                    Err(error) => Err(error.to_string()),
                };
                match made {
                    // Two triggers of one workflow that know the event by the same key start it once, as the first one says.
                    Ok(Some(made)) if !keys.insert(made.key().to_owned()) => {}
                    Ok(made) => work.extend(made),
                    Err(reason) => work.push(refused(&registration.workflow, message, name.to_string(), reason)),
                }
            }
        }
        work
    }

    /// Registrations or schedules were changed, perhaps by ourselves.
    async fn changed(&mut self, chunk: Vec<Followed>) -> Result<(), Stop> {
        let messages = messages(chunk)?;
        if let Some(last) = messages.last() {
            self.time.note(last.time, self.store.clock().as_ref());
            let now = self.now();
            self.schedules.tend(self.store, now).await?;
        }
        Ok(())
    }

    /// Something is due: a schedule's time, a delayed start, the end of a window.
    async fn due(&mut self, due: Vec<Delivery>) -> Result<(), Stop> {
        let mut looked = false;
        for delivery in due {
            self.time.note(delivery.time, self.store.clock().as_ref());
            let key = self.store.names().parse_due(&delivery.subject).unwrap_or_default().to_owned();
            match key.split('.').next().unwrap_or_default() {
                "schedule" if !looked => {
                    let now = self.now();
                    self.schedules.fired(&key);
                    self.schedules.tend(self.store, now).await?;
                    looked = true;
                }
                "schedule" => self.schedules.fired(&key),
                "delayed" => start_delayed(self.store, &delivery).await?,
                "window" => {
                    // Every event that was stored before the window's end must be in it first.
                    if !self.has_caught_up().await? {
                        self.store.broker().ack(&delivery.ack, Ack::Retry(PAUSE));
                        continue;
                    }
                    windows::close(self.store, &delivery).await?;
                }
                _ => tracing::warn!(
                    subject = delivery.subject,
                    "nobody here knows what this is for; it is dropped"
                ),
            }
            self.store.broker().ack(&delivery.ack, Ack::Done);
        }
        Ok(())
    }

    /// Whether every event that there is has been taken up.
    async fn has_caught_up(&self) -> Result<bool, Stop> {
        let (stream, filter) = (self.store.names().event_stream(), self.store.names().event_filter());
        let behind = self
            .store
            .broker()
            .follow(&stream, &filter, From::Sequence(self.cursor.sequence + 1));
        let first = behind.filter(|followed| {
            future::ready(!matches!(followed, Followed::Message(message) if message.sequence <= self.cursor.sequence))
        });
        match Box::pin(first).next().await {
            Some(Followed::CaughtUp) => Ok(true),
            Some(Followed::Message(_)) => Ok(false),
            Some(Followed::Lost(reason)) => Err(Stop::Lost(reason)),
            None => Err(Stop::Lost("the follow ended".to_owned())),
        }
    }
}

/// What follows from an event for one workflow.
enum Work {
    Start { run: TriggeredRun, sequence: u64 },
    Later { run: TriggeredRun, at: Timestamp },
    Window(windows::Member),
    Refuse(RefusedEvent),
}

impl Work {
    fn key(&self) -> &str {
        match self {
            Self::Start { run, .. } | Self::Later { run, .. } => &run.key,
            Self::Window(member) => member.key(),
            Self::Refuse(_) => "",
        }
    }
}

/// The trigger, if it listens to this message.
fn listens<'a>(listening: &'a Listening, message: &Message, name: &everstep_common::event::EventName) -> Option<&'a EventTrigger> {
    match &listening.trigger {
        Trigger::Event(trigger) if listening.since < message.sequence && trigger.listens_to(name) => Some(trigger),
        _ => None,
    }
}

/// What a trigger makes of an event; nothing if its filter does not let it pass.
fn of_event(registration: &Registration, trigger: &EventTrigger, event: &Event) -> Result<Option<Work>, String> {
    let made = || -> Result<Option<Work>, NoRun> {
        if !trigger.lets_pass(event)? {
            return Ok(None);
        }
        let (key, value) = (trigger.start_key(event)?, trigger.input(event)?);
        if let Some(batch) = trigger.batch {
            let member = windows::Member::new(registration, trigger, batch, key, value, event);
            return Ok(Some(Work::Window(member)));
        }
        let run = TriggeredRun::of_event(
            registration.workflow.clone(),
            registration.version,
            key,
            encoded(&value)?,
            event,
        );
        Ok(Some(match trigger.delay {
            None => Work::Start {
                run,
                sequence: event.sequence,
            },
            Some(delay) => Work::Later {
                run,
                at: event.time.checked_add(delay).unwrap_or(event.time),
            },
        }))
    };
    made().map_err(|error| error.to_string())
}

fn refused(workflow: &WorkflowName, message: &Message, event: String, reason: String) -> Work {
    Work::Refuse(RefusedEvent {
        workflow: workflow.clone(),
        event,
        sequence: message.sequence,
        reason,
    })
}

async fn perform(store: &Store, work: Work) -> Result<(), Stop> {
    match work {
        Work::Start { run, sequence } => match start(store, &run).await {
            Err(error) if error.is_final() => {
                let (workflow, event) = (run.workflow, run.tags.get("event").cloned().unwrap_or_default());
                refuse(
                    store,
                    RefusedEvent {
                        workflow,
                        event,
                        sequence,
                        reason: error.to_string(),
                    },
                )
                .await
            }
            started => Ok(started.map(drop)?),
        },
        Work::Later { run, at } => schedule_start(store, &run, at).await,
        Work::Window(member) => Ok(windows::join(store, &member).await?),
        Work::Refuse(refused) => refuse(store, refused).await,
    }
}

/// Says, and keeps, that nothing was started.
async fn refuse(store: &Store, refused: RefusedEvent) -> Result<(), Stop> {
    let RefusedEvent {
        workflow,
        event,
        sequence,
        reason,
    } = &refused;
    metrics().events_refused.add(1, &[]);
    tracing::warn!(%workflow, event, sequence, reason, "an event could not start a workflow that listens to it");
    Ok(store.refuse_event(&refused).await?)
}

/// Has the server remind us of the start. It may be fired and asked for again: the start is made once all the same.
async fn schedule_start(store: &Store, run: &TriggeredRun, at: Timestamp) -> Result<(), Stop> {
    let id = everstep_common::key::StepKey::from_path(&run.key);
    let key = format!(
        "delayed.{}.{}",
        everstep_common::key::escape(run.workflow.as_str()),
        id.token()
    );
    let body = wire::encode(run).map_err(|error| TriggerError::Publish {
        subject: key.clone(),
        source: PublishError::Rejected(error.to_string()),
    })?;
    Ok(remind(store, &key, body, at).await?)
}

/// Stores a schedule unless that very one stands: a body that is fired at `at` under `key`.
pub(super) async fn remind(store: &Store, key: &str, body: bytes::Bytes, at: Timestamp) -> Result<(), TriggerError> {
    let (subject, target) = store.names().later(key);
    let mut publish = Publish::new(subject.clone(), body).create_only();
    publish.schedule = Some(Schedule { at, target });
    match store.broker().publish(publish).await {
        Ok(_) | Err(PublishError::Refused) => Ok(()),
        Err(source) => Err(TriggerError::Publish { subject, source }),
    }
}

async fn start_delayed(store: &Store, delivery: &Delivery) -> Result<(), Stop> {
    match wire::decode::<TriggeredRun>(&delivery.payload) {
        Ok(run) => Ok(start(store, &run).await.map(drop)?),
        Err(error) => {
            tracing::error!(subject = delivery.subject, %error, "a delayed start is unreadable; it is dropped");
            Ok(())
        }
    }
}

fn messages(chunk: Vec<Followed>) -> Result<Vec<Message>, Stop> {
    let mut messages = Vec::with_capacity(chunk.len());
    for followed in chunk {
        match followed {
            Followed::Message(message) => messages.push(message),
            Followed::CaughtUp => {}
            Followed::Lost(reason) => return Err(Stop::Lost(reason)),
        }
    }
    Ok(messages)
}

async fn put(store: &Store, cursor: &Cursor, revision: u64) -> Result<u64, Stop> {
    let value = wire::encode(cursor).map_err(Stop::Undecodable)?;
    store
        .put_record(LEASES, CURSOR_KEY, value, revision)
        .await
        .map_err(Stop::CursorWrite)
}

/// The stream has fewer events than a trigger believes: what is behind its last one is new again.
async fn listen_again(store: &Store, registrations: Vec<Kept<Registration>>, last: u64) -> Result<(), TriggerError> {
    for kept in registrations {
        let mut registration = kept.value;
        let ahead = registration.listens.iter_mut().filter(|listening| listening.since > last);
        let ahead = ahead.map(|listening| listening.since = last).count();
        if ahead > 0 {
            store.put_registration(&registration, kept.revision).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use everstep_common::ids::hex;

    use super::*;

    #[test]
    fn cursors_once_written_are_read_for_ever() {
        let cursor = Cursor {
            sequence: 70_000,
            created: Some("2026-02-03T04:05:06.000000789Z".parse().unwrap()),
            takeovers: 3,
        };
        let bytes = wire::encode(&cursor).unwrap();
        assert_eq!(
            hex(&bytes),
            "0183a873657175656e6365ce00011170a763726561746564be323032362d30322d30335430343a30353a30362e3030303030303738395aa974616b656f7665727303"
        );
        assert_eq!(wire::decode::<Cursor>(&bytes).unwrap(), cursor);
    }
}
