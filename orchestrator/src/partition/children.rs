//! The words between runs: starting a child, ending one, telling a parent, going on in another run.
//!
//! Each follows from a journal, is an entry that is created once under a key that follows from it too, and may be said again by anybody at
//! any time. An attached child is named in its parent's journal before it is started, so that whoever ends the parent knows of every child
//! there can be; a detached one after it, for its parent goes on by that.

use everstep_common::failure::{Failure, FailureKind};
use everstep_common::ids::{FunctionName, RunId, WorkflowName};
use everstep_common::journal::{
    Child, Continuation, Continued, Ended, Entry, EntryKey, Inbound, InboundId, InboundKind, JournalEntry, Parent, RunOutcome,
    RunTimer, Start, StepOutcome, StepResult,
};
use everstep_common::key::StepKey;
use everstep_common::payload::Payload;
use everstep_common::ports::{Message, ReadError};
use everstep_common::store::{Backoff, CreateError, Created, ReadRunError};
use everstep_common::subject::idempotency_key;
use everstep_core::ChildSpec;
use jiff::Timestamp;

use super::effect::Performer;
use super::relatives::children;

/// Why something cannot be said, for good.
type Refused = String;

/// What stands under a key after a create.
enum Stands {
    Ours(u64),
    Theirs(Box<Message>),
    /// The run is purged.
    Gone,
}

/// A child that is started now, or was before.
struct Begun {
    child: RunId,
    parent: Parent,
    stands: Stands,
}

impl Performer {
    /// Starts a child, or finds that it is started.
    pub(super) async fn start_child(
        &self,
        run: &RunId,
        key: &StepKey,
        spec: &ChildSpec,
        trace: Option<String>,
    ) -> Result<(), Refused> {
        let Some(begun) = self.begin(run, key, spec, trace).await? else {
            return Ok(());
        };
        if spec.detached {
            return self.name(run, key, spec, &begun.child).await.map(drop);
        }
        let ended = match begun.stands {
            Stands::Theirs(_) => self.follow(begun.child.clone(), None).await?,
            Stands::Ours(_) | Stands::Gone => None,
        };
        self.tell_what_is_known(&begun, spec, ended).await
    }

    /// Has a child end as cancelled. It is started before, if it was not: its parent waits for its end.
    pub(super) async fn cancel_child(
        &self,
        run: &RunId,
        key: &StepKey,
        spec: &ChildSpec,
        trace: Option<String>,
    ) -> Result<(), Refused> {
        let Some(begun) = self.begin(run, key, spec, trace).await? else {
            return Ok(());
        };
        let word = parents_word(InboundKind::Cancel, run);
        let ended = self.follow(begun.child.clone(), Some(word)).await?;
        self.tell_what_is_known(&begun, spec, ended).await
    }

    /// Tells the parent how its child ended. The one whose child goes on in another run is told by whoever drives that.
    pub(super) async fn tell_parent(
        &self,
        child: &RunId,
        workflow: &WorkflowName,
        parent: &Parent,
        outcome: RunOutcome,
    ) -> Result<(), Refused> {
        let result = match outcome {
            RunOutcome::Completed(value) => self.carried(child, &value, parent).await,
            RunOutcome::Failed(failure) | RunOutcome::Cancelled(failure) | RunOutcome::Terminated(failure) => {
                StepResult::Failure(failure)
            }
            RunOutcome::Continued(_) => return Ok(()),
        };
        self.record_end(workflow, parent, result).await
    }

    /// Starts the run in which another one goes on. Whoever asked that one to end in time asked this one, too.
    pub(super) async fn continue_run(&self, run: &RunId) -> Result<(), Refused> {
        let journal = self.patiently(|| self.store.read_run_now(run)).await?;
        let start = journal.iter().find_map(|entry| match &entry.entry {
            Entry::Start(start) => Some((start.clone(), entry.time)),
            _ => None,
        });
        let next = journal.iter().find_map(|entry| match &entry.entry {
            Entry::End(Ended {
                outcome: RunOutcome::Continued(next),
                ..
            }) => Some((next, entry.time)),
            _ => None,
        });
        let (Some((start, started)), Some((next, ended))) = (start, next) else {
            // It is purged, and what followed it with it.
            return Ok(());
        };
        let known = journal.iter().take_while(|entry| !matches!(entry.entry, Entry::End(_)));
        // Events that came after it decided to go on are for its successor, though some may stand in its own journal, before its end. A run of
        // before this was recorded is taken to have decided at the last entry that it was given.
        let start = Start {
            listens_from: next.decided.or_else(|| known.last().map(|entry| entry.time)),
            terms: start.terms.of_successor(began(&journal).unwrap_or(ended), ended),
            ..start
        };
        let successor = self.successor(run, start, started, next).await?;
        self.put(&next.run, EntryKey::Start, &Entry::Start(successor)).await?;
        if let Some(word) = asked_to_end(&journal) {
            let id = inbound_id("continued", &word.kind);
            self.put(&next.run, EntryKey::In(id), &Entry::In(word)).await?;
        }
        Ok(())
    }

    /// Has the children end that a run was to wait for and did not. One that was named and never started is kept from starting.
    pub(super) async fn end_children(&self, run: &RunId, how: InboundKind) -> Result<(), Refused> {
        let journal = self.patiently(|| self.store.read_run_now(run)).await?;
        for child in children(&journal) {
            self.follow(child.run, Some(parents_word(how.clone(), run))).await?;
        }
        Ok(())
    }

    /// Starts a child; nothing if its parent ended before it was named, for then nobody would end it.
    async fn begin(&self, run: &RunId, key: &StepKey, spec: &ChildSpec, trace: Option<String>) -> Result<Option<Begun>, Refused> {
        let start_key = idempotency_key(run, key);
        let child = RunId::keyed(&spec.workflow, &start_key, self.store.deployment().keyed_partitions);
        if !spec.detached && !self.name(run, key, spec, &child).await? {
            return Ok(None);
        }
        let parent = Parent {
            run: run.clone(),
            step: key.clone(),
            detached: spec.detached,
            digest: Some(spec.digest),
            depth: spec.depth,
        };
        let input = self.store.put_payload(&child, "start", spec.input.clone()).await;
        let span = tracing::debug_span!("child", %run, step = %key, workflow = %spec.workflow, %child, otel.kind = "producer");
        let start = Start {
            workflow: spec.workflow.clone(),
            version: spec.version,
            input: input.map_err(|error| error.to_string())?,
            digest: spec.digest,
            start_key: Some(start_key),
            session: spec.session.clone(),
            parent: Some(parent.clone()),
            tags: spec.tags.clone(),
            traceparent: self.trace.child(&span, trace),
            terms: spec.terms.clone(),
            continues: None,
            listens_from: None,
        };
        let stands = self.put(&child, EntryKey::Start, &Entry::Start(start)).await?;
        if let Stands::Theirs(earlier) = &stands {
            self.must_be_of(&parent, &child, earlier)?;
        }
        Ok(Some(Begun { child, parent, stands }))
    }

    /// The run under the child's id must be the child: somebody may have used its start key.
    fn must_be_of(&self, parent: &Parent, child: &RunId, earlier: &Message) -> Result<(), Refused> {
        let entry = self.store.decode_entry(child, earlier.clone());
        match entry.map_err(|error| error.to_string())?.entry {
            Entry::Start(start) if start.parent.as_ref() == Some(parent) => Ok(()),
            _ => Err(format!(
                "the id of child {} is that of run {child}, which it did not start",
                parent.step
            )),
        }
    }

    /// Names the child in its parent's journal; whether that was still open.
    async fn name(&self, run: &RunId, key: &StepKey, spec: &ChildSpec, child: &RunId) -> Result<bool, Refused> {
        let entry = Entry::Child(Child {
            workflow: spec.workflow.clone(),
            digest: spec.digest,
            run: child.clone(),
            detached: spec.detached,
        });
        let key = EntryKey::Child(key.clone());
        let sequence = match self.put(run, key.clone(), &entry).await? {
            Stands::Ours(sequence) => sequence,
            Stands::Theirs(earlier) => earlier.sequence,
            Stands::Gone => return Ok(false),
        };
        self.patiently(|| self.store.had_ended(run, &key, sequence))
            .await
            .map(|ended| !ended)
    }

    /// Whoever drove the child has told its end, or will. That was lost if the parent's journal was rolled back meanwhile.
    async fn tell_what_is_known(&self, begun: &Begun, spec: &ChildSpec, ended: Option<(RunId, RunOutcome)>) -> Result<(), Refused> {
        match (ended, &begun.stands) {
            (Some((last, outcome)), _) => self.tell_parent(&last, &spec.workflow, &begun.parent, outcome).await,
            (None, Stands::Gone) => {
                let lost = Failure::new(
                    FailureKind::Other,
                    "the child has ended and is purged, and how it ended was lost",
                );
                self.record_end(&spec.workflow, &begun.parent, StepResult::Failure(lost))
                    .await
            }
            (None, _) => Ok(()),
        }
    }

    /// The child's value as the parent's own.
    async fn carried(&self, child: &RunId, value: &Payload, parent: &Parent) -> StepResult {
        let carried = match self.store.get_payload(child, value).await {
            Ok(value) => self.store.put_payload(&parent.run, parent.step.token(), value).await,
            Err(error) => Err(error),
        };
        carried.map_or_else(
            |error| StepResult::Failure(Failure::new(FailureKind::Invalid, error.to_string())),
            StepResult::Value,
        )
    }

    async fn record_end(&self, workflow: &WorkflowName, parent: &Parent, result: StepResult) -> Result<(), Refused> {
        let Some(digest) = parent.digest else { return Ok(()) };
        let outcome = StepOutcome {
            function: FunctionName::new(workflow.as_str()).expect("workflows are named as functions are"),
            digest,
            result,
            attempt: 1,
            by: self.process.clone(),
            began: None,
        };
        let key = EntryKey::Step(parent.step.clone());
        self.put(&parent.run, key, &Entry::Step(outcome)).await.map(drop)
    }

    async fn successor(&self, run: &RunId, start: Start, started: Timestamp, next: &Continuation) -> Result<Start, Refused> {
        let input = match self.store.get_payload(run, &next.input).await {
            Ok(input) => self.store.put_payload(&next.run, "start", input).await,
            Err(error) => Err(error),
        };
        let (first, number, since) = match &start.continues {
            Some(before) => (before.first.clone(), before.number + 1, before.since),
            None => (run.clone(), 1, Some(started)),
        };
        Ok(Start {
            input: input.map_err(|error| error.to_string())?,
            digest: next.digest,
            continues: Some(Continued {
                from: run.clone(),
                first,
                number,
                since,
            }),
            ..start
        })
    }

    /// The last run of a chain and its outcome, if that has ended. A word is said to each on the way: one that has ended did not hear it.
    async fn follow(&self, first: RunId, word: Option<(InboundId, Inbound)>) -> Result<Option<(RunId, RunOutcome)>, Refused> {
        let mut run = first;
        loop {
            if let Some((id, word)) = &word {
                self.put(&run, EntryKey::In(id.clone()), &Entry::In(word.clone())).await?;
            }
            let end = self.patiently(|| self.store.find_entry(&run, &EntryKey::End)).await?;
            let Some(Entry::End(Ended { outcome, .. })) = end.map(|end| end.entry) else {
                return Ok(None);
            };
            let RunOutcome::Continued(next) = outcome else {
                return Ok(Some((run, outcome)));
            };
            // Nothing may stand in a run before its start.
            self.continue_run(&run).await?;
            run = next.run;
        }
    }

    async fn put(&self, run: &RunId, key: EntryKey, entry: &Entry) -> Result<Stands, Refused> {
        match self.store.create(run, key, entry).await {
            Ok(Created::Ours { sequence }) => Ok(Stands::Ours(sequence)),
            Ok(Created::Theirs(earlier)) => Ok(Stands::Theirs(earlier)),
            Err(CreateError::Gone { .. }) => Ok(Stands::Gone),
            Err(error) => Err(error.to_string()),
        }
    }

    /// What a read brings, however long the server is away.
    pub(super) async fn patiently<T, F>(&self, read: impl Fn() -> F) -> Result<T, Refused>
    where
        F: Future<Output = Result<T, ReadRunError>>,
    {
        let mut backoff = Backoff::new();
        loop {
            match read().await {
                Ok(read) => return Ok(read),
                Err(ReadRunError::Unavailable {
                    source: ReadError::Unavailable(_) | ReadError::TooMany,
                    ..
                }) => self.store.clock().sleep(backoff.delay()).await,
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

/// What a parent says to its child.
fn parents_word(kind: InboundKind, parent: &RunId) -> (InboundId, Inbound) {
    let reason = match kind {
        InboundKind::Terminate => format!("its parent {parent} was terminated"),
        _ => format!("its parent {parent} no longer waits for it"),
    };
    let id = inbound_id("parent", &kind);
    let inbound = Inbound {
        kind,
        by: None,
        reason: Some(reason),
    };
    (id, inbound)
}

/// When a run began: once it had its place, or its delay was over, or at once.
fn began(journal: &[JournalEntry]) -> Option<Timestamp> {
    let keys = [RunTimer::Place, RunTimer::Begin].map(|timer| EntryKey::Timer(timer.key()));
    let mut keys = keys.into_iter().chain([EntryKey::Start]);
    let entry = keys.find_map(|key| journal.iter().find(|entry| entry.key == key));
    entry.map(|entry| entry.time)
}

/// The word that was to end a run, said in time.
fn asked_to_end(journal: &[JournalEntry]) -> Option<Inbound> {
    let in_time = journal.iter().take_while(|entry| entry.key != EntryKey::End);
    let words: Vec<_> = in_time
        .filter_map(|entry| match &entry.entry {
            Entry::In(inbound) => Some(inbound),
            _ => None,
        })
        .collect();
    let said = |kind| words.iter().find(|word| word.kind == kind);
    let word = said(InboundKind::Terminate).or_else(|| said(InboundKind::Cancel));
    word.map(|word| Inbound::clone(word))
}

fn inbound_id(who: &str, kind: &InboundKind) -> InboundId {
    let what = match kind {
        InboundKind::Terminate => "terminate",
        _ => "cancel",
    };
    InboundId::new(&format!("{who}.{what}")).expect("plain words")
}
