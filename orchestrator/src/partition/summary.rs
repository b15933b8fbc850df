//! Run summaries on their way to KV `runs`: the newest of each run, gathered for a moment, then written together.
//!
//! No run waits for them and nothing decides by them. A run that starts and ends within the moment costs one write. The cursor does not pass
//! an end before its summary is written, for nothing else would bring it back after a crash.

use std::cmp::Ordering;
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

#[derive(Debug)]
pub(crate) struct Summaries {
    author: Author,
    pending: BTreeMap<RunId, Pending>,
    /// The revisions under which summaries of runs in memory stand, so that the next write needs no read.
    revisions: HashMap<RunId, u64>,
}

/// Whose summaries they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Author {
    /// The owner's lease revision.
    pub epoch: u64,
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
    pub(crate) fn new(author: Author) -> Self {
        Self {
            author,
            pending: BTreeMap::new(),
            revisions: HashMap::new(),
        }
    }

    /// The run's status changed; `hold` is the entry that the cursor waits at meanwhile.
    pub(crate) fn changed(&mut self, run: &RunId, mut summary: RunSummary, hold: Option<u64>, now: Instant) {
        summary.epoch = self.author.epoch;
        let patience = if summary.status == RunStatus::Running {
            RUNNING_AFTER
        } else {
            Duration::ZERO
        };
        let mut pending = Pending {
            run: run.clone(),
            summary,
            holds: hold.into_iter().collect(),
            due: Instant(now.0 + patience),
            revision: 0,
        };
        if let Some(known) = self.pending.remove(run) {
            pending.take_over(known);
        }
        self.pending.insert(run.clone(), pending);
    }

    /// It could not be written, and is to be written still unless a newer one is.
    pub(crate) fn put_back(&mut self, failed: Pending) {
        match self.pending.get_mut(&failed.run) {
            Some(newer) => newer.take_over(failed),
            None => drop(self.pending.insert(failed.run.clone(), failed)),
        }
    }

    /// Whether nothing is to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whose they are.
    pub(crate) fn author(&self) -> Author {
        self.author
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

    /// A summary is written; its revision is kept while there may be another one, of a run in memory. Without a revision it was not needed.
    pub(crate) fn written(&mut self, pending: &Pending, is_live: bool) {
        if !is_live || pending.summary.status.is_final() || pending.revision == 0 {
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

impl Pending {
    /// Whose it is.
    pub(crate) fn run(&self) -> &RunId {
        &self.run
    }

    /// Also does what another one was to do.
    fn take_over(&mut self, other: Self) {
        self.holds.extend(other.holds);
        self.due = self.due.min(other.due);
        if other.summary.sequence > self.summary.sequence {
            self.summary = other.summary;
        }
    }
}

impl Author {
    /// Whether a summary of ours replaces the one that stands.
    fn replaces(ours: &RunSummary, standing: &RunSummary) -> bool {
        let says_the_same = RunSummary {
            epoch: standing.epoch,
            ..ours.clone()
        } == *standing;
        let is_newer = match ours.epoch.cmp(&standing.epoch) {
            Ordering::Less => ours.sequence > standing.sequence,
            Ordering::Equal => ours.sequence >= standing.sequence,
            // What an earlier owner could know we have read, all of it, before we say anything of the run. If his is about a later entry all
            // the same it is of a history that was rolled back, or he could not read the run and named the newest entry of all.
            Ordering::Greater => true,
        };
        is_newer && !says_the_same
    }

    /// Writes summaries, each only over an older one. Those that are written, and those that are not.
    pub(crate) async fn write(self, store: &Store, summaries: Vec<Pending>) -> (Vec<Pending>, Vec<Pending>) {
        let writes: FuturesUnordered<_> = summaries
            .into_iter()
            .map(|mut pending| async move { (self.write_one(store, &mut pending).await, pending) })
            .collect();
        let done: Vec<(bool, Pending)> = writes.collect().await;
        let (written, failed): (Vec<_>, Vec<_>) = done.into_iter().partition(|(written, _)| *written);
        let pending = |done: Vec<(bool, Pending)>| done.into_iter().map(|(_, pending)| pending).collect();
        (pending(written), pending(failed))
    }

    /// Whether this or a newer one stands now; the revision of ours is noted.
    async fn write_one(self, store: &Store, pending: &mut Pending) -> bool {
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
                    let standing = wire::decode::<RunSummary>(&record.value);
                    if standing.is_ok_and(|standing| !Self::replaces(&pending.summary, &standing)) {
                        // With the revision of one that is not ours our next one, which may still be older, would replace it unread.
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
}

#[cfg(test)]
mod tests {
    use everstep_common::ids::WorkflowName;
    use jiff::Timestamp;

    use super::*;

    fn summary(epoch: u64, sequence: u64, status: RunStatus) -> RunSummary {
        RunSummary {
            workflow: WorkflowName::new("order").unwrap(),
            version: None,
            status,
            reason: None,
            sequence,
            epoch,
            started: Timestamp::UNIX_EPOCH,
            since: Timestamp::UNIX_EPOCH,
            tags: BTreeMap::new(),
            waits: Vec::new(),
        }
    }

    #[test]
    fn a_summary_replaces_what_is_older_of_another_owner_or_of_a_history_that_is_gone() {
        use RunStatus::{Completed, Parked, Running};
        let replaces = |ours, standing| Author::replaces(&ours, &standing);
        assert!(replaces(summary(5, 60, Completed), summary(4, 50, Running)));
        assert!(
            replaces(summary(5, 50, Running), summary(4, 50, Parked)),
            "it goes on with the code here"
        );
        assert!(
            !replaces(summary(5, 50, Running), summary(6, 50, Parked)),
            "a later owner knows better"
        );
        assert!(replaces(summary(5, 50, Running), summary(4, 60, Completed)), "rolled back");
        assert!(
            replaces(summary(5, 50, Running), summary(4, 60, Parked)),
            "he could not read it and named an entry of another run"
        );
        assert!(!replaces(summary(4, 50, Running), summary(5, 50, Parked)));
        assert!(!replaces(summary(5, 50, Running), summary(6, 101, Completed)));
        assert!(replaces(summary(5, 50, Parked), summary(5, 50, Running)));
        assert!(!replaces(summary(5, 60, Completed), summary(4, 60, Completed)), "nothing new");
    }

    #[test]
    fn what_failed_to_be_written_gives_way_to_what_came_since() {
        let run: RunId = format!("0-{:032x}", 1).parse().unwrap();
        let now = Instant(Duration::ZERO);
        let mut summaries = Summaries::new(Author { epoch: 5 });
        summaries.changed(&run, summary(0, 7, RunStatus::Running), None, now);
        let failed = summaries.take(now, true);
        summaries.changed(&run, summary(0, 7, RunStatus::Parked), Some(7), now);
        failed.into_iter().for_each(|failed| summaries.put_back(failed));
        let taken = summaries.take(now, true);
        assert_eq!(taken.len(), 1);
        assert_eq!((taken[0].summary.status, taken[0].summary.epoch), (RunStatus::Parked, 5));
        assert_eq!(taken[0].holds, [7]);
    }
}
