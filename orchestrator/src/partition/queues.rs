//! The task queues as an owner knows them: which stand, and under which mark.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use everstep_common::ids::QueueName;
use everstep_common::store::{Backoff, Mark, Store};

/// Which queues have been made ready, shared with the effects that publish into them.
#[derive(Clone, Debug)]
pub(crate) struct Queues {
    store: Store,
    known: Arc<Mutex<BTreeMap<QueueName, Known>>>,
}

#[derive(Debug, Default)]
struct Known {
    mark: Option<Mark>,
    /// The mark under which everything in flight is known to be published. Another one means that the stream was lost since.
    accounted: Option<String>,
    /// Held by whoever makes the queue ready; the others wait for it.
    making: Arc<futures::lock::Mutex<()>>,
}

impl Queues {
    /// The queues as a predecessor left them: the marks under which he had published everything in flight.
    pub(crate) fn new(store: Store, accounted: &BTreeMap<QueueName, String>) -> Self {
        let known = accounted.iter().map(|(queue, incarnation)| {
            let accounted = Some(incarnation.clone());
            (
                queue.clone(),
                Known {
                    accounted,
                    ..Known::default()
                },
            )
        });
        let known = Arc::new(Mutex::new(known.collect()));
        Self { store, known }
    }

    /// The marks under which everything in flight is known to be published.
    pub(crate) fn accounted(&self) -> BTreeMap<QueueName, String> {
        let known = self.lock();
        known
            .iter()
            .filter_map(|(queue, known)| Some((queue.clone(), known.accounted.clone()?)))
            .collect()
    }

    /// Everything in flight is being published under the mark that stands now.
    pub(crate) fn account(&self, queue: &QueueName) {
        if let Some(known) = self.lock().get_mut(queue) {
            known.accounted = known.mark.as_ref().map(|mark| mark.incarnation.clone());
        }
    }

    /// Whether tasks may be published into it.
    pub(crate) fn is_ready(&self, queue: &QueueName) -> bool {
        self.lock().get(queue).is_some_and(|known| known.mark.is_some())
    }

    /// Forgets a mark, so that the queue is made ready again before the next publish.
    pub(crate) fn forget(&self, queue: &QueueName) {
        if let Some(known) = self.lock().get_mut(queue) {
            known.mark = None;
        }
    }

    /// Makes the queue's stream, mark and consumer where they are missing, however long the server is away.
    pub(crate) async fn make_ready(&self, queue: &QueueName) {
        let mut backoff = Backoff::new();
        while !self.try_make_ready(queue).await {
            self.store.clock().sleep(backoff.delay()).await;
        }
    }

    /// Tries so once; whether the queue is ready.
    pub(crate) async fn try_make_ready(&self, queue: &QueueName) -> bool {
        let making = self.lock().entry(queue.clone()).or_default().making.clone();
        let _making = making.lock().await;
        if self.is_ready(queue) {
            return true;
        }
        match self.store.ensure_queue(queue).await {
            Ok(mark) => {
                let mut known = self.lock();
                let known = known.entry(queue.clone()).or_default();
                known.accounted.get_or_insert_with(|| mark.incarnation.clone());
                known.mark = Some(mark);
                true
            }
            Err(error) => {
                tracing::warn!(%queue, %error, source = error_source(&error), "task queue not ready yet");
                false
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<QueueName, Known>> {
        // Nothing panics while it is held.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The cause of an error as text, for a log line.
pub(crate) fn error_source(error: &dyn std::error::Error) -> String {
    error.source().map(ToString::to_string).unwrap_or_default()
}
