//! Journal entries as the core takes them: decoded, with every value in memory.

use bytes::Bytes;
use everstep_common::digest::InputDigest;
use everstep_common::failure::Failure;
use everstep_common::ids::FunctionName;
use everstep_common::journal::{
    Attempt, Child, Entry, EntryKey, Inbound, InboundId, InboundKind, JournalEntry, Local, LocalKind, Start, StepResult,
};
use everstep_common::key::StepKey;
use everstep_common::payload::Payload;
use everstep_common::question::Reply;
use everstep_common::subscription::{EventPlace, Subscription};
use everstep_common::update::update_key;
use everstep_common::wire;
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
    /// Somebody outside moves the run: a cancel, a resume.
    In(Inbound),
    /// A value under a name reached the run from outside.
    Signal(Box<str>, Bytes),
    /// The next event of a subscription reached the run.
    Event(Box<Subscription>, EventPlace, Bytes),
    /// A request that the workflow is to answer reached the run from outside.
    Update {
        /// The caller's key for it, from which follows where its answer is recorded.
        key: StepKey,
        /// Under which name the workflow takes it.
        name: Box<str>,
        /// What is asked for.
        input: Bytes,
    },
    /// The run ended, or is purged: nothing that follows counts.
    End,
}

/// What is recorded under a step key.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// The outcome of a step, or of a child.
    Step {
        /// Which function it was of; for a child, its workflow.
        function: FunctionName,
        /// The digest of the function's input.
        digest: InputDigest,
        /// The value or the failure.
        result: Result<Bytes, Failure>,
    },
    /// A failed attempt of a step.
    Try(u32, Box<Attempt>),
    /// An execution of an attempt began; or, as a fence, none ever will.
    Begun {
        /// Which attempt.
        attempt: u32,
        /// Whether the orchestrator wrote it, so that none does.
        fence: bool,
    },
    /// What a closure brought.
    Local(LocalKind, Result<Bytes, Failure>),
    /// A timer fired.
    Timer,
    /// A child is named.
    Child(Box<Child>),
    /// Somebody replied to a question.
    Answer(Box<Answered>),
    /// A question is no longer asked.
    Withdrawn,
}

/// A reply to a question, with a large value in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// The id under which it stands.
    pub id: InboundId,
    /// Whose it is; empty if nobody says.
    pub by: String,
    /// The groups in which they are known to be.
    pub groups: Vec<String>,
    /// Why, for people to read.
    pub reason: Option<String>,
    /// What is replied.
    pub reply: Reply,
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
    let (key, record) = match (key, entry) {
        (EntryKey::Start, Entry::Start(start)) => {
            let input = value(&start.input, stored)?;
            return Some(EventBody::Start(Box::new(start), input));
        }
        (EntryKey::In(id), Entry::In(inbound)) => return from_outside(id, inbound, stored),
        (EntryKey::End, Entry::End(_)) | (EntryKey::Gone, Entry::Gone) => return Some(EventBody::End),
        (EntryKey::Step(key), Entry::Step(outcome)) => {
            let result = result(outcome.result, stored)?;
            (
                key,
                Record::Step {
                    function: outcome.function,
                    digest: outcome.digest,
                    result,
                },
            )
        }
        (EntryKey::Local(key), Entry::Local(local)) => (key, Record::Local(local.kind, result(local.result, stored)?)),
        (EntryKey::Try(key, number), Entry::Try(attempt)) => (key, Record::Try(*number, Box::new(attempt))),
        (EntryKey::Begun(key, attempt, _), Entry::Begun(begun)) => {
            let (attempt, fence) = (*attempt, begun.fence);
            (key, Record::Begun { attempt, fence })
        }
        (EntryKey::Timer(key), Entry::Timer(_)) => (key, Record::Timer),
        (EntryKey::Child(key), Entry::Child(child)) => (key, Record::Child(Box::new(child))),
        (key, entry) => unreachable!("entries are decoded by the kind of their key: {key} holds {entry:?}"),
    };
    Some(EventBody::About(key.clone(), record))
}

/// Under which key it is recorded which version a run is pinned to that was started without one.
pub(crate) fn version_key() -> StepKey {
    StepKey::from_path("version").as_own()
}

/// Under which key it is recorded on which side of a patch a run is.
pub(crate) fn patch_key(id: &str) -> StepKey {
    StepKey::from_path(&format!("patched({id})")).as_own()
}

/// Which marker is meant by a key under which one is recorded: they had keys that a workflow could ask for, too.
pub(crate) fn marker_key(recorded: StepKey) -> StepKey {
    if recorded.is_own() { recorded } else { recorded.as_own() }
}

/// What the marker of a patch holds.
pub(crate) fn side(is_new: bool) -> Bytes {
    wire::encode_value(&is_new).expect("a truth can be encoded")
}

/// What the marker of a version holds.
pub(crate) fn version(version: u32) -> Bytes {
    wire::encode_value(&version).expect("a number can be encoded")
}

/// The marker that an entry is, if it is one.
pub(crate) fn marker(entry: &JournalEntry) -> Option<(StepKey, LocalKind, Bytes)> {
    match (&entry.key, &entry.entry) {
        (
            EntryKey::Local(key),
            Entry::Local(Local {
                kind: kind @ (LocalKind::Patch | LocalKind::Version),
                result: StepResult::Value(Payload::Inline(value)),
            }),
        ) => Some((marker_key(key.clone()), *kind, value.clone())),
        _ => None,
    }
}

/// The version that a run is pinned to by a marker, if the entry is one.
pub fn pinned_version(entry: &JournalEntry) -> Option<u32> {
    let (key, _, value) = marker(entry).filter(|(_, kind, _)| *kind == LocalKind::Version)?;
    (key == version_key()).then(|| wire::decode_value(&value).ok()).flatten()
}

fn from_outside(id: &InboundId, inbound: Inbound, stored: Option<Bytes>) -> Option<EventBody> {
    Some(match inbound.kind {
        InboundKind::Cancel | InboundKind::Terminate | InboundKind::Resume { .. } => EventBody::In(inbound),
        InboundKind::Signal { name, value: payload } => EventBody::Signal(name.into(), value(&payload, stored)?),
        InboundKind::Event {
            what,
            place,
            value: payload,
        } => EventBody::Event(Box::new(what), place, value(&payload, stored)?),
        InboundKind::Update {
            ref name,
            input: ref payload,
        } => match update_key(id) {
            Some(key) => EventBody::Update {
                key,
                name: name.as_str().into(),
                input: value(payload, stored)?,
            },
            // Written by hand: there is no place for its answer, so nobody waits for one.
            None => EventBody::In(inbound),
        },
        InboundKind::Withdrawn { wait } => EventBody::About(wait, Record::Withdrawn),
        InboundKind::Answer { wait, reply, groups } => {
            let answered = Answered {
                id: id.clone(),
                by: inbound.by.unwrap_or_default(),
                groups,
                reason: inbound.reason,
                reply: reply.resolved(stored)?,
            };
            EventBody::About(wait, Record::Answer(Box::new(answered)))
        }
    })
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

#[cfg(test)]
mod tests {
    use everstep_common::ids::ProcessId;
    use everstep_common::journal::{Ended, RunOutcome, StepOutcome};
    use everstep_common::payload::StoredPayload;

    use super::*;

    fn check(key: &str, entry: Entry, stored: Option<&'static [u8]>, then: Option<EventBody>) {
        let entry = JournalEntry {
            sequence: 7,
            time: Timestamp::UNIX_EPOCH,
            key: key.parse().unwrap(),
            entry,
        };
        let event = Event::new(entry, stored.map(Bytes::from_static));
        assert_eq!(event.ok().map(|event| event.body), then, "{key}");
    }

    fn stored() -> Payload {
        Payload::Stored(StoredPayload {
            owner: "a".to_owned(),
            digest: "d".to_owned(),
            bytes: 300_000,
        })
    }

    #[test]
    fn a_value_stands_in_the_entry_or_must_be_brought() {
        let function = FunctionName::new("f").unwrap();
        let digest = InputDigest::of(b"");
        let by = ProcessId::new("worker-1").unwrap();
        let entry = |value| {
            let result = StepResult::Value(value);
            Entry::Step(StepOutcome {
                function: function.clone(),
                digest,
                result,
                attempt: 1,
                by: by.clone(),
                began: None,
            })
        };
        let about = |value: &'static [u8]| {
            let record = Record::Step {
                function: function.clone(),
                digest,
                result: Ok(Bytes::from_static(value)),
            };
            Some(EventBody::About(StepKey::from_path("a"), record))
        };
        check(
            "step.a",
            entry(Payload::Inline(Bytes::from_static(b"here"))),
            Some(b"not looked at"),
            about(b"here"),
        );
        check("step.a", entry(stored()), Some(b"there"), about(b"there"));
        check("step.a", entry(stored()), None, None);
        // The value of an end is nothing to the core, which has no use for what comes after it.
        check(
            "end",
            Entry::End(Ended {
                outcome: RunOutcome::Completed(stored()),
                by: by.clone(),
            }),
            None,
            Some(EventBody::End),
        );
        check("gone", Entry::Gone, None, Some(EventBody::End));
    }
}
