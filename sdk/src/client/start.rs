//! Starting a run: once per workflow and start key, acknowledged when durable.

use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::marker::PhantomData;

use bytes::Bytes;
use everstep_common::digest::InputDigest;
use everstep_common::ids::{Partition, RunId, WorkflowName};
use everstep_common::journal::{Entry, EntryKey, Start, StartTerms};
use everstep_common::ports::Message;
use everstep_common::session;
use everstep_common::store::Created;
use everstep_common::wire;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Serialize;
use tracing::field::{self, Empty};
use tracing::{Instrument, Span};
use uuid::Uuid;

use super::{Client, ClientError, RunHandle, terms};
use crate::telemetry;
use crate::workflow::Workflow;

/// A start that is about to be made; awaiting it makes it. Acknowledged when it is durable, whether or not an orchestrator is up.
///
/// With a [`key`](Self::key) it is made once, however often it is asked for; without, each time is another run. So give one wherever the
/// caller may ask again: after [`ClientError::Unavailable`] the run may have been started.
///
/// # Errors
///
/// [`ClientError::Conflict`] if the key was used with another input; [`ClientError::SessionId`] and [`ClientError::BadStart`] if the session or the
/// terms are out of their bounds; [`ClientError::Payload`] if the input is over 64 MiB (`PAYLOAD_BYTES_MAX`);
/// [`ClientError::Value`] if it cannot be encoded; [`ClientError::Unavailable`] if the server does not answer within 15 seconds.
///
/// ```no_run
/// use everstep::ClientError;
/// use everstep::prelude::*;
///
/// #[workflow]
/// async fn order(ctx: WorkflowContext, cents: u64) -> Result<String, WorkflowError>;
///
/// # async fn example(client: Client) -> anyhow::Result<()> {
/// match client.start(order, 1200).key("o-17").session("customer-7").tag("country", "de").await {
///     Ok(run) => println!("run {}", run.id()),
///     Err(ClientError::Conflict { run, .. }) => println!("o-17 was ordered for another sum, in run {run}"),
///     Err(error) => return Err(error.into()),
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "a run starts when this is awaited"]
pub struct StartRun<T> {
    client: Client,
    request: Result<Request, ClientError>,
    output: PhantomData<fn() -> T>,
}

pub(super) struct Request {
    workflow: WorkflowName,
    version: Option<u32>,
    input: Bytes,
    key: Option<String>,
    session: Option<String>,
    tags: BTreeMap<String, String>,
    pub(super) terms: StartTerms,
    pub(super) traceparent: Option<String>,
}

impl<T> StartRun<T> {
    pub(super) fn typed<W: Workflow>(client: Client, input: &W::Input) -> Self {
        Self::new(client, W::NAME, Some(W::VERSION), input)
    }

    pub(super) fn new(client: Client, workflow: &str, version: Option<u32>, input: &impl Serialize) -> Self {
        let request = WorkflowName::new(workflow).map_err(ClientError::from).and_then(|workflow| {
            let what = format!("encoding the input of workflow {workflow}");
            let input = wire::encode_value(input).map_err(|source| ClientError::Value { what, source })?;
            Ok(Request {
                workflow,
                version,
                input,
                key: None,
                session: None,
                tags: BTreeMap::new(),
                terms: StartTerms::default(),
                traceparent: None,
            })
        });
        Self {
            client,
            request,
            output: PhantomData,
        }
    }

    pub(super) fn with(mut self, change: impl FnOnce(&mut Request)) -> Self {
        if let Ok(request) = &mut self.request {
            change(request);
        }
        self
    }

    /// The caller's name for this run: the same workflow, key and input give the same run, however often it is started.
    ///
    /// Another input under the same key is [`ClientError::Conflict`]. Version, session and tags are those of the first start.
    ///
    /// ```no_run
    /// # async fn example(client: everstep::Client) -> anyhow::Result<()> {
    /// // The webhook may be delivered twice.
    /// let delivered = serde_json::json!({ "event": "evt_1Q2w3E", "cents": 1200 });
    /// let first = client.start_named("payment", None, &delivered).key("evt_1Q2w3E").await?;
    /// let again = client.start_named("payment", None, &delivered).key("evt_1Q2w3E").await?;
    /// assert_eq!(first.id(), again.id());
    /// # Ok(())
    /// # }
    /// ```
    pub fn key(self, key: impl Into<String>) -> Self {
        self.with(|request| request.key = Some(key.into()))
    }

    /// The session whose values the run shares with all other runs started in it ([`ctx.session()`](crate::WorkflowContext::session)):
    /// any text of 1 to 256 characters (`SESSION_ID_CHARS_MAX`). A session begins with its first run and does not end.
    ///
    /// A start that is repeated under its key stays in the session that it was made in first. Another text is [`ClientError::SessionId`] when the
    /// start is awaited, and nothing is started.
    ///
    /// ```no_run
    /// # async fn example(client: everstep::Client) -> anyhow::Result<()> {
    /// for page in ["/", "/prices"] {
    ///     client.start_named("visit", None, &page.into()).session("visitor-4711").await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn session(self, session: impl Into<String>) -> Self {
        self.with(|request| request.session = Some(session.into()))
    }

    /// A label, for people and filters; children have it, too. A second one of the same name replaces the first.
    ///
    /// ```no_run
    /// # async fn example(client: everstep::Client) -> anyhow::Result<()> {
    /// let run = client.start_named("order", None, &"o-17".into()).tag("tenant", "acme").tag("country", "de").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn tag(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(|request| drop(request.tags.insert(name.into(), value.into())))
    }

    /// The span that the run's trace begins with, a child of the caller's.
    pub(super) fn span(&self) -> Span {
        match &self.request {
            Ok(request) => tracing::info_span!("start", workflow = %request.workflow, run = Empty, otel.kind = "producer"),
            Err(_) => Span::none(),
        }
    }

    async fn send(self, span: Span) -> Result<RunHandle<T>, ClientError> {
        let (client, run, start) = self.prepare(&span).await?;
        // Subscribed before the start is sent, so that the end cannot be missed.
        let handle = RunHandle::now(client.clone(), run.clone()).await;
        Ok(match client.create_start(&run, start).await? {
            Repeated(false) => handle,
            Repeated(true) => RunHandle::later(client, run),
        })
    }

    /// The same for somebody who does not wait for the run's end, or not yet.
    pub(super) async fn send_only(self, span: Span) -> Result<(Client, RunId), ClientError> {
        let (client, run, start) = self.prepare(&span).await?;
        client.create_start(&run, start).await?;
        Ok((client, run))
    }

    /// What is to be created, its large input stored.
    async fn prepare(self, span: &Span) -> Result<(Client, RunId, Start), ClientError> {
        let (client, request) = (self.client, self.request?);
        terms::check(&request.terms, request.traceparent.as_deref())?;
        request.session.as_deref().map_or(Ok(()), session::check_id)?;
        let digest = InputDigest::of(&request.input);
        let run = client.new_run_id(&request);
        span.record("run", field::display(&run));
        let input = client
            .bounded(client.store.put_payload(&run, "start", request.input))
            .await??;
        let start = Start {
            workflow: request.workflow,
            version: request.version,
            input,
            digest,
            start_key: request.key,
            session: request.session,
            parent: None,
            tags: request.tags,
            traceparent: request.traceparent.or_else(telemetry::traceparent),
            terms: request.terms,
            continues: None,
            listens_from: None,
            listened: Vec::new(),
        };
        Ok((client, run, start))
    }
}

/// Whether a start had been made before, so that its run may have ended already.
struct Repeated(bool);

impl<T: 'static> IntoFuture for StartRun<T> {
    type Output = Result<RunHandle<T>, ClientError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        async move {
            // At the first poll, where the caller's span is current even if this was made before it.
            let span = self.span();
            self.send(span.clone()).instrument(span).await
        }
        .boxed()
    }
}

impl Client {
    fn new_run_id(&self, request: &Request) -> RunId {
        let deployment = self.store.deployment();
        match &request.key {
            Some(key) => RunId::keyed(&request.workflow, key, deployment.keyed_partitions),
            None => {
                let unique = Uuid::now_v7();
                let (_, random) = unique.as_u64_pair();
                RunId::unkeyed(Partition((random % u64::from(deployment.partitions)) as u32), unique)
            }
        }
    }

    async fn create_start(&self, run: &RunId, start: Start) -> Result<Repeated, ClientError> {
        match self.create(run, EntryKey::Start, &Entry::Start(start.clone())).await? {
            Created::Ours { .. } => Ok(Repeated(false)),
            Created::Theirs(earlier) => self.same_start(run, &start, &earlier).map(|()| Repeated(true)),
        }
    }

    /// Whether the run that has the key is the one that was asked for.
    fn same_start(&self, run: &RunId, start: &Start, earlier: &Message) -> Result<(), ClientError> {
        let entry = self.store.decode_entry(run, earlier.clone())?;
        match entry.entry {
            Entry::Start(earlier) if earlier.digest == start.digest && earlier.workflow == start.workflow => Ok(()),
            _ => Err(ClientError::Conflict {
                workflow: start.workflow.clone(),
                key: start.start_key.clone().unwrap_or_default(),
                run: run.clone(),
            }),
        }
    }
}

impl StartRun<serde_json::Value> {
    pub(super) fn named(client: Client, workflow: &str, version: Option<u32>, input: &serde_json::Value) -> Self {
        Self::new(client, workflow, version, input)
    }
}
