//! What a behaviour is shown on: a connection, a clock, and names of its own on a server that it may share with others.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use everstep_common::ports::{
    AckToken, Broker, Clock, Delivery, Expect, Followed, GetLast, Message, Publish, PublishError, PullError, Puller, ReadError,
    Snapshot, Stored, TopologyError,
};
use everstep_common::topology::{ConsumerSpec, Discard, Retention, Storage, StreamSpec};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};

/// How long anything may take that is said to happen, on a busy machine.
pub(super) const SOON: Duration = Duration::from_secs(20);

/// How many publishes are under way together, where there are many.
const AT_A_TIME: usize = 100;

/// How long nothing must come to be said not to come.
pub(super) const A_WHILE: Duration = Duration::from_millis(700);

/// What kind of server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nodes {
    /// A single one.
    One,
    /// A cluster of three; streams have three replicas.
    Three,
}

/// A server, as far as a behaviour may touch it past the ports.
pub trait Server: Send + Sync {
    /// What kind it is.
    fn nodes(&self) -> Nodes;

    /// The clock by which its clients live.
    fn clock(&self) -> Arc<dyn Clock>;

    /// Another connection.
    fn connect(&self, name: &str) -> BoxFuture<'_, anyhow::Result<Arc<dyn Broker>>>;

    /// Kills it with SIGKILL, all nodes of it, starts it again on the same store, and waits until it answers.
    fn restart(&self) -> BoxFuture<'_, anyhow::Result<()>>;

    /// Deletes a stream, behind everyone's back.
    fn delete_stream(&self, name: &str) -> BoxFuture<'_, anyhow::Result<()>>;
}

/// What a behaviour is shown on.
pub struct Harness {
    /// The server.
    pub server: Arc<dyn Server>,
    /// A connection to it.
    pub broker: Arc<dyn Broker>,
    /// Tells this behaviour's streams and subjects from those of others.
    pub prefix: String,
}

/// # Names and streams
impl Harness {
    /// A subject of this behaviour's own.
    pub fn subject(&self, rest: &str) -> String {
        format!("{}.{rest}", self.prefix)
    }

    /// A publish on one.
    pub fn message(&self, rest: &str, payload: &str) -> Publish {
        Publish::new(self.subject(rest), payload.to_owned())
    }

    /// A create-only publish on one.
    pub fn create(&self, rest: &str, payload: &str) -> Publish {
        self.message(rest, payload).create_only()
    }

    /// A stream of this behaviour's own that takes `<prefix>.<area>.>`.
    pub fn plain(&self, area: &str) -> StreamSpec {
        let replicas = if self.server.nodes() == Nodes::One { 1 } else { 3 };
        let subjects = [self.subject(&format!("{area}.>"))];
        StreamSpec {
            allow_atomic: true,
            ..StreamSpec::new(format!("{}_{area}", self.prefix), subjects, replicas)
        }
    }

    /// One whose subjects are written once.
    pub fn write_once(&self, area: &str) -> StreamSpec {
        StreamSpec {
            max_messages_per_subject: 1,
            discard: Discard::New,
            discard_new_per_subject: true,
            ..self.plain(area)
        }
    }

    /// One that keeps the last message of each subject.
    pub fn latest(&self, area: &str) -> StreamSpec {
        StreamSpec {
            max_messages_per_subject: 1,
            ..self.plain(area)
        }
    }

    /// One with schedules.
    pub fn scheduling(&self, area: &str) -> StreamSpec {
        StreamSpec {
            allow_schedules: true,
            ..self.plain(area)
        }
    }

    /// A memory-backed work queue.
    pub fn queue(&self, area: &str) -> StreamSpec {
        StreamSpec {
            retention: Retention::WorkQueue,
            storage: Storage::Memory,
            allow_atomic: false,
            ..self.plain(area)
        }
    }

    /// Makes the stream, and waits until the node we are connected to has heard of it; its name.
    pub async fn make(&self, spec: StreamSpec) -> anyhow::Result<String> {
        self.until("the stream's place", || async {
            match self.broker.ensure_stream(&spec).await {
                Ok(_) => Ok(true),
                Err(TopologyError::Unavailable { .. }) => Ok(false),
                Err(error) => Err(error.into()),
            }
        })
        .await?;
        let probe = spec.subjects[0].replace(['*', '>'], "probe");
        self.until("the stream", || async {
            // No stream was ever so long, so nothing is stored.
            let impossible = Publish::new(probe.clone(), "").expecting(Expect::LastSequence(u64::MAX >> 1));
            Ok(self.broker.publish(impossible).await == Err(PublishError::Refused))
        })
        .await?;
        Ok(spec.name)
    }

    /// Makes a work queue with the consumer `workers` on `<prefix>.<area>.task.>`, and pulls from it.
    pub async fn make_queue(&self, area: &str, ack_wait: Duration) -> anyhow::Result<Queue> {
        let stream = self.make(self.queue(area)).await?;
        self.broker.ensure_consumer(&stream, &self.workers(area, ack_wait)).await?;
        self.bind(&stream, "workers").await
    }

    /// The consumer `workers`.
    pub fn workers(&self, area: &str, ack_wait: Duration) -> ConsumerSpec {
        ConsumerSpec {
            name: "workers".into(),
            filter: self.subject(&format!("{area}.task.>")),
            ack_wait,
        }
    }

    /// Pulls from a consumer.
    pub async fn bind(&self, stream: &str, consumer: &str) -> anyhow::Result<Queue> {
        Ok(Queue {
            stream: stream.to_owned(),
            puller: self.broker.pull(stream, consumer).await?,
            clock: self.server.clock(),
        })
    }
}

/// # Doing and waiting
impl Harness {
    /// Publishes until it is known what came of it; for messages that may be stored twice.
    pub async fn store(&self, message: Publish) -> anyhow::Result<u64> {
        for _ in 0..10 {
            match self.broker.publish(message.clone()).await {
                Ok(Stored { sequence }) => return Ok(sequence),
                Err(PublishError::Unknown(_) | PublishError::NoStream) => self.sleep(Duration::from_millis(300)).await,
                Err(error) => bail!("storing {}: {error}", message.subject),
            }
        }
        bail!("storing {} was never acknowledged", message.subject)
    }

    /// Publishes all, some at a time: a disk that takes milliseconds for a sync would not store thousands within one answer's time.
    /// The greatest sequence.
    pub async fn publish_all(&self, messages: impl IntoIterator<Item = Publish>) -> anyhow::Result<u64> {
        let publishes = messages.into_iter().map(|message| self.broker.publish(message));
        let mut stored = stream::iter(publishes).buffered(AT_A_TIME);
        let mut last = 0;
        while let Some(stored) = stored.next().await {
            last = last.max(stored?.sequence);
        }
        Ok(last)
    }

    /// Publishes one on each subject, bodies `0`, `1` and so on; the last sequence.
    pub async fn store_each(&self, subjects: &[&str]) -> anyhow::Result<u64> {
        let mut last = 0;
        for (number, subject) in subjects.iter().enumerate() {
            last = self.store(self.message(subject, &number.to_string())).await?;
        }
        Ok(last)
    }

    /// Reads the last messages as of `up_to`, again and again until a replica that has got that far answers.
    pub async fn read(&self, stream: &str, subjects: &[&str], up_to: Option<u64>) -> anyhow::Result<Snapshot> {
        let request = self.get_last(stream, subjects, up_to);
        let reading = async {
            loop {
                match self.broker.get_last(request.clone()).await {
                    Err(ReadError::Unavailable(_)) => self.sleep(Duration::from_millis(50)).await,
                    answer => return Ok(answer?),
                }
            }
        };
        self.soon("a read", reading).await?
    }

    /// The request for the last messages on subjects of this behaviour.
    pub fn get_last(&self, stream: &str, subjects: &[&str], up_to: Option<u64>) -> GetLast {
        let subjects = subjects.iter().map(|subject| self.subject(subject)).collect();
        GetLast {
            stream: stream.to_owned(),
            subjects,
            up_to,
            leader: false,
        }
    }

    /// Every message that the stream holds, as the leader tells it.
    pub async fn scan(&self, stream: &str) -> anyhow::Result<Vec<Message>> {
        let messages: Vec<_> = self.broker.scan(stream, ">", None).collect().await;
        Ok(messages.into_iter().collect::<Result<_, _>>()?)
    }

    /// Waits.
    pub async fn sleep(&self, duration: Duration) {
        self.server.clock().sleep(duration).await;
    }

    /// What comes within `SOON`.
    pub async fn soon<T>(&self, what: &str, future: impl Future<Output = T>) -> anyhow::Result<T> {
        tokio::time::timeout(SOON, future)
            .await
            .with_context(|| format!("{what} did not come within {SOON:?}"))
    }

    /// Waits until `probe` says so.
    pub async fn until<F: Future<Output = anyhow::Result<bool>>>(&self, what: &str, probe: impl Fn() -> F) -> anyhow::Result<()> {
        let waiting = async {
            while !probe().await? {
                self.sleep(Duration::from_millis(50)).await;
            }
            Ok(())
        };
        self.soon(what, waiting).await?
    }

    /// The next message of a follow, and nothing else before it.
    pub async fn next_message(&self, followed: &mut BoxStream<'static, Followed>) -> anyhow::Result<Message> {
        match self.soon("the next message", followed.next()).await? {
            Some(Followed::Message(message)) => Ok(message),
            other => bail!("wanted a message, got {other:?}"),
        }
    }

    /// [`Followed::CaughtUp`], and nothing else before it.
    pub async fn caught_up(&self, followed: &mut BoxStream<'static, Followed>) -> anyhow::Result<()> {
        match self.soon("the end of what is stored", followed.next()).await? {
            Some(Followed::CaughtUp) => Ok(()),
            other => bail!("wanted to have caught up, got {other:?}"),
        }
    }

    /// Nothing comes for a while.
    pub async fn silent<T: Debug>(&self, stream: &mut BoxStream<'static, T>) -> anyhow::Result<()> {
        match tokio::time::timeout(A_WHILE, stream.next()).await {
            Err(_) => Ok(()),
            Ok(item) => bail!("wanted silence, got {item:?}"),
        }
    }
}

/// A work queue and a worker on it.
pub struct Queue {
    /// The stream.
    pub stream: String,
    /// The worker.
    pub puller: Box<dyn Puller>,
    clock: Arc<dyn Clock>,
}

impl Queue {
    /// Pulls, again and again while nobody serves the consumer: in a cluster, one that was just made has no leader for a moment.
    pub async fn next(&mut self, count: usize, wait: Duration) -> Result<Vec<Delivery>, PullError> {
        let begun = self.clock.now();
        loop {
            match self.puller.next(count, wait).await {
                Err(PullError::Unavailable(_)) if self.clock.now().since(begun) < SOON => {
                    self.clock.sleep(Duration::from_millis(50)).await
                }
                answer => return answer,
            }
        }
    }

    /// Exactly one delivery, soon.
    pub async fn one(&mut self) -> anyhow::Result<Delivery> {
        let mut deliveries = self.next(1, SOON).await?;
        deliveries.pop().context("no task came")
    }

    /// So many deliveries, soon.
    pub async fn some(&mut self, count: usize) -> anyhow::Result<Vec<Delivery>> {
        let mut all = Vec::new();
        while all.len() < count {
            let deliveries = self.next(count - all.len(), SOON).await?;
            ensure!(!deliveries.is_empty(), "only {} of {count} tasks came", all.len());
            all.extend(deliveries);
        }
        Ok(all)
    }

    /// No delivery for that long.
    pub async fn none_for(&mut self, duration: Duration) -> anyhow::Result<()> {
        let deliveries = self.next(10, duration).await?;
        ensure!(deliveries.is_empty(), "wanted no task, got {deliveries:?}");
        Ok(())
    }
}

/// The sequences.
pub(super) fn sequences<'a>(messages: impl IntoIterator<Item = &'a Message>) -> Vec<u64> {
    messages.into_iter().map(|message| message.sequence).collect()
}

/// The bodies as text.
pub(super) fn bodies<'a>(messages: impl IntoIterator<Item = &'a Message>) -> Vec<String> {
    messages
        .into_iter()
        .map(|message| String::from_utf8_lossy(&message.payload).into_owned())
        .collect()
}

/// Fails unless the publish was refused.
pub(super) fn refused(result: Result<Stored, PublishError>) -> anyhow::Result<()> {
    ensure!(result == Err(PublishError::Refused), "wanted a refusal, got {result:?}");
    Ok(())
}

/// Fails unless the publish was rejected for good.
pub(super) fn rejected(result: Result<Stored, PublishError>) -> anyhow::Result<()> {
    ensure!(
        matches!(result, Err(PublishError::Rejected(_))),
        "wanted a rejection, got {result:?}"
    );
    Ok(())
}

/// The consumer that an acknowledgement goes to.
pub(super) fn consumer_of(token: &AckToken) -> anyhow::Result<&str> {
    token.0.split('.').nth(3).context("no consumer in the token")
}
