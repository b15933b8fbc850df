//! Reading a stream in order through an ephemeral push consumer, made again whenever something is missing.
//!
//! ```text
//! Reader::open ──▶ CONSUMER.CREATE + STREAM.INFO ──▶ Reader::next ──▶ message, idle, or lost
//!                        ▲                                │ gap, reconnect, silence
//!                        └────────────── reopen ──────────┘
//! ```
//!
//! The deliver subject is subscribed to by its own name, since the server does not count a wildcard subscription as interest.
//! Flow control keeps what is unread bounded. A reopened reader begins *at* the last message it brought, not after it: finding the
//! same message with the same time stamp there is how a stream that was rolled back and written anew is told from the old one.
//! Must not know who reads, or where it wants to stop.

use std::time::Duration;

use async_nats::message::OutboundMessage;
use async_nats::{Message, StatusCode, Subscriber};
use bytes::Bytes;
use everstep_common::ports::{self, ConnectionEvent};
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::api::Failure;
use crate::assets;
use crate::broker::{Link, reconnected};
use crate::clock::pause;
use crate::delivered::{self, Coordinates};
use crate::headers;
use crate::last_match::first_since;
use crate::refusal::STREAM_NOT_FOUND;
use crate::wire_config::nanoseconds;

/// How often the server says that nothing has come.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// After how much silence the consumer is taken for dead.
const SILENCE_MAX: Duration = Duration::from_millis(3_500);

/// After how long the server forgets a consumer that nobody listens to.
const INACTIVE_MAX: Duration = Duration::from_secs(30);

/// The pause between attempts to reopen, so that a server that is coming back is neither missed nor pestered.
const REOPEN_DELAY: Duration = Duration::from_millis(50);

/// For how long a replicated stream must look shorter than it was before that is believed: a deposed leader was seen to answer
/// for eight seconds.
const SHORT_FOR: Duration = Duration::from_secs(10);

/// Where a reader stands.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start {
    /// At this sequence.
    At(u64),
    /// At the last message of every subject.
    LastPerSubject,
    /// After everything there is.
    New,
    /// At the first message that was stored then or later.
    Since(Timestamp),
}

/// What a reader brings.
#[derive(Debug)]
pub(crate) enum Item {
    /// The next message.
    Message(ports::Message),
    /// The server says that there is nothing more for now.
    Idle,
    /// The stream cannot be read on; nothing comes after this.
    Lost(String),
}

/// Why a reader could not be opened, or not be opened again.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The stream is gone, another one, or shorter than what has been read of it.
    Lost(String),
    /// It may work the next time.
    Failed(Failure),
}

/// Reads one stream in order.
#[derive(Debug)]
pub(crate) struct Reader {
    link: Link,
    stream: String,
    filter: String,
    /// Changes of the connection; after one the consumer may be gone.
    events: broadcast::Receiver<ConnectionEvent>,
    /// The deliveries of the present consumer.
    deliveries: Subscriber,
    /// The present consumer.
    consumer: String,
    /// Its deliveries so far.
    received: u64,
    /// When the stream was created; another one by the same name has another time.
    created: Timestamp,
    /// The last sequence brought; if nothing was yet, the one before the start.
    sequence: u64,
    /// When the message at `sequence` was stored, if it was brought.
    time: Option<Timestamp>,
    /// Whether the present consumer began at `sequence`, so that its first delivery proves the stream to be the same.
    overlapping: bool,
    /// What is to be read first if nothing has been brought yet.
    start: Start,
    /// Since when the stream looks shorter than it was.
    short_since: Option<Instant>,
}

/// A consumer just made.
struct Opened {
    deliveries: Subscriber,
    consumer: String,
    created: Timestamp,
    last_sequence: u64,
    replicated: bool,
}

impl Reader {
    /// Makes the first consumer.
    pub(crate) async fn open(link: Link, stream: &str, filter: &str, start: Start) -> Result<Self, OpenError> {
        let events = link.events.subscribe();
        // "From now on" must mean the same after a reconnect, so it is turned into a sequence before anything else; so is a time.
        let start = match start {
            Start::New => Start::At(info(&link, stream).await?.state.last_seq + 1),
            Start::Since(time) => {
                let last = info(&link, stream).await?.state.last_seq;
                let found = first_since(&link.api, stream, filter, time).await.map_err(open_error)?;
                Start::At(found.unwrap_or(last + 1))
            }
            other => other,
        };
        let opened = make_consumer(&link, stream, filter, start).await?;
        let sequence = match start {
            Start::At(sequence) => sequence.saturating_sub(1),
            Start::LastPerSubject | Start::New | Start::Since(_) => 0,
        };
        let mut reader = Self {
            link,
            stream: stream.to_owned(),
            filter: filter.to_owned(),
            events,
            deliveries: opened.deliveries,
            consumer: opened.consumer,
            received: 0,
            created: opened.created,
            sequence,
            time: None,
            overlapping: false,
            start,
            short_since: None,
        };
        match reader.check_length(opened.last_sequence, opened.replicated) {
            Err(OpenError::Failed(_)) => match reader.reopen().await {
                Some(Item::Lost(reason)) => Err(OpenError::Lost(reason)),
                _ => Ok(reader),
            },
            checked => checked.map(|()| reader),
        }
    }

    /// The last sequence brought.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// What comes next, however long it takes.
    pub(crate) async fn next(&mut self) -> Item {
        loop {
            let item = match self.heard().await {
                Some(message) if message.status == Some(StatusCode::IDLE_HEARTBEAT) => self.on_status(&message),
                Some(message) => self.on_delivery(message),
                None => Err(Gap),
            };
            match item {
                Ok(Some(item)) => return item,
                Ok(None) => {}
                Err(Gap) => {
                    if let Some(lost) = self.reopen().await {
                        return lost;
                    }
                }
            }
        }
    }

    /// What the consumer sends; `None` if it must be doubted: the connection came back after a loss, or nothing was heard for
    /// longer than the server keeps silent.
    async fn heard(&mut self) -> Option<Message> {
        // A message that lies ready costs no timer.
        if let Some(message) = self.deliveries.next().now_or_never() {
            return message;
        }
        tokio::select! {
            biased;
            message = self.deliveries.next() => message,
            () = reconnected(&mut self.events) => None,
            () = pause(SILENCE_MAX) => {
                tracing::debug!(stream = self.stream, consumer = self.consumer, "a silent consumer is made again");
                None
            }
        }
    }

    fn on_delivery(&mut self, message: Message) -> Result<Option<Item>, Gap> {
        let Some(at) = message.reply.as_deref().and_then(Coordinates::of) else {
            return Ok(None);
        };
        if at.consumer_sequence != self.received + 1 {
            return Err(Gap);
        }
        self.received += 1;
        if std::mem::take(&mut self.overlapping) && at.stream_sequence <= self.sequence {
            let same = Some(at.time) == self.time;
            let lost = || {
                Item::Lost(format!(
                    "another message stands at sequence {} than was read there",
                    at.stream_sequence
                ))
            };
            return Ok((!same).then(lost));
        }
        self.sequence = at.stream_sequence;
        self.time = Some(at.time);
        Ok(Some(Item::Message(delivered::stored(message, &at))))
    }

    /// A heartbeat, or the server's question whether we keep up.
    fn on_status(&self, message: &Message) -> Result<Option<Item>, Gap> {
        let header = |name| message.headers.as_ref().and_then(|map| map.get(name));
        let stalled = header(headers::CONSUMER_STALLED).map(|subject| subject.as_str().to_owned());
        if let Some(answer_to) = stalled.or_else(|| message.reply.as_ref().map(|reply| reply.to_string())) {
            let answer = OutboundMessage {
                subject: answer_to.into(),
                reply: None,
                payload: Bytes::new(),
                headers: None,
            };
            // If it cannot be sent the connection is gone, and the consumer will be made again.
            let _ = self.link.outbox.enqueue(answer);
            return Ok(None);
        }
        match header(headers::LAST_CONSUMER).and_then(|number| number.as_str().parse::<u64>().ok()) {
            Some(delivered) if delivered != self.received => Err(Gap),
            _ => Ok(Some(Item::Idle)),
        }
    }

    /// Makes a new consumer from where we stand; an item if there is nothing to stand on any more.
    async fn reopen(&mut self) -> Option<Item> {
        self.forget_consumer();
        let mut attempts: u32 = 0;
        loop {
            // Whatever happened to the connection until now is answered by this attempt.
            self.events = self.events.resubscribe();
            match self.try_reopen().await {
                Ok(()) => return None,
                Err(OpenError::Lost(reason)) => return Some(Item::Lost(reason)),
                Err(OpenError::Failed(failure)) => {
                    attempts += 1;
                    complain(&self.stream, &failure, attempts);
                    pause(REOPEN_DELAY).await;
                }
            }
        }
    }

    async fn try_reopen(&mut self) -> Result<(), OpenError> {
        let start = match (self.time, self.start) {
            (Some(_), _) => Start::At(self.sequence),
            (None, start) => start,
        };
        let opened = make_consumer(&self.link, &self.stream, &self.filter, start).await?;
        if opened.created != self.created {
            return Err(OpenError::Lost(format!("the stream was created anew at {}", opened.created)));
        }
        self.check_length(opened.last_sequence, opened.replicated)?;
        self.deliveries = opened.deliveries;
        self.consumer = opened.consumer;
        self.received = 0;
        self.overlapping = self.time.is_some();
        Ok(())
    }

    fn check_length(&mut self, last_sequence: u64, replicated: bool) -> Result<(), OpenError> {
        if last_sequence >= self.sequence {
            self.short_since = None;
            return Ok(());
        }
        let reason = format!("the stream ends at {last_sequence}, before {}", self.sequence);
        let since = *self.short_since.get_or_insert_with(Instant::now);
        if replicated && since.elapsed() < SHORT_FOR {
            return Err(OpenError::Failed(Failure::Silence(reason)));
        }
        Err(OpenError::Lost(reason))
    }

    /// Tells the server that the consumer is not needed; it would find out by itself, later.
    fn forget_consumer(&self) {
        let subject = self
            .link
            .api
            .subject(&format!("CONSUMER.DELETE.{}.{}", self.stream, self.consumer));
        let message = OutboundMessage {
            subject: subject.into(),
            reply: None,
            payload: Bytes::new(),
            headers: None,
        };
        let _ = self.link.outbox.enqueue(message);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.forget_consumer();
    }
}

/// A delivery is missing.
struct Gap;

/// Says that a stream cannot be read, ever more seldom, and loudly only when it has lasted longer than a restart.
pub(crate) fn complain(stream: &str, failure: &Failure, attempts: u32) {
    match attempts {
        64.. if attempts.is_power_of_two() => tracing::warn!(stream, %failure, attempts, "the stream cannot be read; trying on"),
        _ => tracing::debug!(stream, %failure, attempts, "the stream cannot be read yet"),
    }
}

async fn info(link: &Link, stream: &str) -> Result<assets::StreamAnswer, OpenError> {
    assets::stream(&link.api, stream).await.map_err(open_error)
}

fn open_error(failure: Failure) -> OpenError {
    if failure.is(STREAM_NOT_FOUND) {
        OpenError::Lost("the stream does not exist".to_owned())
    } else {
        OpenError::Failed(failure)
    }
}

/// Makes a consumer and looks at the stream it reads from, in one round trip.
async fn make_consumer(link: &Link, stream: &str, filter: &str, start: Start) -> Result<Opened, OpenError> {
    #[derive(Deserialize)]
    struct Made {}
    link.api.connected().await.map_err(OpenError::Failed)?;
    let inbox = link.client.new_inbox();
    let deliveries = link.client.subscribe(inbox.clone()).await;
    let deliveries = deliveries.map_err(|error| OpenError::Failed(Failure::Silence(error.to_string())))?;
    let consumer = format!("everstep-{}", inbox.rsplit('.').next().unwrap_or_default());
    let question = json!({ "stream_name": stream, "action": "create", "config": config(&consumer, &inbox, filter, start) });
    let verb = format!("CONSUMER.CREATE.{stream}.{consumer}");
    let (made, info) = futures::join!(link.api.ask::<Made>(&verb, &question), info(link, stream));
    let (_, info) = (made.map_err(open_error)?, info?);
    Ok(Opened {
        deliveries,
        consumer,
        created: info.created,
        last_sequence: info.state.last_seq,
        replicated: info.replicated(),
    })
}

fn config(name: &str, deliver_to: &str, filter: &str, start: Start) -> Value {
    let mut config = json!({
        "name": name,
        "deliver_subject": deliver_to,
        "filter_subject": filter,
        "ack_policy": "none",
        "max_deliver": 1,
        "flow_control": true,
        "idle_heartbeat": nanoseconds(HEARTBEAT),
        "inactive_threshold": nanoseconds(INACTIVE_MAX),
        "mem_storage": true,
        "num_replicas": 1,
    });
    match start {
        Start::At(sequence) if sequence > 1 => {
            config["deliver_policy"] = json!("by_start_sequence");
            config["opt_start_seq"] = json!(sequence);
        }
        Start::At(_) => config["deliver_policy"] = json!("all"),
        Start::LastPerSubject => config["deliver_policy"] = json!("last_per_subject"),
        Start::New | Start::Since(_) => config["deliver_policy"] = json!("new"),
    }
    config
}
