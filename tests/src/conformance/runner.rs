//! Runs behaviours and gathers what failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use futures::future::join_all;
use futures::stream::{self, StreamExt};

use super::together::Together;
use super::{Behaviour, Harness, Server};

/// How long one behaviour may take.
const BEHAVIOUR_WAIT: Duration = Duration::from_secs(90);

/// How many behaviours are shown at a time: most of them wait most of the time, and some mind how late things are.
const SIDE_BY_SIDE: usize = 8;

/// Tells harnesses apart that share a server.
static HARNESSES: AtomicUsize = AtomicUsize::new(0);

/// Shows one behaviour on the server.
pub async fn run(server: Arc<dyn Server>, behaviour: Behaviour) -> anyhow::Result<()> {
    let prefix = format!("c{}", HARNESSES.fetch_add(1, Ordering::Relaxed));
    let broker = server.connect(&prefix).await?;
    let harness = Harness { server, broker, prefix };
    tokio::time::timeout(BEHAVIOUR_WAIT, (behaviour.show)(&harness))
        .await
        .context("took too long")?
}

/// Shows all behaviours on one server, several at a time.
pub async fn run_side_by_side(server: Arc<dyn Server>, behaviours: Vec<Behaviour>) -> Vec<(Behaviour, anyhow::Result<()>)> {
    let shown = behaviours.into_iter().map(|behaviour| {
        let server = Arc::clone(&server);
        async move { (behaviour, run(server, behaviour).await) }
    });
    stream::iter(shown).buffer_unordered(SIDE_BY_SIDE).collect().await
}

/// Shows behaviours that kill the server, all at the same time, with one restart for all.
pub async fn run_together(server: Arc<dyn Server>, behaviours: Vec<Behaviour>) -> Vec<(Behaviour, anyhow::Result<()>)> {
    let together = Arc::new(Together::new(server, behaviours.len()));
    let shown = behaviours.into_iter().map(|behaviour| {
        let together = Arc::clone(&together);
        async move {
            let result = run(together.clone(), behaviour).await;
            together.ended();
            (behaviour, result)
        }
    });
    join_all(shown).await
}

/// Fails with every failure in it, if there is any.
pub fn report(results: Vec<(Behaviour, anyhow::Result<()>)>) -> anyhow::Result<()> {
    let total = results.len();
    let failures: Vec<String> = results
        .into_iter()
        .filter_map(|(behaviour, result)| Some(format!("{}: {:#}", behaviour.name, result.err()?)))
        .collect();
    if !failures.is_empty() {
        bail!(
            "{} of {total} behaviours do not hold:\n{}",
            failures.len(),
            failures.join("\n")
        );
    }
    Ok(())
}
