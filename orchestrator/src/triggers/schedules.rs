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
use everstep_common::limits::CATCH_UP_MAX;
use everstep_common::ports::{Publish, Schedule};
use everstep_common::store::{Kept, PutError, Store, TriggerError, TriggerRecords};
use everstep_common::trigger::registration::{ScheduleRecord, schedule_key};
use everstep_common::trigger::{Misfire, Overlap};
use jiff::{SignedDuration, Timestamp};

use super::{chain, start};
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
    pub(super) async fn tend(&mut self, store: &Store, standing: &TriggerRecords, now: Timestamp) -> Result<(), TriggerError> {
        if standing.registrations.is_empty() {
            return Ok(());
        }
        let mut records: BTreeMap<String, &Kept<ScheduleRecord>> = BTreeMap::new();
        for kept in &standing.schedules {
            records.insert(schedule_key(&kept.value.workflow, &kept.value.trigger.name), kept);
        }
        for registration in standing.registrations.iter().map(|kept| &kept.value) {
            for trigger in registration.schedules() {
                let key = schedule_key(&registration.workflow, &trigger.name);
                let begun = ScheduleRecord::new(registration.workflow.clone(), registration.version, trigger.clone());
                let record = records.remove(&key).cloned();
                // What this build does not understand is left as it stands.
                if !standing.unreadable.contains(&key) {
                    self.tend_one(store, &key, begun, record, now).await?;
                }
            }
        }
        // A workflow whose registration is not understood here may still have them.
        records.retain(|_, record| !standing.is_unreadable(&record.value.workflow));
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
        record.decided = match same_times {
            // Up to when it is decided does not change by being written again.
            true => Some(record.decided.unwrap_or(standing.time)),
            // Other times count from now on.
            false => None,
        };
        return Ok(Some(record));
    }
    if !record.pending.is_empty() {
        // Here alone, once they stand in the record: whoever decided them may have died since.
        start_pending(store, &record).await?;
        // From when on it counts does not change by being written again.
        record.decided = Some(record.decided.unwrap_or(standing.time));
        record.pending.clear();
        record.replaces = None;
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
    // The runs of several times would overlap each other.
    let last_one = || chosen.last().copied().into_iter().collect::<Vec<_>>();
    let open = match (record.trigger.overlap, &record.last_run) {
        (Overlap::Skip, Some(run)) => chain::open_one(store, run).await?,
        _ => None,
    };
    record.pending = match (record.trigger.overlap, &open) {
        (Overlap::Allow, _) => chosen.clone(),
        (Overlap::Skip, Some(_)) => Vec::new(),
        (Overlap::Skip | Overlap::Cancel, _) => last_one(),
    };
    if let Some(open) = open {
        // A chain is followed from where it has come to, however long it becomes.
        record.last_run = Some(open.known);
    }
    record.skipped += (chosen.len() - record.pending.len()) as u64;
    if let (Overlap::Cancel, [_, ..]) = (record.trigger.overlap, record.pending.as_slice()) {
        // Nothing is cancelled for a time that is not decided: somebody may pause the schedule just now.
        record.replaces = record.last_run.take();
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
    if let (Some(open), Some(time)) = (&record.replaces, record.pending.last()) {
        chain::cancel(store, open, record, *time).await?;
    }
    for time in &record.pending {
        let started = match record.run_at(*time) {
            Ok(run) => start(store, &run).await,
            Err(error) => Err(TriggerError::Unwritable {
                what: format!("the input of {}", record.id()),
                reason: error.to_string(),
            }),
        };
        match started {
            Ok(started) => metrics().fired.add(u64::from(started), &[]),
            Err(error) if error.is_final() => {
                tracing::error!(schedule = record.id(), %time, %error, "a schedule cannot start its run");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
