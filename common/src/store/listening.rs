//! KV `triggers` as a whole: what every workflow listens to, and where every schedule stands.
//!
//! It is asked for whenever events have come, so it is read once and then only proven current: the bucket's leader tells its last sequence
//! and how many records there are, which is one request. A record that this build cannot read harms nobody but its own workflow.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::{Store, TRIGGERS, TriggerError};
use crate::ids::WorkflowName;
use crate::limits::READ_SUBJECTS_MAX;
use crate::ports::{GetLast, Message, ReadError, StreamInfo};
use crate::trigger::registration::{Registration, ScheduleRecord, registration_key, schedule_key};
use crate::wire;

/// A record with what its next change has to name.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept<T> {
    /// Its revision.
    pub revision: u64,
    /// When it was written, by the server's clock.
    pub time: Timestamp,
    /// What it says.
    pub value: T,
}

/// All records of KV `triggers` as they stood at one time.
#[derive(Clone, Debug, Default)]
pub struct TriggerRecords {
    /// What every workflow listens to.
    pub registrations: Vec<Kept<Registration>>,
    /// Where every schedule stands.
    pub schedules: Vec<Kept<ScheduleRecord>>,
    /// Keys of records that this build cannot read.
    pub unreadable: BTreeSet<String>,
    standing: Option<Standing>,
}

/// By what is told that a bucket was changed. A record that was taken away shows in their number alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    created: Timestamp,
    last_sequence: u64,
    records: u64,
}

impl TriggerRecords {
    /// Whether the workflow's registration stands, and says what this build does not understand.
    pub fn is_unreadable(&self, workflow: &WorkflowName) -> bool {
        self.unreadable.contains(&registration_key(workflow))
    }

    fn add(&mut self, key: &str, message: &Message) {
        let added = match key.split('.').next() {
            Some("workflow") => kept(key, message).map(|kept| self.registrations.push(kept)),
            Some("schedule") => kept(key, message).map(|kept| self.schedules.push(kept)),
            _ => Ok(()),
        };
        if let Err(error) = added {
            tracing::error!(%error, "it counts as if it were not there");
            self.unreadable.insert(key.to_owned());
        }
    }
}

impl From<StreamInfo> for Standing {
    fn from(info: StreamInfo) -> Self {
        Self {
            created: info.created,
            last_sequence: info.last_sequence,
            records: info.messages,
        }
    }
}

impl Store {
    /// All that triggers have on record. What was acknowledged before is in it.
    pub async fn trigger_records(&self) -> Result<TriggerRecords, TriggerError> {
        let mut records = TriggerRecords::default();
        self.renew_trigger_records(&mut records).await?;
        Ok(records)
    }

    /// Reads them anew if anything was changed since they were read; whether it was.
    pub async fn renew_trigger_records(&self, records: &mut TriggerRecords) -> Result<bool, TriggerError> {
        let bucket = self.names().bucket_stream(TRIGGERS);
        // Before the records: a change that comes between the two is seen again, never overlooked.
        let info = self.broker().stream_info(&bucket).await.map_err(TriggerError::Read)?;
        let standing = Standing::from(info.ok_or(TriggerError::Read(ReadError::NoStream))?);
        if records.standing == Some(standing) {
            return Ok(false);
        }
        let prefix = self.names().bucket_key(TRIGGERS, "");
        *records = TriggerRecords::default();
        for message in self.all_trigger_records(standing).await? {
            records.add(message.subject.strip_prefix(&prefix).unwrap_or_default(), &message);
        }
        records.standing = Some(standing);
        Ok(true)
    }

    /// From any replica, if its answer holds all that the leader knows of; from the leader, dearly, otherwise.
    async fn all_trigger_records(&self, standing: Standing) -> Result<Vec<Message>, TriggerError> {
        let any = self.trigger_messages(false).await;
        if let Ok((messages, up_to)) = any
            && up_to >= standing.last_sequence
            && messages.len() as u64 == standing.records
        {
            return Ok(messages);
        }
        let read = self.trigger_messages(true).await.map_err(TriggerError::Read)?;
        Ok(read.0)
    }

    /// The records, and up to where all of them were looked at.
    async fn trigger_messages(&self, leader: bool) -> Result<(Vec<Message>, u64), ReadError> {
        let (stream, all) = (self.names().bucket_stream(TRIGGERS), self.names().bucket_key(TRIGGERS, ">"));
        let read = async |subjects: Vec<String>| {
            let request = GetLast {
                stream: stream.clone(),
                subjects,
                up_to: None,
                leader,
            };
            self.broker().get_last(request).await
        };
        match read(vec![all.clone()]).await {
            Ok(snapshot) => return Ok((snapshot.messages, snapshot.up_to)),
            Err(ReadError::TooMany) => {}
            Err(error) => return Err(error),
        }
        let keys: Vec<String> = self.broker().subjects(&stream, &all).await?.into_iter().collect();
        let (mut messages, mut up_to) = (Vec::with_capacity(keys.len()), u64::MAX);
        for some in keys.chunks(READ_SUBJECTS_MAX) {
            let snapshot = read(some.to_vec()).await?;
            messages.extend(snapshot.messages);
            up_to = up_to.min(snapshot.up_to);
        }
        Ok((messages, up_to))
    }

    /// What every workflow listens to.
    pub async fn registrations(&self) -> Result<Vec<Kept<Registration>>, TriggerError> {
        Ok(self.trigger_records().await?.registrations)
    }

    /// Every schedule.
    pub async fn schedules(&self) -> Result<Vec<Kept<ScheduleRecord>>, TriggerError> {
        Ok(self.trigger_records().await?.schedules)
    }

    /// One schedule, as the leader knows it.
    pub async fn schedule(&self, workflow: &WorkflowName, name: &str) -> Result<Option<Kept<ScheduleRecord>>, TriggerError> {
        let key = schedule_key(workflow, name);
        let record = self.get_record(TRIGGERS, &key).await.map_err(TriggerError::Read)?;
        let Some(record) = record else { return Ok(None) };
        match wire::decode(&record.value) {
            Ok(value) => Ok(Some(Kept {
                revision: record.revision,
                time: record.time,
                value,
            })),
            Err(source) => Err(TriggerError::Undecodable { key, source }),
        }
    }
}

fn kept<T: DeserializeOwned>(key: &str, message: &Message) -> Result<Kept<T>, TriggerError> {
    match wire::decode(&message.payload) {
        Ok(value) => Ok(Kept {
            revision: message.sequence,
            time: message.time,
            value,
        }),
        Err(source) => Err(TriggerError::Undecodable {
            key: key.to_owned(),
            source,
        }),
    }
}
