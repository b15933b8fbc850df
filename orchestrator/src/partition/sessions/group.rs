//! Writes of one value of a session: each applied once, many in one compare-and-set.
//!
//! ```text
//! read record ──▶ ask the journals ──▶ apply in order ──CAS──▶ tell each
//!      ▲                                                 │ conflict, no answer
//!      └─────────────────────────────────────────────────┘
//! ```
//!
//! A write that may be applied already (its owner died before the journal had the result, its acknowledgement was lost) finds its mark in
//! the record, which holds what it brought then, however many others have written since. A mark goes away only after the journal has the
//! result, or the run's end. So a write without a mark asks the journal, *after* it has read the record, and is applied at that revision
//! or not at all: an owner who stood still while others finished his work cannot do it a second time.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::ids::{Partition as PartitionId, RunId};
use everstep_common::journal::EntryKey;
use everstep_common::key::StepKey;
use everstep_common::limits::{SESSION_KEYS_MAX, SESSION_MARKS_MAX, SESSION_VALUE_BYTES_MAX};
use everstep_common::ports::ReadError;
use everstep_common::session::{SessionMark, SessionRecord};
use everstep_common::store::{Backoff, PayloadError, PutError, ReadRunError, SessionValue, Store};

use super::super::closures::panic_message;
use super::{Change, MISSING_TRIES_MAX, Name, Outcome, Write, no_bucket, patiently};

/// Marks that a record may keep before the journals are asked which of them are still needed.
const MARKS_KEPT: usize = 32;

/// Writes applied by one compare-and-set at most.
const GROUP_MAX: usize = 256;

/// nil, what a set brings.
const NIL: Bytes = Bytes::from_static(&[0xc0]);

/// Writes one value, as long as there is something to write.
pub(super) struct Writer {
    store: Store,
    session: String,
    key: String,
    /// The record as we have written it, if nobody has written it since.
    known: Option<SessionValue>,
    /// How often the bucket was not there.
    missing: u32,
}

/// What becomes of a write in the group at hand.
enum Verdict {
    /// It brings this, once the group is written.
    Tell(Outcome),
    /// Its run is over: nobody waits, and nothing is applied.
    Over,
    /// There is no room for its mark yet.
    Later,
}

/// A group, applied to the record in memory.
struct Applied {
    record: SessionRecord,
    verdicts: Vec<Verdict>,
    changed: bool,
}

/// Why a group was not written.
enum Trouble {
    /// It may be the next time.
    Again(String),
    /// It never will be.
    Never(Failure),
}

impl Writer {
    pub(super) fn new(store: Store, (session, key): &Name) -> Self {
        Self {
            store,
            session: session.clone(),
            key: key.clone(),
            known: None,
            missing: 0,
        }
    }

    /// Applies the writes in order, for as long as that takes, and tells each what it brought.
    pub(super) async fn apply(&mut self, mut writes: Vec<Write>) {
        let mut backoff = Backoff::new();
        loop {
            // Nobody waits for these any more: they were cancelled, or the partition is driven elsewhere.
            writes.retain(|write| !write.told.is_canceled());
            if writes.is_empty() {
                return;
            }
            let rest = writes.split_off(writes.len().min(GROUP_MAX));
            match self.apply_group(&writes).await {
                Ok(verdicts) => writes = tell(writes, verdicts),
                Err(Trouble::Never(failure)) => {
                    let verdicts = writes.iter().map(|_| Verdict::Tell(Err(failure.clone()))).collect();
                    writes = tell(writes, verdicts);
                }
                Err(Trouble::Again(reason)) => {
                    tracing::debug!(
                        session = self.session,
                        key = self.key,
                        reason,
                        "value of a session not written yet"
                    );
                    self.store.clock().sleep(backoff.delay()).await;
                }
            }
            writes.extend(rest);
        }
    }

    async fn apply_group(&mut self, writes: &[Write]) -> Result<Vec<Verdict>, Trouble> {
        let SessionValue {
            record,
            revision,
            written,
        } = match self.known.take() {
            Some(known) => known,
            None => self.read().await?,
        };
        // After the record is read, never before: see above.
        let standing = self.standing(&record, writes).await?;
        let room = revision > 0 || self.has_room_for_a_name().await?;
        let Applied {
            record,
            verdicts,
            changed,
        } = self.apply_to(record, writes, &standing, room).await?;
        if !changed {
            self.known = Some(SessionValue {
                record,
                revision,
                written,
            });
            return Ok(verdicts);
        }
        match self.store.put_session_value(&record, revision).await {
            Ok(revision) => {
                self.known = Some(SessionValue {
                    record,
                    revision,
                    written,
                });
                Ok(verdicts)
            }
            Err(error @ (PutError::Conflict | PutError::Unknown(_))) => Err(Trouble::Again(error.to_string())),
            Err(PutError::NoBucket) if self.missing < MISSING_TRIES_MAX => {
                self.missing += 1;
                Err(Trouble::Again(PutError::NoBucket.to_string()))
            }
            Err(PutError::NoBucket) => Err(Trouble::Never(no_bucket())),
            Err(error @ PutError::Rejected(_)) => Err(Trouble::Never(Failure::new(FailureKind::Fatal, error.to_string()))),
        }
    }

    async fn read(&self) -> Result<SessionValue, Trouble> {
        let read = patiently(&self.store, || self.store.session_value(&self.session, &self.key));
        read.await.map_err(Trouble::Never)
    }

    /// Whether a name that was never used may be: only looked at for such.
    async fn has_room_for_a_name(&self) -> Result<bool, Trouble> {
        match self.store.session_names(&self.session).await {
            Ok(names) => Ok(names < SESSION_KEYS_MAX),
            // Writing says better what is wrong.
            Err(ReadError::NoStream) => Ok(true),
            Err(error) => Err(Trouble::Again(error.to_string())),
        }
    }

    /// What the journals hold of all that has a mark or wants one.
    async fn standing(&self, record: &SessionRecord, writes: &[Write]) -> Result<BTreeSet<(RunId, EntryKey)>, Trouble> {
        let mut asked: BTreeMap<PartitionId, BTreeSet<(RunId, EntryKey)>> = BTreeMap::new();
        let mut ask = |run: &RunId, step: &StepKey| {
            let entries = asked.entry(run.partition()).or_default();
            entries.insert((run.clone(), EntryKey::Local(step.clone())));
            entries.insert((run.clone(), EntryKey::End));
        };
        let unmarked = writes.iter().filter(|write| record.mark(&write.run, &write.step).is_none());
        unmarked.for_each(|write| ask(&write.run, &write.step));
        if record.marks.len() > MARKS_KEPT {
            record.marks.iter().for_each(|mark| ask(&mark.run, &mark.step));
        }
        let mut standing = BTreeSet::new();
        for (partition, entries) in asked {
            standing.append(&mut self.which_stand(partition, entries).await?);
        }
        Ok(standing)
    }

    async fn which_stand(
        &self,
        partition: PartitionId,
        entries: BTreeSet<(RunId, EntryKey)>,
    ) -> Result<BTreeSet<(RunId, EntryKey)>, Trouble> {
        let entries: Vec<_> = entries.into_iter().collect();
        let read = self.store.which_stand(partition, &entries).await;
        read.map_err(|error: ReadRunError| Trouble::Again(error.to_string()))
    }

    async fn apply_to(
        &self,
        mut record: SessionRecord,
        writes: &[Write],
        standing: &BTreeSet<(RunId, EntryKey)>,
        room_for_a_name: bool,
    ) -> Result<Applied, Trouble> {
        let has = |run: &RunId, key: EntryKey| standing.contains(&(run.clone(), key));
        // A mark of a write of this very group was not asked for, so it stays.
        let recorded = |mark: &SessionMark| has(&mark.run, EntryKey::Local(mark.step.clone())) || has(&mark.run, EntryKey::End);
        record.marks.retain(|mark| !recorded(mark));
        if record.marks.len() + writes.len() > SESSION_MARKS_MAX {
            self.forget_purged(&mut record).await?;
        }
        let mut verdicts = Vec::with_capacity(writes.len());
        let mut changed = false;
        for write in writes {
            let verdict = if let Some(mark) = record.mark(&write.run, &write.step) {
                Verdict::Tell(self.brought(mark).await?)
            } else if has(&write.run, EntryKey::End) {
                Verdict::Over
            } else if has(&write.run, EntryKey::Local(write.step.clone())) {
                // It will be refused: the journal has the result.
                Verdict::Tell(Err(Failure::new(FailureKind::Other, "recorded already")))
            } else if record.marks.len() >= SESSION_MARKS_MAX {
                Verdict::Later
            } else {
                let outcome = self.write(&mut record, write, room_for_a_name).await;
                changed |= outcome.is_ok();
                Verdict::Tell(outcome)
            };
            verdicts.push(verdict);
        }
        if !verdicts.is_empty() && verdicts.iter().all(|verdict| matches!(verdict, Verdict::Later)) {
            return Err(Trouble::Again(format!(
                "{SESSION_MARKS_MAX} writes stand in it whose results no journal holds yet"
            )));
        }
        Ok(Applied {
            record,
            verdicts,
            changed,
        })
    }

    /// Takes a write in, with its mark. On a failure nothing is changed.
    async fn write(&self, record: &mut SessionRecord, write: &Write, room_for_a_name: bool) -> Outcome {
        let (value, result) = changed(&write.change, record.value.as_ref())?;
        if value.is_some() && !room_for_a_name {
            let message =
                format!("the session has used {SESSION_KEYS_MAX} names, which is the limit; keep several values under one");
            return Err(Failure::new(FailureKind::Invalid, message));
        }
        let marked = self.store.put_mark(&write.run, &write.step, result.clone()).await;
        let mark = SessionMark {
            run: write.run.clone(),
            step: write.step.clone(),
            result: marked.map_err(|error| Failure::new(FailureKind::Fatal, error.to_string()))?,
        };
        record.value = value;
        record.marks.push(mark);
        Ok(result)
    }

    /// What a write brought when it was applied.
    async fn brought(&self, mark: &SessionMark) -> Result<Outcome, Trouble> {
        match self.store.get_payload(&mark.run, &mark.result).await {
            Ok(result) => Ok(Ok(result)),
            Err(error @ PayloadError::Fetch { .. }) => Ok(Err(Failure::new(FailureKind::Fatal, error.to_string()))),
            Err(error) => Err(Trouble::Again(error.to_string())),
        }
    }

    /// Takes marks away whose run has no start any more: it ended long ago, and was purged.
    async fn forget_purged(&self, record: &mut SessionRecord) -> Result<(), Trouble> {
        let mut asked: BTreeMap<PartitionId, BTreeSet<(RunId, EntryKey)>> = BTreeMap::new();
        for mark in &record.marks {
            let entries = asked.entry(mark.run.partition()).or_default();
            entries.insert((mark.run.clone(), EntryKey::Start));
        }
        let mut standing = BTreeSet::new();
        for (partition, entries) in asked {
            standing.append(&mut self.which_stand(partition, entries).await?);
        }
        record
            .marks
            .retain(|mark| standing.contains(&(mark.run.clone(), EntryKey::Start)));
        Ok(())
    }
}

/// The new value and what the write brings.
fn changed(change: &Change, before: Option<&Bytes>) -> Result<(Option<Bytes>, Bytes), Failure> {
    match change {
        Change::Set(value) => Ok((Some(value.clone()), NIL)),
        Change::Delete => {
            let was_set = if before.is_some() { 0xc3 } else { 0xc2 };
            Ok((None, Bytes::copy_from_slice(&[was_set])))
        }
        Change::Update(change) => {
            let called = catch_unwind(AssertUnwindSafe(|| change(before.cloned())));
            let value = called
                .map_err(|panic| Failure::new(FailureKind::Fatal, format!("panicked: {}", panic_message(&*panic))))
                .flatten()?;
            if value.len() > SESSION_VALUE_BYTES_MAX {
                let message = format!(
                    "the new value has {} bytes, over the limit of {SESSION_VALUE_BYTES_MAX} for a session",
                    value.len()
                );
                return Err(Failure::new(FailureKind::Invalid, message));
            }
            Ok((Some(value.clone()), value))
        }
    }
}

/// Tells each what was made of it; those that have to wait come back, in order.
fn tell(writes: Vec<Write>, verdicts: Vec<Verdict>) -> Vec<Write> {
    let mut later = Vec::new();
    for (write, verdict) in writes.into_iter().zip(verdicts) {
        match verdict {
            // Whoever has gone meanwhile is not told.
            Verdict::Tell(outcome) => drop(write.told.send(outcome)),
            Verdict::Over => {}
            Verdict::Later => later.push(write),
        }
    }
    later
}
