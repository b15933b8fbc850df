//! Cron triggers: which of their times start a run.
//!
//! ```text
//! due, changed, taken over ──▶ tend: registration ⇒ record ──▶ decide the times passed (compare-and-set) ──▶ starts ──▶ remind at the next
//! ```
//!
//! A time is decided once, in the record, before its run is started; the run's key is the time. So a schedule goes on exactly where it
//! stood, whoever tends it. The server's schedule only wakes: it names the next time, and is set again when that is decided.

use std::collections::BTreeMap;

use everstep_common::ids::RunId;
use everstep_common::journal::{Entry, EntryKey, Inbound, InboundId, InboundKind};
use everstep_common::limits::CATCH_UP_MAX;
use everstep_common::ports::{Publish, ReadError, Schedule};
use everstep_common::store::{CreateError, Kept, PutError, ReadRunError, Store, TriggerError};
use everstep_common::trigger::registration::{ScheduleRecord, schedule_key};
use everstep_common::trigger::{Misfire, Overlap};
use jiff::{SignedDuration, Timestamp};

use super::start;
use crate::metrics::metrics;

/// A time that is looked at so much later or less was not missed.
const ON_TIME: SignedDuration = SignedDuration::from_secs(30);

/// How often a change is tried that others make at the same time.
const CONFLICTS_MAX: u32 = 8;

/// What is remembered of schedules, to save asking the server.
#[derive(Debug, Default)]
pub(super) struct Schedules {
    /// For when each one has a reminder, or that it has none.
    reminded: BTreeMap<String, Option<Timestamp>>,
}

impl Schedules {
    /// The reminder of a schedule has come, and stands no more.
    pub(super) fn fired(&mut self, key: &str) {
        self.reminded.remove(key);
    }

    /// Brings every schedule to where it should be now.
    pub(super) async fn tend(&mut self, store: &Store, now: Timestamp) -> Result<(), TriggerError> {
        let registrations = store.registrations().await?;
        if registrations.is_empty() {
            return Ok(());
        }
        let mut records: BTreeMap<String, Kept<ScheduleRecord>> = BTreeMap::new();
        for kept in store.schedules().await? {
            records.insert(schedule_key(&kept.value.workflow, &kept.value.trigger.name), kept);
        }
        for registration in registrations.iter().map(|kept| &kept.value) {
            for trigger in registration.schedules() {
                let key = schedule_key(&registration.workflow, &trigger.name);
                let begun = ScheduleRecord::new(registration.workflow.clone(), registration.version, trigger.clone());
                let standing = records.remove(&key);
                self.tend_one(store, &key, begun, standing, now).await?;
            }
        }
        for (key, record) in records {
            tracing::info!(schedule = record.value.id(), "the schedule is no more");
            self.silence(store, &key).await?;
            self.reminded.remove(&key);
            store.forget_trigger(&key).await?;
        }
        Ok(())
    }

    async fn tend_one(
        &mut self,
        store: &Store,
        key: &str,
        begun: ScheduleRecord,
        mut standing: Option<Kept<ScheduleRecord>>,
        now: Timestamp,
    ) -> Result<(), TriggerError> {
        for _ in 0..CONFLICTS_MAX {
            let decided = decide(store, &begun, standing.as_ref(), now).await?;
            let record = match decided {
                None => break,
                Some(record) => record,
            };
            match store
                .put_schedule(&record, standing.as_ref().map_or(0, |kept| kept.revision))
                .await
            {
                Ok(_) => {
                    let before = standing.as_ref().map_or(0, |kept| kept.value.skipped);
                    metrics().missed.add(record.skipped.saturating_sub(before), &[]);
                }
                Err(TriggerError::Write {
                    source: PutError::Conflict,
                    ..
                }) => {}
                Err(error) => return Err(error),
            }
            // Read again: the time of its writing may be the time from which it counts.
            standing = store.schedule(&begun.workflow, &begun.trigger.name).await?;
            if let Some(kept) = &standing
                && !kept.value.pending.is_empty()
            {
                start_pending(store, &kept.value).await?;
            }
        }
        match standing {
            Some(kept) if !kept.value.paused => self.remind(store, key, &kept, now).await,
            _ => self.silence(store, key).await,
        }
    }

    /// Has the server wake us at its next time.
    async fn remind(&mut self, store: &Store, key: &str, kept: &Kept<ScheduleRecord>, now: Timestamp) -> Result<(), TriggerError> {
        let from = kept.value.decided.unwrap_or(kept.time).max(now);
        let next = kept.value.trigger.times().ok().and_then(|times| times.after(from));
        let Some(next) = next else {
            return self.silence(store, key).await;
        };
        if self.reminded.get(key) == Some(&Some(next)) {
            return Ok(());
        }
        let (subject, target) = store.names().later(key);
        let mut publish = Publish::new(subject.clone(), kept.value.id());
        publish.schedule = Some(Schedule { at: next, target });
        let published = store.broker().publish(publish).await;
        published.map_err(|source| TriggerError::Publish { subject, source })?;
        self.reminded.insert(key.to_owned(), Some(next));
        Ok(())
    }

    async fn silence(&mut self, store: &Store, key: &str) -> Result<(), TriggerError> {
        if self.reminded.get(key) == Some(&None) {
            return Ok(());
        }
        let (subject, _) = store.names().later(key);
        let purged = store.broker().purge(&store.names().trigger_stream(), &subject).await;
        purged.map_err(TriggerError::Read)?;
        self.reminded.insert(key.to_owned(), None);
        Ok(())
    }
}

/// What a schedule's record should say now, if it says something else.
async fn decide(
    store: &Store,
    begun: &ScheduleRecord,
    standing: Option<&Kept<ScheduleRecord>>,
    now: Timestamp,
) -> Result<Option<ScheduleRecord>, TriggerError> {
    let Some(standing) = standing else {
        return Ok(Some(begun.clone()));
    };
    let mut record = standing.value.clone();
    if (record.version, &record.trigger) != (begun.version, &begun.trigger) {
        let same_times =
            (&record.trigger.expression, &record.trigger.time_zone) == (&begun.trigger.expression, &begun.trigger.time_zone);
        record.version = begun.version;
        record.trigger = begun.trigger.clone();
        if !same_times {
            // Other times count from now on.
            record.decided = None;
        }
        return Ok(Some(record));
    }
    if !record.pending.is_empty() {
        // Decided by somebody who may have died before he started them.
        start_pending(store, &record).await?;
        record.pending.clear();
        return Ok(Some(record));
    }
    if record.paused {
        return Ok(None);
    }
    let from = record.decided.unwrap_or(standing.time);
    let Ok(times) = record.trigger.times() else {
        tracing::error!(schedule = record.id(), "its times are not understood here");
        return Ok(None);
    };
    let passed = times.between(from, now, CATCH_UP_MAX);
    let Some(latest) = passed.last().copied() else {
        return Ok(None);
    };
    record.decided = Some(latest);
    let chosen = chosen(&passed, record.trigger.misfire, now);
    record.skipped += (passed.len() - chosen.len()) as u64;
    let open = match (record.trigger.overlap, &record.last_run) {
        (Overlap::Allow, _) | (_, None) => None,
        (_, Some(run)) => is_open(store, run).await?.then(|| run.clone()),
    };
    match (record.trigger.overlap, open) {
        (Overlap::Skip, Some(_)) => record.skipped += chosen.len() as u64,
        // The runs of several times would overlap each other.
        (Overlap::Skip, None) => {
            record.skipped += chosen.len().saturating_sub(1) as u64;
            record.pending = chosen.last().copied().into_iter().collect();
        }
        (Overlap::Cancel, open) => {
            if let (Some(open), Some(time)) = (open, chosen.last()) {
                cancel(store, &open, &record, *time).await?;
            }
            record.skipped += chosen.len().saturating_sub(1) as u64;
            record.pending = chosen.last().copied().into_iter().collect();
        }
        (Overlap::Allow, _) => record.pending = chosen,
    }
    if let Some(time) = record.pending.last().copied() {
        record.last_time = Some(time);
        record.last_run = Some(run_of(store, &record, time));
    }
    Ok(Some(record))
}

/// Which of the times that have passed start a run.
fn chosen(passed: &[Timestamp], misfire: Misfire, now: Timestamp) -> Vec<Timestamp> {
    let in_time = passed.partition_point(|time| now.duration_since(*time) > ON_TIME);
    let (missed, in_time) = passed.split_at(in_time);
    let made_up = match misfire {
        Misfire::FireAll => missed,
        Misfire::FireOnce => &missed[missed.len().saturating_sub(1)..],
        Misfire::Skip => &[],
    };
    [made_up, in_time].concat()
}

fn run_of(store: &Store, record: &ScheduleRecord, time: Timestamp) -> RunId {
    RunId::keyed(&record.workflow, &record.start_key(time), store.deployment().keyed_partitions)
}

async fn start_pending(store: &Store, record: &ScheduleRecord) -> Result<(), TriggerError> {
    for time in &record.pending {
        match record.run_at(*time) {
            Ok(run) => metrics().fired.add(u64::from(start(store, &run).await?), &[]),
            Err(error) => tracing::error!(schedule = record.id(), %time, %error, "a schedule cannot start its run"),
        }
    }
    Ok(())
}

/// Whether the run has begun and not ended.
async fn is_open(store: &Store, run: &RunId) -> Result<bool, TriggerError> {
    let unread = |error: ReadRunError| TriggerError::Read(ReadError::Unavailable(error.to_string()));
    let has_begun = store.find_entry(run, &EntryKey::Start).await.map_err(unread)?.is_some();
    Ok(has_begun && store.find_entry(run, &EntryKey::End).await.map_err(unread)?.is_none())
}

async fn cancel(store: &Store, run: &RunId, record: &ScheduleRecord, time: Timestamp) -> Result<(), TriggerError> {
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
