//! What a client does to the engine: starts runs and waits for their results, so many at once.

use std::time::Duration;

use everstep::{Client, ClientError, RunError, RunHandle};
use futures::StreamExt;
use futures::stream;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::application::{self, Order};
use super::roles::Part;
use crate::harness::role::{Message, Stage};
use crate::harness::{Latencies, Summary};

/// After how many finished runs the bar moves.
const PROGRESS_EVERY: u64 = 50;

/// Which workflow is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Workflow {
    /// Steps one after the other.
    Chain,
    /// The same in the orchestrator.
    Local,
    /// Steps all at once.
    Fanout,
    /// A batch, so many items at a time.
    Batch,
    /// A sleep.
    Sleeper,
    /// Bookings in the ledger. Started under a key, and again until the start is acknowledged.
    Orders,
}

/// What a client does.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Load {
    /// Which workflow.
    pub workflow: Workflow,
    /// Its input: how many steps, how wide, how many seconds. It is also the value that is expected.
    pub size: u64,
    /// How many runs.
    pub runs: u64,
    /// How many at once.
    pub concurrency: u64,
}

/// What a client found.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Found {
    wall_s: f64,
    /// Start to result of each run.
    pub latency: Summary,
    /// Runs that failed or brought another value than expected.
    pub failed: u64,
}

impl Load {
    /// How many steps each run has.
    pub fn steps(&self) -> u64 {
        match self.workflow {
            Workflow::Sleeper => 1,
            Workflow::Chain | Workflow::Local | Workflow::Fanout | Workflow::Batch | Workflow::Orders => self.size,
        }
    }
}

impl Found {
    /// From the first start to the last result.
    pub fn wall(&self) -> Duration {
        Duration::from_secs_f64(self.wall_s)
    }
}

/// Plays the client.
pub async fn play((part, load): (Part, Load), stage: Stage) -> anyhow::Result<()> {
    let client = Client::connect_to(part.connect(), part.prefix.clone()).await?;
    stage.ready()?;
    let mut latencies = Latencies::new();
    let mut failed = 0;
    let mut finished = 0;
    let begun = Instant::now();
    let runs = stream::iter(0..load.runs).map(|number| timed(&client, load, number));
    let mut results = std::pin::pin!(runs.buffer_unordered(load.concurrency as usize));
    while let Some((took, result)) = results.next().await {
        latencies.record(took);
        finished += 1;
        if !is_expected(&result, load.size) {
            failed += 1;
        }
        if finished % PROGRESS_EVERY == 0 {
            stage.say(&Message::Progress(finished))?;
        }
    }
    let wall_s = begun.elapsed().as_secs_f64();
    let latency = latencies.summary();
    stage.done(Found { wall_s, latency, failed }).await
}

async fn timed(client: &Client, load: Load, number: u64) -> (Duration, Result<u64, RunError>) {
    let begun = Instant::now();
    let result = run(client, load, number).await;
    (begun.elapsed(), result)
}

async fn run(client: &Client, Load { workflow, size, .. }: Load, number: u64) -> Result<u64, RunError> {
    let run = match workflow {
        Workflow::Chain => client.start(application::chain, size).await?,
        Workflow::Local => client.start(application::local, size).await?,
        Workflow::Fanout => client.start(application::fanout, size).await?,
        Workflow::Batch => client.start(application::batch, size).await?,
        Workflow::Sleeper => client.start(application::sleeper, size).await?,
        Workflow::Orders => return order(client, Order { number, bookings: size }).await?.result().await,
    };
    run.result().await
}

/// A server that is being killed does not answer for a while; the key makes asking again safe.
async fn order(client: &Client, order: Order) -> Result<RunHandle<u64>, ClientError> {
    loop {
        let start = client
            .start(application::orders, order)
            .key(format!("order-{}", order.number));
        match start.await {
            Err(ClientError::Unavailable { .. }) => {}
            started => return started,
        }
    }
}

fn is_expected(result: &Result<u64, RunError>, expected: u64) -> bool {
    match result {
        Ok(value) if *value == expected => return true,
        Ok(value) => eprintln!("a run returned {value}, not {expected}"),
        Err(error) => eprintln!("a run failed: {error}"),
    }
    false
}
