//! Pulling tasks: one loop per queue, all sharing the worker's slots.
//!
//! The consumer is named after the queue's mark. Mark or consumer gone means that the stream was lost: the owner writes a new mark, and
//! the loop binds to what that names.

use std::sync::Arc;

use everstep_common::ids::QueueName;
use everstep_common::ports::{Ack, Delivery, PullError, Puller};
use everstep_common::store::Backoff;
use std::time::Duration;

use crate::execution::Binding;
use crate::intake;
use crate::options::{PULL_WAIT, SILENT_PULLS_MAX};
use crate::telemetry::Labels;
use crate::worker::{Shared, Slot};

/// Pulls the queue's tasks, without end.
pub(crate) async fn pull(shared: &Arc<Shared>, queue: &QueueName) {
    let mut backoff = Backoff::new();
    loop {
        if let Some((binding, puller)) = bind(shared, queue).await
            && serve(shared, &binding, puller).await
        {
            backoff = Backoff::new();
        }
        shared.sleep(backoff.next()).await;
    }
}

/// The consumer that the queue's mark names now.
async fn bind(shared: &Shared, queue: &QueueName) -> Option<(Arc<Binding>, Box<dyn Puller>)> {
    let mark = match shared.store.read_mark(queue).await {
        Ok(mark) => mark?,
        Err(error) => {
            tracing::debug!(%queue, %error, "the queue's mark cannot be read");
            return None;
        }
    };
    let stream = shared.store.names().task_stream(queue);
    match shared.store.broker().pull(&stream, &mark.consumer()).await {
        Ok(puller) => Some((
            Arc::new(Binding {
                queue: queue.clone(),
                mark,
                labels: Labels::new(queue),
            }),
            puller,
        )),
        Err(error) => {
            tracing::debug!(%queue, %error, "the queue's consumer cannot be bound");
            None
        }
    }
}

/// Pulls until the consumer is gone, silent for long, or another mark stands. Whether it answered at all.
async fn serve(shared: &Arc<Shared>, binding: &Arc<Binding>, mut puller: Box<dyn Puller>) -> bool {
    tracing::debug!(queue = %binding.queue, incarnation = %binding.mark.incarnation, "pulling tasks");
    let mut appetite = Appetite::of(shared);
    let mut backoff = Backoff::new();
    let mut silent = 0;
    let mut answered = false;
    loop {
        let mut reserved = Reserved::take(shared, appetite.next).await;
        match puller.next(reserved.count, PULL_WAIT).await {
            Ok(deliveries) => {
                answered = true;
                backoff = Backoff::new();
                appetite.adapt(reserved.count, deliveries.len());
                silent = if deliveries.is_empty() { silent + 1 } else { 0 };
                deliveries
                    .into_iter()
                    .for_each(|delivery| hand_on(shared, binding, &mut reserved, delivery));
            }
            Err(PullError::Gone) => return answered,
            Err(PullError::Unavailable(reason)) => {
                tracing::debug!(queue = %binding.queue, reason, "a pull was not answered");
                drop(reserved);
                shared.sleep(backoff.next()).await;
                continue;
            }
        }
        drop(reserved);
        if silent > 0 && (is_replaced(shared, binding).await || silent >= SILENT_PULLS_MAX) {
            note_silence(shared, binding, silent).await;
            return answered;
        }
    }
}

fn hand_on(shared: &Arc<Shared>, binding: &Arc<Binding>, reserved: &mut Reserved<'_>, delivery: Delivery) {
    match reserved.slot() {
        Some(slot) => intake::take(slot, binding, delivery),
        // More than was asked for.
        None => shared.store.broker().ack(&delivery.ack, Ack::Retry(Duration::ZERO)),
    }
}

/// Whether the mark is gone or another one. What cannot be read is taken to be as it was.
async fn is_replaced(shared: &Shared, binding: &Binding) -> bool {
    matches!(shared.store.read_mark(&binding.queue).await, Ok(mark) if mark.as_ref() != Some(&binding.mark))
}

/// A consumer that brings nothing although tasks are queued may be stuck.
async fn note_silence(shared: &Shared, binding: &Binding, silent: u32) {
    if silent < SILENT_PULLS_MAX {
        return;
    }
    let info = shared
        .store
        .broker()
        .stream_info(&shared.store.names().task_stream(&binding.queue))
        .await;
    let held = shared
        .held
        .all()
        .iter()
        .filter(|execution| execution.binding.queue == binding.queue)
        .count() as u64;
    // The mark is a message too.
    if let Ok(Some(info)) = info
        && info.messages > held + 1
    {
        shared.metrics.pulls_rebuilt.add(1, &binding.labels.queue);
        tracing::debug!(queue = %binding.queue, queued = info.messages - 1, held, "binding anew: a silent pull while tasks are queued");
    }
}

/// How many tasks a loop asks for at once.
///
/// An open pull keeps its slots from the other queues, so a queue that is empty asks for one task only, and for twice as many whenever
/// it got all it asked for. A queue alone asks for all.
struct Appetite {
    next: usize,
    least: usize,
    most: usize,
}

impl Appetite {
    fn of(shared: &Shared) -> Self {
        let (slots, queues) = (shared.options.slots, shared.options.queues.len());
        let least = if queues == 1 { slots } else { 1 };
        Self {
            next: (slots / queues).max(1),
            least,
            most: slots,
        }
    }

    fn adapt(&mut self, asked: usize, got: usize) {
        if got == 0 {
            self.next = self.least;
        } else if got >= asked {
            self.next = (self.next * 2).min(self.most);
        }
    }
}

/// Slots that a pull may fill. Those it does not fill are free again when this is dropped.
struct Reserved<'a> {
    shared: &'a Arc<Shared>,
    count: usize,
}

impl<'a> Reserved<'a> {
    /// At least one slot, waiting in turn with the other queues; more if they are free, up to `most`.
    async fn take(shared: &'a Arc<Shared>, most: usize) -> Self {
        let first = shared.slots.acquire().await.expect("the semaphore is never closed");
        first.forget();
        let mut reserved = Self { shared, count: 1 };
        let more = shared.slots.available_permits().min(most.saturating_sub(1));
        if let Ok(permits) = shared.slots.try_acquire_many(u32::try_from(more).unwrap_or(u32::MAX)) {
            permits.forget();
            reserved.count += more;
        }
        reserved
    }

    fn slot(&mut self) -> Option<Slot> {
        self.count = self.count.checked_sub(1)?;
        Some(Slot(self.shared.clone()))
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.shared.slots.add_permits(self.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_among_others_asks_for_little_while_it_is_empty() {
        let mut appetite = Appetite {
            next: 8,
            least: 1,
            most: 16,
        };
        appetite.adapt(8, 0);
        assert_eq!(appetite.next, 1);
        let grown = [1, 2, 4, 8, 16].map(|asked| {
            appetite.adapt(asked, asked);
            appetite.next
        });
        assert_eq!(grown, [2, 4, 8, 16, 16]);
        appetite.adapt(16, 3);
        assert_eq!(appetite.next, 16);
    }
}
