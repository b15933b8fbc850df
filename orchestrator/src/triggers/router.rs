//! Reads the events and starts what listens to them; wakes when something is due.
//!
//! ```text
//! cursor ──▶ follow EVENTS ──▶ registrations, proven current ──▶ work ──▶ cursor
//! ```
//!
//! The registrations are proven current after the events are there: one that was acknowledged before an event was published is there when
//! the event is looked at, so it is never missed. The cursor passes events only when everything that follows from them is durable.

use std::collections::BTreeMap;
use std::time::Duration;

use everstep_common::ports::{ConnectionEvent, Delivery, Followed, From, Message, PullError, Puller, ReadError};
use everstep_common::store::{Store, TRIGGERS, TriggerError, TriggerRecords};
use everstep_common::wire;
use futures::stream::{self, BoxStream, SelectAll, StreamExt, TryStreamExt};
use jiff::Timestamp;

use super::cursor::{self, Progress};
use super::schedules::Schedules;
use super::server_time::ServerTime;
use super::work::{of_message, perform};
use super::{Complaint, PAUSE};
use crate::metrics::metrics;

/// Events that are taken up together: their registrations are looked at once.
const EVENTS_AT_ONCE: usize = 256;

/// Starts that are under way at a time.
const STARTS_AT_ONCE: usize = 64;

/// What is due is asked for so many at a time, and for so long.
const DUE_AT_ONCE: usize = 64;
const DUE_WAIT: Duration = Duration::from_secs(5);

/// Why routing stopped; it begins again.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop {
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
        let routed = match Router::take_over(store).await {
            Ok(router) => router.run().await,
            Err(error) => Err(error),
        };
        if let Err(error) = routed {
            complaint.tell("events and schedules stand still", &error, store.clock().now());
            store.clock().sleep(PAUSE).await;
        }
    }
}

pub(super) struct Router<'a> {
    pub(super) store: &'a Store,
    progress: Progress,
    /// Up to where the stream of events has been looked at, with what is no event.
    pub(super) looked_at: u64,
    /// Where it ended when that began.
    stood_at: u64,
    time: ServerTime,
    records: TriggerRecords,
    pub(super) schedules: Schedules,
    /// Windows that have ended, and up to where events have to be looked at before they are closed.
    pub(super) closing: BTreeMap<String, u64>,
}

/// What there is to do next.
enum Brought {
    Connection(ConnectionEvent),
    Events(Vec<Followed>),
    Changes(Vec<Followed>),
    Due(Result<Vec<Delivery>, PullError>),
}

impl<'a> Router<'a> {
    async fn take_over(store: &'a Store) -> Result<Self, Stop> {
        let info = cursor::stream_info(store).await?;
        let (progress, time) = Progress::take_over(store, &info).await?;
        Ok(Self {
            store,
            looked_at: progress.sequence(),
            stood_at: info.last_sequence,
            progress,
            time: ServerTime::new(time, store.clock().as_ref()),
            records: TriggerRecords::default(),
            schedules: Schedules::default(),
            closing: BTreeMap::new(),
        })
    }

    async fn run(mut self) -> Result<(), Stop> {
        let mut sources = self.sources().await?;
        self.tend().await?;
        while let Some(brought) = sources.next().await {
            match brought {
                // The server may have been away while something was due.
                Brought::Connection(ConnectionEvent::Reconnected) => break,
                Brought::Connection(_) => {}
                Brought::Events(chunk) => self.take_up(chunk).await?,
                Brought::Changes(chunk) => self.changed(chunk).await?,
                Brought::Due(due) => self.due(due.map_err(Stop::Pull)?).await?,
            }
        }
        Ok(())
    }

    /// All that wakes it. They take turns: none waits for more than one of each other.
    async fn sources(&self) -> Result<SelectAll<BoxStream<'static, Brought>>, Stop> {
        let (broker, names) = (self.store.broker().clone(), self.store.names().clone());
        // With what is no event: how far they have been looked at is told by the stream's own last sequence.
        let events = broker.follow(
            &names.event_stream(),
            &names.event_stream_filter(),
            From::Sequence(self.progress.sequence() + 1),
        );
        let (bucket, records) = (names.bucket_stream(TRIGGERS), names.bucket_key(TRIGGERS, ">"));
        // From where the bucket stands before its schedules are tended: a follow begins when it is first polled, and what is registered in
        // between would be seen by neither.
        let info = broker.stream_info(&bucket).await.map_err(TriggerError::Read)?;
        let known = info.ok_or(TriggerError::Read(ReadError::NoStream))?.last_sequence;
        let changes = broker.follow(&bucket, &records, From::Sequence(known + 1));
        let consumer = self.store.deployment().trigger_consumer(&names).name;
        let puller = broker.pull(&names.trigger_stream(), &consumer).await.map_err(Stop::Pull)?;
        Ok(stream::select_all([
            broker.connection_events().map(Brought::Connection).boxed(),
            events.ready_chunks(EVENTS_AT_ONCE).map(Brought::Events).boxed(),
            changes.ready_chunks(EVENTS_AT_ONCE).map(Brought::Changes).boxed(),
            all_due(puller).map(Brought::Due).boxed(),
        ]))
    }

    /// A message that the server stored then has come.
    pub(super) fn note(&mut self, time: Timestamp) {
        self.time.note(time, self.store.clock().as_ref());
    }

    fn now(&self) -> Timestamp {
        self.time.now(self.store.clock().as_ref())
    }

    /// Starts what listens to these events, then passes them.
    async fn take_up(&mut self, chunk: Vec<Followed>) -> Result<(), Stop> {
        let is_caught_up = chunk.iter().any(|followed| matches!(followed, Followed::CaughtUp));
        let mut messages = messages(chunk)?;
        if let Some(last) = messages.last() {
            let (sequence, time) = (last.sequence, last.time);
            self.note(time);
            messages.retain(|message| self.store.names().parse_event(&message.subject).is_some());
            self.start_all(&messages).await?;
            self.looked_at = sequence;
        }
        if is_caught_up {
            // What was stored last may have been dropped since.
            self.looked_at = self.looked_at.max(self.stood_at);
        }
        Ok(())
    }

    async fn start_all(&mut self, events: &[Message]) -> Result<(), Stop> {
        let Some(last) = events.last() else { return Ok(()) };
        let store = self.store;
        store.renew_trigger_records(&mut self.records).await?;
        let registrations = &self.records.registrations;
        let follows = events.iter().map(|event| of_message(store.names(), event, registrations));
        let work: Vec<_> = follows.flatten().collect();
        self.count(events, work.len());
        stream::iter(work.into_iter().map(Ok))
            .try_for_each_concurrent(STARTS_AT_ONCE, |work| perform(store, work))
            .await?;
        self.progress.pass(store, last).await
    }

    fn count(&self, messages: &[Message], matched: usize) {
        metrics().seen.add(messages.len() as u64, &[]);
        metrics().matched.add(matched as u64, &[]);
        let oldest = messages.iter().map(|message| message.time).min();
        let lag = oldest.map_or(0.0, |oldest| self.now().duration_since(oldest).as_secs_f64());
        metrics().event_lag.record(lag.max(0.0), &[]);
    }

    /// Registrations or schedules were changed, perhaps by ourselves.
    async fn changed(&mut self, chunk: Vec<Followed>) -> Result<(), Stop> {
        match messages(chunk)?.last() {
            Some(last) => {
                self.note(last.time);
                self.tend().await
            }
            None => Ok(()),
        }
    }

    /// Brings every schedule to where it should be now.
    pub(super) async fn tend(&mut self) -> Result<(), Stop> {
        let now = self.now();
        self.store.renew_trigger_records(&mut self.records).await?;
        Ok(self.schedules.tend(self.store, &self.records, now).await?)
    }

    /// Where the stream of events ends.
    pub(super) async fn last_message(&self) -> Result<u64, Stop> {
        Ok(cursor::stream_info(self.store).await?.last_sequence)
    }
}

fn all_due(puller: Box<dyn Puller>) -> impl futures::Stream<Item = Result<Vec<Delivery>, PullError>> + Send {
    stream::unfold(puller, |mut puller| async move {
        let due = puller.next(DUE_AT_ONCE, DUE_WAIT).await;
        Some((due, puller))
    })
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
