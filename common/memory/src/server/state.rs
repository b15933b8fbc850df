//! The server and the network as one state: the model, the clients, and what is under way between them.
//!
//! ```text
//! MemoryBroker ── send ──▶ wire ── arrive ──▶ Model
//!      ▲                                        │
//!      └──────────── wire ◀── answer, feeds, deliveries, core messages
//! ```
//!
//! Everything happens in [`State::step`], one event after the other, under one lock; faults are decided where they happen.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use everstep_common::ports::ConnectionEvent;
use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;

use super::client::{Call, Client, ClientId, When};
use super::feeds::Feed;
use super::listeners::Listener;
use super::pulls::WaitingPull;
use super::wire::{Course, Event, Kind, Wire, Work};
use crate::faults::{Dice, Faults};
use crate::history::History;
use crate::model::{Entry, Model, Nodes, SCHEDULER_PAUSE, Stream, later};

/// When every simulation begins: 2026-01-01T00:00:00Z.
pub(crate) const EPOCH: Timestamp = Timestamp::constant(1_767_225_600, 0);

/// How long the nodes of a cluster may take to hear of a stream.
const UNHEARD_MAX: Duration = Duration::from_secs(1);

/// What a test wants to happen when a message is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Nothing.
    None,
    /// This client dies at that moment; not even the writer's acknowledgement reaches it.
    Kill(String),
}

/// Called for each stored message.
pub(crate) type StoredHook = Box<dyn FnMut(&Entry) -> Reaction + Send>;

/// Everything there is in a simulation, apart from the code under test.
pub(crate) struct State {
    /// The streams.
    pub(crate) model: Model,
    /// What may go wrong.
    pub(crate) faults: Faults,
    /// Chance.
    pub(crate) dice: Dice,
    /// What has happened.
    pub(crate) history: History,
    /// What is under way.
    pub(crate) wire: Wire,
    /// The clients, dead ones too.
    pub(crate) clients: BTreeMap<ClientId, Client>,
    /// The clients by name; the latest of a name.
    pub(crate) names: BTreeMap<String, ClientId>,
    /// The followers.
    pub(crate) feeds: BTreeMap<u64, Feed>,
    /// The pulls that wait, first come, first served.
    pub(crate) pulls: BTreeMap<u64, WaitingPull>,
    /// Who listens on core subjects.
    pub(crate) listeners: BTreeMap<u64, Listener>,
    /// The number that the next feed, pull or listener gets.
    pub(crate) next_id: u64,
    /// Since the simulation began.
    pub(crate) now: Duration,
    /// Whether the request now taking effect is a crash point: whoever takes this over sees to the client's death.
    pub(crate) doom: bool,
    /// Until then nothing is written and nothing happens of itself.
    pub(crate) leaderless_until: Duration,
    /// Whether the disk takes no writes.
    pub(crate) disk_full: bool,
    /// The test's eye on what is stored.
    pub(crate) on_stored: Option<StoredHook>,
}

/// What a request is, towards the network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// Who asks.
    pub(crate) client: ClientId,
    /// What for.
    pub(crate) call: Call,
    /// What it needs.
    pub(crate) kind: Kind,
}

impl State {
    pub(crate) fn new(nodes: Nodes, seed: u64, faults: Faults) -> Self {
        Self {
            model: Model::new(nodes),
            faults,
            dice: Dice::new(seed),
            history: History::default(),
            wire: Wire::default(),
            clients: BTreeMap::new(),
            names: BTreeMap::new(),
            feeds: BTreeMap::new(),
            pulls: BTreeMap::new(),
            listeners: BTreeMap::new(),
            next_id: 0,
            now: Duration::ZERO,
            doom: false,
            leaderless_until: Duration::ZERO,
            disk_full: false,
            on_stored: None,
        }
    }

    /// The server's clock.
    pub(crate) fn time(&self) -> Timestamp {
        later(EPOCH, self.now)
    }

    /// Lets everything happen that is due; when there is more to do.
    pub(crate) fn step(&mut self, now: Duration) -> Option<Duration> {
        self.now = now;
        loop {
            self.tick();
            let Some(event) = self.wire.pop_due(now) else { break };
            self.arrive(event);
        }
        let leader = if self.leaderless_until > now {
            Some(self.leaderless_until)
        } else {
            self.model.next_deadline().map(since_epoch)
        };
        [self.wire.next_at(), leader].into_iter().flatten().min()
    }

    /// Writes a line of history.
    pub(crate) fn note(&mut self, line: fmt::Arguments<'_>) {
        self.history.note(self.now, line);
    }

    /// The client's name, for the history.
    pub(crate) fn name(&self, client: ClientId) -> &str {
        self.clients.get(&client).map_or("?", |client| &client.name)
    }

    /// A number not used before.
    pub(crate) fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Whether there is a leader now.
    pub(crate) fn is_led(&self) -> bool {
        self.now >= self.leaderless_until
    }

    /// Sends a request, unless the client is dead or dies of it.
    pub(crate) fn send(&mut self, request: Request, work: Work) {
        let Some(doomed) = self.admit(request) else { return };
        self.disturb(request);
        let event = Event {
            client: Some(request.client),
            course: Course::ToServer(request.kind),
            doomed,
            work,
        };
        if request.kind != Kind::Any && self.dice.chance(self.faults.request_lost) {
            self.note(format_args!(
                "{} {} is lost",
                self.name(request.client).to_owned(),
                request.call
            ));
            return self.lose(event);
        }
        self.post(request.client, event);
    }

    /// Puts a request on the wire, or by for when the connection is back.
    pub(crate) fn post(&mut self, id: ClientId, event: Event) {
        let delay = self.dice.within(self.faults.latency);
        let (now, Some(client)) = (self.now, self.clients.get_mut(&id)) else {
            return;
        };
        if !client.connected || client.life.is_frozen() {
            client.outbox.push((now, event));
            return;
        }
        client.last_out = client.last_out.max(now + delay);
        self.wire.push(client.last_out, event);
    }

    /// Sends something to a client; lost if its connection goes before it arrives.
    pub(crate) fn reply(&mut self, id: ClientId, work: Work) {
        let delay = self.dice.within(self.faults.latency);
        let (now, Some(client)) = (self.now, self.clients.get_mut(&id)) else {
            return;
        };
        if !client.connected || client.is_dead() {
            return;
        }
        client.last_in = client.last_in.max(now + delay);
        let event = Event {
            client: Some(id),
            course: Course::ToClient(client.epoch),
            doomed: false,
            work,
        };
        self.wire.push(client.last_in, event);
    }

    /// Lets something happen later.
    pub(crate) fn plan(&mut self, after: Duration, work: Work) {
        self.wire.push(
            self.now + after,
            Event {
                client: None,
                course: Course::Planned,
                doomed: false,
                work,
            },
        );
    }

    /// By how many changes the server that answers a read is behind. A single server never is.
    pub(crate) fn draw_staleness(&mut self, stream: &str, leader: bool) -> usize {
        let rate = if leader {
            self.faults.stale_leader_read
        } else {
            self.faults.stale_read
        };
        if !self.model.is_cluster() || !self.dice.chance(rate) {
            return 0;
        }
        let changes = self.model.stream(stream).map_or(0, Stream::changes);
        (1 + self.dice.below(self.faults.behind_max)).min(changes)
    }

    /// Whether the node that a publish comes to has not heard yet of the stream that would take it. A single server always has.
    pub(crate) fn draw_unheard(&mut self, subject: &str) -> bool {
        let created = self.model.created(subject).filter(|_| self.model.is_cluster());
        let is_new = created.is_some_and(|created| self.now < since_epoch(created) + UNHEARD_MAX);
        is_new && self.dice.chance(self.faults.unheard_stream)
    }

    /// Tells of the client's connection from now on.
    pub(crate) fn watch_connection(&mut self, id: ClientId, watcher: UnboundedSender<ConnectionEvent>) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.watchers.push(watcher);
        }
    }

    /// An event that never arrives.
    pub(crate) fn lose(&mut self, event: Event) {
        if let (true, Some(client)) = (event.doomed, event.client) {
            self.kill(client);
        }
    }

    /// What happens at the leader of itself, and what follows from any change.
    fn tick(&mut self) {
        if self.is_led() {
            let pause = SCHEDULER_PAUSE + self.scheduler_delay();
            self.model.tick(self.time(), pause);
        }
        self.say_announcements();
        self.show_entries();
        if self.is_led() {
            self.feed_all();
            self.serve_pulls();
        }
    }

    /// Asked only when a schedule is due, so that a server without schedules draws no lots for them.
    fn scheduler_delay(&mut self) -> Duration {
        let due = self.model.next_deadline().is_some_and(|at| at <= self.time());
        if due {
            self.dice
                .within(crate::faults::Span(Duration::ZERO, self.faults.scheduler_late))
        } else {
            Duration::ZERO
        }
    }

    /// Lets an event have its effect.
    pub(crate) fn arrive(&mut self, event: Event) {
        match event.course {
            Course::Planned => (event.work)(self),
            Course::ToClient(epoch) => self.arrive_at_client(event, epoch),
            Course::ToServer(kind) => self.arrive_at_server(event, kind),
        }
    }

    fn arrive_at_client(&mut self, event: Event, epoch: u64) {
        let Some(client) = event.client.and_then(|id| self.clients.get_mut(&id)) else {
            return;
        };
        if client.is_dead() || client.epoch != epoch {
            return;
        }
        if client.life.is_frozen() {
            client.held.push(event.work);
            return;
        }
        (event.work)(self);
    }

    fn arrive_at_server(&mut self, event: Event, kind: Kind) {
        if kind == Kind::Publish && self.model.is_cluster() && self.is_led() && self.dice.chance(self.faults.leader_lost) {
            let pause = self.dice.within(self.faults.leaderless_for);
            self.lose_leader(pause);
        }
        if kind == Kind::Publish && self.disk_full {
            return self.lose(event);
        }
        if kind != Kind::Any && !self.is_led() {
            return self.arrive_leaderless(event);
        }
        self.doom = event.doomed;
        (event.work)(self);
        if let (true, Some(client)) = (std::mem::take(&mut self.doom), event.client) {
            self.show_entries();
            self.kill(client);
        }
    }

    /// Without a leader a request is dropped in silence, or done when there is one.
    fn arrive_leaderless(&mut self, event: Event) {
        if self.dice.chance(0.7) {
            return self.lose(event);
        }
        self.wire.push(self.leaderless_until, event);
    }

    /// Counts the call; `None` if it is not made, else whether the client dies with it.
    fn admit(&mut self, Request { client: id, call, .. }: Request) -> Option<bool> {
        let client = self.clients.get_mut(&id)?;
        if client.is_dead() {
            return None;
        }
        let number = client.calls;
        client.calls += 1;
        *client.calls_by_kind.entry(call).or_default() += 1;
        match client.crash_at {
            Some((at, When::Before)) if at == number => {
                self.kill(id);
                None
            }
            Some((at, When::After)) if at == number => Some(true),
            _ => Some(false),
        }
    }

    /// Shows the test what was stored.
    fn show_entries(&mut self) {
        for entry in self.model.take_entries() {
            self.note(format_args!(
                "stored {} {} at {}",
                entry.stream, entry.subject, entry.sequence
            ));
            let Some(hook) = &mut self.on_stored else { continue };
            if let Reaction::Kill(name) = hook(&entry)
                && let Some(client) = self.names.get(&name).copied()
            {
                self.kill(client);
            }
        }
    }
}

/// How long after the beginning that is.
pub(crate) fn since_epoch(time: Timestamp) -> Duration {
    Duration::try_from(time.duration_since(EPOCH)).unwrap_or(Duration::ZERO)
}
