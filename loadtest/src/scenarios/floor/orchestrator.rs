//! The orchestrator's side of the loop: a task out for every result that comes in.

use std::sync::Arc;

use anyhow::{anyhow, bail};
use everstep_common::ports::{Broker, Followed, From, Message, Publish, PublishError, Stored};
use everstep_nats::{ConnectOptions, NatsBroker};
use futures::StreamExt;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::body::Step;
use super::{Found, Part};
use crate::harness::Latencies;
use crate::harness::role::{Message as Said, Stage};

/// After how many finished runs the bar moves.
const PROGRESS_EVERY: u64 = 500;

/// A publish under way.
type Sent = BoxFuture<'static, Result<Stored, PublishError>>;

/// Plays the role.
pub async fn play(part: Part, stage: Stage) -> anyhow::Result<()> {
    let broker = NatsBroker::connect(ConnectOptions::to(&part.server).named("floor-orchestrator")).await?;
    let mut feed = broker.follow(&part.streams.journal(), &part.streams.journal_filter(), From::Sequence(1));
    match feed.next().await {
        Some(Followed::CaughtUp) => {}
        other => bail!("the journal is not a fresh one: {other:?}"),
    }
    let (sent, unacknowledged) = mpsc::unbounded_channel();
    let acknowledgements = tokio::spawn(await_in_order(unacknowledged));
    let mut dispatch = Dispatch::new(broker, part, sent);
    stage.ready()?;

    let begun = Instant::now();
    let mut told = 0;
    dispatch.start_all()?;
    while dispatch.finished < dispatch.part.runs {
        match feed.next().await {
            Some(Followed::Message(message)) => dispatch.on_result(&message)?,
            Some(Followed::CaughtUp) => {}
            Some(Followed::Lost(reason)) => bail!("the feed was lost: {reason}"),
            None => bail!("the feed ended"),
        }
        if dispatch.finished >= told + PROGRESS_EVERY {
            told = dispatch.finished;
            stage.say(&Said::Progress(told))?;
        }
    }
    let wall_s = begun.elapsed().as_secs_f64();
    let latency = dispatch.latencies.summary();
    // Closes the channel, so that the count of failures is final.
    drop(dispatch);
    let failed = acknowledgements.await?;
    stage.done(Found { wall_s, latency, failed }).await
}

/// Awaits every acknowledgement, oldest first, and counts those that were refusals: on one connection they come in that order.
async fn await_in_order(mut sent: mpsc::UnboundedReceiver<Sent>) -> u64 {
    let mut failed = 0;
    while let Some(acknowledgement) = sent.recv().await {
        if let Err(error) = acknowledgement.await {
            eprintln!("floor: a task was not stored: {error}");
            failed += 1;
        }
    }
    failed
}

/// What is under way.
struct Dispatch {
    broker: Arc<NatsBroker>,
    part: Part,
    /// Where publishes go to be acknowledged.
    sent: mpsc::UnboundedSender<Sent>,
    /// When each run's present step was dispatched.
    dispatched: Vec<Instant>,
    /// The next run that has not begun.
    next_run: u64,
    /// How many runs are through.
    finished: u64,
    latencies: Latencies,
}

impl Dispatch {
    fn new(broker: Arc<NatsBroker>, part: Part, sent: mpsc::UnboundedSender<Sent>) -> Self {
        Self {
            broker,
            sent,
            dispatched: vec![Instant::now(); part.runs as usize],
            part,
            next_run: 0,
            finished: 0,
            latencies: Latencies::new(),
        }
    }

    fn start_all(&mut self) -> anyhow::Result<()> {
        for _ in 0..self.part.concurrency {
            self.start_next()?;
        }
        Ok(())
    }

    fn start_next(&mut self) -> anyhow::Result<()> {
        if self.next_run == self.part.runs {
            return Ok(());
        }
        self.next_run += 1;
        self.dispatch(Step {
            run: self.next_run - 1,
            step: 0,
        })
    }

    fn dispatch(&mut self, step: Step) -> anyhow::Result<()> {
        self.dispatched[step.run as usize] = Instant::now();
        let task = Publish::new(self.part.streams.task(step), step.encode()?).create_only();
        let sent = self.sent.send(self.broker.publish(task));
        sent.map_err(|_| anyhow!("nobody awaits acknowledgements"))
    }

    fn on_result(&mut self, result: &Message) -> anyhow::Result<()> {
        let Step { run, step } = Step::decode(&result.payload)?;
        self.latencies.record(self.dispatched[run as usize].elapsed());
        if step + 1 < self.part.steps {
            return self.dispatch(Step { run, step: step + 1 });
        }
        self.finished += 1;
        self.start_next()
    }
}
