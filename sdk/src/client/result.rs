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

/// One run, seen by a client; brought by [`Client::start`] and [`Client::run`]. `T` is what its workflow returns.
///
/// ```no_run
/// use everstep::{RunError, RunHandle};
///
/// async fn told(run: RunHandle<u64>) -> String {
///     let id = run.id().clone();
///     match run.result().await {
///         Ok(total) => format!("{id} brought {total}"),
///         Err(RunError::Failed { failure, .. }) => format!("{id} failed: {failure}"),
///         Err(error) => error.to_string(),
///     }
/// }
/// ```
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

    /// The run's id, by which any process can look at it later: keep it where the request came from.
    ///
    /// ```no_run
    /// # async fn example(client: everstep::Client) -> anyhow::Result<()> {
    /// let run = client.start_named("order", None, &"o-17".into()).await?;
    /// println!("accepted as {}", run.id());
    /// # Ok(())
    /// # }
    /// ```
    pub fn id(&self) -> &RunId {
        &self.run
    }

    /// What the acknowledgement of its start survives: the level of the deployment, as its operator provisioned it.
    ///
    /// ```no_run
    /// use everstep::Durability;
    ///
    /// # async fn example(client: everstep::Client) -> anyhow::Result<()> {
    /// let run = client.start_named("payout", None, &1200.into()).await?;
    /// if run.durability() != Durability::Strict {
    ///     eprintln!("a power cut may lose this payout");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn durability(&self) -> Durability {
        self.client.store.deployment().durability
    }

    /// How the run ended, as recorded; waits for it, for as long as it takes. Of a run that went on as new, how the last one did.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotFound`] if there is no such run, [`ClientError::ChainTooLong`] after 10,000 runs, [`ClientError::Unavailable`] if the server
    /// is gone when the end is to be read: ask again with [`Client::run`].
    ///
    /// ```no_run
    /// use everstep::journal::RunOutcome;
    ///
    /// # async fn example(client: everstep::Client, run: everstep::RunId) -> anyhow::Result<()> {
    /// match client.run::<serde_json::Value>(run).outcome().await? {
    ///     RunOutcome::Completed(_) => println!("done"),
    ///     RunOutcome::Failed(failure) => println!("page somebody: {failure}"),
    ///     outcome => println!("{outcome:?}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
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
    /// [`ClientError::Value`] if what it returned is not a `T`. Otherwise as for [`outcome`](Self::outcome).
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// # async fn example(client: everstep::Client, run: everstep::RunId) -> anyhow::Result<()> {
    /// // An HTTP handler does not wait for ever: the run goes on, and is asked for again.
    /// let result = client.run::<String>(run).result();
    /// match tokio::time::timeout(Duration::from_secs(20), result).await {
    ///     Ok(receipt) => println!("200 {}", receipt?),
    ///     Err(_) => println!("202 still at it"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
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
