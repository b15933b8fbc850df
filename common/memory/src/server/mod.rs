//! The simulated server, as a test holds it: clients connect to it, and everything that can befall them is done here.
//!
//! ```no_run
//! # use everstep_memory::{Faults, MemoryServer, Nodes, simulate};
//! simulate(async {
//!     let server = MemoryServer::start(Nodes::One, 7, Faults::none());
//!     let worker = server.connect("worker");
//!     // … run code against `worker` and `worker.clock()` …
//!     server.kill("worker");
//! });
//! ```
//!
//! The state behind it is in `state.rs`; what a call goes through in `link.rs`.

mod client;
mod disasters;
mod feeds;
mod link;
mod listeners;
mod pulls;
mod state;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use everstep_common::ports::{Message, StreamInfo};
use jiff::{SignedDuration, Timestamp};

pub use client::{Call, When};
pub(crate) use client::{ClientId, Life};
pub(crate) use feeds::FeedRequest;
pub(crate) use link::{ANSWER_WAIT, Link, Shared};
pub(crate) use pulls::WaitingPull;
pub use state::Reaction;
pub(crate) use state::{EPOCH, State};
pub(crate) use wire::Kind;

use crate::broker::MemoryBroker;
use crate::clock::SimClock;
use crate::faults::Faults;
use crate::model::{Entry, Nodes};
use client::Client;

/// A simulated nats-server (or cluster of three) with its network.
#[derive(Clone)]
pub struct MemoryServer {
    shared: Arc<Shared>,
}

impl fmt::Debug for MemoryServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MemoryServer").finish_non_exhaustive()
    }
}

/// # Making one, and what is seen from outside
impl MemoryServer {
    /// Starts a server on the current runtime, whose clock must be paused: it is the simulation's clock.
    pub fn start(nodes: Nodes, seed: u64, faults: Faults) -> Self {
        let shared = Arc::new(Shared::new(State::new(nodes, seed, faults)));
        tokio::spawn(serve(Arc::downgrade(&shared), Arc::clone(&shared.wake)));
        Self { shared }
    }

    /// A new client of that name. The name may be that of a dead one; it then means the new one.
    pub fn connect(&self, name: &str) -> MemoryBroker {
        let client = Client::new(name);
        let life = Arc::clone(&client.life);
        let id = self.shared.enter(|state| {
            let id = ClientId(state.take_id());
            state.clients.insert(id, client);
            state.names.insert(name.to_owned(), id);
            id
        });
        MemoryBroker::new(
            name,
            Link {
                shared: Arc::clone(&self.shared),
                client: id,
                life,
            },
        )
    }

    /// The simulation's own clock, which belongs to no client.
    pub fn clock(&self) -> SimClock {
        SimClock::new(Arc::clone(&self.shared), Arc::default())
    }

    /// The server's idea of the date.
    pub fn time(&self) -> Timestamp {
        self.shared.enter(|state| state.time())
    }

    /// Everything that has happened, line by line. Equal seeds and equal code give equal histories.
    pub fn history(&self) -> String {
        self.shared.enter(|state| state.history.text().to_owned())
    }

    /// What a stream holds, past all faults.
    pub fn messages(&self, stream: &str) -> Vec<Message> {
        self.shared
            .enter(|state| state.model.stream(stream).map(|stream| stream.all()).unwrap_or_default())
    }

    /// What is known of a stream, past all faults.
    pub fn stream_info(&self, stream: &str) -> Option<StreamInfo> {
        self.shared.enter(|state| Some(state.model.stream(stream)?.info()))
    }

    /// From now on this goes wrong.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.enter(|state| state.faults = faults);
    }
}

/// # Crash points
impl MemoryServer {
    /// The client dies at its n-th call of the port (the first is 0), before or after it takes effect.
    pub fn crash_at(&self, name: &str, call: u64, when: When) {
        self.with(name, |state, id| {
            if let Some(client) = state.clients.get_mut(&id) {
                client.crash_at = Some((call, when));
            }
        });
    }

    /// How many calls of the port the client has made.
    pub fn port_calls(&self, name: &str) -> u64 {
        self.with(name, |state, id| state.clients.get(&id).map_or(0, |client| client.calls))
    }

    /// How many of each.
    pub fn calls(&self, name: &str) -> BTreeMap<Call, u64> {
        self.with(name, |state, id| {
            state
                .clients
                .get(&id)
                .map(|client| client.calls_by_kind.clone())
                .unwrap_or_default()
        })
    }

    /// Shows each message to `hook` as it is stored, before anyone is told of it. The hook must not call the server; it says what
    /// is to happen.
    pub fn on_stored(&self, hook: impl FnMut(&Entry) -> Reaction + Send + 'static) {
        self.shared.enter(|state| state.on_stored = Some(Box::new(hook)));
    }
}

/// # What befalls a client
impl MemoryServer {
    /// Kills the process: its calls do nothing from now on and its futures never resolve.
    pub fn kill(&self, name: &str) {
        self.with(name, |state, id| state.kill(id));
    }

    /// Whether it is dead.
    pub fn is_dead(&self, name: &str) -> bool {
        self.life(name).is_dead()
    }

    /// Returns once it is dead.
    pub async fn died(&self, name: &str) {
        self.life(name).ended().await;
    }

    /// Stops the process (SIGSTOP): its connection stays, and everything for it waits.
    pub fn freeze(&self, name: &str) {
        self.with(name, |state, id| state.freeze(id, true));
    }

    /// Lets a stopped process go on (SIGCONT).
    pub fn thaw(&self, name: &str) {
        self.with(name, |state, id| state.freeze(id, false));
    }

    /// Cuts its connection until [`MemoryServer::reconnect`].
    pub fn disconnect(&self, name: &str) {
        self.with(name, |state, id| state.disconnect(id));
    }

    /// Brings its connection back.
    pub fn reconnect(&self, name: &str) {
        self.with(name, |state, id| state.reconnect(id));
    }

    /// Cuts its connection for that long.
    pub fn cut(&self, name: &str, duration: Duration) {
        self.with(name, |state, id| state.cut(id, duration));
    }

    /// Sets its wall clock off by that much. Its monotonic clock never jumps.
    pub fn set_wall_skew(&self, name: &str, skew: SignedDuration) {
        self.life(name).set_wall_skew(skew);
    }
}

/// # What befalls the server
impl MemoryServer {
    /// Kills the server (all nodes of it) and starts it again on its store: every client is cut off meanwhile, memory streams are
    /// forgotten (one node) or come back empty and dated as before (three).
    pub fn restart(&self) {
        self.shared.enter(|state| {
            let away = state.dice.within(state.faults.restart_for);
            state.restart(away);
        });
    }

    /// Nothing is written for that long, and nothing happens of itself.
    pub fn lose_leader(&self, pause: Duration) {
        self.shared.enter(|state| state.lose_leader(pause));
    }

    /// The disk takes no writes (or does again): publishes are not answered, and not stored.
    pub fn fill_disk(&self, full: bool) {
        self.shared.enter(|state| state.disk_full = full);
    }

    /// Does to one memory stream what a restart does; whether it was there.
    pub fn wipe(&self, stream: &str) -> bool {
        self.shared.enter(|state| {
            state.note(format_args!("{stream} is wiped"));
            state.model.wipe(stream)
        })
    }

    /// Deletes a stream with all it holds; whether it was there.
    pub fn delete_stream(&self, stream: &str) -> bool {
        self.shared.enter(|state| {
            state.note(format_args!("{stream} is deleted"));
            state.model.delete_stream(stream)
        })
    }

    /// Sets a stream back to what it held when `sequence` was its last, as a restored backup or a power cut does; whether it was
    /// there. Do it with the clients cut off, as it is done in earnest: [`MemoryServer::restart`] right before.
    pub fn roll_back(&self, stream: &str, sequence: u64) -> bool {
        self.shared.enter(|state| {
            state.note(format_args!("{stream} is rolled back to {sequence}"));
            state.model.roll_back(stream, sequence)
        })
    }
}

impl MemoryServer {
    fn with<R>(&self, name: &str, action: impl FnOnce(&mut State, ClientId) -> R) -> R {
        self.shared.enter(|state| {
            let id = *state
                .names
                .get(name)
                .unwrap_or_else(|| panic!("no client {name} ever connected"));
            action(state, id)
        })
    }

    fn life(&self, name: &str) -> Arc<Life> {
        self.with(name, |state, id| Arc::clone(&state.clients[&id].life))
    }
}

/// The server's task: lets happen what is due, then sleeps until more is.
async fn serve(server: Weak<Shared>, wake: Arc<tokio::sync::Notify>) {
    while let Some(shared) = server.upgrade() {
        let next = shared.step();
        drop(shared);
        match next {
            // Whether it is woken or the time has come, there is something to do.
            Some(at) => drop(tokio::time::timeout_at(at, wake.notified()).await),
            None => wake.notified().await,
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.wake.notify_one();
    }
}
