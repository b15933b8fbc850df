//! Waiting for a result: pushed by the server when the run's `end` is stored, never polled.

use std::fmt;
use std::marker::PhantomData;

use everstep_common::ids::RunId;
use everstep_common::journal::{Ended, Entry, EntryKey, RunOutcome};
use everstep_common::limits::CHAIN_RUNS_MAX;
use everstep_common::ports::CoreMessage;
use everstep_common::store::Backoff;
use everstep_common::topology::Durability;
use everstep_common::wire;
use futures::StreamExt;
use futures::future::{Either, select};
use futures::stream::BoxStream;
use serde::de::DeserializeOwned;

use super::doubts::doubts;
use super::{Client, ClientError, RunError};

/// What says that a run's end may be there, from one moment on.
struct Pushes {
    /// The end is stored.
    done: BoxStream<'static, CoreMessage>,
    /// A push may be lost. Listened to for as long as `done` is: a handle may be kept through an outage before anybody waits.
    doubts: BoxStream<'static, ()>,
}

/// One run, seen by a client.
pub struct RunHandle<T> {
    client: Client,
    run: RunId,
    /// Made before the start was sent, or when a result is waited for.
    pushes: Option<Pushes>,
    output: PhantomData<fn() -> T>,
}

impl<T> RunHandle<T> {
    /// Subscribes at once.
    pub(super) async fn now(client: Client, run: RunId) -> Self {
        let pushes = client.pushes(&run).await;
        Self {
            client,
            run,
            pushes: Some(pushes),
            output: PhantomData,
        }
    }

    /// Subscribes when a result is waited for.
    pub(super) fn later(client: Client, run: RunId) -> Self {
        Self {
            client,
            run,
            pushes: None,
            output: PhantomData,
        }
    }

    /// The run's id.
    pub fn id(&self) -> &RunId {
        &self.run
    }

    /// What the acknowledgement of its start survives: the level of the deployment, as its operator provisioned it.
    pub fn durability(&self) -> Durability {
        self.client.store.deployment().durability
    }

    /// How the run ended, as recorded; waits for it. Of a run that went on as new, how the last one did.
    pub async fn outcome(self) -> Result<RunOutcome, ClientError> {
        self.last().await.map(|(_, outcome)| outcome)
    }

    /// The last of the runs that this one went on in, and how that ended.
    async fn last(self) -> Result<(RunId, RunOutcome), ClientError> {
        let Self {
            client,
            run: first,
            mut pushes,
            ..
        } = self;
        let mut run = first.clone();
        for _ in 0..CHAIN_RUNS_MAX {
            let outcome = match pushes.take() {
                // The run was just started: its end is most likely yet to come, so nothing is read before a push.
                Some(pushes) => client.pushed_end(&run, pushes).await?,
                None => client.end_of(&run, run == first).await?,
            };
            match outcome {
                RunOutcome::Continued(next) => run = next.run,
                outcome => return Ok((run, outcome)),
            }
        }
        Err(ClientError::ChainTooLong { reached: run })
    }
}

impl<T: DeserializeOwned> RunHandle<T> {
    /// The value that the workflow returns; waits for it, for as long as it takes.
    ///
    /// # Errors
    ///
    /// [`RunError::Failed`], [`RunError::Cancelled`] and [`RunError::Terminated`] say how the run ended; a parked run does not end, and is
    /// waited for. A run that went on as new is followed to the last one; [`ClientError::ChainTooLong`] after 10,000.
    pub async fn result(self) -> Result<T, RunError> {
        let client = self.client.clone();
        let (run, outcome) = self.last().await?;
        match outcome {
            RunOutcome::Completed(value) => {
                let value = client.store.get_payload(&run, &value).await.map_err(ClientError::from)?;
                let what = format!("the result of run {run} is not a {}", std::any::type_name::<T>());
                wire::decode_value(&value).map_err(|source| ClientError::Value { what, source }.into())
            }
            RunOutcome::Failed(failure) => Err(RunError::Failed { run, failure }),
            RunOutcome::Cancelled(failure) => Err(RunError::Cancelled { run, failure }),
            RunOutcome::Terminated(failure) => Err(RunError::Terminated { run, failure }),
            RunOutcome::Continued(_) => unreachable!("the last run did not go on"),
        }
    }
}

impl Client {
    /// How a run ended; waits for it. A run that must have a start and has none is not found.
    async fn end_of(&self, run: &RunId, must_be_started: bool) -> Result<RunOutcome, ClientError> {
        let pushes = self.pushes(run).await;
        match self.entry(run, &EntryKey::End).await? {
            Some(entry) => Self::outcome_of(run, entry.entry),
            None if must_be_started && self.entry(run, &EntryKey::Start).await?.is_none() => {
                Err(ClientError::NotFound { run: run.clone() })
            }
            None => self.pushed_end(run, pushes).await,
        }
    }

    async fn pushes(&self, run: &RunId) -> Pushes {
        // The connection first, so that no loss falls between the two.
        let doubts = doubts(&self.store);
        let done = self.subscribe_done(run).await;
        Pushes { done, doubts }
    }

    async fn subscribe_done(&self, run: &RunId) -> BoxStream<'static, CoreMessage> {
        self.store.broker().subscribe(&self.store.names().done(run)).await
    }

    /// Reads the end when it is pushed, and looks for it whenever a push may have been lost.
    async fn pushed_end(&self, run: &RunId, pushes: Pushes) -> Result<RunOutcome, ClientError> {
        let Pushes { mut done, mut doubts } = pushes;
        let mut backoff = Backoff::new();
        loop {
            let pushed = match select(done.next(), doubts.next()).await {
                Either::Left((Some(_), _)) => true,
                Either::Left((None, _)) => {
                    done = self.subscribe_done(run).await;
                    false
                }
                Either::Right((Some(()), _)) => false,
                Either::Right((None, _)) => {
                    doubts = futures::stream::pending().boxed();
                    continue;
                }
            };
            loop {
                if let Some(entry) = self.entry(run, &EntryKey::End).await? {
                    return Self::outcome_of(run, entry.entry);
                }
                if !pushed {
                    break;
                }
                // It is stored; the replica that answered does not have it yet.
                self.store.clock().sleep(backoff.delay()).await;
            }
        }
    }

    fn outcome_of(run: &RunId, entry: Entry) -> Result<RunOutcome, ClientError> {
        match entry {
            Entry::End(Ended { outcome, .. }) => Ok(outcome),
            _ => Err(ClientError::Ended { run: run.clone() }),
        }
    }
}

impl<T> fmt::Debug for RunHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RunHandle").field(&self.run).finish()
    }
}
