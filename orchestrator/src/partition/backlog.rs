//! Entries that the feed has brought and no run has taken yet.
//!
//! Within a run the order of the stream holds. Between runs, those with something from outside go first, then those with results, then
//! new ones: a flood of starts delays no cancel.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use everstep_common::ids::RunId;
use everstep_common::journal::{EntryKey, EntryKind, JournalEntry};
use everstep_common::store::ReadRunError;
use jiff::Timestamp;

/// An entry as the feed brought it, not decoded yet.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub key: EntryKey,
    pub sequence: u64,
    pub time: Timestamp,
    pub payload: Bytes,
}

impl Arrived {
    pub(crate) fn entry(&self, run: &RunId) -> Result<JournalEntry, ReadRunError> {
        JournalEntry::decode(&self.key, self.sequence, self.time, &self.payload).map_err(|source| ReadRunError::Undecodable {
            run: run.clone(),
            key: self.key.to_string(),
            source,
        })
    }
}

/// Entries that wait with their bodies in memory; beyond it starts wait by name only.
const WHOLE_ENTRIES_MAX: usize = 20_000;

#[derive(Debug, Default)]
pub(crate) struct Backlog {
    runs: HashMap<RunId, Queue>,
    /// Runs that are ready to be driven, by class. A run may stand in several; stale ones are skipped.
    ready: [VecDeque<RunId>; CLASSES],
    entries: usize,
}

#[derive(Debug, Default)]
struct Queue {
    entries: VecDeque<Arrived>,
    /// How many of them are of each class.
    counts: [usize; CLASSES],
    /// Set while the run is being loaded or its next entry's value is being fetched: nothing is taken from it.
    blocked: bool,
    /// The best class it stands in.
    class: Option<usize>,
}

/// In how many classes entries fall.
const CLASSES: usize = 3;

fn class(kind: EntryKind) -> usize {
    match kind {
        EntryKind::In => 0,
        EntryKind::Start | EntryKind::Gone => 2,
        _ => 1,
    }
}

impl Backlog {
    /// An entry has come. In a flood the bodies of starts are left out; such a run is read back when its turn comes.
    pub(crate) fn push(&mut self, run: RunId, mut arrived: Arrived) {
        if self.entries >= WHOLE_ENTRIES_MAX && arrived.key.kind() == EntryKind::Start {
            arrived.payload = Bytes::new();
        }
        let class = class(arrived.key.kind());
        let queue = self.runs.entry(run.clone()).or_default();
        queue.entries.push_back(arrived);
        queue.counts[class] += 1;
        self.entries += 1;
        if !queue.blocked && queue.class.is_none_or(|known| class < known) {
            queue.class = Some(class);
            self.ready[class].push_back(run);
        }
    }

    /// The next entry of the most urgent run that is not blocked.
    pub(crate) fn pop(&mut self) -> Option<(RunId, Arrived)> {
        for class in 0..self.ready.len() {
            while let Some(run) = self.ready[class].pop_front() {
                let Some(queue) = self.runs.get_mut(&run) else { continue };
                if queue.blocked || queue.class != Some(class) {
                    continue;
                }
                let Some(arrived) = queue.entries.pop_front() else { continue };
                queue.counts[self::class(arrived.key.kind())] -= 1;
                self.entries -= 1;
                self.requeue(&run);
                return Some((run, arrived));
            }
        }
        None
    }

    /// Puts an entry back at the head of its run, which is blocked until [`Backlog::unblock`].
    pub(crate) fn push_back(&mut self, run: &RunId, arrived: Arrived) {
        let queue = self.runs.entry(run.clone()).or_default();
        queue.counts[class(arrived.key.kind())] += 1;
        queue.entries.push_front(arrived);
        self.entries += 1;
        queue.blocked = true;
        queue.class = None;
    }

    /// The run is loaded or its value is there: entries are taken from it again.
    pub(crate) fn unblock(&mut self, run: &RunId) {
        if let Some(queue) = self.runs.get_mut(run) {
            queue.blocked = false;
            self.requeue(run);
        }
    }

    /// Drops a run's entries up to a sequence; which they were.
    pub(crate) fn drop_until(&mut self, run: &RunId, until: u64) -> Vec<u64> {
        let Some(queue) = self.runs.get_mut(run) else {
            return Vec::new();
        };
        let mut dropped = Vec::new();
        while let Some(arrived) = queue.entries.pop_front_if(|arrived| arrived.sequence <= until) {
            queue.counts[class(arrived.key.kind())] -= 1;
            dropped.push(arrived.sequence);
        }
        self.entries -= dropped.len();
        dropped
    }

    /// Whether an entry can be taken.
    pub(crate) fn has_ready(&self) -> bool {
        self.ready.iter().any(|class| !class.is_empty())
    }

    /// How many entries wait.
    pub(crate) fn len(&self) -> usize {
        self.entries
    }

    fn requeue(&mut self, run: &RunId) {
        let Some(queue) = self.runs.get_mut(run) else { return };
        let best = queue.counts.iter().position(|count| *count > 0);
        queue.class = best;
        match best {
            Some(class) => self.ready[class].push_back(run.clone()),
            None if !queue.blocked => drop(self.runs.remove(run)),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: u32) -> RunId {
        format!("0-{number:032x}").parse().unwrap()
    }

    fn arrived(sequence: u64, key: &str) -> Arrived {
        Arrived {
            key: key.parse().unwrap(),
            sequence,
            time: Timestamp::UNIX_EPOCH,
            payload: Bytes::new(),
        }
    }

    fn drain(backlog: &mut Backlog) -> Vec<u64> {
        std::iter::from_fn(|| backlog.pop())
            .map(|(_, arrived)| arrived.sequence)
            .collect()
    }

    #[test]
    fn a_flood_of_starts_delays_no_cancel_and_no_result() {
        let mut backlog = Backlog::default();
        for sequence in 1..=3 {
            backlog.push(run(sequence as u32), arrived(sequence, "start"));
        }
        backlog.push(run(8), arrived(4, "step.a"));
        backlog.push(run(9), arrived(5, "in.cancel"));
        assert_eq!(drain(&mut backlog), [5, 4, 1, 2, 3]);
        assert_eq!(backlog.len(), 0);
    }

    #[test]
    fn within_a_run_the_stream_order_holds() {
        let mut backlog = Backlog::default();
        backlog.push(run(1), arrived(1, "start"));
        backlog.push(run(2), arrived(2, "step.a"));
        backlog.push(run(1), arrived(3, "step.a"));
        backlog.push(run(1), arrived(4, "in.cancel"));
        assert_eq!(drain(&mut backlog), [1, 3, 4, 2]);
    }

    #[test]
    fn a_blocked_run_keeps_its_entries_until_it_is_loaded() {
        let mut backlog = Backlog::default();
        backlog.push(run(1), arrived(1, "step.a"));
        let (id, first) = backlog.pop().unwrap();
        backlog.push_back(&id, first);
        backlog.push(run(1), arrived(2, "step.b"));
        backlog.push(run(2), arrived(3, "step.a"));
        assert_eq!(drain(&mut backlog), [3]);
        backlog.unblock(&run(1));
        assert_eq!(drain(&mut backlog), [1, 2]);
    }
}
