//! The worker's side of the loop: a result for every task, and the acknowledgement once it is stored.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use everstep_common::limits::{BATCH_MESSAGES_MAX, BATCH_MESSAGES_MIN};
use everstep_common::ports::{Ack, AckToken, Broker, Delivery, Publish, PublishError, Puller, Stored};
use everstep_common::topology::Durability;
use everstep_nats::{ConnectOptions, NatsBroker};
use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt, try_join_all};
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;

use super::Part;
use super::body::Step;
use super::streams::CONSUMER;
use crate::harness::role::Stage;

/// How long one pull waits for the first task; only says how often the loop turns when there is nothing to do.
const PULL_WAIT: Duration = Duration::from_secs(5);

/// A create under way, with the delivery to acknowledge when it is stored.
type Created = (BoxFuture<'static, Result<Stored, PublishError>>, AckToken);

/// Plays the role, until the harness ends it.
pub async fn play(part: Part, stage: Stage) -> anyhow::Result<()> {
    let broker = NatsBroker::connect(ConnectOptions::to(&part.server).named("floor-worker")).await?;
    let puller = broker.pull(&part.streams.tasks(), CONSUMER).await?;
    stage.ready()?;
    match part.durability {
        Durability::Strict => create_in_groups(&broker, puller, &part).await,
        Durability::Relaxed => create_singly(&broker, puller, &part).await,
    }
}

/// One atomic batch after the other: while one is being committed the next one fills, and they share its fsync.
async fn create_in_groups(broker: &Arc<NatsBroker>, mut puller: Box<dyn Puller>, part: &Part) -> anyhow::Result<()> {
    let mut waiting: Vec<Delivery> = Vec::new();
    let mut commits = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some(stored) = commits.next() => for token in stored? {
                broker.ack(&token, Ack::Done);
            },
            pulled = puller.next(part.concurrency as usize, PULL_WAIT) => waiting.extend(pulled?),
        }
        if commits.is_empty() && !waiting.is_empty() {
            let group = waiting.drain(..waiting.len().min(BATCH_MESSAGES_MAX));
            commits.push(commit(broker, group, part)?);
        }
    }
}

/// Creates a group of results; a batch if they are enough to be worth one. Resolves to what may be acknowledged.
fn commit(
    broker: &Arc<NatsBroker>,
    group: impl Iterator<Item = Delivery>,
    part: &Part,
) -> anyhow::Result<BoxFuture<'static, anyhow::Result<Vec<AckToken>>>> {
    let (mut results, mut tokens) = (Vec::new(), Vec::new());
    for delivery in group {
        results.push(result(&delivery, part)?);
        tokens.push(delivery.ack);
    }
    if results.len() < BATCH_MESSAGES_MIN {
        let stored = try_join_all(results.into_iter().map(|result| broker.publish(result)));
        return Ok(stored.map(|stored| stored.map(|_| tokens).context("storing results")).boxed());
    }
    let stored = broker.publish_batch(results);
    Ok(stored
        .map(|stored| stored.map(|_| tokens).context("storing a batch of results"))
        .boxed())
}

/// Each result by itself, as many at once as there are tasks.
async fn create_singly(broker: &Arc<NatsBroker>, mut puller: Box<dyn Puller>, part: &Part) -> anyhow::Result<()> {
    let (created, unacknowledged) = mpsc::unbounded_channel();
    let acks = acknowledge_in_order(broker.clone(), unacknowledged);
    let creates = async {
        loop {
            for delivery in puller.next(part.concurrency as usize, PULL_WAIT).await? {
                let create = broker.publish(result(&delivery, part)?);
                let sent = created.send((create, delivery.ack));
                sent.map_err(|_| anyhow!("nobody awaits the creates"))?;
            }
        }
    };
    tokio::select! {
        ended = creates => ended,
        ended = acks => ended,
    }
}

/// Awaits the creates, oldest first: on one connection they are stored in that order.
async fn acknowledge_in_order(broker: Arc<NatsBroker>, mut created: mpsc::UnboundedReceiver<Created>) -> anyhow::Result<()> {
    while let Some((create, token)) = created.recv().await {
        create.await.context("storing a result")?;
        broker.ack(&token, Ack::Done);
    }
    Ok(())
}

/// The result of a task: what it was asked, under the subject of its step.
fn result(task: &Delivery, part: &Part) -> anyhow::Result<Publish> {
    let step = Step::decode(&task.payload)?;
    Ok(Publish::new(part.streams.result(step), step.encode()?).create_only())
}
