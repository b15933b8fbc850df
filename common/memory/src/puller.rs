//! Pulling from one consumer: a pull stands at the server until it is served, and each call waits for that as long as it likes.

use std::future::pending;
use std::time::Duration;

use everstep_common::ports::{Ack, Delivery, PullError, Puller};
use futures::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::server::{Call, Kind, Link, State, WaitingPull};

type Served = Result<Vec<Delivery>, PullError>;

/// Pulls from one consumer.
pub(crate) struct MemoryPuller {
    link: Link,
    stream: String,
    consumer: String,
    /// Where the pull that stands at the server is served.
    standing: Option<oneshot::Receiver<Served>>,
    /// Delivered, and not yet asked for.
    unread: Vec<Delivery>,
}

impl MemoryPuller {
    pub(crate) fn new(link: Link, stream: &str, consumer: &str) -> Self {
        Self {
            link,
            stream: stream.to_owned(),
            consumer: consumer.to_owned(),
            standing: None,
            unread: Vec::new(),
        }
    }

    /// What is to be done at the server for a pull to stand there.
    fn stand(&mut self, max: usize) -> impl FnOnce(&mut State) + Send + use<> {
        let (outlet, inlet) = oneshot::channel();
        self.standing = Some(inlet);
        let (client, stream, consumer) = (self.link.client, self.stream.clone(), self.consumer.clone());
        let pull = WaitingPull {
            client,
            stream,
            consumer,
            max,
            stands: true,
            doomed: false,
            outlet,
        };
        move |state| state.add_pull(pull)
    }

    /// Waits until the pull is served. One that was lost with the connection is made again.
    async fn served(&mut self, max: usize) -> Served {
        loop {
            let Some(standing) = &mut self.standing else {
                let stand = self.stand(max);
                self.link.tell_again(stand);
                continue;
            };
            let served = standing.await;
            self.standing = None;
            if self.link.life.is_dead() {
                pending::<()>().await;
            }
            if let Ok(served) = served {
                return served;
            }
        }
    }

    fn take(&mut self, max: usize) -> Vec<Delivery> {
        self.unread.drain(..max.min(self.unread.len())).collect()
    }
}

impl Puller for MemoryPuller {
    fn next(&mut self, max: usize, wait: Duration) -> BoxFuture<'_, Served> {
        let max = max.max(1);
        if self.standing.is_none() && self.unread.is_empty() {
            let stand = self.stand(max);
            self.link.tell(Call::PullNext, Kind::Any, stand);
        } else {
            self.link.tell(Call::PullNext, Kind::Any, |_| {});
        }
        Box::pin(async move {
            if self.unread.is_empty() {
                let served = timeout(wait, self.served(max)).await;
                self.link.life.go_on().await;
                match served {
                    Ok(served) => self.unread = served?,
                    Err(_) => return Ok(Vec::new()),
                }
            }
            Ok(self.take(max))
        })
    }
}

impl Drop for MemoryPuller {
    /// Gives back at once what nobody will work on.
    fn drop(&mut self) {
        if let Some(Ok(Ok(served))) = self.standing.as_mut().map(oneshot::Receiver::try_recv) {
            self.unread.extend(served);
        }
        for delivery in self.unread.drain(..) {
            self.link.tell_again(move |state| {
                let time = state.time();
                state.model.acknowledge(time, &delivery.ack.0, Ack::Retry(Duration::ZERO));
            });
        }
    }
}
