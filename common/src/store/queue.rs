//! Task queues: the mark that tells one life of a task stream from the next, and tasks that are published create-only.
//!
//! A task stream is derived data in memory: a restarted server forgets it or brings it back empty. Its *mark* holds a random
//! incarnation, and the durable consumer is named after it, so that acknowledgements of an earlier life reach nothing.

use futures::FutureExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Store;
use crate::ids::QueueName;
use crate::ports::{GetLast, Publish, PublishError, ReadError, TopologyError, header};
use crate::task::Task;
use crate::wire;

/// What a task stream's mark says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Random; another one after each loss of the stream.
    pub incarnation: String,
}

impl Mark {
    /// The durable consumer that workers of this incarnation pull from.
    pub fn consumer(&self) -> String {
        format!("workers_{}", self.incarnation)
    }
}

/// What became of a task's publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskPublished {
    /// It is queued now.
    Stored,
    /// That very task is queued or running already.
    Queued,
}

/// Why a task queue could not be made ready.
///
/// ```
/// use everstep_common::store::QueueError;
///
/// fn is_of_the_server(error: &QueueError) -> bool {
///     matches!(error, QueueError::Topology { .. })
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// The mark could not be read.
    #[error("reading the mark of queue {queue}")]
    Read {
        /// The queue.
        queue: QueueName,
        /// Why.
        source: ReadError,
    },
    /// The mark could not be written.
    #[error("writing the mark of queue {queue}")]
    Write {
        /// The queue.
        queue: QueueName,
        /// Why.
        source: PublishError,
    },
    /// The stream or its consumer could not be made.
    #[error("making queue {queue}")]
    Topology {
        /// The queue.
        queue: QueueName,
        /// Why.
        source: TopologyError,
    },
}

impl Store {
    /// The mark of a queue's stream; `None` if stream or mark are not there.
    pub async fn read_mark(&self, queue: &QueueName) -> Result<Option<Mark>, QueueError> {
        let read = |source| QueueError::Read {
            queue: queue.clone(),
            source,
        };
        let stream = self.names().task_stream(queue);
        let request = GetLast {
            stream,
            subjects: vec![self.names().mark(queue)],
            up_to: None,
            leader: true,
        };
        let snapshot = match self.broker().get_last(request).await {
            Err(ReadError::NoStream) => return Ok(None),
            answer => answer.map_err(read)?,
        };
        let Some(message) = snapshot.messages.first() else {
            return Ok(None);
        };
        let mark = wire::decode(&message.payload).map_err(|error| read(ReadError::Rejected(error.to_string())))?;
        Ok(Some(mark))
    }

    /// Makes the queue's stream, mark and consumer where they are missing; the mark that stands.
    ///
    /// Several owners may do so at once: the first mark stands, and the others make ready what it names.
    pub async fn ensure_queue(&self, queue: &QueueName) -> Result<Mark, QueueError> {
        let topology = |source| QueueError::Topology {
            queue: queue.clone(),
            source,
        };
        self.broker()
            .ensure_stream(&self.deployment().task_stream(self.names(), queue))
            .await
            .map_err(topology)?;
        let mut mark = match self.read_mark(queue).await? {
            Some(mark) => mark,
            None => self.write_mark(queue).await?,
        };
        loop {
            self.drop_stale_consumers(queue, &mark).await?;
            let consumer = self.deployment().task_consumer(self.names(), queue, &mark);
            self.broker()
                .ensure_consumer(&self.names().task_stream(queue), &consumer)
                .await
                .map_err(topology)?;
            // The stream may have been lost since, and made ready by another owner, whose consumer we have just dropped.
            match self.read_mark(queue).await? {
                Some(standing) if standing != mark => mark = standing,
                Some(_) => return Ok(mark),
                None => mark = self.write_mark(queue).await?,
            }
        }
    }

    async fn write_mark(&self, queue: &QueueName) -> Result<Mark, QueueError> {
        let write = |source| QueueError::Write {
            queue: queue.clone(),
            source,
        };
        let mark = Mark {
            incarnation: Uuid::new_v4().simple().to_string(),
        };
        let body = wire::encode(&mark).map_err(|error| write(PublishError::Rejected(error.to_string())))?;
        match self
            .broker()
            .publish(Publish::new(self.names().mark(queue), body).create_only())
            .await
        {
            Ok(_) => Ok(mark),
            Err(PublishError::Refused | PublishError::Unknown(_)) => {
                let unseen = PublishError::Unknown("neither ours nor another one is there".into());
                self.read_mark(queue).await?.ok_or_else(|| write(unseen))
            }
            Err(error) => Err(write(error)),
        }
    }

    /// A work queue refuses a second consumer on the same subjects, and acknowledgements through an old one must reach nothing.
    async fn drop_stale_consumers(&self, queue: &QueueName, mark: &Mark) -> Result<(), QueueError> {
        let stream = self.names().task_stream(queue);
        let consumers = self.broker().consumers(&stream).await.map_err(|source| QueueError::Read {
            queue: queue.clone(),
            source,
        })?;
        for name in consumers.iter().filter(|name| **name != mark.consumer()) {
            let deleted = self.broker().delete_consumer(&stream, name).await;
            deleted.map_err(|source| QueueError::Topology {
                queue: queue.clone(),
                source,
            })?;
        }
        Ok(())
    }

    /// Publishes a task unless it is queued or running. Sent at once.
    pub fn publish_task(&self, queue: &QueueName, task: &Task) -> BoxFuture<'static, Result<TaskPublished, PublishError>> {
        let subject = self.names().task(queue, &task.function, &task.run, &task.key, task.attempt);
        let body = match wire::encode(task) {
            Ok(body) => body,
            Err(error) => return futures::future::ready(Err(PublishError::Rejected(error.to_string()))).boxed(),
        };
        let mut publish = Publish::new(subject, body).create_only();
        if let Some(traceparent) = &task.traceparent {
            // For whoever looks at the message and cannot read its body.
            publish = publish.with_header(header::TRACEPARENT, traceparent);
        }
        let published = self.broker().publish(publish);
        let (store, queue) = (self.clone(), queue.clone());
        async move {
            match published.await {
                Ok(_) => Ok(TaskPublished::Stored),
                Err(PublishError::Refused) => Ok(TaskPublished::Queued),
                Err(error) => {
                    if error == PublishError::Full {
                        store.tell_full(&store.names().task_stream(&queue));
                    }
                    Err(error)
                }
            }
        }
        .boxed()
    }
}
