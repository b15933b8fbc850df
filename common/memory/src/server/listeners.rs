//! Core NATS: seen by whoever listens at that moment, stored by nobody, unless a stream takes the subject.

use everstep_common::ports::{CoreMessage, Publish};
use tokio::sync::mpsc::UnboundedSender;

use super::client::ClientId;
use super::state::State;
use crate::subject;

/// Someone who listens.
pub(crate) struct Listener {
    pub(crate) client: ClientId,
    pub(crate) filter: String,
    /// Whether the server knows of it; it does from when the subscription has arrived.
    pub(crate) stands: bool,
    /// Where the messages go.
    pub(crate) outlet: UnboundedSender<CoreMessage>,
}

impl State {
    /// Takes a listener in, which stands when the server has been told.
    pub(crate) fn add_listener(&mut self, client: ClientId, filter: &str, outlet: UnboundedSender<CoreMessage>) -> u64 {
        let id = self.take_id();
        self.listeners.insert(
            id,
            Listener {
                client,
                filter: filter.to_owned(),
                stands: false,
                outlet,
            },
        );
        id
    }

    /// The server has been told of a listener.
    pub(crate) fn stand_listener(&mut self, id: u64) {
        if let Some(listener) = self.listeners.get_mut(&id) {
            listener.stands = true;
        }
    }

    /// The client's connection has come or gone, and its listeners with it.
    pub(crate) fn stand_listeners_of(&mut self, client: ClientId, stands: bool) {
        for listener in self.listeners.values_mut().filter(|listener| listener.client == client) {
            listener.stands = stands;
        }
    }

    /// Whether anyone would hear a message on that subject now.
    pub(crate) fn anyone_hears(&self, subject: &str) -> bool {
        self.listeners
            .values()
            .any(|listener| listener.stands && !listener.outlet.is_closed() && subject::matches(&listener.filter, subject))
    }

    /// A client says something. Listeners hear it; and a stream that takes the subject stores it, with nobody to be told.
    pub(crate) fn say(&mut self, message: &CoreMessage) {
        self.be_heard(message);
        let publish = Publish {
            headers: message.headers.clone(),
            ..Publish::new(&*message.subject, message.payload.clone())
        };
        let time = self.time();
        // Nobody waits for the answer to a core message.
        let _ = self.model.publish(time, &publish);
    }

    /// Listeners hear a message, whatever becomes of it in a stream.
    pub(crate) fn be_heard(&mut self, message: &CoreMessage) {
        self.listeners.retain(|_, listener| !listener.outlet.is_closed());
        let hearing: Vec<u64> = self
            .listeners
            .iter()
            .filter(|(_, listener)| listener.stands && subject::matches(&listener.filter, &message.subject))
            .map(|(id, _)| *id)
            .collect();
        for id in hearing {
            if !self.dice.chance(self.faults.core_lost) {
                self.bring(id, message.clone());
            }
        }
    }

    /// Says what the streams republish.
    pub(crate) fn say_announcements(&mut self) {
        loop {
            let announcements = self.model.take_announcements();
            if announcements.is_empty() {
                return;
            }
            for message in announcements {
                self.note(format_args!("republished {}", message.subject));
                self.say(&message);
            }
        }
    }

    fn bring(&mut self, id: u64, message: CoreMessage) {
        let Some(listener) = self.listeners.get(&id) else { return };
        let arrive = Box::new(move |state: &mut State| {
            if let Some(listener) = state.listeners.get(&id) {
                // Who has stopped listening need not hear it.
                let _ = listener.outlet.send(message);
            }
        });
        self.reply(listener.client, arrive);
    }
}
