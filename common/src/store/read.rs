//! Reading a run's journal so that the answer proves itself complete.
//!
//! Any replica may answer and may be behind, and an answer may be cut. A read for an entry that the feed has brought counts only if it
//! contains that very entry; a read that no entry triggered counts only if it speaks of the feed's position or a later one.

use super::{Backoff, Store};
use crate::ids::{InvalidId, Partition, RunId};
use crate::journal::{EntryKey, JournalEntry};
use crate::ports::{GetLast, Message, ReadError, Snapshot};
use crate::wire;

/// How many answers of replicas are weighed before the leader is asked.
const REPLICA_TRIES: u32 = 3;

/// How often an unanswered read is tried in all: about 30 s.
const TRIES_MAX: u32 = 125;

/// As of when a journal is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadAt {
    /// As it stood when the entry with this sequence, which is one of its own, was stored.
    Entry(u64),
    /// As it stands at this sequence of the partition or later.
    AtLeast(u64),
}

/// Why a journal could not be read.
///
/// ```
/// use everstep_common::store::ReadRunError;
///
/// /// Whether another version of the program can read it.
/// fn needs_an_upgrade(error: &ReadRunError) -> bool {
///     matches!(error, ReadRunError::Undecodable { .. })
/// }
/// ```
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadRunError {
    /// No complete answer, however often asked.
    #[error("reading the journal of run {run}")]
    Unavailable {
        /// The run.
        run: RunId,
        /// The last answer.
        source: ReadError,
    },
    /// An entry that this build cannot read.
    #[error("reading entry {key} of run {run}")]
    Undecodable {
        /// The run.
        run: RunId,
        /// The entry.
        key: String,
        /// What is wrong with it.
        source: wire::Error,
    },
    /// A subject in the run's place that names no entry.
    #[error("run {run} holds {subject:?}, which is not a journal entry")]
    Foreign {
        /// The run.
        run: RunId,
        /// The subject.
        subject: String,
    },
    /// The run id is none.
    #[error(transparent)]
    Id(#[from] InvalidId),
}

impl Store {
    /// All entries of a run in stream order; empty if there are none.
    pub async fn read_run(&self, run: &RunId, at: ReadAt) -> Result<Vec<JournalEntry>, ReadRunError> {
        let filter = self.names().run_filter(run);
        let messages = self.read_complete(run, filter, at).await?;
        messages.into_iter().map(|message| self.decode_entry(run, message)).collect()
    }

    /// The same of several runs of one partition by one question, as of a sequence or later, each with an outcome of its own. Fails with
    /// [`ReadError::TooMany`] if one answer does not hold them: then ask for fewer.
    pub async fn read_runs(
        &self,
        runs: &[RunId],
        at_least: u64,
    ) -> Result<Vec<Result<Vec<JournalEntry>, ReadRunError>>, ReadError> {
        let Some(first) = runs.first() else {
            return Ok(Vec::new());
        };
        let filters: Vec<String> = runs.iter().map(|run| self.names().run_filter(run)).collect();
        let mut found: Vec<Vec<Message>> = runs.iter().map(|_| Vec::new()).collect();
        for message in self
            .read_each(first.partition(), filters.clone(), ReadAt::AtLeast(at_least))
            .await?
        {
            let is_of = |filter: &String| message.subject.starts_with(filter.trim_end_matches('>'));
            if let Some(place) = filters.iter().position(is_of) {
                found[place].push(message);
            }
        }
        let decode =
            |(run, messages): (&RunId, Vec<Message>)| messages.into_iter().map(|message| self.decode_entry(run, message)).collect();
        Ok(runs.iter().zip(found).map(decode).collect())
    }

    /// All entries of a run, and no replica's word for it that there are no more: the answer speaks of all that the stream held when this was
    /// asked for, as its leader knows it.
    pub async fn read_run_now(&self, run: &RunId) -> Result<Vec<JournalEntry>, ReadRunError> {
        let last = self.last_sequence(run).await?;
        self.read_run(run, ReadAt::AtLeast(last)).await
    }

    /// One entry, as of now; `None` if it is not there as far as a single read can tell (which proves nothing).
    pub async fn read_entry(&self, run: &RunId, key: &EntryKey) -> Result<Option<JournalEntry>, ReadRunError> {
        let subject = self.names().entry(run, key);
        let messages = self.read_complete(run, subject, ReadAt::AtLeast(0)).await?;
        messages
            .into_iter()
            .next()
            .map(|message| self.decode_entry(run, message))
            .transpose()
    }

    /// One entry; `None` only if it was not there when this was asked for: the answer then speaks of all that the stream held.
    pub async fn find_entry(&self, run: &RunId, key: &EntryKey) -> Result<Option<JournalEntry>, ReadRunError> {
        if let Some(entry) = self.read_entry(run, key).await? {
            return Ok(Some(entry));
        }
        let last = self.last_sequence(run).await?;
        let subject = self.names().entry(run, key);
        let messages = self.read_complete(run, subject, ReadAt::AtLeast(last)).await?;
        let message = messages.into_iter().next();
        message.map(|message| self.decode_entry(run, message)).transpose()
    }

    /// Whether the run had ended when this entry of its own was stored.
    pub async fn had_ended(&self, run: &RunId, entry: &EntryKey, sequence: u64) -> Result<bool, ReadRunError> {
        let end = self.names().entry(run, &EntryKey::End);
        let subjects = vec![self.names().entry(run, entry), end.clone()];
        let answer = self.read_each(run.partition(), subjects, ReadAt::Entry(sequence)).await;
        let messages = answer.map_err(|source| ReadRunError::Unavailable {
            run: run.clone(),
            source,
        })?;
        Ok(messages.iter().any(|message| message.subject == end))
    }

    /// The end of the run's stream as its leader knows it.
    pub(super) async fn last_sequence(&self, run: &RunId) -> Result<u64, ReadRunError> {
        let stream = self.names().journal_stream(run.partition());
        let mut backoff = Backoff::new();
        let mut tries = 0;
        loop {
            let source = match self.broker().stream_info(&stream).await {
                Ok(Some(info)) => return Ok(info.last_sequence),
                Ok(None) => ReadError::NoStream,
                Err(error) => error,
            };
            tries += 1;
            if tries >= TRIES_MAX || matches!(source, ReadError::Rejected(_) | ReadError::NoStream) {
                return Err(ReadRunError::Unavailable {
                    run: run.clone(),
                    source,
                });
            }
            self.clock().sleep(backoff.delay()).await;
        }
    }

    /// Reads a stored message as an entry of `run`.
    pub fn decode_entry(&self, run: &RunId, message: Message) -> Result<JournalEntry, ReadRunError> {
        let Some((_, key)) = self.names().parse_entry(&message.subject) else {
            return Err(ReadRunError::Foreign {
                run: run.clone(),
                subject: message.subject,
            });
        };
        JournalEntry::decode(&key, message.sequence, message.time, &message.payload).map_err(|source| ReadRunError::Undecodable {
            run: run.clone(),
            key: key.to_string(),
            source,
        })
    }

    async fn read_complete(&self, run: &RunId, filter: String, at: ReadAt) -> Result<Vec<Message>, ReadRunError> {
        let answer = self.read_each(run.partition(), vec![filter], at).await;
        answer.map_err(|source| ReadRunError::Unavailable {
            run: run.clone(),
            source,
        })
    }

    /// The last messages of several subjects in the journal of a partition.
    pub(super) async fn read_each(
        &self,
        partition: Partition,
        subjects: Vec<String>,
        at: ReadAt,
    ) -> Result<Vec<Message>, ReadError> {
        let stream = self.names().journal_stream(partition);
        let up_to = match at {
            ReadAt::Entry(sequence) => Some(sequence),
            ReadAt::AtLeast(_) => None,
        };
        let mut backoff = Backoff::new();
        let mut tries = 0;
        loop {
            let leader = tries >= REPLICA_TRIES;
            let request = GetLast {
                stream: stream.clone(),
                subjects: subjects.clone(),
                up_to,
                leader,
            };
            let answer = match (self.broker().get_last(request).await, subjects.as_slice()) {
                (Err(ReadError::TooMany), [filter]) => self.broker().get_all(&stream, filter, up_to).await,
                (answer, _) => answer,
            };
            let is_final = |error: &ReadError| match error {
                ReadError::Rejected(_) | ReadError::NoStream => true,
                ReadError::TooMany => subjects.len() > 1,
                ReadError::Unavailable(_) => false,
            };
            let failed = match answer {
                Ok(snapshot) if is_proven(&snapshot, at) => return Ok(snapshot.messages),
                Ok(_) => ReadError::Unavailable("the answer is older than what is known".into()),
                Err(error) => error,
            };
            tries += 1;
            if tries >= TRIES_MAX || is_final(&failed) {
                return Err(failed);
            }
            self.clock().sleep(backoff.delay()).await;
        }
    }
}

fn is_proven(snapshot: &Snapshot, at: ReadAt) -> bool {
    match at {
        ReadAt::Entry(sequence) => snapshot.messages.iter().any(|message| message.sequence == sequence),
        ReadAt::AtLeast(sequence) => snapshot.up_to >= sequence,
    }
}
