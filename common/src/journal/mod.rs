//! The journal: what a run's entries are called and what they say.
//!
//! The ordered set of its entries is the truth about a run. Every entry is created once, under a key that is a function of
//! the run's own history ([`EntryKey`]), and never replaced; the sequence in the partition's stream is the only clock.

mod begin;
mod end;
mod entry;
mod inside;
mod key;
mod step;
mod terms;
mod word;

use jiff::Timestamp;

use crate::wire;

pub use begin::{Child, Continued, Parent, Start};
pub use end::{Continuation, Ended, RunOutcome};
pub use entry::Entry;
pub use inside::{Fired, Local, LocalKind};
pub use key::{EntryKey, EntryKind, InboundId, InvalidEntryKey};
pub use step::{Attempt, AttemptError, Begun, StepOutcome, StepResult};
pub use terms::{BadTerms, RunTimer, StartTerms};
pub use word::{Inbound, InboundKind};

/// One stored entry.
///
/// ```
/// use everstep_common::journal::{Entry, JournalEntry, StepResult};
///
/// /// The steps of a run that failed, and how.
/// fn failures(history: &[JournalEntry]) -> Vec<String> {
///     let failed = history.iter().filter_map(|stored| match &stored.entry {
///         Entry::Step(outcome) => match &outcome.result {
///             StepResult::Failure(failure) => Some(format!("{} {}: {failure}", stored.time, outcome.function)),
///             StepResult::Value(_) => None,
///         },
///         _ => None,
///     });
///     failed.collect()
/// }
/// ```
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
    ///
    /// ```
    /// use everstep_common::journal::{Entry, EntryKey, Fired, JournalEntry};
    /// use everstep_common::key::StepKey;
    /// use jiff::Timestamp;
    ///
    /// let key = EntryKey::Timer(StepKey::from_path("sleep"));
    /// let fired = Entry::Timer(Fired { due: Timestamp::UNIX_EPOCH });
    /// let bytes = fired.encode().unwrap();
    /// let stored = JournalEntry::decode(&key, 7, Timestamp::UNIX_EPOCH, &bytes).unwrap();
    /// assert_eq!(stored.entry, fired);
    /// ```
    pub fn decode(key: &EntryKey, sequence: u64, time: Timestamp, bytes: &[u8]) -> Result<Self, wire::Error> {
        Ok(Self {
            sequence,
            time,
            key: key.clone(),
            entry: Entry::decode(key, bytes)?,
        })
    }
}
