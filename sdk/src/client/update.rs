//! Updates: a request that the run's workflow answers, once under the caller's key for it.
//!
//! ```text
//! subscribe ─▶ create `in.update.<key>` ─▶ look for `local.answer:<key>` and `end` ──▶ answered, or ended
//!                                               ▲        │ neither is there
//!                                               └─ hint ◀┘
//! ```
//!
//! The answer is pushed: the subject on which it is about to be written is a hint to look. An answer that stands after the end is that of an
//! owner who did not know of it, and counts for nobody.

use std::future::IntoFuture;
use std::marker::PhantomData;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::ids::RunId;
use everstep_common::journal::{Ended, Entry, EntryKey, Inbound, InboundKind, RunOutcome, StepResult};
use everstep_common::key::StepKey;
use everstep_common::limits::{CHAIN_RUNS_MAX, UPDATE_DEADLINE};
use everstep_common::store::Backoff;
use everstep_common::update::{answer_key, update_slot};
use everstep_common::wire;
use futures::future::{BoxFuture, Either, select};
use futures::{FutureExt, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::error::UpdateError;
use super::signal::named;
use super::tail::{Hint, LOOKS_FOR_END_MAX, hints};
use super::{Client, ClientError};

/// An update that is about to be sent; awaiting it sends it and brings the answer.
///
/// ```no_run
/// # use everstep::{Client, RunId, UpdateError};
/// # async fn example(client: Client, run: RunId) -> anyhow::Result<()> {
/// use std::time::Duration;
///
/// let update = client.update(&run, "set_address", "12 Main St").key("form-7").deadline(Duration::from_secs(5));
/// let parcels: u32 = match update.await {
///     Ok(parcels) => parcels,
///     Err(UpdateError::Rejected { reason, .. }) => anyhow::bail!("that address will not do: {reason}"),
///     Err(error) => return Err(error.into()),
/// };
/// println!("{parcels} parcels go there");
/// # Ok(())
/// # }
/// ```
#[must_use = "an update is sent when this is awaited"]
pub struct UpdateRun<Out> {
    client: Client,
    run: RunId,
    name: String,
    input: Result<Bytes, ClientError>,
    key: String,
    deadline: Duration,
    output: PhantomData<fn() -> Out>,
}

/// What is asked for, whichever run of a chain is to answer.
struct Request {
    name: String,
    input: Bytes,
    key: String,
}

/// What came of it in one run.
enum Outcome {
    Answered(StepResult),
    /// The run ended first; in that one its workflow goes on.
    Ended(Option<RunId>),
}

impl<Out> UpdateRun<Out> {
    /// The caller's name for this one request, of 1 to 128 characters: asked again under it, with the same name and input, the run does
    /// nothing twice, and the answer is the same. Without it each update is a new one.
    ///
    /// Another name or input under the same key is [`ClientError::UpdateConflict`].
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self
    }

    /// How long the answer is waited for; a minute unless this is said. When it passes, the update stays with the run.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

impl<Out: DeserializeOwned> UpdateRun<Out> {
    async fn send(self) -> Result<Out, UpdateError> {
        named("update", &self.name)?;
        named("key of an update", &self.key)?;
        let Self {
            client, run, deadline, ..
        } = self;
        let request = Request {
            name: self.name,
            input: self.input?,
            key: self.key,
        };
        let late = client.store.clock().sleep(deadline);
        let answered = match select(pin!(client.follow_update(run, &request)), late).await {
            Either::Left((answered, _)) => answered?,
            Either::Right(((), _)) => {
                let (key, after) = (request.key.clone(), deadline);
                return Err(UpdateError::TimedOut { key, after });
            }
        };
        client.read_answer(answered).await
    }
}

impl<Out: DeserializeOwned + 'static> IntoFuture for UpdateRun<Out> {
    type Output = Result<Out, UpdateError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.send().boxed()
    }
}

impl Client {
    /// Asks the run to do something and to answer: `input` goes to whichever wait of its workflow takes updates called `name`
    /// ([`ctx.update`](crate::WorkflowContext::update)), and what that answers is what awaiting the [`UpdateRun`] brings.
    ///
    /// Request and answer are entries of the run's journal, so whoever dies meanwhile, the update is done once and has one answer. A run that
    /// goes on as new before it took the update is followed.
    ///
    /// # Errors
    ///
    /// [`UpdateError::Rejected`] if the workflow refuses it, which has then done nothing of it; [`UpdateError::Failed`] if it took it and did
    /// not bring it to an end; [`UpdateError::Ended`] if the run ended without an answer; [`UpdateError::TimedOut`] if there is none within
    /// the [deadline](UpdateRun::deadline), as when no workflow of that run takes updates of the name. [`ClientError::NotFound`] if there
    /// is no such run, [`ClientError::UpdateConflict`] if another update was sent under the key.
    ///
    /// # Limits
    ///
    /// A run that has not taken 1,000 updates rejects further ones until it has. An update is two entries of the run's journal.
    pub fn update<In, Out>(&self, run: &RunId, name: &str, input: &In) -> UpdateRun<Out>
    where
        In: Serialize + ?Sized,
    {
        let what = format!("encoding the input of update {name:?}");
        UpdateRun {
            client: self.clone(),
            run: run.clone(),
            name: name.to_owned(),
            input: wire::encode_value(input).map_err(|source| ClientError::Value { what, source }),
            key: Uuid::new_v4().simple().to_string(),
            deadline: UPDATE_DEADLINE,
            output: PhantomData,
        }
    }

    /// The answer, and the run of the chain that gave it.
    async fn follow_update(&self, first: RunId, request: &Request) -> Result<(RunId, StepResult), UpdateError> {
        let mut run = first.clone();
        for _ in 0..CHAIN_RUNS_MAX {
            // Whoever drives the one before starts the next, and nothing may be written to it before.
            let mut backoff = Backoff::new();
            while run != first && self.entry(&run, &EntryKey::Start).await?.is_none() {
                self.store.clock().sleep(backoff.delay()).await;
            }
            match self.update_one(&run, request).await? {
                Outcome::Answered(answer) => return Ok((run, answer)),
                Outcome::Ended(Some(next)) => run = next,
                Outcome::Ended(None) => return Err(UpdateError::Ended { run }),
            }
        }
        Err(ClientError::ChainTooLong { reached: run }.into())
    }

    async fn update_one(&self, run: &RunId, request: &Request) -> Result<Outcome, ClientError> {
        let answer = EntryKey::Local(answer_key(&StepKey::from_path(&request.key)));
        let subject = self.store.names().entry(run, &answer);
        let mut hints = hints(&self.store, run, &subject).await;
        let said = self.say_update(run, request).await;
        match said {
            Ok(()) | Err(ClientError::Ended { .. }) => {}
            Err(error) => return Err(error),
        }
        if let Some(outcome) = self.outcome_of_update(run, &answer).await? {
            return Ok(outcome);
        }
        // Whoever says so and leaves no end has been purged.
        said?;
        loop {
            let looks = match hints.next().await {
                // Nothing but the answer is ever written there, so it is looked for as long as the server has to store it.
                Some(Hint::Attempt(_) | Hint::Ended) => LOOKS_FOR_END_MAX,
                Some(Hint::Doubt) => 1,
                // The subscriptions ended, which they do with the connection only; meanwhile anything may have come.
                None => {
                    self.store.clock().sleep(Backoff::MAX).await;
                    hints = super::tail::hints(&self.store, run, &subject).await;
                    1
                }
            };
            let mut backoff = Backoff::new();
            for look in 1..=looks {
                if let Some(outcome) = self.outcome_of_update(run, &answer).await? {
                    return Ok(outcome);
                }
                if look < looks {
                    self.store.clock().sleep(backoff.delay()).await;
                }
            }
        }
    }

    /// Writes the request, unless it is written or the run has ended.
    async fn say_update(&self, run: &RunId, request: &Request) -> Result<(), ClientError> {
        if self.entry(run, &EntryKey::Start).await?.is_none() {
            return Err(ClientError::NotFound { run: run.clone() });
        }
        let slot = update_slot(&request.key);
        let owner = StepKey::from_path(&format!("in.{slot}"));
        let input = self.store.put_payload(run, owner.token(), request.input.clone());
        let entry = Entry::In(Inbound {
            kind: InboundKind::Update {
                name: request.name.clone(),
                input: self.bounded(input).await??,
            },
            by: None,
            reason: None,
        });
        match self.say(run, EntryKey::In(slot), &entry).await? {
            Some(_) => Ok(()),
            None => Err(ClientError::UpdateConflict {
                run: run.clone(),
                key: request.key.clone(),
            }),
        }
    }

    /// What came of it, if anything did.
    async fn outcome_of_update(&self, run: &RunId, key: &EntryKey) -> Result<Option<Outcome>, ClientError> {
        let mut answer = self.entry(run, key).await?;
        let end = self.entry(run, &EntryKey::End).await?;
        if answer.is_none() && end.is_some() {
            // It may have come between the two.
            answer = self.entry(run, key).await?;
        }
        let ended_at = end.as_ref().map_or(u64::MAX, |end| end.sequence);
        if let Some(answer) = answer.filter(|answer| answer.sequence < ended_at)
            && let Entry::Local(local) = answer.entry
        {
            return Ok(Some(Outcome::Answered(local.result)));
        }
        Ok(end.map(|end| match end.entry {
            Entry::End(Ended {
                outcome: RunOutcome::Continued(next),
                ..
            }) => Outcome::Ended(Some(next.run)),
            _ => Outcome::Ended(None),
        }))
    }

    async fn read_answer<Out: DeserializeOwned>(&self, (run, answer): (RunId, StepResult)) -> Result<Out, UpdateError> {
        match answer {
            StepResult::Value(value) => {
                let value = self.store.get_payload(&run, &value).await.map_err(ClientError::from)?;
                let what = format!("the answer of run {run} is not a {}", std::any::type_name::<Out>());
                wire::decode_value(&value).map_err(|source| ClientError::Value { what, source }.into())
            }
            StepResult::Failure(Failure {
                kind: FailureKind::Rejected,
                message: reason,
            }) => Err(UpdateError::Rejected { run, reason }),
            StepResult::Failure(failure) => Err(UpdateError::Failed { run, failure }),
        }
    }
}

impl<Out> std::fmt::Debug for UpdateRun<Out> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "update {} of run {} under key {}", self.name, self.run, self.key)
    }
}
