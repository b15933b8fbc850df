//! What orchestrators say to the workers of a queue: a step is cancelled; what are you running?

use std::sync::Arc;

use bytes::Bytes;
use everstep_common::ids::{QueueName, RunId};
use everstep_common::journal::EntryKey;
use everstep_common::key::StepKey;
use everstep_common::ports::{CoreMessage, Headers};
use everstep_common::task::Task;
use everstep_common::wire;
use futures::{StreamExt, stream};

use crate::options::SUBSCRIBE_PAUSE;
use crate::worker::Shared;

enum Said {
    Cancelled(CoreMessage),
    Running(CoreMessage),
}

/// Listens for the queue's orchestrators.
pub(crate) async fn control(shared: Arc<Shared>, queue: QueueName) {
    let (broker, names) = (shared.store.broker(), shared.store.names());
    loop {
        let cancelled = broker.subscribe(&names.cancelled(&queue)).await.map(Said::Cancelled);
        let running = broker.subscribe(&names.running(&queue)).await.map(Said::Running);
        let mut said = stream::select(cancelled, running);
        while let Some(said) = said.next().await {
            match said {
                Said::Cancelled(message) => cancel(&shared, &message.payload),
                Said::Running(message) => answer(&shared, &queue, message),
            }
        }
        // Subscriptions outlive reconnects; that they ended means that the client is being closed or made anew.
        shared.sleep(SUBSCRIBE_PAUSE).await;
    }
}

/// The body is the step's idempotency key, or names an attempt's entry in the same way.
fn cancel(shared: &Shared, body: &[u8]) {
    let named = std::str::from_utf8(body).ok().and_then(|text| text.split_once('.'));
    let (run, step, attempt) = match named.map(|(run, key)| (run, key.parse())) {
        Some((run, Ok(EntryKey::Step(step)))) => (run, step, None),
        Some((run, Ok(EntryKey::Try(step, attempt)))) => (run, step, Some(attempt)),
        _ => return tracing::warn!("a cancellation names no step"),
    };
    let is_meant =
        |task: &Task| task.run.as_str() == run && task.key == step && attempt.is_none_or(|attempt| task.attempt == attempt);
    let held = shared.held.all();
    held.iter()
        .filter(|execution| is_meant(&execution.task))
        .for_each(|execution| shared.cancel(execution));
}

/// Tells the run, key and attempt of each task of the queue that is held here.
fn answer(shared: &Shared, queue: &QueueName, message: CoreMessage) {
    let Some(subject) = message.reply else { return };
    let held = shared.held.all();
    let tasks: Vec<(&RunId, &StepKey, u32)> = held
        .iter()
        .filter(|execution| execution.binding.queue == *queue)
        .map(|execution| (&execution.task.run, &execution.task.key, execution.task.attempt))
        .collect();
    let payload = wire::encode(&tasks).unwrap_or_else(|_| Bytes::new());
    shared.store.broker().send(CoreMessage {
        subject,
        headers: Headers::new(),
        payload,
        reply: None,
    });
}
