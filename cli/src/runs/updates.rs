//! The updates of a run, as its journal tells of them.

use everstep::journal::{Entry, EntryKey, InboundKind, JournalEntry};
use everstep_common::key::StepKey;
use everstep_common::update::{UpdateVerdict, answer_key, update_key};
use jiff::Timestamp;
use serde::Serialize;

/// One update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Update {
    /// The caller's key for it.
    pub key: String,
    /// Under which name the workflow takes it.
    pub name: String,
    /// Since when it stands in the journal.
    pub asked: Timestamp,
    /// When it was answered.
    pub answered: Option<Timestamp>,
    /// What came of it: done, rejected or failed.
    pub verdict: Option<String>,
}

/// Every update of a run, in the order asked.
pub(crate) fn of_run(journal: &[JournalEntry]) -> Vec<Update> {
    journal.iter().filter_map(|entry| of_entry(entry, journal)).collect()
}

fn of_entry(asked: &JournalEntry, journal: &[JournalEntry]) -> Option<Update> {
    let (EntryKey::In(id), Entry::In(inbound)) = (&asked.key, &asked.entry) else {
        return None;
    };
    let InboundKind::Update { name, .. } = &inbound.kind else {
        return None;
    };
    let key = update_key(id)?;
    let answer = answer(&key, journal);
    Some(Update {
        key: key.to_string(),
        name: name.clone(),
        asked: asked.time,
        answered: answer.map(|(at, _)| at),
        verdict: answer.map(|(_, verdict)| verdict.to_string()),
    })
}

/// When it was answered, and how. What stands after the end counts for nobody.
fn answer(update: &StepKey, journal: &[JournalEntry]) -> Option<(Timestamp, UpdateVerdict)> {
    let key = EntryKey::Local(answer_key(update));
    let before_the_end = journal.iter().take_while(|entry| entry.key != EntryKey::End);
    let answer = before_the_end.into_iter().find(|entry| entry.key == key)?;
    match &answer.entry {
        Entry::Local(local) => Some((answer.time, UpdateVerdict::of(&local.result))),
        _ => None,
    }
}
