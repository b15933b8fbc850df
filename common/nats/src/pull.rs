//! Pulling tasks from a durable consumer, by credit.
//!
//! ```text
//! next(max) ── may less than half of max still come? ──▶ MSG.NEXT {batch: the rest}   (a standing request)
//!     ▲                                                        │
//!     └── whatever has arrived together ◀── deliveries ◀────────┘ pushed by the server as tasks come
//! ```
//!
//! A request stays open at the server until it is filled or runs out, so a task reaches an idle worker by one push, and a busy
//! worker asks once per many tasks. Never more is asked for than the caller has room for.
//! Must not know what a task is, nor make consumers: that one is gone is for the caller to mend.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::message::OutboundMessage;
use async_nats::{Message, StatusCode, Subscriber};
use bytes::Bytes;
use everstep_common::ports::{Ack, AckToken, ConnectionEvent, Delivery, PullError, Puller};
use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::broker::{Link, reconnected};
use crate::clock::pause_until;
use crate::delivered::Coordinates;
use crate::headers;
use crate::outbox::Outbox;
use crate::refusal::{CONSUMER_NOT_FOUND, STREAM_NOT_FOUND};
use crate::wire_config::nanoseconds;

/// How long the server keeps a request open.
const REQUEST_EXPIRY: Duration = Duration::from_secs(60);

/// How often the server says that a request is still open.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// After how much silence an open request is taken for lost, and the consumer is looked at.
const SILENCE_MAX: Duration = Duration::from_secs(12);

/// After how long without a delivery the consumer is asked whether it holds tasks back: the server's get stuck now and then.
const IDLE_LOOK: Duration = Duration::from_secs(10);

/// How long after a first suspicion the consumer is looked at again, since a task may just be on its way.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// Binds to a consumer; asks nothing yet.
pub(crate) async fn pull(link: Link, stream: String, consumer: String) -> Result<Box<dyn Puller>, PullError> {
    let events = link.events.subscribe();
    let (inbox, deliveries) = listen(&link).await?;
    let subject = link.api.subject(&format!("CONSUMER.MSG.NEXT.{stream}.{consumer}"));
    let info = format!("CONSUMER.INFO.{stream}.{consumer}");
    let now = Instant::now();
    Ok(Box::new(CreditPuller {
        link,
        subject,
        info,
        events,
        inbox,
        deliveries,
        asked: 0,
        unread: VecDeque::new(),
        heard: now,
        look_at: now + IDLE_LOOK,
        suspect: false,
    }))
}

async fn listen(link: &Link) -> Result<(String, Subscriber), PullError> {
    let inbox = link.client.new_inbox();
    let deliveries = link.client.subscribe(inbox.clone()).await;
    Ok((inbox, deliveries.map_err(|error| PullError::Unavailable(error.to_string()))?))
}

/// Answers a delivery.
pub(crate) fn ack(outbox: &Outbox, token: &AckToken, ack: Ack) {
    let payload = match ack {
        Ack::Done => Bytes::from_static(b"+ACK"),
        Ack::Retry(Duration::ZERO) => Bytes::from_static(b"-NAK"),
        Ack::Retry(delay) => format!("-NAK {{\"delay\":{}}}", nanoseconds(delay)).into(),
        Ack::InProgress => Bytes::from_static(b"+WPI"),
        Ack::Terminate => Bytes::from_static(b"+TERM"),
    };
    let message = OutboundMessage {
        subject: token.0.clone().into(),
        reply: None,
        payload,
        headers: None,
    };
    if let Err(error) = outbox.enqueue(message) {
        tracing::debug!(?error, "an acknowledgement was not sent; the task will be delivered again");
    }
}

/// A [`Puller`] that keeps requests open.
#[derive(Debug)]
struct CreditPuller {
    link: Link,
    /// Where requests go.
    subject: String,
    /// How the consumer is looked at.
    info: String,
    /// After a reconnect the open requests are gone.
    events: broadcast::Receiver<ConnectionEvent>,
    /// Where the server delivers.
    inbox: String,
    deliveries: Subscriber,
    /// How many deliveries the open requests may still bring.
    asked: usize,
    /// Delivered, and not yet given to the caller.
    unread: VecDeque<Delivery>,
    /// When the server last said anything.
    heard: Instant,
    /// When the consumer is looked at, unless it delivers before.
    look_at: Instant,
    /// Whether the last look found tasks held back.
    suspect: bool,
}

/// What woke a waiting puller.
enum Woken {
    Message(Message),
    Reconnected,
    TimeToLook,
    WaitedEnough,
}

/// What became of the open requests.
enum Requests {
    Stand,
    /// The server has forgotten them, or refuses them.
    Ended(Message),
}

/// The state of a consumer, as far as a stuck one is known by it.
#[derive(Deserialize)]
struct ConsumerState {
    num_pending: u64,
    num_waiting: usize,
    /// An operator has paused it (`nats consumer pause`): it holds back what it shall.
    #[serde(default)]
    paused: bool,
}

impl Puller for CreditPuller {
    fn next(&mut self, max: usize, wait: Duration) -> BoxFuture<'_, Result<Vec<Delivery>, PullError>> {
        self.next_deliveries(max, wait).boxed()
    }
}

impl CreditPuller {
    async fn next_deliveries(&mut self, max: usize, wait: Duration) -> Result<Vec<Delivery>, PullError> {
        let until = Instant::now() + wait;
        loop {
            self.take_arrived().await?;
            if !self.unread.is_empty() || max == 0 {
                self.on_life_sign();
                let count = self.unread.len().min(max);
                return Ok(self.unread.drain(..count).collect());
            }
            self.ask_for(max)?;
            match self.wait(until).await {
                Woken::Message(message) => self.take(message).await?,
                Woken::Reconnected => self.start_anew().await?,
                Woken::TimeToLook => self.look().await?,
                Woken::WaitedEnough => return Ok(Vec::new()),
            }
        }
    }

    /// Takes what lies ready, without waiting for more.
    async fn take_arrived(&mut self) -> Result<(), PullError> {
        while let Some(message) = self.arrived() {
            self.take(message).await?;
        }
        Ok(())
    }

    fn arrived(&mut self) -> Option<Message> {
        tokio::task::coop::unconstrained(self.deliveries.next())
            .now_or_never()
            .flatten()
    }

    /// Sees to it that about `max` deliveries may come, asking only when less than half of them may.
    fn ask_for(&mut self, max: usize) -> Result<(), PullError> {
        if self.asked > 0 && self.asked * 2 >= max {
            return Ok(());
        }
        let batch = max - self.asked;
        let question = json!({ "batch": batch, "expires": nanoseconds(REQUEST_EXPIRY), "idle_heartbeat": nanoseconds(HEARTBEAT) });
        let message = OutboundMessage {
            subject: self.subject.clone().into(),
            reply: Some(self.inbox.clone().into()),
            payload: question.to_string().into(),
            headers: None,
        };
        self.link
            .outbox
            .enqueue(message)
            .map_err(|error| PullError::Unavailable(format!("{error:?}")))?;
        if self.asked == 0 {
            // Until now there was nothing to hear.
            self.on_life_sign();
        }
        self.asked += batch;
        Ok(())
    }

    async fn wait(&mut self, until: Instant) -> Woken {
        let look_at = self.look_at.min(self.heard + SILENCE_MAX);
        tokio::select! {
            biased;
            Some(message) = self.deliveries.next() => Woken::Message(message),
            () = reconnected(&mut self.events) => Woken::Reconnected,
            () = pause_until(until.min(look_at)) => if look_at < until { Woken::TimeToLook } else { Woken::WaitedEnough },
        }
    }

    async fn take(&mut self, message: Message) -> Result<(), PullError> {
        match message.status {
            None => {
                self.unread.extend(delivery(message));
                self.asked = self.asked.saturating_sub(1);
                Ok(())
            }
            Some(_) => match self.on_status(message) {
                Requests::Stand => Ok(()),
                Requests::Ended(status) => {
                    self.asked = 0;
                    self.exists().await?;
                    refused(&status)
                }
            },
        }
    }

    fn on_status(&mut self, message: Message) -> Requests {
        self.heard = Instant::now();
        if message.status == Some(StatusCode::IDLE_HEARTBEAT) {
            return Requests::Stand;
        }
        // A request that ran out says how much of it was left; any other end leaves us to guess, and asks anew.
        let left = message
            .headers
            .as_ref()
            .and_then(|map| map.get(headers::PENDING_MESSAGES))
            .map(|left| left.as_str().parse());
        match left {
            Some(Ok(left)) if message.status == Some(StatusCode::TIMEOUT) => {
                self.asked = self.asked.saturating_sub(left);
                Requests::Stand
            }
            _ => Requests::Ended(message),
        }
    }

    /// The consumer delivers, or has nothing to deliver.
    fn on_life_sign(&mut self) {
        self.heard = Instant::now();
        self.look_at = self.heard + IDLE_LOOK;
        self.suspect = false;
    }

    /// Listens elsewhere, so that what the old requests may still bring does not come on top of the new ones.
    async fn start_anew(&mut self) -> Result<(), PullError> {
        let (inbox, deliveries) = listen(&self.link).await?;
        while let Some(message) = self.arrived() {
            self.unread.extend(delivery(message));
        }
        (self.inbox, self.deliveries) = (inbox, deliveries);
        self.asked = 0;
        Ok(())
    }

    /// Whether the consumer still exists: silence and missing responders may have passing causes.
    async fn exists(&self) -> Result<ConsumerState, PullError> {
        self.link.api.ask(&self.info, &json!({})).await.map_err(|failure| {
            let gone = failure.is(CONSUMER_NOT_FOUND) || failure.is(STREAM_NOT_FOUND);
            if gone {
                PullError::Gone
            } else {
                PullError::Unavailable(failure.to_string())
            }
        })
    }

    /// Looks at a consumer that has not delivered for a while.
    async fn look(&mut self) -> Result<(), PullError> {
        let silent = self.heard + SILENCE_MAX <= Instant::now();
        let state = self.exists().await?;
        let holds_back = state.num_pending > 0 && !state.paused;
        if holds_back && !self.suspect && !silent {
            self.suspect = true;
            self.look_at = Instant::now() + SECOND_LOOK;
            return Ok(());
        }
        if holds_back || silent || state.num_waiting == 0 {
            if holds_back {
                self.link.stuck_pulls.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    pending = state.num_pending,
                    consumer = self.info,
                    "the consumer is stuck, asking anew"
                );
            }
            self.start_anew().await?;
        }
        self.on_life_sign();
        Ok(())
    }
}

impl Drop for CreditPuller {
    /// Gives back at once what nobody will work on; it would come back by itself, after `ack_wait`.
    fn drop(&mut self) {
        while let Some(message) = self.arrived() {
            self.unread.extend(delivery(message));
        }
        for delivery in self.unread.drain(..) {
            ack(&self.link.outbox, &delivery.ack, Ack::Retry(Duration::ZERO));
        }
    }
}

/// The error in a request's end, unless asking anew mends it. What remains are limits of the consumer that a request breaks, and
/// a consumer that exists but is served by nobody now.
fn refused(status: &Message) -> Result<(), PullError> {
    let text = status.description.as_deref().unwrap_or_default();
    let passing = ["Leadership Change", "Server Shutdown", "Request Timeout", "Interest Expired"];
    match status.status {
        Some(StatusCode::NO_RESPONDERS) => Err(PullError::Unavailable("the consumer has no leader".to_owned())),
        _ if passing.iter().any(|known| text.contains(known)) => Ok(()),
        _ => Err(PullError::Unavailable(text.to_owned())),
    }
}

fn delivery(message: Message) -> Option<Delivery> {
    let reply = message.reply?;
    let at = Coordinates::of(&reply)?;
    Some(Delivery {
        headers: headers::user_headers(message.headers.as_ref()),
        subject: message.subject.into_string(),
        payload: message.payload,
        delivery: at.deliveries,
        sequence: at.stream_sequence,
        time: at.time,
        ack: AckToken(reply.into_string()),
    })
}
