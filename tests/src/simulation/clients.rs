//! What a client does, however often it dies: its successor asks again under the same key.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use everstep::{Client, ClientError, IntoWorkflow, PayloadHash, Workflow};
use everstep_common::ids::{Prefix, RunId};
use everstep_common::journal::RunOutcome;
use everstep_common::ports::{Broker, Clock, ReadError};
use everstep_common::store::{CreateError, PutError, TriggerError};
use everstep_common::summary::RunStatus;
use futures::future::{Either, select};

use super::world::World;

/// The client process.
#[derive(Default)]
pub(super) struct Clients {
    current: Option<Client>,
    deaths: u32,
    /// Runs whose start was acknowledged.
    pub(super) started: BTreeSet<RunId>,
    /// Runs whose cancel was acknowledged.
    pub(super) cancelled: BTreeSet<RunId>,
}

/// What somebody says to a question, and who.
#[derive(Clone, Copy, Debug)]
pub(super) enum Said {
    /// This answer.
    Answer(&'static str, &'static str),
    /// Yes to this.
    Approve(&'static str, PayloadHash),
    /// No to this.
    Reject(&'static str, PayloadHash),
}

/// What the client's connection is called as long as it has not died.
pub const CLIENT: &str = "client-1";

/// How long a client waits for a push before it asks whether it was lost, in a world where pushes are lost.
const ASK_AGAIN: Duration = Duration::from_secs(20);

impl World {
    /// Starts a run, once for each key.
    pub async fn start<W, Marker>(&self, workflow: W, input: <W::Workflow as Workflow>::Input, key: &str) -> RunId
    where
        W: IntoWorkflow<Marker> + Copy,
        <W::Workflow as Workflow>::Input: Clone,
    {
        self.start_as(workflow, input, key, |start| start).await
    }

    /// The same in a session.
    pub async fn start_in<W, Marker>(&self, session: &str, workflow: W, input: <W::Workflow as Workflow>::Input, key: &str) -> RunId
    where
        W: IntoWorkflow<Marker> + Copy,
        <W::Workflow as Workflow>::Input: Clone,
    {
        self.start_as(workflow, input, key, |start| start.session(session)).await
    }

    /// The same of a workflow that is known by name only, and takes nothing.
    pub async fn start_named(&self, workflow: &str, key: &str) -> RunId {
        let run = self
            .client(async |client| {
                loop {
                    match client.start_named(workflow, None, &serde_json::Value::Null).key(key).await {
                        Ok(handle) => return handle.id().clone(),
                        Err(error) => self.again(&error).await,
                    }
                }
            })
            .await;
        self.0.clients.borrow_mut().started.insert(run.clone());
        run
    }

    /// Whether a start under a key that another input has is refused.
    pub async fn conflicts<W, Marker>(&self, workflow: W, input: <W::Workflow as Workflow>::Input, key: &str) -> bool
    where
        W: IntoWorkflow<Marker> + Copy,
        <W::Workflow as Workflow>::Input: Clone,
    {
        self.client(async |client| {
            loop {
                match client.start(workflow, input.clone()).key(key).await {
                    Ok(_) => return false,
                    Err(ClientError::Conflict { .. }) => return true,
                    Err(error) => self.again(&error).await,
                }
            }
        })
        .await
    }

    /// How the run ended; waits for it.
    pub async fn ended(&self, run: &RunId) -> RunOutcome {
        self.client(async |client| {
            loop {
                let outcome = pin!(client.run::<()>(run.clone()).outcome());
                let faultless = self.settings().faults.core_lost == 0.0;
                let patience = if faultless { self.settings().within } else { ASK_AGAIN };
                match select(outcome, self.0.server.clock().sleep(patience)).await {
                    Either::Left((Ok(outcome), _)) => return outcome,
                    Either::Left((Err(error), _)) => self.again(&error).await,
                    Either::Right(_) => {}
                }
            }
        })
        .await
    }

    /// Waits for all of them.
    pub async fn all_ended(&self, runs: &[RunId]) {
        for run in runs {
            self.ended(run).await;
        }
    }

    /// Waits for the run's end; whenever it stands still meanwhile it is resumed, whatever it misses.
    pub async fn ended_at_last(&self, run: &RunId) {
        loop {
            let ended = pin!(self.ended(run));
            let stands = pin!(self.parked(run, ""));
            match select(ended, stands).await {
                Either::Left(_) => return,
                Either::Right(_) => self.resume(run, true).await,
            }
            self.pass(Duration::from_secs(5)).await;
        }
    }

    /// Cancels the run; whether it was still open.
    pub async fn cancel(&self, run: &RunId) -> bool {
        let cancelled = self
            .client(async |client| {
                loop {
                    match client.cancel(run, "enough").await {
                        Ok(()) => return true,
                        Err(ClientError::Ended { .. }) => return false,
                        Err(error) => self.again(&error).await,
                    }
                }
            })
            .await;
        if cancelled {
            self.0.clients.borrow_mut().cancelled.insert(run.clone());
        }
        cancelled
    }

    /// Sends the run a signal, once for each id; whether it was still open.
    pub async fn signal(&self, run: &RunId, name: &str, id: &str, value: u64) -> bool {
        self.client(async |client| {
            loop {
                match client.signal(run, name, id, &value).await {
                    Ok(()) => return true,
                    Err(ClientError::Ended { .. }) => return false,
                    Err(error) => self.again(&error).await,
                }
            }
        })
        .await
    }

    /// Says something to a question, as soon as it is asked; whether that is what counts.
    pub(super) async fn say(&self, run: &RunId, wait: &str, said: Said) -> bool {
        self.client(async |client| {
            loop {
                let told = match &said {
                    Said::Answer(by, value) => client.answer(run, wait, value, *by).await,
                    Said::Approve(by, hash) => client.approve(run, wait, *hash, *by).await,
                    Said::Reject(by, hash) => client.reject(run, wait, *hash, *by).await,
                };
                match told {
                    Ok(()) => return true,
                    Err(
                        ClientError::Ended { .. }
                        | ClientError::Answered { .. }
                        | ClientError::Expired { .. }
                        | ClientError::Withdrawn { .. }
                        | ClientError::Refused { .. },
                    ) => return false,
                    // It is not asked yet.
                    Err(ClientError::NoQuestion { .. }) => self.pass(Duration::from_millis(100)).await,
                    Err(error) => self.again(&error).await,
                }
            }
        })
        .await
    }

    /// Ends the run as it stands.
    pub async fn terminate(&self, run: &RunId) {
        self.client(async |client| {
            loop {
                match client.terminate(run, "at once").await {
                    Ok(()) | Err(ClientError::Ended { .. }) => return,
                    Err(error) => self.again(&error).await,
                }
            }
        })
        .await;
    }

    /// Has a parked run tried again; `accept_unasked` also if recorded steps are no longer asked for.
    pub async fn resume(&self, run: &RunId, accept_unasked: bool) {
        self.client(async |client| {
            loop {
                match client.resume(run, accept_unasked, "mended").await {
                    Ok(()) | Err(ClientError::Ended { .. }) => return,
                    Err(error) => self.again(&error).await,
                }
            }
        })
        .await;
    }

    /// Returns once the run's summary says that it is parked, with that reason.
    pub async fn parked(&self, run: &RunId, reason: &str) {
        self.until(|world| {
            let summary = world.summary(run);
            let parked = summary.filter(|summary| summary.status == RunStatus::Parked);
            parked.is_some_and(|summary| summary.reason.is_some_and(|text| text.contains(reason)))
        })
        .await;
    }

    /// Does the job, again with another client whenever one has died over it.
    pub(super) async fn client<T>(&self, job: impl AsyncFn(&Client) -> T) -> T {
        loop {
            let name = match self.0.clients.borrow().deaths {
                0 => CLIENT.to_owned(),
                deaths => format!("{CLIENT}-{}", deaths + 1),
            };
            let work = pin!(async {
                let client = self.connected(&name).await;
                job(&client).await
            });
            match select(work, pin!(self.died(&name))).await {
                Either::Left((done, _)) => return done,
                Either::Right(_) => {
                    let mut clients = self.0.clients.borrow_mut();
                    clients.deaths += 1;
                    clients.current = None;
                }
            }
        }
    }

    /// A client that is connected, in a story in which none dies.
    pub(super) async fn client_now(&self) -> Client {
        self.connected(CLIENT).await
    }

    async fn connected(&self, name: &str) -> Client {
        let current = self.0.clients.borrow().current.clone();
        if let Some(client) = current {
            return client;
        }
        let known = self.0.brokers.borrow().get(name).cloned();
        let broker = known.unwrap_or_else(|| self.new_connection(name));
        loop {
            let clock: Arc<dyn Clock> = Arc::new(broker.clock());
            match Client::over(Arc::new(broker.clone()) as Arc<dyn Broker>, clock, &Prefix::none()).await {
                Ok(client) => {
                    self.0.clients.borrow_mut().current = Some(client.clone());
                    return client;
                }
                Err(error) => self.again(&error).await,
            }
        }
    }

    async fn died(&self, name: &str) {
        loop {
            if self.0.brokers.borrow().contains_key(name) {
                return self.0.server.died(name).await;
            }
            tokio::task::yield_now().await;
        }
    }

    /// A client asks again if that may help.
    pub(super) async fn again(&self, error: &ClientError) {
        let helps = matches!(
            error,
            ClientError::Unavailable { .. }
                | ClientError::Trigger(
                    TriggerError::Read(ReadError::Unavailable(_)) | TriggerError::Write {
                        source: PutError::Unknown(_),
                        ..
                    }
                )
                | ClientError::Deployment(_)
                | ClientError::Payload(_)
                | ClientError::Read(_)
                | ClientError::List(_)
                | ClientError::NotFound { .. }
                // What a rollback left of the run is taken away by the next sweep.
                | ClientError::Create(CreateError::Rejected { .. })
        );
        assert!(helps, "a client is told {error:?}");
        self.pass(Duration::from_millis(500)).await;
    }
}
