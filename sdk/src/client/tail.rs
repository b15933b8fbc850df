//! A run's journal as it grows: no consumer, no polling.
//!
//! Subscribed first, any message is a hint that something is being written: the subjects carry attempts, not facts, and come before the
//! entry is stored. What is told is what a read of the journal brings, and that is told in order and once.
//!
//! ```text
//! attempt on an entry's subject ─┐
//! `end` stored (republished) ────┼─▶ hint ─▶ read the journal ─▶ entries after the last one told
//! connected again ───────────────┘             ▲       │ a hinted entry is not there yet
//!                                              └───────┘
//! ```
//!
//! A replica that is behind answers no hint: what was attempted is looked for until it shows or can be given up, what is stored until it
//! shows, and where nothing is named the read speaks of all that the leader knows.

use std::collections::{BTreeSet, VecDeque};

use everstep_common::ids::RunId;
use everstep_common::journal::{EntryKey, JournalEntry};
use everstep_common::store::{Backoff, ReadAt, Store};
use futures::future::{Either, FutureExt, select};
use futures::stream::{self, BoxStream, StreamExt};

use super::doubts::doubts;
use super::{ACKNOWLEDGED_WITHIN, Client, ClientError};

/// How often an attempted entry that is not there is looked for again: a refused or failed write never shows.
/// About two seconds, longer than a healthy server takes to store anything.
const LOOKS_MAX: u32 = 14;

/// How often the stored end is looked for: about as long as a server has to answer, for a replica that far behind is broken.
pub(super) const LOOKS_FOR_END_MAX: u32 = 66;

impl Client {
    /// Every entry of a run's journal, those to come included; ends with the run. A run that does not exist yet is waited for.
    pub fn tail(&self, run: &RunId) -> BoxStream<'static, Result<JournalEntry, ClientError>> {
        let (client, run) = (self.clone(), run.clone());
        let begin = async move {
            let tail = Tail {
                hints: hints(&client.store, &run, &client.store.names().run_filter(&run)).await,
                client,
                run,
                ready: VecDeque::new(),
                told: 0,
                open: Open::anything(),
                ended: false,
            };
            stream::unfold(tail, Tail::next)
        };
        begin.into_stream().flatten().boxed()
    }
}

/// A reason to read.
pub(super) enum Hint {
    /// Somebody writes this subject.
    Attempt(String),
    /// The end is stored.
    Ended,
    /// Hints may have been lost.
    Doubt,
}

/// The hints that no read has answered yet.
#[derive(Default)]
struct Open {
    /// The subjects that were written at.
    attempts: BTreeSet<String>,
    /// Whether the end is known to be stored.
    has_ended: bool,
    /// Whether anything may be stored.
    is_doubtful: bool,
}

impl Open {
    /// Nothing was heard, and nothing is known.
    fn anything() -> Self {
        Self {
            is_doubtful: true,
            ..Self::default()
        }
    }

    fn is_none(&self) -> bool {
        self.attempts.is_empty() && !self.has_ended && !self.is_doubtful
    }

    fn note(&mut self, hint: Hint) {
        match hint {
            Hint::Attempt(subject) => drop(self.attempts.insert(subject)),
            Hint::Ended => self.has_ended = true,
            Hint::Doubt => self.is_doubtful = true,
        }
    }
}

struct Tail {
    client: Client,
    run: RunId,
    hints: BoxStream<'static, Hint>,
    /// Read and not told yet.
    ready: VecDeque<JournalEntry>,
    /// The sequence of the last entry told.
    told: u64,
    /// Why the journal has to be read.
    open: Open,
    /// The end, or an error, was told.
    ended: bool,
}

/// What is worth a read of the entries whose subjects the filter covers, or of the end, from now on.
pub(super) async fn hints(store: &Store, run: &RunId, filter: &str) -> BoxStream<'static, Hint> {
    let (broker, names) = (store.broker(), store.names());
    let doubts = doubts(store).map(|()| Hint::Doubt);
    let attempts = broker.subscribe(filter).await;
    let done = broker.subscribe(&names.done(run)).await;
    let attempts = attempts.map(|message| Hint::Attempt(message.subject));
    let done = done.map(|_| Hint::Ended);
    stream::select_all([attempts.boxed(), done.boxed(), doubts.boxed()]).boxed()
}

impl Tail {
    async fn next(mut self) -> Option<(Result<JournalEntry, ClientError>, Self)> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                self.told = entry.sequence;
                self.ended = entry.key == EntryKey::End;
                return Some((Ok(entry), self));
            }
            if self.ended {
                return None;
            }
            if let Err(error) = self.fill().await {
                self.ended = true;
                return Some((Err(error), self));
            }
        }
    }

    /// Returns when there may be something new.
    async fn fill(&mut self) -> Result<(), ClientError> {
        if self.open.is_none() {
            match self.hints.next().await {
                Some(hint) => self.open.note(hint),
                None => self.subscribe_again().await,
            }
        }
        let mut backoff = Backoff::new();
        for look in 1.. {
            // Many attempts, one read.
            while let Some(Some(hint)) = self.hints.next().now_or_never() {
                self.open.note(hint);
            }
            self.read().await?;
            if !self.ready.is_empty() || self.open.is_none() {
                return Ok(());
            }
            if look >= LOOKS_FOR_END_MAX {
                break;
            }
            if look >= LOOKS_MAX && !self.open.has_ended {
                self.open = Open::default();
                return Ok(());
            }
            let pause = self.client.store.clock().sleep(backoff.delay());
            if let Either::Left((Some(hint), _)) = select(self.hints.next(), pause).await {
                self.open.note(hint);
            }
        }
        Err(ClientError::Unavailable {
            after: ACKNOWLEDGED_WITHIN,
        })
    }

    /// The subscriptions ended, which they do with the connection only; meanwhile anything may have come.
    async fn subscribe_again(&mut self) {
        self.client.store.clock().sleep(Backoff::MAX).await;
        let store = &self.client.store;
        self.hints = hints(store, &self.run, &store.names().run_filter(&self.run)).await;
        self.open.note(Hint::Doubt);
    }

    /// Reads the journal, and forgets the hints that it answers.
    async fn read(&mut self) -> Result<(), ClientError> {
        let (client, run) = (&self.client, &self.run);
        let journal = if self.open.is_doubtful {
            client.bounded(client.store.read_run_now(run)).await??
        } else {
            client
                .bounded(client.store.read_run(run, ReadAt::AtLeast(self.told)))
                .await??
        };
        self.open.is_doubtful = false;
        for entry in journal {
            self.open.attempts.remove(&client.store.names().entry(run, &entry.key));
            self.open.has_ended &= entry.key != EntryKey::End;
            if entry.sequence > self.told {
                self.ready.push_back(entry);
            }
        }
        Ok(())
    }
}
