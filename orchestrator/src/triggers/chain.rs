//! The last run of a schedule, which may have gone on in others.
//!
//! A run that has ended in another one is not over: its schedule waits for, or cancels, the last of the chain.

use std::mem;

use everstep_common::ids::RunId;
use everstep_common::journal::{Ended, Entry, EntryKey, Inbound, InboundId, InboundKind, RunOutcome};
use everstep_common::limits::CHAIN_RUNS_MAX;
use everstep_common::ports::ReadError;
use everstep_common::store::{Backoff, CreateError, ReadRunError, Store, TriggerError};
use everstep_common::trigger::registration::ScheduleRecord;
use jiff::Timestamp;

/// How often is looked whether a run has begun in which another one goes on: some seconds in all.
const BEGINS_WITHIN: u32 = 20;

/// The run of a chain that is open.
pub(super) struct OpenOne {
    /// That run, which may be about to begin.
    run: RunId,
    /// The last run of which something is recorded: who follows the chain later begins there.
    pub known: RunId,
}

/// Where a run stands.
enum Stands {
    /// It is not there: it has not begun, or was purged.
    Absent,
    Open,
    Over,
    GoesOn(RunId),
}

/// Where a chain is open; nothing if all of it has ended. One that is longer than is followed at once is, wherever it was come to.
pub(super) async fn open_one(store: &Store, first: &RunId) -> Result<Option<OpenOne>, TriggerError> {
    let (mut known, mut run) = (first.clone(), first.clone());
    for _ in 0..CHAIN_RUNS_MAX {
        match stands(store, &run).await? {
            Stands::Open => {
                let known = run.clone();
                return Ok(Some(OpenOne { run, known }));
            }
            Stands::GoesOn(next) => known = mem::replace(&mut run, next),
            // It is about to begin.
            Stands::Absent if run != *first && !is_purged(store, &run).await? => return Ok(Some(OpenOne { run, known })),
            Stands::Absent | Stands::Over => return Ok(None),
        }
    }
    Ok(Some(OpenOne { run, known }))
}

/// Asks whatever of the chain is open to end, for the schedule's next time. One that goes on just then does not hear it, and the next one is
/// asked instead.
pub(super) async fn cancel(store: &Store, first: &RunId, record: &ScheduleRecord, time: Timestamp) -> Result<(), TriggerError> {
    let (mut first, mut backoff, mut tries) = (first.clone(), Backoff::new(), 0);
    while let Some(OpenOne { run: open, known }) = open_one(store, &first).await? {
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
        first = known;
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use everstep_common::digest::InputDigest;
    use everstep_common::ids::{Prefix, ProcessId, WorkflowName};
    use everstep_common::journal::{Continuation, Start};
    use everstep_common::payload::Payload;
    use everstep_common::store::Deployment;
    use everstep_common::trigger::Trigger;
    use everstep_memory::{Faults, MemoryServer, Nodes, simulate};

    use super::*;

    async fn store() -> Store {
        let broker = MemoryServer::start(Nodes::One, 1, Faults::none()).connect("orchestrator");
        let clock = Arc::new(broker.clock());
        let (store, driver) = Store::new(Arc::new(broker), clock, Deployment::single_node(Prefix::none()));
        tokio::spawn(driver);
        let provisioned = store.deployment().provision(store.broker(), store.clock().as_ref()).await;
        provisioned.expect("nothing goes wrong here");
        store
    }

    async fn record(store: &Store, run: &RunId, key: EntryKey, entry: Entry) {
        store.create(run, key, &entry).await.expect("nothing goes wrong here");
    }

    fn start() -> Entry {
        Entry::Start(Start {
            workflow: WorkflowName::new("report").expect("a name"),
            version: None,
            input: Payload::unit(),
            digest: InputDigest::of(b""),
            start_key: None,
            session: None,
            parent: None,
            tags: Default::default(),
            traceparent: None,
            terms: Default::default(),
            continues: None,
            listens_from: None,
            listened: Vec::new(),
        })
    }

    fn goes_on_in(next: &RunId) -> Entry {
        Entry::End(Ended {
            outcome: RunOutcome::Continued(Continuation {
                run: next.clone(),
                input: Payload::unit(),
                digest: InputDigest::of(b""),
                decided: None,
                listened: Vec::new(),
            }),
            by: ProcessId::fresh("test"),
        })
    }

    #[test]
    fn a_run_in_which_another_one_goes_on_is_cancelled_though_it_begins_late() {
        simulate(async {
            let store = store().await;
            let first: RunId = "0-0123456789abcdef0123456789abcdef".parse().expect("a run id");
            let next = first.successor();
            record(&store, &first, EntryKey::Start, start()).await;
            record(&store, &first, EntryKey::End, goes_on_in(&next)).await;

            let schedule = ScheduleRecord::new(
                WorkflowName::new("report").expect("a name"),
                1,
                Trigger::cron("daily", "0 9 * * *"),
            );
            let begins = async {
                store.clock().sleep(Duration::from_secs(1)).await;
                record(&store, &next, EntryKey::Start, start()).await;
            };
            let (cancelled, ()) = tokio::join!(cancel(&store, &first, &schedule, Timestamp::UNIX_EPOCH), begins);
            cancelled.expect("nothing goes wrong here");
            let word = EntryKey::In(InboundId::new("cancel-for-0").expect("an id"));
            assert!(
                store
                    .find_entry(&next, &word)
                    .await
                    .expect("it is there to be read")
                    .is_some()
            );
        });
    }
}
