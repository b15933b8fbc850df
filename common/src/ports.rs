//! The ports: JetStream as Everstep uses it, and the clock.
//!
//! Everything above this file (journal, tasks, leases, timers) is written against [`Broker`] and [`Clock`] only, and so runs
//! unchanged on a real server (`everstep-nats`) and on the simulated one (`everstep-memory`).
//! The ports promise no more than JetStream does: an acknowledgement may be lost after the write, a read may be stale,
//! a task may be delivered twice. What to make of that is decided above, in [`crate::store`].

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use jiff::Timestamp;

use crate::topology::{ConsumerSpec, StreamSpec};

/// Header names that Everstep reads or writes.
pub mod header {
    /// One random value per create, by which a writer knows its own write again (a refusal may be the answer to it).
    pub const NONCE: &str = "Everstep-Nonce";
    /// W3C trace context.
    pub const TRACEPARENT: &str = "traceparent";
}

/// A message stored in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The subject it is stored under.
    pub subject: String,
    /// Its sequence in the stream.
    pub sequence: u64,
    /// When the server stored it (nanosecond precision, the same in every read of it).
    pub time: Timestamp,
    /// Its headers; their order means nothing.
    pub headers: Headers,
    /// Its body.
    pub payload: Bytes,
}

/// Message headers; few, so a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// No headers.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same headers and one more.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.push((name.into(), value.into()));
        self
    }

    /// The first value under `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(candidate, _)| candidate == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What must be true of the stream for a publish to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The last message on this publish's own subject has this sequence; 0: there is none (create-only).
    LastSequence(u64),
    /// The last message on any subject matching `filter` (may hold wildcards) has this sequence; 0: there is none.
    LastSequenceOf {
        /// The subjects looked at.
        filter: String,
        /// The sequence expected.
        sequence: u64,
    },
}

/// One publish to a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Where to.
    pub subject: String,
    /// User headers; the expectation and the schedule are not among them.
    pub headers: Headers,
    /// The body.
    pub payload: Bytes,
    /// Condition for storing it.
    pub expect: Option<Expect>,
    /// If set, the message is a schedule: the server publishes a copy to `target` at `at`, then removes it.
    pub schedule: Option<Schedule>,
}

impl Publish {
    /// A publish without conditions or headers.
    pub fn new(subject: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self {
            subject: subject.into(),
            headers: Headers::new(),
            payload: payload.into(),
            expect: None,
            schedule: None,
        }
    }

    /// Stored only if its subject holds nothing.
    #[must_use]
    pub fn create_only(self) -> Self {
        self.expecting(Expect::LastSequence(0))
    }

    /// Stored only if `expect` holds.
    #[must_use]
    pub fn expecting(mut self, expect: Expect) -> Self {
        self.expect = Some(expect);
        self
    }

    /// With one more header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers = self.headers.with(name, value);
        self
    }
}

/// A one-shot (`@at`) message schedule (NATS ADR-51).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// When the server fires it; never early, late by up to 250 ms.
    pub at: Timestamp,
    /// The subject it is fired onto, in the same stream.
    pub target: String,
}

/// A stored publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The sequence it got (for a batch: that of its last message).
    pub sequence: u64,
}

/// Why a publish was not acknowledged.
///
/// ```
/// use everstep_common::ports::PublishError;
///
/// /// Whether it may be stored all the same.
/// fn in_doubt(error: &PublishError) -> bool {
///     matches!(error, PublishError::Unknown(_))
/// }
/// assert!(!in_doubt(&PublishError::TooLarge));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The server refused it by its condition, or because the subject is write-once and taken. May be our own earlier write.
    #[error("refused: the subject does not stand where the publish expected it")]
    Refused,
    /// No acknowledgement came in time or the connection went; it may be stored.
    #[error("not acknowledged: {0}")]
    Unknown(String),
    /// No stream takes this subject (deleted, wiped, or not provisioned yet). It is not stored.
    #[error("no stream takes the subject")]
    NoStream,
    /// The stream is at its limits. It is not stored.
    #[error("the stream is full")]
    Full,
    /// Larger than the server takes.
    #[error("larger than the server accepts")]
    TooLarge,
    /// The server refused for a reason that a retry will not change (permissions, configuration).
    #[error("rejected: {0}")]
    Rejected(String),
}

/// A read of the last message of each matching subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetLast {
    /// The stream.
    pub stream: String,
    /// Subjects, with wildcards; at most 1,000.
    pub subjects: Vec<String>,
    /// As the stream stood at this sequence.
    pub up_to: Option<u64>,
    /// Ask the leader's store, not any replica: dearer, and still no proof by itself.
    pub leader: bool,
}

/// What a [`GetLast`] brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The messages in stream order.
    pub messages: Vec<Message>,
    /// The stream position that the answer speaks of.
    pub up_to: u64,
}

/// Why a read failed. A read that finds nothing is a [`Snapshot`] without messages, not an error.
///
/// ```
/// use everstep_common::ports::ReadError;
///
/// /// Whether to ask again.
/// fn may_go_away(error: &ReadError) -> bool {
///     matches!(error, ReadError::Unavailable(_))
/// }
/// assert!(!may_go_away(&ReadError::NoStream));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The answer would be, or was, cut (more than 1,000 subjects, or 64 MiB): read it with [`Broker::get_all`] or [`Broker::scan`].
    #[error("too much for one answer")]
    TooMany,
    /// No answer in time, a cut connection, or a replica that is behind `up_to`. Ask again.
    #[error("not answered: {0}")]
    Unavailable(String),
    /// The stream does not exist.
    #[error("the stream does not exist")]
    NoStream,
    /// Refused for a reason that a retry will not change.
    #[error("rejected: {0}")]
    Rejected(String),
}

/// Where a [`Broker::follow`] starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// This sequence and all later ones.
    Sequence(u64),
    /// The last message of every subject, then all that come.
    LastPerSubject,
    /// Only what is stored from now on.
    New,
    /// What was stored at this time or later, by the server's clock.
    Time(Timestamp),
}

/// What a followed stream brings. Each message comes once, in sequence order, also over reconnects.
#[derive(Clone, Debug)]
pub enum Followed {
    /// The next message.
    Message(Message),
    /// Everything stored when the follow began has been brought. Comes once.
    CaughtUp,
    /// The stream is gone, or it is another one or shorter than before: the reader must start anew. Nothing comes after it.
    Lost(String),
}

/// One delivery of a work-queue task.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The task's subject.
    pub subject: String,
    /// Headers.
    pub headers: Headers,
    /// Body.
    pub payload: Bytes,
    /// 1 for the first delivery.
    pub delivery: u64,
    /// Its sequence in the task stream.
    pub sequence: u64,
    /// When it was stored.
    pub time: Timestamp,
    /// Where the acknowledgements go; opaque.
    pub ack: AckToken,
}

/// Names one delivery towards [`Broker::ack`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AckToken(pub String);

/// How a delivery is answered. None of these is confirmed: an acknowledgement that is lost means a redelivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// Done; removes it from a work queue.
    Done,
    /// Not done; deliver it again after the delay.
    Retry(Duration),
    /// Still working; restarts the `ack_wait`.
    InProgress,
    /// Never deliver it again, and remove it.
    Terminate,
}

/// Pulls deliveries from one durable consumer.
pub trait Puller: Send {
    /// At most `max` deliveries (at least one), waiting up to `wait` for the first.
    /// An empty list means that none came in time.
    fn next(&mut self, max: usize, wait: Duration) -> BoxFuture<'_, Result<Vec<Delivery>, PullError>>;
}

/// Why a pull failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PullError {
    /// The consumer or its stream is gone: look for the mark and bind again.
    #[error("the consumer is gone")]
    Gone,
    /// Connection trouble: pull again.
    #[error("not answered: {0}")]
    Unavailable(String),
}

/// What is known of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// When it was created; a restored or recreated stream may tell another time.
    pub created: Timestamp,
    /// The first sequence it holds.
    pub first_sequence: u64,
    /// The last sequence it gave out.
    pub last_sequence: u64,
    /// How many messages it holds.
    pub messages: u64,
    /// How many bytes it holds.
    pub bytes: u64,
}

/// Why provisioning failed.
///
/// ```
/// use everstep_common::ports::TopologyError;
///
/// let error = TopologyError::Unavailable { name: "TIMERS_0".to_owned(), reason: "timed out".to_owned() };
/// assert_eq!(error.to_string(), "provisioning TIMERS_0: not answered: timed out");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopologyError {
    /// It exists and is configured differently; each difference is named.
    #[error("{name} exists with another configuration: {}", differences.join("; "))]
    Differs {
        /// The stream or consumer.
        name: String,
        /// `field: wanted A, found B`.
        differences: Vec<String>,
    },
    /// No answer: try again.
    #[error("provisioning {name}: not answered: {reason}")]
    Unavailable {
        /// The stream or consumer.
        name: String,
        /// What the client says.
        reason: String,
    },
    /// The server refuses.
    #[error("provisioning {name}: rejected: {reason}")]
    Rejected {
        /// The stream or consumer.
        name: String,
        /// What the server says.
        reason: String,
    },
}

/// Whether provisioning had anything to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ensured {
    /// It was there, configured as wanted.
    Existed,
    /// It was made.
    Created,
}

/// A message of core NATS: seen by whoever listens, stored by nobody.
#[derive(Clone, Debug)]
pub struct CoreMessage {
    /// The subject.
    pub subject: String,
    /// Headers.
    pub headers: Headers,
    /// Body.
    pub payload: Bytes,
    /// Where an answer goes, if one is asked for.
    pub reply: Option<String>,
}

/// A change of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionEvent {
    /// Connected again after a loss; whatever was true of the server must be read anew.
    Reconnected,
    /// The connection is lost; the client is trying to come back.
    Disconnected,
}

/// What the server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerInfo {
    /// Its version, such as `2.15.1`.
    pub version: String,
    /// The largest message it takes, in bytes.
    pub max_payload: usize,
}

/// JetStream and core NATS, as far as Everstep needs them.
///
/// Every future may be dropped at any time; what it asked for may then have happened or not.
pub trait Broker: Send + Sync + fmt::Debug + 'static {
    /// Publishes to a stream and waits for the acknowledgement (at most a few seconds, then [`PublishError::Unknown`]).
    /// Publishes made one after the other are sent in that order.
    fn publish(&self, message: Publish) -> BoxFuture<'static, Result<Stored, PublishError>>;

    /// Publishes to one stream, all or nothing (atomic batch). 2 to 1,000 messages, no subject twice.
    /// A refusal does not say which message was the cause.
    fn publish_batch(&self, messages: Vec<Publish>) -> BoxFuture<'static, Result<Stored, PublishError>>;

    /// Reads the last message of each matching subject in one request.
    fn get_last(&self, request: GetLast) -> BoxFuture<'static, Result<Snapshot, ReadError>>;

    /// Every message of a write-once stream whose subject matches `filter`, for filters that match some thousands. Unlike [`Broker::get_last`]
    /// it knows no limit on size, and unlike [`Broker::scan`] it makes no consumer.
    ///
    /// The default is for servers whose leader is never in doubt.
    fn get_all(&self, stream: &str, filter: &str, up_to: Option<u64>) -> BoxFuture<'static, Result<Snapshot, ReadError>> {
        let (info, messages) = (self.stream_info(stream), self.scan(stream, filter, up_to));
        Box::pin(async move {
            let info = info.await?.ok_or(ReadError::NoStream)?;
            Ok(Snapshot {
                messages: messages.try_collect().await?,
                up_to: up_to.unwrap_or(info.last_sequence),
            })
        })
    }

    /// What `filter` matches without a limit on size, message by message in stream order, through an ephemeral consumer at the leader;
    /// ends after the last message at or before `up_to` (default: what the stream holds when the scan begins).
    fn scan(&self, stream: &str, filter: &str, up_to: Option<u64>) -> BoxStream<'static, Result<Message, ReadError>>;

    /// The subjects of a stream's messages that match `filter`, without their messages, as the leader knows them; each one that stands
    /// throughout is among them, once. Some milliseconds for ten thousand; not for the hot path.
    fn subjects(&self, stream: &str, filter: &str) -> BoxFuture<'static, Result<BTreeSet<String>, ReadError>>;

    /// Follows a stream without end. It survives reconnects by itself.
    fn follow(&self, stream: &str, filter: &str, from: From) -> BoxStream<'static, Followed>;

    /// Binds to a durable pull consumer; whether it exists shows at the first pull.
    fn pull(&self, stream: &str, consumer: &str) -> BoxFuture<'static, Result<Box<dyn Puller>, PullError>>;

    /// Answers a delivery; sent, not confirmed.
    fn ack(&self, token: &AckToken, ack: Ack);

    /// Removes every message of `stream` whose subject matches `filter`; how many they were.
    fn purge(&self, stream: &str, filter: &str) -> BoxFuture<'static, Result<u64, ReadError>>;

    /// Creates the stream, or checks that it is as wanted.
    fn ensure_stream(&self, spec: &StreamSpec) -> BoxFuture<'static, Result<Ensured, TopologyError>>;

    /// Creates the durable consumer, or checks that it is as wanted.
    fn ensure_consumer(&self, stream: &str, spec: &ConsumerSpec) -> BoxFuture<'static, Result<Ensured, TopologyError>>;

    /// Deletes a durable consumer; absent is fine.
    fn delete_consumer(&self, stream: &str, name: &str) -> BoxFuture<'static, Result<(), TopologyError>>;

    /// The names of a stream's durable consumers.
    fn consumers(&self, stream: &str) -> BoxFuture<'static, Result<Vec<String>, ReadError>>;

    /// What is known of a stream; `None` if it does not exist.
    fn stream_info(&self, stream: &str) -> BoxFuture<'static, Result<Option<StreamInfo>, ReadError>>;

    /// Sends a core message to whoever listens; never fails, never waits.
    fn send(&self, message: CoreMessage);

    /// Listens on a core subject (wildcards allowed). Survives reconnects. The subscription stands at the server before any later
    /// publish of this connection, and ends when the stream is dropped.
    fn subscribe(&self, subject: &str) -> BoxFuture<'static, BoxStream<'static, CoreMessage>>;

    /// Asks whoever listens on `subject` and gathers all answers that come within `wait`.
    fn ask(&self, subject: &str, payload: Bytes, wait: Duration) -> BoxFuture<'static, Vec<CoreMessage>>;

    /// Changes of the connection from now on.
    fn connection_events(&self) -> BoxStream<'static, ConnectionEvent>;

    /// What the server says of itself.
    fn server(&self) -> ServerInfo;
}

/// A reading of a clock that only goes forward; its zero means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub Duration);

impl Instant {
    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Instant) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Time. The wall clock is for logs and for absolute schedules only; every decision uses the server's time stamps and this monotonic clock.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// Time that only goes forward.
    fn now(&self) -> Instant;

    /// This machine's idea of the date; may be wrong and may jump.
    fn wall(&self) -> Timestamp;

    /// Returns after `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}
