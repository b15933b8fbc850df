//! Looking at one run: where it stands, and everything its journal holds.

use everstep_common::ids::RunId;
use everstep_common::journal::{Entry, EntryKey, JournalEntry, RunOutcome, RunTimer};
use everstep_common::store::RUNS;
use everstep_common::summary::{RunStatus, RunSummary};
use everstep_common::wire;

use super::{Client, ClientError};

impl Client {
    /// Where a run stands. Start and end come from the journal; that it is parked, and why, from its summary.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotFound`] if there is no such run.
    pub async fn status(&self, run: &RunId) -> Result<RunSummary, ClientError> {
        let Some(started) = self.entry(run, &EntryKey::Start).await? else {
            return Err(ClientError::NotFound { run: run.clone() });
        };
        let Entry::Start(start) = started.entry else {
            return Err(ClientError::NotFound { run: run.clone() });
        };
        let begun = match start.terms.delay {
            Some(_) => self.entry(run, &EntryKey::Timer(RunTimer::Begin.key())).await?.is_some(),
            None => true,
        };
        let mut summary = RunSummary {
            workflow: start.workflow,
            version: start.version,
            status: if begun { RunStatus::Running } else { RunStatus::Scheduled },
            reason: None,
            sequence: started.sequence,
            epoch: 0,
            started: started.time,
            since: started.time,
            tags: start.tags,
            waits: Vec::new(),
        };
        if let Some(ended) = self.entry(run, &EntryKey::End).await? {
            summary.sequence = ended.sequence;
            summary.since = ended.time;
            (summary.status, summary.reason) = match ended.entry {
                Entry::End(ended) => outcome_status(ended.outcome),
                _ => (RunStatus::Completed, None),
            };
            return Ok(summary);
        }
        let record = self
            .bounded(self.store().get_record(RUNS, run.as_str()))
            .await?
            .map_err(ClientError::List)?;
        let known = record.and_then(|record| wire::decode::<RunSummary>(&record.value).ok());
        Ok(known.filter(|known| !known.status.is_final()).unwrap_or(summary))
    }

    /// Every entry of a run's journal so far, in order.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotFound`] if there is no such run.
    pub async fn history(&self, run: &RunId) -> Result<Vec<JournalEntry>, ClientError> {
        let entries = self.entries(run).await?;
        if entries.is_empty() {
            Err(ClientError::NotFound { run: run.clone() })
        } else {
            Ok(entries)
        }
    }
}

fn outcome_status(outcome: RunOutcome) -> (RunStatus, Option<String>) {
    match outcome {
        RunOutcome::Completed(_) => (RunStatus::Completed, None),
        RunOutcome::Failed(failure) => (RunStatus::Failed, Some(failure.to_string())),
        RunOutcome::Cancelled(failure) => (RunStatus::Cancelled, Some(failure.message)),
        RunOutcome::Terminated(failure) => (RunStatus::Terminated, Some(failure.message)),
        RunOutcome::Continued(next) => (RunStatus::Continued, Some(format!("goes on in run {}", next.run))),
    }
}
