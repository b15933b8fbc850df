//! JetStream as a plain state machine: streams, consumers, schedules. No clock, no randomness, no threads of its own: the time is
//! handed to each call, and what happens of itself (schedules, expired deliveries) happens when [`Model::tick`] is told to.
//!
//! It is the server's truth only. What a client gets to see of it (lost acknowledgements, late answers, replicas that are behind)
//! is decided in [`crate::server`]. Where a rule here looks odd, it is what nats-server 2.15.1 does; the conformance suite of
//! `everstep-tests` runs the same assertions on both.
//!
//! ```text
//! Model ── Stream ── store.rs     messages, the last of each subject, the history of changes
//!   │         ├───── publish.rs   conditions, limits, batches, roll-ups
//!   │         ├───── schedule.rs  @at messages
//!   │         ├───── read.rs      the last message of each subject, at any earlier position
//!   │         └───── Consumer     deliveries and acknowledgements (consumer.rs)
//!   └── provision.rs              what may be created, and what differs; restarts, deletion, roll-back
//! ```

mod batch;
mod consumer;
mod provision;
mod publish;
mod read;
mod schedule;
mod store;
mod stored_form;

use std::collections::BTreeMap;
use std::time::Duration;

use everstep_common::ports::{Ack, CoreMessage, Delivery, Publish, PublishError, Stored};
use jiff::Timestamp;

pub(crate) use schedule::SCHEDULER_PAUSE;
pub(crate) use store::Stream;
pub(crate) use stored_form::wire_headers;

use crate::subject;

/// How many servers the model stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nodes {
    /// A single server: memory streams are forgotten at a restart.
    One,
    /// A cluster of three: replicated memory streams come back empty; guards on one subject exclude each other in flight.
    Three,
}

/// The largest message (headers and body) that the simulated server takes, in bytes: the default of nats-server.
pub const MAX_PAYLOAD: usize = 1024 * 1024;

/// Everything the server knows.
#[derive(Debug)]
pub(crate) struct Model {
    /// How many servers it stands for.
    nodes: Nodes,
    /// Its streams by name.
    streams: BTreeMap<String, Stream>,
    /// The identity that the next stream gets; a stream made again is another one, whatever its name and time say.
    next_incarnation: u64,
    /// What the server has to say on core NATS (republished messages), until the caller takes it.
    announcements: Vec<CoreMessage>,
}

/// A message that was stored, for whoever watches the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The stream.
    pub stream: String,
    /// The subject.
    pub subject: String,
    /// The sequence.
    pub sequence: u64,
}

impl Model {
    /// A server without streams.
    pub(crate) fn new(nodes: Nodes) -> Self {
        Self {
            nodes,
            streams: BTreeMap::new(),
            next_incarnation: 1,
            announcements: Vec::new(),
        }
    }

    /// The stream of that name.
    pub(crate) fn stream(&self, name: &str) -> Option<&Stream> {
        self.streams.get(name)
    }

    /// The stream of that name, to be changed.
    pub(crate) fn stream_mut(&mut self, name: &str) -> Option<&mut Stream> {
        self.streams.get_mut(name)
    }

    /// When the stream that takes this subject was created.
    pub(crate) fn created(&self, subject: &str) -> Option<Timestamp> {
        self.streams
            .values()
            .find(|stream| stream.takes(subject))
            .map(Stream::created)
    }

    /// Stores a message in the stream that takes its subject.
    pub(crate) fn publish(&mut self, now: Timestamp, message: &Publish) -> Result<Stored, PublishError> {
        if !subject::is_literal(&message.subject) {
            return Err(PublishError::Rejected(format!("invalid subject {}", message.subject)));
        }
        let nodes = self.nodes;
        let stream = self
            .streams
            .values_mut()
            .find(|stream| stream.takes(&message.subject))
            .ok_or(PublishError::NoStream)?;
        let stored = stream.publish(now, nodes, message)?;
        self.announcements.append(&mut stream.take_republished());
        Ok(stored)
    }

    /// Stores all messages or none. The commit, on the last message's subject, decides on the stream.
    pub(crate) fn publish_batch(&mut self, now: Timestamp, messages: &[Publish]) -> Result<Stored, PublishError> {
        let commit = messages
            .last()
            .ok_or_else(|| PublishError::Rejected("an empty batch".into()))?;
        let nodes = self.nodes;
        let mut streams = self.streams.values_mut();
        let stream = streams
            .find(|stream| stream.takes(&commit.subject))
            .ok_or(PublishError::NoStream)?;
        let stored = stream.publish_batch(now, nodes, messages)?;
        self.announcements.append(&mut stream.take_republished());
        Ok(stored)
    }

    /// Hands out at most `max` messages of a consumer. `None`: the consumer or its stream does not exist.
    pub(crate) fn fetch(&mut self, now: Timestamp, stream: &str, consumer: &str, max: usize) -> Option<Vec<Delivery>> {
        self.streams.get_mut(stream)?.fetch(now, consumer, max)
    }

    /// Takes an acknowledgement. Whoever holds the token may send it, and nobody is told what became of it.
    pub(crate) fn acknowledge(&mut self, now: Timestamp, token: &str, ack: Ack) {
        let Some(token) = consumer::Token::parse(token) else { return };
        if let Some(stream) = self.streams.get_mut(token.stream) {
            stream.acknowledge(now, token.consumer, token.sequence, ack);
        }
    }

    /// Removes what matches; how many they were. `None`: no such stream.
    pub(crate) fn purge(&mut self, stream: &str, filter: &str) -> Option<u64> {
        self.streams.get_mut(stream).map(|stream| stream.purge(filter))
    }

    /// Lets everything happen that is due: schedules fire, deliveries expire. `pause` is how long each scheduler rests after having fired.
    pub(crate) fn tick(&mut self, now: Timestamp, pause: Duration) {
        let nodes = self.nodes;
        for stream in self.streams.values_mut() {
            stream.fire_due(now, nodes, pause);
            stream.expire_deliveries(now);
            stream.expire_messages(now);
            self.announcements.append(&mut stream.take_republished());
        }
    }

    /// Everything delivered and not answered is delivered again, on every consumer.
    pub(crate) fn redeliver_all(&mut self) {
        self.streams.values_mut().for_each(Stream::redeliver_all);
    }

    /// Whether it stands for a cluster.
    pub(crate) fn is_cluster(&self) -> bool {
        self.nodes == Nodes::Three
    }

    /// No publish is under way any more.
    pub(crate) fn settle(&mut self) {
        self.streams.values_mut().for_each(Stream::settle);
    }

    /// When [`Model::tick`] next has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.streams.values().filter_map(Stream::next_deadline).min()
    }

    /// What the server has to say on core NATS since this was last asked.
    pub(crate) fn take_announcements(&mut self) -> Vec<CoreMessage> {
        std::mem::take(&mut self.announcements)
    }

    /// What was stored since this was last asked.
    pub(crate) fn take_entries(&mut self) -> Vec<Entry> {
        self.streams.values_mut().flat_map(Stream::take_entries).collect()
    }
}

/// Adds a duration of the port to a time of the model; a date beyond what can be told is the last one that can.
pub(crate) fn later(now: Timestamp, by: Duration) -> Timestamp {
    now.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// Whether one of the filters names the subject.
pub(crate) fn any_matches(filters: &[String], subject: &str) -> bool {
    filters.iter().any(|filter| subject::matches(filter, subject))
}
