//! Schedules as their operator meets them: listed, paused, resumed, backfilled.

use everstep_common::limits::BACKFILL_MAX;
use everstep_common::store::{Kept, PutError, TriggerError};
use everstep_common::trigger::registration::ScheduleRecord;
use everstep_common::trigger::{Misfire, Overlap};
use jiff::Timestamp;
use serde::Serialize;

use super::{Client, ClientError};
use crate::{RunId, WorkflowName};

/// How often a change is tried that a schedule's own progress keeps coming before.
const CONFLICTS_MAX: u32 = 16;

/// Where a schedule stands.
///
/// ```
/// use everstep::ScheduleEntry;
///
/// fn line(schedule: &ScheduleEntry) -> String {
///     match (&schedule.reason, schedule.next) {
///         (_, Some(next)) => format!("{} runs next at {next}", schedule.id),
///         (reason, None) => format!("{} stands still: {}", schedule.id, reason.as_deref().unwrap_or("nobody said why")),
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScheduleEntry {
    /// The workflow's name, `/` and the schedule's own.
    pub id: String,
    /// Whose runs it starts.
    pub workflow: WorkflowName,
    /// The version that they are started with.
    pub version: u32,
    /// The cron expression.
    pub expression: String,
    /// In which time zone.
    pub time_zone: String,
    /// What becomes of a time at which the run before is still open.
    pub overlap: Overlap,
    /// What becomes of missed times.
    pub misfire: Misfire,
    /// Whether it stands still.
    pub paused: bool,
    /// Why, as whoever paused it says.
    pub reason: Option<String>,
    /// Its next time; none while it is paused.
    pub next: Option<Timestamp>,
    /// The time that its last run stands for.
    pub last_time: Option<Timestamp>,
    /// Its last run, or one in which that goes on.
    pub last_run: Option<RunId>,
    /// Times that started no run, since it was first seen.
    pub skipped: u64,
}

impl Client {
    /// Every schedule, by id.
    ///
    /// ```no_run
    /// # async fn example(client: everstep::Client) -> anyhow::Result<()> {
    /// for schedule in client.schedules().await? {
    ///     println!("{} runs next at {:?}", schedule.id, schedule.next);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ClientError::Trigger`] if they cannot be read.
    pub async fn schedules(&self) -> Result<Vec<ScheduleEntry>, ClientError> {
        let kept = self.bounded(self.store.schedules()).await??;
        let mut entries: Vec<_> = kept.into_iter().map(|kept| self.entry_of(kept)).collect();
        entries.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(entries)
    }

    /// Has a schedule stand still: its times start no run until it is resumed. Pausing it again changes the reason.
    ///
    /// # Errors
    ///
    /// [`ClientError::NoSchedule`] if there is none with that id.
    ///
    /// ```no_run
    /// # async fn example(client: everstep::Client) -> anyhow::Result<()> {
    /// client.pause_schedule("report/nightly", "the warehouse moves").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn pause_schedule(&self, id: &str, reason: &str) -> Result<(), ClientError> {
        self.change_schedule(id, |record| {
            record.paused = true;
            record.reason = Some(reason.to_owned()).filter(|reason| !reason.is_empty());
        })
        .await
    }

    /// Has a paused schedule go on with its next time. Those that passed meanwhile start nothing; [`Client::backfill_schedule`] makes up
    /// for them.
    ///
    /// # Errors
    ///
    /// [`ClientError::NoSchedule`] if there is none with that id.
    ///
    /// ```no_run
    /// # async fn example(client: everstep::Client) -> anyhow::Result<()> {
    /// client.resume_schedule("report/nightly").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn resume_schedule(&self, id: &str) -> Result<(), ClientError> {
        self.change_schedule(id, |record| {
            if record.paused {
                record.paused = false;
                record.reason = None;
                // From the time of this very change on.
                record.decided = None;
            }
        })
        .await
    }

    /// The times of a schedule from `from` on, before `to`: those that a backfill would start runs for.
    ///
    /// # Errors
    ///
    /// [`ClientError::NoSchedule`] if there is none with that id, [`ClientError::TooManyTimes`] if there are more than 1,000.
    ///
    /// ```no_run
    /// # async fn example(client: everstep::Client) -> anyhow::Result<()> {
    /// let (from, to) = ("2026-11-01T00:00:00Z".parse()?, "2026-11-08T00:00:00Z".parse()?);
    /// for time in client.schedule_times("report/nightly", from, to).await? {
    ///     println!("{time}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn schedule_times(&self, id: &str, from: Timestamp, to: Timestamp) -> Result<Vec<Timestamp>, ClientError> {
        let record = self.schedule_record(id).await?.value;
        times(&record, from, to)
    }

    /// Starts a run for each time of a schedule from `from` on, before `to`, all at once; the runs in order. A time that has had its run
    /// keeps it: it is not started again.
    ///
    /// # Errors
    ///
    /// As for [`Client::schedule_times`], and whatever a start may bring; asking again goes on where it stopped.
    ///
    /// ```no_run
    /// # async fn example(client: everstep::Client) -> anyhow::Result<()> {
    /// let (from, to) = ("2026-11-01T00:00:00Z".parse()?, "2026-11-08T00:00:00Z".parse()?);
    /// let runs = client.backfill_schedule("report/nightly", from, to).await?;
    /// println!("{} runs make up for the week", runs.len());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn backfill_schedule(&self, id: &str, from: Timestamp, to: Timestamp) -> Result<Vec<RunId>, ClientError> {
        let record = self.schedule_record(id).await?.value;
        let mut runs = Vec::new();
        for time in times(&record, from, to)? {
            let run = record.run_at(time).map_err(|error| ClientError::Schedule {
                id: id.to_owned(),
                reason: error.to_string(),
            })?;
            let (run, _) = self.bounded(self.store.start_once(&run)).await??;
            runs.push(run);
        }
        Ok(runs)
    }

    async fn change_schedule(&self, id: &str, change: impl Fn(&mut ScheduleRecord)) -> Result<(), ClientError> {
        for _ in 0..CONFLICTS_MAX {
            let kept = self.schedule_record(id).await?;
            let mut record = kept.value.clone();
            change(&mut record);
            if record == kept.value {
                return Ok(());
            }
            match self.bounded(self.store.put_schedule(&record, kept.revision)).await? {
                Ok(_) => return Ok(()),
                Err(TriggerError::Write {
                    source: PutError::Conflict,
                    ..
                }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ClientError::Schedule {
            id: id.to_owned(),
            reason: "it is being changed by others all the time".to_owned(),
        })
    }

    async fn schedule_record(&self, id: &str) -> Result<Kept<ScheduleRecord>, ClientError> {
        let kept = self.bounded(self.store.schedules()).await??;
        let found = kept.into_iter().find(|kept| kept.value.id() == id);
        found.ok_or_else(|| ClientError::NoSchedule { id: id.to_owned() })
    }

    fn entry_of(&self, kept: Kept<ScheduleRecord>) -> ScheduleEntry {
        let record = kept.value;
        let from = record.decided.unwrap_or(kept.time).max(self.store.clock().wall());
        let times = record.trigger.times().ok().filter(|_| !record.paused);
        ScheduleEntry {
            id: record.id(),
            next: times.and_then(|times| times.after(from)),
            workflow: record.workflow,
            version: record.version,
            expression: record.trigger.expression,
            time_zone: record.trigger.time_zone,
            overlap: record.trigger.overlap,
            misfire: record.trigger.misfire,
            paused: record.paused,
            reason: record.reason,
            last_time: record.last_time,
            last_run: record.last_run,
            skipped: record.skipped,
        }
    }
}

fn times(record: &ScheduleRecord, from: Timestamp, to: Timestamp) -> Result<Vec<Timestamp>, ClientError> {
    let named = record
        .trigger
        .times()
        .map_err(|reason| ClientError::Schedule { id: record.id(), reason })?;
    // What is named at `from` itself is among them, what is named at `to` is not.
    let before = |time: Timestamp| time.checked_sub(std::time::Duration::from_nanos(1)).unwrap_or(time);
    let times = named.between(before(from), before(to), BACKFILL_MAX + 1);
    if times.len() > BACKFILL_MAX {
        return Err(ClientError::TooManyTimes {
            id: record.id(),
            max: BACKFILL_MAX,
        });
    }
    Ok(times)
}
