//! Reading a run's journal whole, with its large values, as a replay wants it.

use bytes::Bytes;
use everstep_common::ids::{RunId, WorkflowName};
use everstep_common::journal::{Entry, EntryKey, InboundKind, JournalEntry, RunOutcome, RunTimer, Start};
use everstep_common::payload::Payload;
use everstep_common::store::{RUNS, ReadAt, ReadRunError, Store};
use everstep_common::wire;
use jiff::Timestamp;

use super::slots::About;

/// The workflow that a summary names when nothing readable does.
const UNKNOWN_WORKFLOW: &str = "unknown";

/// A run's entries in stream order, each with the value it refers to.
pub(crate) struct Journal {
    pub entries: Vec<(JournalEntry, Option<Bytes>)>,
    /// The sequence up to which this is all.
    pub until: u64,
}

/// Why a journal was not read.
pub(crate) enum Unread {
    /// Not answered, however often asked: ask again.
    Unavailable(ReadRunError),
    /// This build cannot read it; what is known of the run nevertheless.
    Unreadable(ReadRunError, Box<About>),
}

impl Journal {
    /// The sequence of the newest entry.
    pub(crate) fn head(&self) -> Option<u64> {
        self.entries.last().map(|(entry, _)| entry.sequence)
    }

    /// How the run was started, and when.
    pub(crate) fn start(&self) -> Option<(&Start, Timestamp)> {
        match self.entries.first() {
            Some((entry, _)) => match &entry.entry {
                Entry::Start(start) => Some((start, entry.time)),
                _ => None,
            },
            None => None,
        }
    }

    /// How the run ended, by which entry and when.
    pub(crate) fn end(&self) -> Option<(RunOutcome, u64, Timestamp)> {
        self.entries.iter().find_map(|(entry, _)| match &entry.entry {
            Entry::End(ended) => Some((ended.outcome.clone(), entry.sequence, entry.time)),
            _ => None,
        })
    }

    /// The entry by which the run began; nothing if its time is yet to come.
    pub(crate) fn began(&self) -> Option<u64> {
        let (start, _) = self.start()?;
        let began = match start.terms.delay {
            Some(_) => EntryKey::Timer(RunTimer::Begin.key()),
            None => EntryKey::Start,
        };
        let began = self.entries.iter().find(|(entry, _)| entry.key == began);
        began.map(|(entry, _)| entry.sequence)
    }

    /// Whether the run was given a place under the limit of its workflow.
    pub(crate) fn has_place(&self) -> bool {
        let place = EntryKey::Timer(RunTimer::Place.key());
        self.entries.iter().any(|(entry, _)| entry.key == place)
    }

    /// Whether the run was asked to cancel.
    pub(crate) fn is_cancelling(&self) -> bool {
        let mut entries = self.entries.iter().map(|(entry, _)| &entry.entry);
        entries.any(|entry| matches!(entry, Entry::In(inbound) if inbound.kind == InboundKind::Cancel))
    }
}

/// Reads a run's journal and the values it refers to.
pub(crate) async fn read(store: &Store, run: &RunId, at: ReadAt) -> Result<Journal, Unread> {
    let (ReadAt::Entry(until) | ReadAt::AtLeast(until)) = at;
    complete(store, run, store.read_run(run, at).await, until).await
}

/// Adds the values that the entries of a run refer to; `until` is the sequence up to which these are all.
pub(crate) async fn complete(
    store: &Store,
    run: &RunId,
    entries: Result<Vec<JournalEntry>, ReadRunError>,
    until: u64,
) -> Result<Journal, Unread> {
    let with_values = match entries {
        Ok(entries) => with_values(store, run, entries).await,
        Err(error) => Err(error),
    };
    match with_values {
        Ok(entries) => Ok(Journal { entries, until }),
        Err(error @ ReadRunError::Unavailable { .. }) => Err(Unread::Unavailable(error)),
        Err(error) => Err(Unread::Unreadable(error, Box::new(known(store, run).await))),
    }
}

async fn with_values(
    store: &Store,
    run: &RunId,
    read: Vec<JournalEntry>,
) -> Result<Vec<(JournalEntry, Option<Bytes>)>, ReadRunError> {
    let mut entries = Vec::with_capacity(read.len());
    for entry in read {
        let value = match entry.entry.payload() {
            Some(payload @ Payload::Stored(_)) => {
                let value = store.get_payload(run, payload).await;
                Some(value.map_err(|error| ReadRunError::Undecodable {
                    run: run.clone(),
                    key: entry.key.to_string(),
                    source: wire::Error::Malformed(error.to_string()),
                })?)
            }
            _ => None,
        };
        entries.push((entry, value));
    }
    Ok(entries)
}

/// What is known of a run whose journal cannot be read: by its start, else by its summary.
async fn known(store: &Store, run: &RunId) -> About {
    if let Ok(Some(entry)) = store.read_entry(run, &EntryKey::Start).await
        && let Entry::Start(start) = &entry.entry
    {
        return About::new(start, start.version, entry.time);
    }
    let summary = store.get_record(RUNS, run.as_str()).await.ok().flatten();
    match summary.and_then(|record| wire::decode(&record.value).ok()) {
        Some(summary) => About::of(summary),
        None => About {
            priority: 0,
            limit_key: None,
            continues: None,
            workflow: WorkflowName::new(UNKNOWN_WORKFLOW).expect("a name"),
            version: None,
            started: Timestamp::UNIX_EPOCH,
            since: Timestamp::UNIX_EPOCH,
            tags: Default::default(),
            traceparent: None,
            parent: None,
        },
    }
}
