//! Publishing events, and looking at who listens to them.

use std::future::IntoFuture;

use everstep_common::event::{EventName, NewEvent, RefusedEvent};
use everstep_common::ids::{ProcessId, WorkflowName};
use everstep_common::limits::EVENT_BYTES_MAX;
use everstep_common::ports::PublishError;
use everstep_common::store::{Backoff, TriggerError};
use everstep_common::trigger::Trigger;
use everstep_common::trigger::registration::Registration;
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::{Client, ClientError};
use crate::telemetry;

/// An event that is about to be published; awaiting it publishes it. Made by [`Client::publish_event`].
///
/// ```no_run
/// # async fn example(client: everstep::Client) -> anyhow::Result<()> {
/// let shop_opened = client.publish_event("shop.opened", &());
/// shop_opened.await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "an event is published when this is awaited"]
pub struct PublishEvent {
    client: Client,
    event: Result<NewEvent, ClientError>,
}

/// What a workflow listens to.
///
/// ```
/// use everstep::Listener;
///
/// fn line(listener: &Listener) -> String {
///     format!("{} v{} has {} triggers", listener.workflow, listener.version, listener.triggers.len())
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listener {
    /// The workflow.
    pub workflow: WorkflowName,
    /// The version that its runs are started with.
    pub version: u32,
    /// What starts them.
    pub triggers: Vec<Trigger>,
    /// Since when, by the server's clock.
    pub registered: Timestamp,
}

impl Client {
    /// Publishes an event: every workflow that [listens](crate::workflow) to it is started once, however often it is published under the
    /// same id. Acknowledged when durable; no orchestrator need be up.
    ///
    /// The event is kept for seven days. `data` has at most 768 KiB of JSON.
    ///
    /// ```no_run
    /// # async fn example(client: everstep::Client) -> anyhow::Result<()> {
    /// let user = serde_json::json!({ "id": 7, "name": "Ada" });
    /// client.publish_event("user.signed_up", &user).id("user-7").source("crm").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ClientError::Invalid`] if the name is none or the id empty, [`ClientError::Json`] if the data is no JSON, [`ClientError::Trigger`] if it is too
    /// large or the server refuses, [`ClientError::Unavailable`] if the server does not answer; asking again with the same id is safe.
    pub fn publish_event(&self, name: &str, data: &impl Serialize) -> PublishEvent {
        let event = EventName::new(name).map_err(ClientError::from).and_then(|name| {
            let data = serde_json::to_value(data).map_err(|source| ClientError::Json {
                what: format!("the data of event {name}"),
                source,
            })?;
            Ok(NewEvent {
                name,
                id: Uuid::now_v7().to_string(),
                source: "everstep/client".to_owned(),
                data,
                traceparent: None,
            })
        });
        PublishEvent {
            client: self.clone(),
            event,
        }
    }

    /// What every workflow listens to, by name.
    ///
    /// # Errors
    ///
    /// [`ClientError::Trigger`] if it cannot be read.
    ///
    /// ```no_run
    /// # async fn example(client: everstep::Client) -> anyhow::Result<()> {
    /// for listener in client.listeners().await? {
    ///     println!("{} since {}: {:?}", listener.workflow, listener.registered, listener.triggers);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn listeners(&self) -> Result<Vec<Listener>, ClientError> {
        let registrations = self.bounded(self.store.registrations()).await??;
        let listener = registrations.into_iter().map(|kept| Listener {
            workflow: kept.value.workflow,
            version: kept.value.version,
            triggers: kept.value.listens.into_iter().map(|listening| listening.trigger).collect(),
            registered: kept.time,
        });
        let mut listeners: Vec<_> = listener.filter(|listener| !listener.triggers.is_empty()).collect();
        listeners.sort_by(|one, other| one.workflow.cmp(&other.workflow));
        Ok(listeners)
    }

    /// Has a workflow listen to nothing any more, until an orchestrator that has its code is started; whether it had listened.
    ///
    /// For workflows whose code is gone for good, and to go back to an older version.
    ///
    /// # Errors
    ///
    /// [`ClientError::Trigger`] if it cannot be read or written, also because an orchestrator is being started just then.
    ///
    /// ```no_run
    /// # async fn example(client: everstep::Client) -> anyhow::Result<()> {
    /// if client.forget_listener(&"nightly_report".parse()?).await? {
    ///     println!("nothing starts it any more");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn forget_listener(&self, workflow: &WorkflowName) -> Result<bool, ClientError> {
        let registrations = self.bounded(self.store.registrations()).await??;
        let Some(kept) = registrations.into_iter().find(|kept| kept.value.workflow == *workflow) else {
            return Ok(false);
        };
        let nothing = Registration {
            workflow: workflow.clone(),
            // Any version that has something to say is newer.
            version: 0,
            listens: Vec::new(),
            by: ProcessId::fresh("client"),
        };
        self.bounded(self.store.put_registration(&nothing, kept.revision)).await??;
        Ok(!kept.value.listens.is_empty())
    }

    /// The events of the last seven days by which a workflow that listens to them could not be started, and when that was found.
    ///
    /// # Errors
    ///
    /// [`ClientError::Trigger`] if they cannot be read.
    ///
    /// ```no_run
    /// # async fn example(client: everstep::Client) -> anyhow::Result<()> {
    /// for (found, refused) in client.refused_events().await? {
    ///     println!("{found}: {} was not started by {}: {}", refused.workflow, refused.event, refused.reason);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn refused_events(&self) -> Result<Vec<(Timestamp, RefusedEvent)>, ClientError> {
        Ok(self.bounded(self.store.refused_events()).await??)
    }
}

impl PublishEvent {
    /// What tells the event from all others of its source. Without it every call is another event.
    ///
    /// ```no_run
    /// # async fn example(client: everstep::Client) -> anyhow::Result<()> {
    /// // The request may come twice: it is one event.
    /// client.publish_event("order.paid", &17).id("payment-17").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn id(self, id: impl Into<String>) -> Self {
        self.with(|event| event.id = id.into())
    }

    /// Where it happened; `everstep/client` unless given.
    ///
    /// ```no_run
    /// # async fn example(client: everstep::Client) -> anyhow::Result<()> {
    /// client.publish_event("order.paid", &17).source("shop/berlin").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn source(self, source: impl Into<String>) -> Self {
        self.with(|event| event.source = source.into())
    }

    fn with(mut self, change: impl FnOnce(&mut NewEvent)) -> Self {
        if let Ok(event) = &mut self.event {
            change(event);
        }
        self
    }

    async fn send(self) -> Result<(), ClientError> {
        let (client, mut event) = (self.client, self.event?);
        event.check()?;
        event.traceparent = telemetry::traceparent();
        let publish = event.publish(client.store.names());
        let refused = |source| {
            let subject = publish.subject.clone();
            ClientError::Trigger(TriggerError::Publish { subject, source })
        };
        if publish.payload.len() > EVENT_BYTES_MAX {
            return Err(refused(PublishError::TooLarge));
        }
        let mut backoff = Backoff::new();
        let stored = async {
            loop {
                match client.store.broker().publish(publish.clone()).await {
                    Ok(_) => return Ok(()),
                    // Published twice it is still one event: its id says so.
                    Err(PublishError::Unknown(_) | PublishError::Full) => client.store.clock().sleep(backoff.delay()).await,
                    Err(source) => return Err(refused(source)),
                }
            }
        };
        client.bounded(stored).await?
    }
}

impl IntoFuture for PublishEvent {
    type Output = Result<(), ClientError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.send().boxed()
    }
}
