//! What async-nats reports of the connection, turned into what the rest of the crate needs to hear.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use async_nats::Event;
use everstep_common::ports::ConnectionEvent;
use tokio::sync::broadcast;

use crate::replies::Replies;

/// How many connection events a listener may be behind.
const EVENTS_MAX: usize = 64;

/// Hears the events of one connection.
#[derive(Debug)]
pub(crate) struct Listener {
    /// Whoever wants to know of losses and returns.
    pub(crate) events: broadcast::Sender<ConnectionEvent>,
    /// What to fail at a loss. Set once it exists: the listener comes first.
    replies: OnceLock<Weak<Replies>>,
    /// Whether the connection has been lost, so that its first beginning is not told as a return.
    lost: AtomicBool,
    /// How many messages were dropped because nobody read them.
    dropped: AtomicU64,
}

impl Listener {
    pub(crate) fn new() -> Arc<Self> {
        let (events, _) = broadcast::channel(EVENTS_MAX);
        Arc::new(Self {
            events,
            replies: OnceLock::new(),
            lost: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
        })
    }

    /// Has `replies` fail what is under way whenever the connection is lost.
    pub(crate) fn attach(&self, replies: &Arc<Replies>) {
        let _ = self.replies.set(Arc::downgrade(replies));
    }

    pub(crate) fn hear(&self, event: &Event) {
        match event {
            Event::Connected => {
                if self.lost.swap(false, Ordering::Relaxed) {
                    let _ = self.events.send(ConnectionEvent::Reconnected);
                }
            }
            Event::Disconnected => {
                self.lost.store(true, Ordering::Relaxed);
                if let Some(replies) = self.replies.get().and_then(Weak::upgrade) {
                    replies.disconnected();
                }
                let _ = self.events.send(ConnectionEvent::Disconnected);
            }
            Event::SlowConsumer(subscription) => self.on_dropped(*subscription),
            Event::ServerError(error) => tracing::warn!(%error, "the NATS server reports an error"),
            other => tracing::debug!(event = %other, "connection event"),
        }
    }

    /// One event comes for each dropped message, so only every doubling is told.
    fn on_dropped(&self, subscription: u64) {
        let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
        if dropped.is_power_of_two() {
            tracing::warn!(
                subscription,
                dropped,
                "messages are dropped, since nobody reads them fast enough"
            );
        }
    }
}
