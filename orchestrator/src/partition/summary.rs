//! Run summaries on their way to KV `runs`: the newest of each run, gathered for a moment, then written together.
//!
//! Nobody waits for them and nothing decides by them. A run that starts and ends within the moment costs one write.

use std::collections::BTreeMap;

use everstep_common::ids::RunId;
use everstep_common::store::{PutError, RUNS, Store};
use everstep_common::summary::RunSummary;
use everstep_common::wire;
use futures::StreamExt;
use futures::stream::FuturesUnordered;

/// How often a summary that somebody else is writing too is tried.
const TRIES_MAX: u32 = 5;

#[derive(Debug, Default)]
pub(crate) struct Summaries {
    pending: BTreeMap<RunId, RunSummary>,
}

impl Summaries {
    /// The run's status changed.
    pub(crate) fn changed(&mut self, run: &RunId, summary: RunSummary) {
        match self.pending.get(run) {
            Some(newer) if newer.sequence > summary.sequence => {}
            _ => drop(self.pending.insert(run.clone(), summary)),
        }
    }

    /// Whether there is anything to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Takes what is to be written.
    pub(crate) fn take(&mut self) -> Vec<(RunId, RunSummary)> {
        std::mem::take(&mut self.pending).into_iter().collect()
    }
}

/// Writes summaries, each only over an older one.
pub(crate) async fn write(store: &Store, summaries: Vec<(RunId, RunSummary)>) {
    let mut writes: FuturesUnordered<_> = summaries
        .iter()
        .map(|(run, summary)| write_one(store, run, summary))
        .collect();
    while writes.next().await.is_some() {}
}

async fn write_one(store: &Store, run: &RunId, summary: &RunSummary) {
    let Ok(value) = wire::encode(summary) else { return };
    let mut revision = 0;
    for _ in 0..TRIES_MAX {
        match store.put_record(RUNS, run.as_str(), value.clone(), revision).await {
            Ok(_) => return,
            Err(PutError::Conflict) => {}
            Err(error) => return tracing::debug!(%run, %error, "summary not written; the next change or scan writes it"),
        }
        match store.get_record(RUNS, run.as_str()).await {
            Ok(Some(record)) => {
                let known = wire::decode::<RunSummary>(&record.value).map_or(0, |known| known.sequence);
                if known >= summary.sequence {
                    return;
                }
                revision = record.revision;
            }
            Ok(None) => revision = 0,
            Err(error) => return tracing::debug!(%run, %error, "summary not read; the next change or scan writes it"),
        }
    }
}
