//! Reads of the last message of each subject, at any position, by a replica that may be behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use everstep_common::ports::{Message, ReadError, Snapshot};

use super::any_matches;
use super::store::Stream;

/// Subjects that one answer speaks of at most.
const ANSWER_SUBJECTS_MAX: usize = 1_000;

/// Bytes that one answer holds at most; the server cuts there in silence.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

impl Stream {
    /// The last message of each matching subject as of `up_to`, answered by a replica that is so many changes behind.
    pub(crate) fn get_last(&self, subjects: &[String], up_to: Option<u64>, behind: usize) -> Result<Snapshot, ReadError> {
        if subjects.is_empty() || subjects.len() > ANSWER_SUBJECTS_MAX {
            return Err(ReadError::Rejected(format!(
                "1 to {ANSWER_SUBJECTS_MAX} subjects are read at once, not {}",
                subjects.len()
            )));
        }
        if behind > 0 {
            return self.get_last_behind(subjects, up_to, behind);
        }
        let horizon = position_of_answer(up_to, self.last_sequence)?;
        let sequences: BTreeSet<u64> = subjects
            .iter()
            .flat_map(|filter| self.subjects_matching(filter))
            .filter_map(|(_, sequences)| sequences.range(..=horizon).next_back().copied())
            .collect();
        let messages = sequences
            .into_iter()
            .filter_map(|sequence| self.get(sequence))
            .map(Arc::as_ref)
            .cloned()
            .collect();
        answer(messages, horizon)
    }

    fn get_last_behind(&self, subjects: &[String], up_to: Option<u64>, behind: usize) -> Result<Snapshot, ReadError> {
        let (held, position) = self.replica(behind);
        let horizon = position_of_answer(up_to, position)?;
        let mut last: BTreeMap<&str, &Arc<Message>> = BTreeMap::new();
        for message in held
            .iter()
            .filter(|message| message.sequence <= horizon && any_matches(subjects, &message.subject))
        {
            last.insert(&message.subject, message);
        }
        let mut messages: Vec<Message> = last.into_values().map(Arc::as_ref).cloned().collect();
        messages.sort_by_key(|message| message.sequence);
        answer(messages, horizon)
    }
}

/// What position the answer speaks of; a replica that has not come so far says 404.
fn position_of_answer(up_to: Option<u64>, position: u64) -> Result<u64, ReadError> {
    match up_to {
        Some(up_to) if up_to > position => Err(ReadError::Unavailable("404: the replica is behind".into())),
        Some(up_to) => Ok(up_to),
        None => Ok(position),
    }
}

fn answer(messages: Vec<Message>, up_to: u64) -> Result<Snapshot, ReadError> {
    let bytes: usize = messages.iter().map(|message| message.payload.len()).sum();
    if messages.len() > ANSWER_SUBJECTS_MAX || bytes > ANSWER_BYTES_MAX {
        return Err(ReadError::TooMany);
    }
    Ok(Snapshot { messages, up_to })
}
