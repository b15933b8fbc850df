//! Publishing tasks: once, and again until the server has said what became of them.

use bytes::Bytes;
use everstep_common::ids::QueueName;
use everstep_common::payload::Payload;
use everstep_common::ports::PublishError;
use everstep_common::store::{Backoff, TaskPublished};
use everstep_common::task::Task;
use tracing::Span;

use super::effect::{Performed, Performer};
use crate::metrics::metrics;

impl Performer {
    /// The span in which a task is published. Whatever is done for the task comes below it.
    pub(super) fn dispatch_span(&self, queue: &QueueName, task: &mut Task) -> Span {
        let span = tracing::debug_span!(
            "dispatch",
            run = %task.run,
            step = %task.key,
            attempt = task.attempt,
            partition = task.run.partition().0,
            function = %task.function,
            %queue,
            otel.kind = "producer",
        );
        task.traceparent = self.trace.child(&span, task.traceparent.take());
        span
    }

    pub(super) async fn dispatch(self, queue: QueueName, mut task: Task, input: Bytes) -> Performed {
        task.input = match Payload::inline(input) {
            Ok(payload) => payload,
            Err(large) => match Box::pin(self.store.put_payload(&task.run, task.key.token(), large)).await {
                Ok(payload) => payload,
                Err(error) => {
                    let reason = error.to_string();
                    return Performed::Refused { run: task.run, reason };
                }
            },
        };
        let published = match self.queues.is_ready(&queue) {
            true => self.store.publish_task(&queue, &task).await,
            false => Err(PublishError::NoStream),
        };
        match published {
            Ok(published) => task_published(task, published),
            Err(error) => Box::pin(self.dispatch_again(queue, task, error)).await,
        }
    }

    async fn dispatch_again(self, queue: QueueName, mut task: Task, mut error: PublishError) -> Performed {
        let mut backoff = Backoff::new();
        loop {
            match error {
                PublishError::NoStream => {
                    self.queues.forget(&queue);
                    self.queues.make_ready(&queue).await;
                }
                // It may have been stored, and even done since.
                PublishError::Unknown(_) => task.check = true,
                PublishError::Full | PublishError::Refused => {}
                PublishError::TooLarge | PublishError::Rejected(_) => {
                    let reason = format!("publishing the task of step {}: {error}", task.key);
                    return Performed::Refused { run: task.run, reason };
                }
            }
            if error != PublishError::NoStream {
                self.store.clock().sleep(backoff.delay()).await;
            }
            error = match self.store.publish_task(&queue, &task).await {
                Ok(published) => {
                    // It took its time, and the step may have ended meanwhile.
                    if self.is_over(&task).await {
                        self.purge_step(&queue, &task.run, &task.key).await;
                    }
                    return task_published(task, published);
                }
                Err(error) => error,
            };
        }
    }
}

/// Counted here and not where it is decided on: what is open is derived again, and most such tasks are queued already.
fn task_published(task: Task, published: TaskPublished) -> Performed {
    if published == TaskPublished::Stored {
        metrics().dispatched.add(1, &[]);
        if task.attempt > 1 {
            metrics().retries.add(1, &[]);
        }
    }
    Performed::Dispatched {
        run: task.run,
        key: task.key,
        published,
    }
}
