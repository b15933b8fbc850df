//! One client of the server: its connection, its calls, its life and its death.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use everstep_common::ports::ConnectionEvent;
use jiff::SignedDuration;
use tokio::sync::{Notify, mpsc};

use super::wire::{Event, Work};

/// Tells the clients of one server apart; a name may be used again by a successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClientId(pub(crate) u64);

/// The calls of the port, as crash points count them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is the method of that name")]
pub enum Call {
    Publish,
    PublishBatch,
    GetLast,
    Scan,
    Follow,
    Pull,
    PullNext,
    Ack,
    Purge,
    EnsureStream,
    EnsureConsumer,
    DeleteConsumer,
    Consumers,
    StreamInfo,
    Subjects,
    Send,
    Subscribe,
    Ask,
}

impl fmt::Display for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

/// Where a client is killed: at the n-th call of the port that it makes, the first being 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The call is never sent.
    Before,
    /// The call has taken effect at the server, and nothing of it comes back.
    After,
}

/// What is shared between the server's view of a client and the client's own futures.
#[derive(Debug, Default)]
pub(crate) struct Life {
    dead: AtomicBool,
    frozen: AtomicBool,
    connections_lost: AtomicU64,
    wall_skew: Mutex<SignedDuration>,
    changed: Notify,
}

impl Life {
    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    pub(crate) fn end(&self) {
        self.dead.store(true, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::Relaxed)
    }

    pub(crate) fn freeze(&self, frozen: bool) {
        self.frozen.store(frozen, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    pub(crate) fn connections_lost(&self) -> u64 {
        self.connections_lost.load(Ordering::Relaxed)
    }

    pub(crate) fn lose_connection(&self) {
        self.connections_lost.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    pub(crate) fn wall_skew(&self) -> SignedDuration {
        *self.wall_skew.lock().expect("nothing panics while it is held")
    }

    pub(crate) fn set_wall_skew(&self, skew: SignedDuration) {
        *self.wall_skew.lock().expect("nothing panics while it is held") = skew;
    }

    /// Returns once the client is dead.
    pub(crate) async fn ended(&self) {
        self.until(|life| life.is_dead()).await;
    }

    /// Returns at once for a process that runs, later for one that is stopped, and never for one that is dead.
    pub(crate) async fn go_on(&self) {
        self.until(|life| !life.is_dead() && !life.is_frozen()).await;
    }

    /// Returns once more connections have been lost than these.
    pub(crate) async fn lost_more_than(&self, connections: u64) {
        self.until(|life| life.connections_lost() > connections).await;
    }

    async fn until(&self, reached: impl Fn(&Self) -> bool) {
        loop {
            let changed = self.changed.notified();
            if reached(self) {
                return;
            }
            changed.await;
        }
    }
}

/// The server's view of a client.
pub(crate) struct Client {
    /// Its name.
    pub(crate) name: String,
    /// What its futures look at.
    pub(crate) life: std::sync::Arc<Life>,
    /// Whether it has a connection.
    pub(crate) connected: bool,
    /// The number of its connection; what was sent over an earlier one never arrives.
    pub(crate) epoch: u64,
    /// Answers that wait for a stopped process to go on.
    pub(crate) held: Vec<Work>,
    /// Requests that wait for the connection to come back, and since when.
    pub(crate) outbox: Vec<(Duration, Event)>,
    /// When the last request arrives at the server; later ones do not overtake it.
    pub(crate) last_out: Duration,
    /// When the last answer arrives here.
    pub(crate) last_in: Duration,
    /// Calls of the port so far.
    pub(crate) calls: u64,
    /// The same by call.
    pub(crate) calls_by_kind: BTreeMap<Call, u64>,
    /// The call at which it is killed.
    pub(crate) crash_at: Option<(u64, When)>,
    /// Who is told of changes of the connection.
    pub(crate) watchers: Vec<mpsc::UnboundedSender<ConnectionEvent>>,
}

impl Client {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            life: std::sync::Arc::default(),
            connected: true,
            epoch: 0,
            held: Vec::new(),
            outbox: Vec::new(),
            last_out: Duration::ZERO,
            last_in: Duration::ZERO,
            calls: 0,
            calls_by_kind: BTreeMap::new(),
            crash_at: None,
            watchers: Vec::new(),
        }
    }

    /// Whether anything it asks still counts.
    pub(crate) fn is_dead(&self) -> bool {
        self.life.is_dead()
    }

    /// Tells its watchers.
    pub(crate) fn tell(&mut self, event: ConnectionEvent) {
        self.watchers.retain(|watcher| watcher.send(event).is_ok());
    }
}
