//! How a run looks from inside: what its workflow published and keeps in its state, asked of whoever drives it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use everstep_common::ids::RunId;
use everstep_common::ports::{CoreMessage, Headers};
use everstep_common::view::{GateWait, RunView, ViewAnswer};
use everstep_common::wire;
use futures::StreamExt;
use futures::future::{Either, select};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use uuid::Uuid;

use super::value::json;
use super::{Client, ClientError};

/// How long an answer is waited for before the question is put again: whoever was to answer may have died.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// How often it is put: for five seconds, more than a takeover takes.
const ASKED_MAX: u32 = 10;

/// The same for somebody who can do without.
const ASKED_IN_PASSING_MAX: u32 = 2;

/// How a run looks from inside; made by [`Client::look_inside`].
#[derive(Clone, Debug, PartialEq)]
pub struct Inside {
    /// What its workflow published, if it did.
    pub view: Option<Json>,
    /// What its workflow keeps, by name.
    pub state: BTreeMap<String, Json>,
    /// The steps that wait for a place under a limit, and why; at most twenty.
    pub at_gates: Vec<GateWait>,
}

impl Client {
    /// What the run's workflow published last with [`publish_view`](crate::WorkflowContext::publish_view); nothing if it did not yet.
    ///
    /// It is asked of the orchestrator that drives the run, and as new as the newest journal entry that it has applied. Nothing is stored.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotFound`] if there is no such run, [`ClientError::Ended`] if it has ended, [`ClientError::Parked`] if it stands
    /// still, [`ClientError::NotDriven`] if no orchestrator answers, [`ClientError::Value`] if what was published is no `T`.
    ///
    /// ```no_run
    /// # async fn example(client: everstep::Client, run: everstep::RunId) -> anyhow::Result<()> {
    /// let progress: Option<u32> = client.view(&run).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn view<T: DeserializeOwned>(&self, run: &RunId) -> Result<Option<T>, ClientError> {
        let published = self.inside(run, ASKED_MAX).await?.view;
        let decoded = published.map(|view| wire::decode_value(&view)).transpose();
        decoded.map_err(|source| ClientError::Value {
            what: format!("the view of run {run}"),
            source,
        })
    }

    /// What the run's workflow keeps in [`ctx.state()`](crate::WorkflowContext::state), by name.
    ///
    /// # Errors
    ///
    /// As for [`Client::view`].
    ///
    /// ```no_run
    /// # async fn example(client: everstep::Client, run: everstep::RunId) -> anyhow::Result<()> {
    /// if let Some(phase) = client.state(&run).await?.get("phase") {
    ///     println!("it is at {phase}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn state(&self, run: &RunId) -> Result<BTreeMap<String, Json>, ClientError> {
        let state = self.inside(run, ASKED_MAX).await?.state.into_iter();
        state
            .map(|(key, value)| Ok((key, json(&value, || format!("a value in the state of run {run}"))?)))
            .collect()
    }

    /// All that can be told, for a person: the view, if one was published, the state, and what waits under a limit. Waits one second for
    /// an answer.
    ///
    /// # Errors
    ///
    /// As for [`Client::view`].
    pub async fn look_inside(&self, run: &RunId) -> Result<Inside, ClientError> {
        let RunView {
            view, state, at_gates, ..
        } = self.inside(run, ASKED_IN_PASSING_MAX).await?;
        let view = view
            .map(|view| json(&view, || format!("the view of run {run}")))
            .transpose()?;
        let state = state.into_iter();
        let state = state.map(|(key, value)| Ok((key, json(&value, || format!("a value in the state of run {run}"))?)));
        Ok(Inside {
            view,
            state: state.collect::<Result<_, ClientError>>()?,
            at_gates,
        })
    }

    async fn inside(&self, run: &RunId, asked_max: u32) -> Result<RunView, ClientError> {
        self.must_be_open(run).await?;
        let inbox = format!("_INBOX.{}", Uuid::new_v4().simple());
        let mut answers = self.store.broker().subscribe(&inbox).await;
        for _ in 0..asked_max {
            self.store.broker().send(CoreMessage {
                subject: self.store.names().view(run),
                headers: Headers::new(),
                payload: Bytes::new(),
                reply: Some(inbox.clone()),
            });
            let mut late = self.store.clock().sleep(ASK_AGAIN_AFTER);
            // What cannot be read is the server's word that nobody listens.
            while let Either::Left((Some(answer), rest)) = select(answers.next(), late).await {
                late = rest;
                match wire::decode(&answer.payload) {
                    Ok(ViewAnswer::Live(view)) => return Ok(view),
                    Ok(ViewAnswer::Parked) => return Err(ClientError::Parked { run: run.clone() }),
                    Ok(ViewAnswer::Ended) => return Err(ClientError::Ended { run: run.clone() }),
                    // Its start stands, so whoever says so has not come that far.
                    Ok(ViewAnswer::Unknown) | Err(_) => {}
                }
            }
        }
        Err(ClientError::NotDriven { run: run.clone() })
    }
}
