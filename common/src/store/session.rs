//! The values that runs of a session share: read by anybody, written by compare-and-set, and the questions that a writer asks the journal.

use std::collections::BTreeSet;

use bytes::Bytes;
use jiff::Timestamp;

use super::read::ReadRunError;
use super::{PayloadError, PutError, ReadAt, SESSIONS, Store};
use crate::ids::{Partition, RunId};
use crate::journal::EntryKey;
use crate::key::StepKey;
use crate::limits::SESSION_MARK_BYTES_MAX;
use crate::payload::Payload;
use crate::ports::{GetLast, ReadError};
use crate::session::SessionRecord;
use crate::wire;
use futures::TryStreamExt;

/// Entries looked for in one request: each may hold 256 KiB, and an answer 64 MiB.
const ENTRIES_PER_READ: usize = 100;

/// A value of a session as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionValue {
    /// Its record.
    pub record: SessionRecord,
    /// The record's revision, 0 if there is none yet.
    pub revision: u64,
    /// When it was last written, by the server's clock; absent if it never was.
    pub written: Option<Timestamp>,
}

/// Why the values of a session could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The server gave no answer that counts.
    #[error("reading session {session:?}: {source}")]
    Read {
        /// The session.
        session: String,
        /// Why.
        source: ReadError,
    },
    /// A record that this build cannot read.
    #[error("value {key} of session {session:?} cannot be read by this build: {source}")]
    Undecodable {
        /// The session.
        session: String,
        /// Which.
        key: String,
        /// What is wrong with it.
        source: wire::Error,
    },
}

impl Store {
    /// A value of a session, from the leader.
    pub async fn session_value(&self, session: &str, key: &str) -> Result<SessionValue, SessionError> {
        let read = self.get_record(SESSIONS, &self.names().session_value(session, key)).await;
        let found = read.map_err(|source| SessionError::Read {
            session: session.to_owned(),
            source,
        })?;
        let Some(found) = found else {
            return Ok(SessionValue {
                record: SessionRecord::absent(session, key),
                revision: 0,
                written: None,
            });
        };
        Ok(SessionValue {
            record: decode(session, key, &found.value)?,
            revision: found.revision,
            written: Some(found.time),
        })
    }

    /// Every value of a session that is set, by name, from the leader.
    pub async fn session_values(&self, session: &str) -> Result<Vec<SessionValue>, SessionError> {
        let failed = |source| SessionError::Read {
            session: session.to_owned(),
            source,
        };
        let stream = self.names().bucket_stream(SESSIONS);
        let filter = self.names().bucket_key(SESSIONS, &self.names().session_values(session));
        let request = GetLast {
            stream: stream.clone(),
            subjects: vec![filter.clone()],
            up_to: None,
            leader: true,
        };
        let messages = match self.broker().get_last(request).await {
            Ok(snapshot) => snapshot.messages,
            Err(ReadError::TooMany) => {
                let all = self.broker().scan(&stream, &filter, None);
                all.try_collect().await.map_err(failed)?
            }
            Err(error) => return Err(failed(error)),
        };
        let mut values = Vec::with_capacity(messages.len());
        for message in messages {
            let record: SessionRecord = decode(session, &message.subject, &message.payload)?;
            if record.value.is_some() {
                values.push(SessionValue {
                    record,
                    revision: message.sequence,
                    written: Some(message.time),
                });
            }
        }
        values.sort_by(|one, other| one.record.key.cmp(&other.record.key));
        Ok(values)
    }

    /// How many names the session has used, set or deleted.
    pub async fn session_names(&self, session: &str) -> Result<usize, ReadError> {
        let stream = self.names().bucket_stream(SESSIONS);
        let filter = self.names().bucket_key(SESSIONS, &self.names().session_values(session));
        Ok(self.broker().subjects(&stream, &filter).await?.len())
    }

    /// Writes a value if its revision is still `expected`; its new revision.
    pub async fn put_session_value(&self, record: &SessionRecord, expected: u64) -> Result<u64, PutError> {
        let key = self.names().session_value(&record.session, &record.key);
        let value = wire::encode(record).map_err(|error| PutError::Rejected(error.to_string()))?;
        self.put_record(SESSIONS, &key, value, expected).await
    }

    /// What a mark is to hold for the result of a write of `run`: itself if it is small.
    pub async fn put_mark(&self, run: &RunId, step: &StepKey, result: Bytes) -> Result<Payload, PayloadError> {
        if result.len() <= SESSION_MARK_BYTES_MAX {
            return Ok(Payload::Inline(result));
        }
        self.put_stored(run, step.token(), result).await
    }

    /// Which of these entries of one partition stand in the journal, and no replica's word for it that the others do not: the answer speaks
    /// of all that the stream held when this was asked for.
    pub async fn which_stand(
        &self,
        partition: Partition,
        entries: &[(RunId, EntryKey)],
    ) -> Result<BTreeSet<(RunId, EntryKey)>, ReadRunError> {
        let mut standing = BTreeSet::new();
        let Some((first, _)) = entries.first() else {
            return Ok(standing);
        };
        debug_assert!(entries.iter().all(|(run, _)| run.partition() == partition));
        let last = self.last_sequence(first).await?;
        for some in entries.chunks(ENTRIES_PER_READ) {
            let subjects = some.iter().map(|(run, key)| self.names().entry(run, key)).collect();
            let answer = self.read_each(partition, subjects, ReadAt::AtLeast(last)).await;
            let messages = answer.map_err(|source| ReadRunError::Unavailable {
                run: first.clone(),
                source,
            })?;
            let found = messages
                .into_iter()
                .filter_map(|message| self.names().parse_entry(&message.subject));
            standing.extend(found);
        }
        Ok(standing)
    }
}

fn decode(session: &str, key: &str, bytes: &[u8]) -> Result<SessionRecord, SessionError> {
    wire::decode(bytes).map_err(|source| SessionError::Undecodable {
        session: session.to_owned(),
        key: key.to_owned(),
        source,
    })
}
