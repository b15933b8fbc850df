//! What is under way: requests to the server, answers to clients, and what the simulation has planned, by time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::client::ClientId;
use super::state::State;

/// What happens when an event arrives.
pub(crate) type Work = Box<dyn FnOnce(&mut State) + Send>;

/// What a request needs of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Writes into a stream: needs its leader and its disk.
    Publish,
    /// Asks the leader for something else. Not sent any more once its asker has given up.
    Api,
    /// Any server will do: a direct read, a core message, an acknowledgement.
    Any,
}

/// Where an event is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// From a client to the server.
    ToServer(Kind),
    /// To a client, over its connection of this number.
    ToClient(u64),
    /// Nowhere: it happens.
    Planned,
}

/// Something under way.
pub(crate) struct Event {
    /// Whose connection it travels over.
    pub(crate) client: Option<ClientId>,
    /// Where to.
    pub(crate) course: Course,
    /// Whether the client dies with its effect (a crash point), also if it is lost.
    pub(crate) doomed: bool,
    /// Its effect.
    pub(crate) work: Work,
}

/// All events, by time and then in the order in which they were sent.
#[derive(Default)]
pub(crate) struct Wire {
    queue: BTreeMap<(Duration, u64), Event>,
    next: u64,
}

impl Wire {
    /// Lets the event arrive at that time, behind all that arrive then.
    pub(crate) fn push(&mut self, at: Duration, event: Event) {
        self.queue.insert((at, self.next), event);
        self.next += 1;
    }

    /// The next event that has arrived.
    pub(crate) fn pop_due(&mut self, now: Duration) -> Option<Event> {
        let entry = self.queue.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    /// When the next event arrives.
    pub(crate) fn next_at(&self) -> Option<Duration> {
        self.queue.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes out what `client` has sent and what has not arrived, in order.
    pub(crate) fn take_requests_of(&mut self, client: ClientId) -> Vec<Event> {
        let is_request = |event: &Event| event.client == Some(client) && matches!(event.course, Course::ToServer(_));
        self.queue
            .extract_if(.., |_, event| is_request(event))
            .map(|(_, event)| event)
            .collect()
    }
}
