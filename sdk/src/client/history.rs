//! Looking at one run: where it stands, and everything its journal holds.

use everstep_common::ids::RunId;
use everstep_common::journal::{Entry, EntryKey, JournalEntry, RunOutcome};
use everstep_common::ports::{Followed, From};
use everstep_common::store::RUNS;
use everstep_common::summary::{RunStatus, RunSummary};
use everstep_common::wire;
use futures::StreamExt;
use futures::stream::BoxStream;

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
        let mut summary = RunSummary {
            workflow: start.workflow,
            version: start.version,
            status: RunStatus::Running,
            reason: None,
            sequence: started.sequence,
            started: started.time,
            since: started.time,
            tags: start.tags,
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

    /// Every entry of a run's journal, those to come included; ends with the run.
    pub fn tail(&self, run: &RunId) -> BoxStream<'static, Result<JournalEntry, ClientError>> {
        let (store, run) = (self.store().clone(), run.clone());
        let stream = store.names().journal_stream(run.partition());
        let followed = store
            .broker()
            .follow(&stream, &store.names().run_filter(&run), From::Sequence(1));
        let entries = followed.filter_map(move |followed| {
            let entry = match followed {
                Followed::Message(message) => Some(store.decode_entry(&run, message).map_err(ClientError::from)),
                Followed::CaughtUp => None,
                Followed::Lost(_) => Some(Err(ClientError::NotFound { run: run.clone() })),
            };
            futures::future::ready(entry)
        });
        // The end is the last entry told.
        let until_end = entries.scan(false, |ended, entry| {
            let after_end = std::mem::replace(ended, matches!(&entry, Ok(JournalEntry { key: EntryKey::End, .. }) | Err(_)));
            futures::future::ready((!after_end).then_some(entry))
        });
        until_end.boxed()
    }
}

fn outcome_status(outcome: RunOutcome) -> (RunStatus, Option<String>) {
    match outcome {
        RunOutcome::Completed(_) => (RunStatus::Completed, None),
        RunOutcome::Failed(failure) => (RunStatus::Failed, Some(failure.to_string())),
        RunOutcome::Cancelled(failure) => (RunStatus::Cancelled, Some(failure.message)),
    }
}
