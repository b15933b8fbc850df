//! [`NatsBroker`]: one connection, and the [`Broker`] port over it.
//!
//! This file only hands out; each family of operations is in a file of its own.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::Client;
use bytes::Bytes;
use everstep_common::ports::{
    Ack, AckToken, Broker, ConnectionEvent, CoreMessage, Ensured, Followed, From, GetLast, Message, Publish, PublishError,
    PullError, Puller, ReadError, ServerInfo, Snapshot, Stored, StreamInfo, TopologyError,
};
use everstep_common::topology::{ConsumerSpec, StreamSpec};
use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, BoxStream};
use tokio::sync::broadcast;

use crate::api::Api;
use crate::outbox::Outbox;
use crate::replies::Replies;
use crate::{assets, core_messages, follow, pull, read, read_all, scan, subjects};

/// JetStream and core NATS over one connection.
///
/// Made by [`NatsBroker::connect`]; the connection ends with the last clone of the `Arc` and of what was begun through it.
#[derive(Debug)]
pub struct NatsBroker {
    /// What every operation needs.
    pub(crate) link: Link,
    /// Held while a batch is enqueued, so that its messages stand side by side.
    pub(crate) batches: Mutex<()>,
}

/// The parts of a connection that operations keep for as long as they last.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    /// For subscriptions and for what the client knows of the server.
    pub(crate) client: Client,
    /// For whatever is sent without an answer.
    pub(crate) outbox: Outbox,
    /// For requests on the hot path.
    pub(crate) replies: Arc<Replies>,
    /// For all other requests.
    pub(crate) api: Api,
    /// Changes of the connection.
    pub(crate) events: broadcast::Sender<ConnectionEvent>,
    /// Which streams are kept on disk, as far as it had to be known; no stream ever changes that.
    pub(crate) file_backed: Arc<Mutex<HashMap<String, bool>>>,
    /// How many stuck consumers have been asked anew.
    pub(crate) stuck_pulls: Arc<AtomicU64>,
}

impl NatsBroker {
    pub(crate) fn over(link: Link) -> Self {
        Self {
            link,
            batches: Mutex::default(),
        }
    }

    /// How often a consumer held tasks back from an open request and had to be asked anew, since the connection was made.
    pub fn stuck_pulls(&self) -> u64 {
        self.link.stuck_pulls.load(Ordering::Relaxed)
    }
}

impl Broker for NatsBroker {
    fn publish(&self, message: Publish) -> BoxFuture<'static, Result<Stored, PublishError>> {
        self.publish_now(message)
    }

    fn publish_batch(&self, messages: Vec<Publish>) -> BoxFuture<'static, Result<Stored, PublishError>> {
        self.publish_batch_now(messages)
    }

    fn get_last(&self, request: GetLast) -> BoxFuture<'static, Result<Snapshot, ReadError>> {
        read::get_last(self.link.clone(), request).boxed()
    }

    fn get_all(&self, stream: &str, filter: &str, up_to: Option<u64>) -> BoxFuture<'static, Result<Snapshot, ReadError>> {
        read_all::get_all(self.link.clone(), stream.to_owned(), filter.to_owned(), up_to).boxed()
    }

    fn scan(&self, stream: &str, filter: &str, up_to: Option<u64>) -> BoxStream<'static, Result<Message, ReadError>> {
        scan::scan(self.link.clone(), stream.to_owned(), filter.to_owned(), up_to)
    }

    fn follow(&self, stream: &str, filter: &str, from: From) -> BoxStream<'static, Followed> {
        follow::follow(self.link.clone(), stream.to_owned(), filter.to_owned(), from)
    }

    fn pull(&self, stream: &str, consumer: &str) -> BoxFuture<'static, Result<Box<dyn Puller>, PullError>> {
        pull::pull(self.link.clone(), stream.to_owned(), consumer.to_owned()).boxed()
    }

    fn ack(&self, token: &AckToken, ack: Ack) {
        pull::ack(&self.link.outbox, token, ack);
    }

    fn purge(&self, stream: &str, filter: &str) -> BoxFuture<'static, Result<u64, ReadError>> {
        assets::purge(self.link.api.clone(), stream.to_owned(), filter.to_owned()).boxed()
    }

    fn ensure_stream(&self, spec: &StreamSpec) -> BoxFuture<'static, Result<Ensured, TopologyError>> {
        assets::ensure_stream(self.link.api.clone(), spec.clone()).boxed()
    }

    fn ensure_consumer(&self, stream: &str, spec: &ConsumerSpec) -> BoxFuture<'static, Result<Ensured, TopologyError>> {
        assets::ensure_consumer(self.link.api.clone(), stream.to_owned(), spec.clone()).boxed()
    }

    fn delete_consumer(&self, stream: &str, name: &str) -> BoxFuture<'static, Result<(), TopologyError>> {
        assets::delete_consumer(self.link.api.clone(), stream.to_owned(), name.to_owned()).boxed()
    }

    fn consumers(&self, stream: &str) -> BoxFuture<'static, Result<Vec<String>, ReadError>> {
        assets::consumers(self.link.api.clone(), stream.to_owned()).boxed()
    }

    fn stream_info(&self, stream: &str) -> BoxFuture<'static, Result<Option<StreamInfo>, ReadError>> {
        assets::stream_info(self.link.api.clone(), stream.to_owned()).boxed()
    }

    fn subjects(&self, stream: &str, filter: &str) -> BoxFuture<'static, Result<BTreeSet<String>, ReadError>> {
        subjects::subjects(self.link.api.clone(), stream.to_owned(), filter.to_owned()).boxed()
    }

    fn send(&self, message: CoreMessage) {
        core_messages::send(&self.link.outbox, message);
    }

    fn subscribe(&self, subject: &str) -> BoxFuture<'static, BoxStream<'static, CoreMessage>> {
        core_messages::subscribe(self.link.client.clone(), subject.to_owned()).boxed()
    }

    fn ask(&self, subject: &str, payload: Bytes, wait: Duration) -> BoxFuture<'static, Vec<CoreMessage>> {
        core_messages::ask(self.link.clone(), subject.to_owned(), payload, wait).boxed()
    }

    fn connection_events(&self) -> BoxStream<'static, ConnectionEvent> {
        stream::unfold(self.link.events.subscribe(), next_event).boxed()
    }

    fn server(&self) -> ServerInfo {
        let version = self.link.client.server_info().version;
        ServerInfo {
            version,
            max_payload: self.link.client.max_payload(),
        }
    }
}

type Events = broadcast::Receiver<ConnectionEvent>;

/// The next event. A listener that fell behind is told to read everything anew, which is what the events it missed would say.
async fn next_event(mut events: Events) -> Option<(ConnectionEvent, Events)> {
    match events.recv().await {
        Ok(event) => Some((event, events)),
        Err(broadcast::error::RecvError::Lagged(_)) => Some((ConnectionEvent::Reconnected, events)),
        Err(broadcast::error::RecvError::Closed) => None,
    }
}

/// Returns when the connection has come back after a loss.
pub(crate) async fn reconnected(events: &mut Events) {
    loop {
        match events.recv().await {
            Ok(ConnectionEvent::Reconnected) | Err(broadcast::error::RecvError::Lagged(_)) => return,
            Ok(ConnectionEvent::Disconnected) => {}
            // The client is gone, and with it every reason to wake up.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}
