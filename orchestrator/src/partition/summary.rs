//! Run summaries on their way to KV `runs`: the newest of each run, gathered for a moment, then written together.
//!
//! No run waits for them and nothing decides by them. A run that starts and ends within the moment costs one write. The cursor does not pass
//! an end before its summary is written, for nothing else would bring it back after a crash.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use everstep_common::ids::RunId;
use everstep_common::ports::Instant;
use everstep_common::store::{PutError, RUNS, Store};
use everstep_common::summary::{RunStatus, RunSummary};
use everstep_common::wire;
use futures::StreamExt;
use futures::stream::FuturesUnordered;

/// How old a run is before it is told to be running: most have ended by then, and cost one write instead of two.
const RUNNING_AFTER: Duration = Duration::from_secs(1);

/// How often a summary that somebody else is writing too is tried.
const TRIES_MAX: u32 = 5;

#[derive(Debug, Default)]
pub(crate) struct Summaries {
    pending: BTreeMap<RunId, Pending>,
    /// The revisions under which summaries of runs in memory stand, so that the next write needs no read.
    revisions: HashMap<RunId, u64>,
}

/// A summary that is to be written.
#[derive(Debug)]
pub(crate) struct Pending {
    run: RunId,
    summary: RunSummary,
    /// Entries that the cursor waits at until it is.
    pub(crate) holds: Vec<u64>,
    /// Not before this.
    due: Instant,
    /// The revision that it replaces, as far as known; 0: none.
    revision: u64,
}

impl Summaries {
    /// The run's status changed; `hold` is the entry that the cursor waits at meanwhile.
    pub(crate) fn changed(&mut self, run: &RunId, summary: RunSummary, hold: Option<u64>, now: Instant) {
        let patience = if summary.status == RunStatus::Running {
            RUNNING_AFTER
        } else {
            Duration::ZERO
        };
        self.put_back(Pending {
            run: run.clone(),
            summary,
            holds: hold.into_iter().collect(),
            due: Instant(now.0 + patience),
            revision: 0,
        });
    }

    /// It is to be written, unless a newer one is.
    pub(crate) fn put_back(&mut self, mut pending: Pending) {
        if let Some(known) = self.pending.remove(&pending.run) {
            pending.holds.extend(known.holds);
            pending.due = pending.due.min(known.due);
            if rank(&known.summary) > rank(&pending.summary) {
                pending.summary = known.summary;
            }
        }
        self.pending.insert(pending.run.clone(), pending);
    }

    /// Whether nothing is to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Takes what is due, or everything.
    pub(crate) fn take(&mut self, now: Instant, everything: bool) -> Vec<Pending> {
        let (due, rest) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|(_, pending)| everything || pending.due <= now);
        self.pending = rest;
        let due: BTreeMap<RunId, Pending> = due;
        let revisions = &self.revisions;
        let with_revision = due.into_values().map(|pending| Pending {
            revision: revisions.get(&pending.run).copied().unwrap_or(0),
            ..pending
        });
        with_revision.collect()
    }

    /// A summary is written; its revision is kept while there may be another one. Without a revision it was not needed.
    pub(crate) fn written(&mut self, pending: &Pending) {
        if pending.summary.status.is_final() || pending.revision == 0 {
            self.revisions.remove(&pending.run);
        } else {
            self.revisions.insert(pending.run.clone(), pending.revision);
        }
    }

    /// The run is dropped from memory.
    pub(crate) fn forget(&mut self, run: &RunId) {
        self.revisions.remove(run);
    }
}

/// Writes summaries, each only over an older one. Those that are written, and those that are not.
pub(crate) async fn write(store: &Store, summaries: Vec<Pending>) -> (Vec<Pending>, Vec<Pending>) {
    let writes: FuturesUnordered<_> = summaries
        .into_iter()
        .map(|mut pending| async move { (write_one(store, &mut pending).await, pending) })
        .collect();
    let done: Vec<(bool, Pending)> = writes.collect().await;
    let (written, failed): (Vec<_>, Vec<_>) = done.into_iter().partition(|(written, _)| *written);
    let pending = |done: Vec<(bool, Pending)>| done.into_iter().map(|(_, pending)| pending).collect();
    (pending(written), pending(failed))
}

/// Which of two summaries is the newer one. A run that was read back is running until it turns out that it stands still.
fn rank(summary: &RunSummary) -> (u64, bool) {
    (summary.sequence, summary.status != RunStatus::Running)
}

/// Whether this or a newer one stands now; the revision of ours is noted.
async fn write_one(store: &Store, pending: &mut Pending) -> bool {
    let run = pending.run.clone();
    // What cannot be encoded will not be the next time either.
    let Ok(value) = wire::encode(&pending.summary) else {
        return true;
    };
    for _ in 0..TRIES_MAX {
        match store.put_record(RUNS, run.as_str(), value.clone(), pending.revision).await {
            Ok(revision) => {
                pending.revision = revision;
                return true;
            }
            Err(PutError::Conflict) => {}
            Err(error) => {
                tracing::debug!(%run, %error, "summary not written yet");
                return false;
            }
        }
        match store.get_record(RUNS, run.as_str()).await {
            Ok(Some(record)) => {
                pending.revision = record.revision;
                let known = wire::decode::<RunSummary>(&record.value);
                if known.is_ok_and(|known| rank(&known) >= rank(&pending.summary)) {
                    // Somebody else's, and newer: with its revision at hand our next one, which may still be older, would replace it unread.
                    pending.revision = 0;
                    return true;
                }
            }
            Ok(None) => pending.revision = 0,
            Err(error) => {
                tracing::debug!(%run, %error, "summary not read yet");
                return false;
            }
        }
    }
    false
}
