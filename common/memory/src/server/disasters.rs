//! What befalls clients, connections and the server: kill, freeze, cut, restart, a lost leader.

use std::time::Duration;

use everstep_common::ports::ConnectionEvent;

use super::client::ClientId;
use super::link::ANSWER_WAIT;
use super::state::{Request, State};
use super::wire::{Course, Kind};

impl State {
    /// The process is gone. What it sent and what has not arrived may still arrive, up to some point.
    pub(crate) fn kill(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        if client.is_dead() {
            return;
        }
        client.life.end();
        client.connected = false;
        client.epoch += 1;
        client.held.clear();
        client.outbox.clear();
        client.watchers.clear();
        let (name, calls) = (client.name.clone(), client.calls);
        self.note(format_args!("{name} is killed after {calls} calls"));
        self.cut_short(id);
        self.drop_pulls(id);
        self.feeds.retain(|_, feed| feed.client() != id);
        self.listeners.retain(|_, listener| listener.client != id);
    }

    /// The process is stopped (SIGSTOP) or goes on. Its connection stays; what comes waits.
    pub(crate) fn freeze(&mut self, id: ClientId, frozen: bool) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        client.life.freeze(frozen);
        let name = client.name.clone();
        self.note(format_args!("{name} {}", if frozen { "stops" } else { "goes on" }));
        if frozen {
            return;
        }
        let held = self
            .clients
            .get_mut(&id)
            .map(|client| std::mem::take(&mut client.held))
            .unwrap_or_default();
        for work in held {
            work(self);
        }
        self.send_outbox(id);
    }

    /// The connection is gone: what is under way to the client is lost, of what it sent the first part arrives.
    pub(crate) fn disconnect(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        if client.is_dead() || !client.connected {
            return;
        }
        client.connected = false;
        client.epoch += 1;
        client.life.lose_connection();
        client.tell(ConnectionEvent::Disconnected);
        let name = client.name.clone();
        self.note(format_args!("{name} is disconnected"));
        self.cut_short(id);
        self.stand_pulls_of(id, false);
        self.detach_feeds(id);
        self.stand_listeners_of(id, false);
    }

    /// The connection is back.
    pub(crate) fn reconnect(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        if client.is_dead() || client.connected {
            return;
        }
        client.connected = true;
        client.tell(ConnectionEvent::Reconnected);
        let name = client.name.clone();
        self.note(format_args!("{name} is connected again"));
        self.stand_listeners_of(id, true);
        self.stand_pulls_of(id, true);
        self.attach_feeds(id);
        self.send_outbox(id);
    }

    /// Cuts a connection for that long.
    pub(crate) fn cut(&mut self, id: ClientId, duration: Duration) {
        self.disconnect(id);
        self.plan(duration, Box::new(move |state| state.reconnect(id)));
    }

    /// The server is killed and started again on the same store.
    pub(crate) fn restart(&mut self, away: Duration) {
        self.note(format_args!("the server is killed"));
        let ids: Vec<ClientId> = self.clients.keys().copied().collect();
        for id in &ids {
            self.disconnect(*id);
        }
        self.arrive_all();
        self.model.restart();
        // What a consumer knew of its deliveries is written late; a killed server may deliver all of it again.
        if self.dice.chance(0.5) {
            self.model.redeliver_all();
        }
        self.leaderless_until = self.leaderless_until.max(self.now + away);
        for id in ids {
            let latency = self.dice.within(self.faults.latency);
            self.plan(away + latency, Box::new(move |state| state.reconnect(id)));
        }
    }

    /// There is no leader for that long.
    pub(crate) fn lose_leader(&mut self, pause: Duration) {
        self.note(format_args!("no leader for {} ms", pause.as_millis()));
        self.leaderless_until = self.leaderless_until.max(self.now + pause);
    }

    /// The faults that a client's own sending brings about: its connection is cut, or hangs.
    pub(crate) fn disturb(&mut self, Request { client: id, call, .. }: Request) {
        if self.dice.chance(self.faults.cut) {
            let duration = self.dice.within(self.faults.cut_for);
            self.cut(id, duration);
        }
        if self.dice.chance(self.faults.stall) {
            let stall = self.dice.within(self.faults.stall_for);
            let until = self.now + stall;
            let Some(client) = self.clients.get_mut(&id) else { return };
            client.last_out = client.last_out.max(until);
            let name = client.name.clone();
            self.note(format_args!("{name} hangs at {call} for {} ms", stall.as_millis()));
        }
    }

    /// Of what the client has sent and what has not arrived, only the first so many do.
    fn cut_short(&mut self, id: ClientId) {
        let requests = self.wire.take_requests_of(id);
        let kept = self.dice.below(requests.len() + 1);
        let mut lost = Vec::new();
        for (index, event) in requests.into_iter().enumerate() {
            if index < kept {
                self.wire.push(self.now, event);
            } else {
                lost.push(event);
            }
        }
        lost.into_iter().for_each(|event| self.lose(event));
    }

    /// What was kept of the requests under way arrives before the server is killed.
    fn arrive_all(&mut self) {
        while let Some(event) = self.wire.pop_due(self.now) {
            self.arrive(event);
        }
    }

    /// Sends what has waited; but not what nobody waits for any more, publishes and core messages apart.
    fn send_outbox(&mut self, id: ClientId) {
        let outbox = self
            .clients
            .get_mut(&id)
            .map(|client| std::mem::take(&mut client.outbox))
            .unwrap_or_default();
        for (since, event) in outbox {
            let given_up = event.course == Course::ToServer(Kind::Api) && since + ANSWER_WAIT <= self.now;
            if given_up {
                self.lose(event);
            } else {
                self.post(id, event);
            }
        }
    }
}
