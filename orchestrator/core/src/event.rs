//! Journal entries as the core takes them: decoded, with every value in memory.

use bytes::Bytes;
use everstep_common::digest::InputDigest;
use everstep_common::failure::Failure;
use everstep_common::ids::FunctionName;
use everstep_common::journal::{Attempt, Entry, EntryKey, Inbound, JournalEntry, LocalKind, Start, StepResult};
use everstep_common::key::StepKey;
use everstep_common::payload::Payload;
use jiff::Timestamp;

/// One entry of a run's journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its place in the order of the partition.
    pub sequence: u64,
    /// When the server stored it.
    pub time: Timestamp,
    /// What it says.
    pub body: EventBody,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq)]
pub enum EventBody {
    /// The run begins, with its input in memory.
    Start(Box<Start>, Bytes),
    /// Something is recorded under a key of the run's own.
    About(StepKey, Record),
    /// Something reached the run from outside.
    In(Inbound),
    /// The run ended, or is purged: nothing that follows counts.
    End,
}

/// What is recorded under a step key.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// The outcome of a step.
    Step {
        /// Which function it was of.
        function: FunctionName,
        /// The digest of the function's input.
        digest: InputDigest,
        /// The value or the failure.
        result: Result<Bytes, Failure>,
    },
    /// A failed attempt of a step.
    Try(u32, Box<Attempt>),
    /// An execution of an attempt began.
    Begun(u32),
    /// What a closure brought.
    Local(LocalKind, Result<Bytes, Failure>),
    /// A timer fired.
    Timer,
}

/// An entry whose value stands elsewhere was given without it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value of entry {key} stands in the payload stream and was not read")]
pub struct MissingPayload {
    key: String,
}

impl Event {
    /// The event of a journal entry. `stored` is the value that [`Entry::payload`] refers to, if it stands in the payload
    /// stream; it is not looked at otherwise.
    pub fn new(entry: JournalEntry, stored: Option<Bytes>) -> Result<Self, MissingPayload> {
        let JournalEntry {
            sequence,
            time,
            key,
            entry,
        } = entry;
        let body = body(&key, entry, stored).ok_or_else(|| MissingPayload { key: key.to_string() })?;
        Ok(Self { sequence, time, body })
    }
}

fn body(key: &EntryKey, entry: Entry, stored: Option<Bytes>) -> Option<EventBody> {
    let about = |record| key.step().map(|key| EventBody::About(key.clone(), record));
    match (entry, key) {
        (Entry::Start(start), _) => {
            let input = value(&start.input, stored)?;
            Some(EventBody::Start(Box::new(start), input))
        }
        (Entry::Step(outcome), _) => {
            let result = result(outcome.result, stored)?;
            about(Record::Step {
                function: outcome.function,
                digest: outcome.digest,
                result,
            })
        }
        (Entry::Local(local), _) => about(Record::Local(local.kind, result(local.result, stored)?)),
        (Entry::Try(attempt), EntryKey::Try(_, number)) => about(Record::Try(*number, Box::new(attempt))),
        (Entry::Begun(_), EntryKey::Begun(_, attempt, _)) => about(Record::Begun(*attempt)),
        (Entry::Timer(_), _) => about(Record::Timer),
        (Entry::In(inbound), _) => Some(EventBody::In(inbound)),
        (Entry::End(_) | Entry::Gone, _) => Some(EventBody::End),
        (Entry::Try(_) | Entry::Begun(_), _) => unreachable!("entries are decoded by the kind of their key"),
    }
}

fn value(payload: &Payload, stored: Option<Bytes>) -> Option<Bytes> {
    match payload {
        Payload::Inline(value) => Some(value.clone()),
        Payload::Stored(_) => stored,
    }
}

fn result(result: StepResult, stored: Option<Bytes>) -> Option<Result<Bytes, Failure>> {
    match result {
        StepResult::Value(payload) => value(&payload, stored).map(Ok),
        StepResult::Failure(failure) => Some(Err(failure)),
    }
}
