//! The last run of a schedule, which may have gone on in others.
//!
//! A run that has ended in another one is not over: its schedule waits for, or cancels, the last of the chain.

use everstep_common::ids::RunId;
use everstep_common::journal::{Ended, Entry, EntryKey, Inbound, InboundId, InboundKind, RunOutcome};
use everstep_common::limits::CHAIN_RUNS_MAX;
use everstep_common::ports::ReadError;
use everstep_common::store::{Backoff, CreateError, ReadRunError, Store, TriggerError};
use everstep_common::trigger::registration::ScheduleRecord;
use jiff::Timestamp;

/// How often is looked whether a run has begun in which another one goes on: some seconds in all.
const BEGINS_WITHIN: u32 = 20;

/// Where a run stands.
enum Stands {
    /// It is not there: it has not begun, or was purged.
    Absent,
    Open,
    Over,
    GoesOn(RunId),
}

/// The run of a chain that is open; nothing if all of it has ended.
pub(super) async fn open_one(store: &Store, first: &RunId) -> Result<Option<RunId>, TriggerError> {
    let mut run = first.clone();
    for _ in 0..CHAIN_RUNS_MAX {
        run = match stands(store, &run).await? {
            Stands::Open => return Ok(Some(run)),
            Stands::GoesOn(next) => next,
            // It is about to begin.
            Stands::Absent if run != *first && !is_purged(store, &run).await? => return Ok(Some(run)),
            Stands::Absent | Stands::Over => return Ok(None),
        };
    }
    Ok(None)
}

/// Asks whatever of the chain is open to end, for the schedule's next time. One that goes on just then does not hear it, and the next one is
/// asked instead.
pub(super) async fn cancel(store: &Store, first: &RunId, record: &ScheduleRecord, time: Timestamp) -> Result<(), TriggerError> {
    let (mut first, mut backoff, mut tries) = (first.clone(), Backoff::new(), 0);
    while let Some(open) = open_one(store, &first).await? {
        match stands(store, &open).await? {
            Stands::Open => {
                say_cancel(store, &open, record, time).await?;
                // Before or after its end, which may have come between.
                if !matches!(stands(store, &open).await?, Stands::GoesOn(_)) {
                    return Ok(());
                }
            }
            Stands::Absent if tries >= BEGINS_WITHIN => {
                tracing::warn!(run = %open, schedule = record.id(), "the run before goes on in one that has not begun; it is not cancelled");
                return Ok(());
            }
            // Nothing may stand in a run before its start.
            Stands::Absent => {
                tries += 1;
                store.clock().sleep(backoff.delay()).await;
            }
            Stands::Over | Stands::GoesOn(_) => {}
        }
        first = open;
    }
    Ok(())
}

async fn stands(store: &Store, run: &RunId) -> Result<Stands, TriggerError> {
    if store.find_entry(run, &EntryKey::Start).await.map_err(unread)?.is_none() {
        return Ok(Stands::Absent);
    }
    let end = store.find_entry(run, &EntryKey::End).await.map_err(unread)?;
    Ok(match end.map(|end| end.entry) {
        None => Stands::Open,
        Some(Entry::End(Ended {
            outcome: RunOutcome::Continued(next),
            ..
        })) => Stands::GoesOn(next.run),
        Some(_) => Stands::Over,
    })
}

async fn is_purged(store: &Store, run: &RunId) -> Result<bool, TriggerError> {
    Ok(store.find_entry(run, &EntryKey::Gone).await.map_err(unread)?.is_some())
}

fn unread(error: ReadRunError) -> TriggerError {
    TriggerError::Read(ReadError::Unavailable(error.to_string()))
}

async fn say_cancel(store: &Store, run: &RunId, record: &ScheduleRecord, time: Timestamp) -> Result<(), TriggerError> {
    let id = InboundId::new(&format!("cancel-for-{}", time.as_second())).expect("letters, digits and dashes");
    let entry = Entry::In(Inbound {
        kind: InboundKind::Cancel,
        by: Some(format!("schedule {}", record.id())),
        reason: Some(format!("its next run is due at {time}")),
    });
    store
        .create(run, EntryKey::In(id), &entry)
        .await
        .map(drop)
        .or_else(|error| match error {
            CreateError::Gone { .. } => Ok(()),
            error => Err(error.into()),
        })
}
