//! Pulling tasks: one loop per queue, all sharing the worker's slots.
//!
//! The consumer is named after the queue's mark. Mark or consumer gone means that the stream was lost: the owner writes a new mark, and
//! the loop binds to what that names.

use std::sync::Arc;
use std::time::Duration;

use everstep_common::ids::QueueName;
use everstep_common::ports::{Ack, Delivery, PullError, Puller};
use everstep_common::store::Backoff;

use crate::execution::Binding;
use crate::intake;
use crate::options::{MARK_PAUSE, PULL_WAIT};
use crate::telemetry::Labels;
use crate::worker::{Shared, Slot, first};

/// Pulls the queue's tasks, without end.
pub(crate) async fn pull(shared: &Arc<Shared>, queue: &QueueName) {
    let mut backoff = Backoff::new();
    loop {
        if let Some((binding, puller)) = bind(shared, queue).await
            && serve(shared, &binding, puller).await
        {
            backoff = Backoff::new();
        }
        shared.sleep(backoff.delay()).await;
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

/// Pulls until the consumer is gone, another mark stands, or the slots are better left to other queues. Whether it answered at all.
async fn serve(shared: &Arc<Shared>, binding: &Arc<Binding>, puller: Box<dyn Puller>) -> bool {
    tracing::debug!(queue = %binding.queue, incarnation = %binding.mark.incarnation, "pulling tasks");
    let mut answered = false;
    first(pull_on(shared, binding, puller, &mut answered), replaced(shared, binding)).await;
    answered
}

async fn pull_on(shared: &Arc<Shared>, binding: &Arc<Binding>, mut puller: Box<dyn Puller>, answered: &mut bool) {
    let mut appetite = Appetite::of(shared.options.slots, shared.options.queues.len());
    let mut reserved = Reserved { shared, count: 0 };
    let mut backoff = Backoff::new();
    loop {
        reserved.fill(appetite.next).await;
        match puller.next(reserved.count, PULL_WAIT).await {
            Ok(deliveries) => {
                *answered = true;
                backoff = Backoff::new();
                appetite.adapt(reserved.count, deliveries.len());
                if deliveries.is_empty() && appetite.is_exceeded_by(reserved.count) {
                    return;
                }
                for delivery in deliveries {
                    hand_on(shared, binding, &mut reserved, delivery);
                }
            }
            Err(PullError::Gone) => return,
            Err(PullError::Unavailable(reason)) => {
                tracing::debug!(queue = %binding.queue, reason, "a pull was not answered");
                shared.sleep(backoff.delay()).await;
            }
        }
    }
}

/// Returns when the mark is gone or another one. What cannot be read is taken to be as it was.
async fn replaced(shared: &Shared, binding: &Binding) {
    loop {
        shared.sleep(MARK_PAUSE).await;
        if let Ok(mark) = shared.store.read_mark(&binding.queue).await
            && mark.as_ref() != Some(&binding.mark)
        {
            return;
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

/// How many tasks a loop may be brought at any time.
///
/// What was asked for may still come after a pull has returned, so its slots stay taken, and the other queues cannot have them. Hence a
/// queue among others asks for one task, for twice as many whenever it got all it asked for, and never for more than its share. When
/// it falls silent it gives all of that back by binding anew. A queue alone asks for all.
struct Appetite {
    next: usize,
    least: usize,
    most: usize,
}

impl Appetite {
    fn of(slots: usize, queues: usize) -> Self {
        let most = (slots / queues).max(1);
        let least = match queues {
            1 => slots,
            // Not one slot for each: an empty queue must not keep one from the others.
            _ if queues >= slots => 0,
            _ => 1,
        };
        Self {
            next: least.max(1),
            least,
            most,
        }
    }

    fn adapt(&mut self, asked: usize, got: usize) {
        if got == 0 {
            self.next = self.least.max(1);
        } else if got >= asked {
            self.next = (self.next * 2).min(self.most);
        }
    }

    /// Whether a silent queue has more slots taken than it should.
    fn is_exceeded_by(&self, reserved: usize) -> bool {
        reserved > self.least
    }
}

/// Slots taken for what a pull may bring. Those it has not filled are free again when this is dropped.
struct Reserved<'a> {
    shared: &'a Arc<Shared>,
    count: usize,
}

impl Reserved<'_> {
    /// Takes more slots, up to `most` in all. Waits in turn with the other queues if it has none.
    async fn fill(&mut self, most: usize) {
        let slots = &self.shared.slots;
        if self.count == 0 {
            slots.acquire().await.expect("the semaphore is never closed").forget();
            self.count = 1;
        }
        let more = slots.available_permits().min(most.saturating_sub(self.count));
        if let Ok(permits) = slots.try_acquire_many(u32::try_from(more).unwrap_or(u32::MAX)) {
            permits.forget();
            self.count += more;
        }
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
    fn a_queue_among_others_asks_for_more_as_it_gets_more_up_to_its_share() {
        let mut appetite = Appetite::of(16, 2);
        let grown = [1, 2, 4, 8].map(|asked| {
            appetite.adapt(asked, asked);
            appetite.next
        });
        assert_eq!(grown, [2, 4, 8, 8]);
        appetite.adapt(8, 3);
        assert_eq!(appetite.next, 8);
        appetite.adapt(5, 0);
        assert!(appetite.next == 1 && appetite.is_exceeded_by(5) && !appetite.is_exceeded_by(1));
    }

    #[test]
    fn a_queue_alone_asks_for_all_and_gives_nothing_back() {
        let mut appetite = Appetite::of(16, 1);
        appetite.adapt(16, 0);
        assert!(appetite.next == 16 && !appetite.is_exceeded_by(16));
    }

    #[test]
    fn empty_queues_that_outnumber_the_slots_take_turns() {
        assert!(Appetite::of(2, 3).is_exceeded_by(1));
    }
}
