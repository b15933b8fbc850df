//! What entries say. Their shape on the wire is kept for ever: fields may be added with a default, none renamed or removed.

use bytes::Bytes;

use super::{
    Attempt, Begun, Child, Continuation, Ended, EntryKey, EntryKind, Fired, Inbound, InboundKind, Local, RunOutcome, Start,
    StepOutcome, StepResult,
};
use crate::payload::Payload;
use crate::question::Reply;
use crate::wire;

/// What one entry says.
///
/// ```
/// use everstep_common::journal::Entry;
///
/// /// What of it is told to people who never saw the code.
/// fn told(entry: &Entry) -> Option<&'static str> {
///     match entry {
///         Entry::Start(_) => Some("begun"),
///         Entry::Step(_) => Some("a step is done"),
///         Entry::End(_) => Some("over"),
///         _ => None,
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// Under [`EntryKey::Start`].
    Start(Start),
    /// Under [`EntryKey::Step`].
    Step(StepOutcome),
    /// Under [`EntryKey::Try`].
    Try(Attempt),
    /// Under [`EntryKey::Begun`].
    Begun(Begun),
    /// Under [`EntryKey::Local`].
    Local(Local),
    /// Under [`EntryKey::Timer`].
    Timer(Fired),
    /// Under [`EntryKey::Child`].
    Child(Child),
    /// Under [`EntryKey::In`].
    In(Inbound),
    /// Under [`EntryKey::End`].
    End(Ended),
    /// Under [`EntryKey::Gone`].
    Gone,
}

impl Entry {
    /// The bytes stored under the entry's key.
    ///
    /// ```
    /// use everstep_common::journal::{Entry, EntryKey};
    ///
    /// let bytes = Entry::Gone.encode().unwrap();
    /// assert_eq!(Entry::decode(&EntryKey::Gone, &bytes).unwrap(), Entry::Gone);
    /// ```
    pub fn encode(&self) -> Result<Bytes, wire::Error> {
        match self {
            Self::Start(start) => wire::encode(start),
            Self::Step(outcome) => wire::encode(outcome),
            Self::Try(attempt) => wire::encode(attempt),
            Self::Begun(begun) => wire::encode(begun),
            Self::Local(local) => wire::encode(local),
            Self::Timer(fired) => wire::encode(fired),
            Self::Child(child) => wire::encode(child),
            Self::In(inbound) => wire::encode(inbound),
            Self::End(ended) => wire::encode(ended),
            Self::Gone => wire::encode(&()),
        }
    }

    /// What the bytes stored under `key` say.
    ///
    /// ```
    /// use everstep_common::journal::{Entry, EntryKey};
    ///
    /// assert!(Entry::decode(&EntryKey::Start, b"no entry").is_err());
    /// ```
    pub fn decode(key: &EntryKey, bytes: &[u8]) -> Result<Self, wire::Error> {
        Ok(match key.kind() {
            EntryKind::Start => Self::Start(wire::decode(bytes)?),
            EntryKind::Step => Self::Step(wire::decode(bytes)?),
            EntryKind::Try => Self::Try(wire::decode(bytes)?),
            EntryKind::Begun => Self::Begun(wire::decode(bytes)?),
            EntryKind::Local => Self::Local(wire::decode(bytes)?),
            EntryKind::Timer => Self::Timer(wire::decode(bytes)?),
            EntryKind::Child => Self::Child(wire::decode(bytes)?),
            EntryKind::In => Self::In(wire::decode(bytes)?),
            EntryKind::End => Self::End(wire::decode(bytes)?),
            EntryKind::Gone => Self::Gone,
        })
    }

    /// The value by reference that the entry holds, if any.
    ///
    /// ```
    /// use everstep_common::journal::Entry;
    ///
    /// assert_eq!(Entry::Gone.payload(), None);
    /// ```
    pub fn payload(&self) -> Option<&Payload> {
        match self {
            Self::Start(start) => Some(&start.input),
            Self::Step(StepOutcome {
                result: StepResult::Value(value),
                ..
            })
            | Self::Local(Local {
                result: StepResult::Value(value),
                ..
            })
            | Self::End(Ended {
                outcome: RunOutcome::Completed(value) | RunOutcome::Continued(Continuation { input: value, .. }),
                ..
            })
            | Self::In(Inbound {
                kind:
                    InboundKind::Signal { value, .. }
                    | InboundKind::Event { value, .. }
                    | InboundKind::Update { input: value, .. }
                    | InboundKind::Answer {
                        reply: Reply::Value(value),
                        ..
                    },
                ..
            }) => Some(value),
            _ => None,
        }
    }
}
