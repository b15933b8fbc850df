//! The journal: what a run's entries are called and what they say.
//!
//! The ordered set of its entries is the truth about a run. Every entry is created once, under a key that is a function of
//! the run's own history ([`EntryKey`]), and never replaced; the sequence in the partition's stream is the only clock.

mod entry;
mod key;
mod terms;

use jiff::Timestamp;

use crate::wire;

pub use entry::{
    Attempt, AttemptError, Begun, Child, Continuation, Continued, Ended, Entry, Fired, Inbound, InboundKind, Local, LocalKind,
    Parent, RunOutcome, Start, StepOutcome, StepResult,
};
pub use key::{EntryKey, EntryKind, InboundId, InvalidEntryKey};
pub use terms::{BadTerms, RunTimer, StartTerms};

/// One stored entry.
#[derive(Clone, Debug, PartialEq)]
pub struct JournalEntry {
    /// Its place in the order of all entries of the partition.
    pub sequence: u64,
    /// When the server stored it.
    pub time: Timestamp,
    /// What it is called.
    pub key: EntryKey,
    /// What it says.
    pub entry: Entry,
}

impl JournalEntry {
    /// The entry that these bytes are, stored under `key`.
    pub fn decode(key: &EntryKey, sequence: u64, time: Timestamp, bytes: &[u8]) -> Result<Self, wire::Error> {
        Ok(Self {
            sequence,
            time,
            key: key.clone(),
            entry: Entry::decode(key, bytes)?,
        })
    }
}
