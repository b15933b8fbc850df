//! Pulls that wait at a consumer, and deliveries on their way to a worker. A pull waits until it is served, however often its
//! client asks whether anything has come; what is delivered while nobody asks lies at the client.

use everstep_common::ports::{Delivery, PullError};
use tokio::sync::oneshot;

use super::client::ClientId;
use super::state::State;

/// A pull at the server.
pub(crate) struct WaitingPull {
    pub(crate) client: ClientId,
    pub(crate) stream: String,
    pub(crate) consumer: String,
    /// Deliveries it takes at most.
    pub(crate) max: usize,
    /// Whether its client is connected.
    pub(crate) stands: bool,
    /// Whether the client dies of the delivery (a crash point).
    pub(crate) doomed: bool,
    /// Where the deliveries go.
    pub(crate) outlet: oneshot::Sender<Result<Vec<Delivery>, PullError>>,
}

impl State {
    /// Lets a pull wait. If it is a crash point, the client dies of what it brings.
    pub(crate) fn add_pull(&mut self, pull: WaitingPull) {
        let id = self.take_id();
        let doomed = std::mem::take(&mut self.doom);
        self.pulls.insert(id, WaitingPull { doomed, ..pull });
    }

    /// Serves whatever waiting pull can be served, in the order of their coming.
    pub(crate) fn serve_pulls(&mut self) {
        let ids: Vec<u64> = self.pulls.keys().copied().collect();
        for id in ids {
            self.serve_pull(id);
        }
    }

    /// The client's connection has come or gone, and its pulls with it.
    pub(crate) fn stand_pulls_of(&mut self, client: ClientId, stands: bool) {
        for pull in self.pulls.values_mut().filter(|pull| pull.client == client) {
            pull.stands = stands;
        }
    }

    /// A client is gone: its pulls wait no longer.
    pub(crate) fn drop_pulls(&mut self, client: ClientId) {
        self.pulls.retain(|_, pull| pull.client != client);
    }

    fn serve_pull(&mut self, id: u64) {
        let Some(pull) = self.pulls.get(&id).filter(|pull| pull.stands) else {
            return;
        };
        // Whoever has stopped waiting is served now and then all the same, by a server that has not heard of it.
        if pull.outlet.is_closed() && !self.dice.chance(self.faults.delivery_lost) {
            return self.end_pull(id, Ok(Vec::new()));
        }
        let time = self.time();
        let Some(deliveries) = self.model.fetch(time, &pull.stream, &pull.consumer, pull.max) else {
            return self.end_pull(id, Err(PullError::Gone));
        };
        if !deliveries.is_empty() {
            self.deliver(id, deliveries);
        }
    }

    fn deliver(&mut self, id: u64, mut deliveries: Vec<Delivery>) {
        let Some(pull) = self.pulls.get(&id) else { return };
        let (client, stream, consumer) = (pull.client, pull.stream.clone(), pull.consumer.clone());
        for delivery in &deliveries {
            self.plan_redelivery(&stream, &consumer, delivery.sequence);
        }
        if self.dice.chance(self.faults.delivery_shuffled) {
            self.dice.shuffle(&mut deliveries);
        }
        let (dice, lost) = (&mut self.dice, self.faults.delivery_lost);
        deliveries.retain(|_| !dice.chance(lost));
        for delivery in &deliveries {
            let name = self.name(client).to_owned();
            self.note(format_args!(
                "delivered {} to {name}, number {}",
                delivery.subject, delivery.delivery
            ));
        }
        // If all are lost on the way, the pull waits on at the client, and this is no end that the client sees.
        if !deliveries.is_empty() {
            self.end_pull(id, Ok(deliveries));
        }
    }

    /// By chance the same message comes again before its time.
    fn plan_redelivery(&mut self, stream: &str, consumer: &str, sequence: u64) {
        let doubled = self.dice.chance(self.faults.delivery_doubled);
        if !doubled && !self.dice.chance(self.faults.delivery_repeated) {
            return;
        }
        let after = self.dice.within(crate::faults::Span::milliseconds(0, 30_000));
        let (stream, consumer) = (stream.to_owned(), consumer.to_owned());
        self.plan(
            after,
            Box::new(move |state| {
                if let Some(consumer) = state
                    .model
                    .stream_mut(&stream)
                    .and_then(|stream| stream.consumer_mut(&consumer))
                {
                    consumer.redeliver_now(sequence, doubled);
                }
            }),
        );
    }

    fn end_pull(&mut self, id: u64, answer: Result<Vec<Delivery>, PullError>) {
        let Some(pull) = self.pulls.remove(&id) else { return };
        if pull.doomed {
            return self.kill(pull.client);
        }
        let arrive = Box::new(move |_: &mut State| {
            // Whoever has stopped waiting does not get it; it comes again.
            let _ = pull.outlet.send(answer);
        });
        self.reply(pull.client, arrive);
    }
}
