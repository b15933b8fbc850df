//! A run's timeline as it happens, until the run ends.
//!
//! Pushed, not polled: entries by the journal, and that the run is parked by its summary.

use std::time::Duration;

use everstep::journal::{Entry, JournalEntry, RunOutcome};
use everstep::{ClientError, RunId, RunStatus, RunSummary};
use everstep_common::ports::Broker;
use everstep_common::store::RUNS;
use futures::StreamExt;
use jiff::Timestamp;

use crate::connection::Connection;
use crate::output::{self, between};
use crate::problem::{Exit, Problem};
use crate::timeline::Line;

/// Where the timeline goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    /// It is the data that was asked for: one line of JSON for each entry.
    Json,
    /// It is the data that was asked for, for people.
    Output,
    /// It accompanies other data.
    Margin,
}

/// Tells the run's journal from its beginning to its end, and those of the runs in which it goes on; which one was the last, and how that
/// ended.
pub(crate) async fn follow(
    connection: &Connection,
    run: RunId,
    to: To,
    timeout: Option<Duration>,
) -> Result<(RunId, RunOutcome), Problem> {
    let first = run.clone();
    let told = tell_chain(connection, run, to);
    match timeout {
        None => told.await,
        Some(timeout) => tokio::time::timeout(timeout, told).await.unwrap_or_else(|_| {
            Err(
                Problem::new(Exit::TimedOut, format_args!("run {first} has not ended within {timeout:?}")).hint(format_args!(
                    "that is no change for the run; look at it with `everstep runs show {first}`"
                )),
            )
        }),
    }
}

async fn tell_chain(connection: &Connection, mut run: RunId, to: To) -> Result<(RunId, RunOutcome), Problem> {
    // Only that of the first one can be missing: the others follow by themselves.
    connection.client.status(&run).await?;
    loop {
        match tell(connection, &run, to).await? {
            RunOutcome::Continued(next) => run = next.run,
            outcome => return Ok((run, outcome)),
        }
    }
}

async fn tell(connection: &Connection, run: &RunId, to: To) -> Result<RunOutcome, Problem> {
    let client = &connection.client;
    let summaries = client.store().names().bucket_key(RUNS, run.as_str());
    let mut hints = connection.broker.subscribe(&summaries).await;
    let mut teller = Teller {
        connection,
        run,
        to,
        began: None,
        parked: None,
    };
    teller.look().await?;
    let mut journal = client.tail(run);
    loop {
        tokio::select! {
            entry = journal.next() => {
                let entry = entry.unwrap_or_else(|| Err(ClientError::NotFound { run: run.clone() }))?;
                teller.entry(&entry).await?;
                if let Entry::End(ended) = entry.entry {
                    return Ok(ended.outcome);
                }
            }
            Some(_) = hints.next() => teller.look().await?,
        }
    }
}

struct Teller<'a> {
    connection: &'a Connection,
    run: &'a RunId,
    to: To,
    /// When the run began, which times are told from.
    began: Option<Timestamp>,
    /// Since when it is parked, as far as that was told.
    parked: Option<Timestamp>,
}

impl Teller<'_> {
    async fn entry(&mut self, entry: &JournalEntry) -> Result<(), Problem> {
        let began = *self.began.get_or_insert(entry.time);
        let line = Line::read(&self.connection.client, self.run, entry).await?;
        let text = || {
            let after = format!("+{:.3} s", between(began, line.time).as_secs_f64());
            format!("{after:>11}  {:<28} {}", line.what(), line.says)
        };
        match self.to {
            To::Json => output::json(&line)?,
            To::Output => output::line(text())?,
            To::Margin => eprintln!("{}", text()),
        }
        Ok(())
    }

    /// A run that follows another one may not be started yet.
    async fn look(&mut self) -> Result<(), Problem> {
        match self.connection.client.status(self.run).await {
            Ok(summary) => self.notice(&summary),
            Err(ClientError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// A parked run brings no entries, so that it stands still would look like nothing at all.
    fn notice(&mut self, summary: &RunSummary) {
        if summary.status != RunStatus::Parked {
            self.parked = None;
            return;
        }
        if self.parked.replace(summary.since) != Some(summary.since) {
            eprintln!("parked: {}", summary.reason.as_deref().unwrap_or("no reason is recorded"));
            eprintln!("hint: mend the cause, then `everstep runs resume {}`", self.run);
        }
    }
}
