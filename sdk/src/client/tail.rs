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

use std::collections::{BTreeSet, VecDeque};

use everstep_common::ids::RunId;
use everstep_common::journal::{EntryKey, JournalEntry};
use everstep_common::ports::ConnectionEvent;
use everstep_common::store::{Backoff, ReadAt, Store};
use futures::future::{Either, FutureExt, select};
use futures::stream::{self, BoxStream, StreamExt};

use super::{Client, ClientError};

/// How often a hinted entry that is not there is looked for again: a refused or failed write never shows.
/// About two seconds, longer than a healthy server takes to store anything.
const LOOKS_MAX: u32 = 14;

impl Client {
    /// Every entry of a run's journal, those to come included; ends with the run. A run that does not exist yet is waited for.
    pub fn tail(&self, run: &RunId) -> BoxStream<'static, Result<JournalEntry, ClientError>> {
        let (client, run) = (self.clone(), run.clone());
        let begin = async move {
            let tail = Tail {
                hints: hints(&client.store, &run).await,
                client,
                run,
                ready: VecDeque::new(),
                told: 0,
                hinted: Some(BTreeSet::new()),
                ended: false,
            };
            stream::unfold(tail, Tail::next)
        };
        begin.into_stream().flatten().boxed()
    }
}

/// A reason to read.
enum Hint {
    /// Somebody writes this subject.
    Attempt(String),
    /// Hints may have been lost, or the end is stored.
    Anything,
}

struct Tail {
    client: Client,
    run: RunId,
    hints: BoxStream<'static, Hint>,
    /// Read and not told yet.
    ready: VecDeque<JournalEntry>,
    /// The sequence of the last entry told.
    told: u64,
    /// The subjects that were hinted at and not seen; nothing at all if the journal need not be read.
    hinted: Option<BTreeSet<String>>,
    /// The end, or an error, was told.
    ended: bool,
}

/// What is worth a read, from now on.
async fn hints(store: &Store, run: &RunId) -> BoxStream<'static, Hint> {
    let (broker, names) = (store.broker(), store.names());
    let attempts = broker.subscribe(&names.run_filter(run)).await;
    let done = broker.subscribe(&names.done(run)).await;
    let reconnects = broker.connection_events().filter_map(|event| {
        let hint = matches!(event, ConnectionEvent::Reconnected).then_some(Hint::Anything);
        std::future::ready(hint)
    });
    let attempts = attempts.map(|message| Hint::Attempt(message.subject));
    let done = done.map(|_| Hint::Anything);
    stream::select_all([attempts.boxed(), done.boxed(), reconnects.boxed()]).boxed()
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
        if self.hinted.is_none() {
            match self.hints.next().await {
                Some(hint) => self.note(hint),
                None => self.subscribe_again().await,
            }
        }
        let mut backoff = Backoff::new();
        for _ in 0..LOOKS_MAX {
            // Many attempts, one read.
            while let Some(Some(hint)) = self.hints.next().now_or_never() {
                self.note(hint);
            }
            self.read().await?;
            if !self.ready.is_empty() || self.hinted.is_none() {
                return Ok(());
            }
            let pause = self.client.store.clock().sleep(backoff.delay());
            if let Either::Left((Some(hint), _)) = select(self.hints.next(), pause).await {
                self.note(hint);
            }
        }
        self.hinted = None;
        Ok(())
    }

    fn note(&mut self, hint: Hint) {
        let hinted = self.hinted.get_or_insert_default();
        match hint {
            Hint::Attempt(subject) => drop(hinted.insert(subject)),
            Hint::Anything => {}
        }
    }

    /// The subscriptions ended, which they do with the connection only; meanwhile anything may have come.
    async fn subscribe_again(&mut self) {
        self.client.store.clock().sleep(Backoff::MAX).await;
        self.hints = hints(&self.client.store, &self.run).await;
        self.note(Hint::Anything);
    }

    /// Reads the journal, and forgets the hints that it answers.
    async fn read(&mut self) -> Result<(), ClientError> {
        let reading = self.client.store.read_run(&self.run, ReadAt::AtLeast(self.told));
        let journal = self.client.bounded(reading).await??;
        let names = self.client.store.names();
        if let Some(hinted) = &mut self.hinted {
            for entry in &journal {
                hinted.remove(&names.entry(&self.run, &entry.key));
            }
        }
        self.hinted = self.hinted.take().filter(|hinted| !hinted.is_empty());
        let told = self.told;
        self.ready.extend(journal.into_iter().filter(|entry| entry.sequence > told));
        Ok(())
    }
}
