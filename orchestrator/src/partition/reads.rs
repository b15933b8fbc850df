//! Reading journals back: one question a run while few are asked for, several runs in one question when many are.
//!
//! For each question the server looks through all subjects of every block that it touches (nats-server 2.15.1,
//! `multiLastSeqsLocked`): some milliseconds where runs are many and short, however little is asked for. When thousands of sleeping runs
//! woke at once, reading them one by one kept the server busy for more than a minute.

use std::collections::VecDeque;

use everstep_common::ids::RunId;
use everstep_common::journal::JournalEntry;
use everstep_common::ports::ReadError;
use everstep_common::store::{Backoff, ReadAt, ReadRunError, Store};

use super::Partition;
use super::effect::Performed;
use super::io::Input;
use super::journal::{self, Unread};
use super::slots::Load;

/// Questions under way at the same time.
const QUESTIONS_MAX: usize = 8;

/// Runs in one question. An answer holds 1,000 entries; one that would be longer is asked for by halves.
const RUNS_MAX: usize = 32;

/// Runs that are being read back at the same time.
pub(super) const LOADS_MAX: usize = QUESTIONS_MAX * RUNS_MAX;

/// A run whose journal is wanted.
pub(crate) struct Asked {
    pub run: RunId,
    pub load: Load,
    pub at: ReadAt,
}

/// What one question brought of a run: its entries, and the sequence up to which they are all.
pub(crate) struct Read {
    asked: Asked,
    entries: Result<Vec<JournalEntry>, ReadRunError>,
    until: u64,
}

/// Runs that are to be read back, in the order in which they were asked for.
#[derive(Default)]
pub(super) struct Reads {
    asked: VecDeque<Asked>,
    under_way: usize,
}

impl Reads {
    pub(super) fn ask(&mut self, asked: Asked) {
        self.asked.push_back(asked);
    }

    /// The runs of the next question. What is asked for spreads over the questions that are free.
    fn next(&mut self) -> Option<Vec<Asked>> {
        let free = QUESTIONS_MAX - self.under_way;
        if free == 0 || self.asked.is_empty() {
            return None;
        }
        self.under_way += 1;
        let runs = self.asked.len().div_ceil(free).min(RUNS_MAX);
        Some(self.asked.drain(..runs).collect())
    }
}

impl Partition {
    /// Begins to read what is asked for; once the partition stops, that is the successor's to ask.
    pub(super) fn read_back(&mut self) {
        if self.stopping {
            return;
        }
        while let Some(group) = self.reads.next() {
            let store = self.store.clone();
            self.io.begin(Box::pin(async move { Input::Read(read(&store, group).await) }));
        }
    }

    /// A question is answered; what is large of the journals is still to be fetched, for each run by itself.
    pub(super) fn have_read(&mut self, group: Vec<Read>) {
        self.reads.under_way -= 1;
        for Read { asked, entries, until } in group {
            let store = self.store.clone();
            let Asked { run, load, .. } = asked;
            self.io.begin(Box::pin(async move {
                let journal = journal::complete(&store, &run, entries, until).await;
                if let Err(Unread::Unavailable(_)) = journal {
                    // It is asked for again at once.
                    store.clock().sleep(Backoff::MAX).await;
                }
                Input::Performed(None, Performed::Loaded { run, load, journal })
            }));
        }
    }
}

/// Reads the journals of all, by as few questions as there can be.
async fn read(store: &Store, group: Vec<Asked>) -> Vec<Read> {
    let mut read = Vec::with_capacity(group.len());
    let mut groups = vec![group];
    while let Some(mut group) = groups.pop() {
        if group.len() == 1 {
            let asked = group.remove(0);
            let entries = store.read_run(&asked.run, asked.at).await;
            let until = asked.sequence();
            read.push(Read { asked, entries, until });
            continue;
        }
        let runs: Vec<RunId> = group.iter().map(|asked| asked.run.clone()).collect();
        let until = group.iter().map(Asked::sequence).max().unwrap_or(0);
        match store.read_runs(&runs, until).await {
            Ok(journals) => {
                let pairs = group.into_iter().zip(journals);
                read.extend(pairs.map(|(asked, entries)| Read { asked, entries, until }));
            }
            Err(ReadError::TooMany) => {
                groups.push(group.split_off(group.len() / 2));
                groups.push(group);
            }
            Err(error) => read.extend(group.into_iter().map(|asked| asked.unread(&error))),
        }
    }
    read
}

impl Asked {
    /// What the answer must speak of.
    fn sequence(&self) -> u64 {
        match self.at {
            ReadAt::Entry(sequence) | ReadAt::AtLeast(sequence) => sequence,
        }
    }

    fn unread(self, error: &ReadError) -> Read {
        let (run, source) = (self.run.clone(), error.clone());
        let (entries, until) = (Err(ReadRunError::Unavailable { run, source }), self.sequence());
        Read {
            asked: self,
            entries,
            until,
        }
    }
}
