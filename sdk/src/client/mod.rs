//! The client: starts runs, waits for their results, looks at them, moves them.
//!
//! It talks to the journal and to nobody else: no orchestrator need be up for a start to be accepted, or for a result to be read.

mod chain;
mod children;
mod doubts;
mod error;
mod event;
mod history;
mod limits;
mod list;
mod questions;
mod result;
mod schedule;
mod session;
mod signal;
mod standing;
mod start;
mod start_many;
mod tail;
mod terms;
mod update;
mod value;
mod view;

use std::sync::Arc;
use std::time::Duration;

use everstep_common::ids::{Prefix, RunId};
use everstep_common::journal::{Entry, EntryKey, Inbound, InboundId, InboundKind, JournalEntry};
use everstep_common::ports::{Broker, Clock, ReadError};
use everstep_common::store::{CreateError, Created, Deployment, ReadRunError, Store};
use everstep_nats::{ConnectOptions, NatsBroker, TokioClock};
use futures::future::{Either, select};

pub use children::ChildRun;
pub use error::{ClientError, RunError, UpdateError};
pub use event::{Listener, PublishEvent};
pub use limits::LimitEntry;
pub use list::{ListFilter, ListedRun};
pub use questions::{OpenQuestion, Respondent};
pub use result::RunHandle;
pub use schedule::ScheduleEntry;
pub use session::SessionEntry;
pub use start::StartRun;
pub use update::UpdateRun;
pub use view::Inside;

use crate::workflow::IntoWorkflow;

/// How long the server may take to acknowledge what a client asks for.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(15);

/// A handle on one deployment. Cheap to clone.
///
/// # Errors
///
/// What is asked of the server has 15 seconds; after that it is [`ClientError::Unavailable`]. What was to be written may be stored then: a
/// start, a signal and an update are safely asked for again under the same key or id, an answer by saying the same. A result over 256 KiB is
/// fetched for as long as that takes.
///
/// ```no_run
/// use everstep::prelude::*;
/// use everstep::Client;
///
/// #[workflow]
/// async fn greet(ctx: WorkflowContext, name: String) -> Result<String, WorkflowError> {
///     Ok(format!("Hello, {name}"))
/// }
///
/// # async fn example() -> anyhow::Result<()> {
/// let client = Client::connect(Default::default()).await?;
/// let greeting = client.start(greet, "Ada".to_owned()).key("ada-1").await?.result().await?;
/// assert_eq!(greeting, "Hello, Ada");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    store: Store,
}

impl Client {
    /// Connects to the deployment without a prefix. What `options` leave open comes from the NATS context and the environment (`NATS_CONTEXT`,
    /// `NATS_URL`, `NATS_CREDS`); without any of them the server is `nats://127.0.0.1:4222`.
    ///
    /// The client is to live as long as the program: it connects again by itself when a connection is lost.
    ///
    /// # Errors
    ///
    /// [`ClientError::Connect`] if the server cannot be reached or used, [`ClientError::Deployment`] if nothing is provisioned there.
    ///
    /// ```no_run
    /// use everstep::{Client, ConnectOptions};
    ///
    /// # async fn example() -> anyhow::Result<()> {
    /// let client = Client::connect(ConnectOptions::to("nats://nats.internal:4222")).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(options: ConnectOptions) -> Result<Self, ClientError> {
        Self::connect_to(options, Prefix::none()).await
    }

    /// Connects to the deployment with this prefix; several may stand on one server.
    ///
    /// # Errors
    ///
    /// As for [`Client::connect`].
    ///
    /// ```no_run
    /// use everstep::{Client, ConnectOptions, Prefix};
    ///
    /// # async fn example() -> anyhow::Result<()> {
    /// let staging = Client::connect_to(ConnectOptions::default(), Prefix::new("staging")?).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect_to(options: ConnectOptions, prefix: Prefix) -> Result<Self, ClientError> {
        let broker: Arc<dyn Broker> = NatsBroker::connect(options).await?;
        Self::over(broker, Arc::new(TokioClock), &prefix).await
    }

    /// A client over ports of one's own, as tests do. Spawns on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// [`ClientError::Deployment`] if nothing is provisioned there.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use everstep::{Client, Prefix};
    /// use everstep_common::store::Deployment;
    /// use everstep_memory::{Faults, MemoryServer, Nodes, simulate};
    ///
    /// simulate(async {
    ///     let server = MemoryServer::start(Nodes::One, 1, Faults::none());
    ///     let connection = server.connect("client");
    ///     let clock = Arc::new(connection.clock());
    ///     let broker: Arc<dyn everstep_common::ports::Broker> = Arc::new(connection);
    ///     Deployment::single_node(Prefix::none()).provision(&broker, &*clock).await.unwrap();
    ///
    ///     let client = Client::over(broker, clock, &Prefix::none()).await.unwrap();
    ///     let run = client.start_named("order", None, &"o-17".into()).key("o-17").await.unwrap();
    ///     assert_eq!(client.status(run.id()).await.unwrap().workflow.as_str(), "order");
    /// });
    /// ```
    pub async fn over(broker: Arc<dyn Broker>, clock: Arc<dyn Clock>, prefix: &Prefix) -> Result<Self, ClientError> {
        let deployment = Deployment::load(&broker, prefix).await?;
        let (store, driver) = Store::new(broker, clock, deployment);
        drop(tokio::spawn(driver));
        Ok(Self { store })
    }

    /// The storage below, for tools that look into the journal. Its interface is that of the crate `everstep-common`, and changes with it.
    ///
    /// ```no_run
    /// # async fn example(client: everstep::Client) -> anyhow::Result<()> {
    /// println!("{} partitions, {}", client.store().deployment().partitions, client.store().deployment().durability);
    /// # Ok(())
    /// # }
    /// ```
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Starts a run of `workflow`; await the returned [`StartRun`] after giving it a key or tags, for its semantics, errors and limits.
    ///
    /// The run is of the version that this binary declares. Its code need not be here: a `#[workflow]` without a body will do.
    ///
    /// ```no_run
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn order(ctx: WorkflowContext, order_id: String) -> Result<String, WorkflowError>;
    ///
    /// # async fn example(client: Client) -> anyhow::Result<()> {
    /// let run = client.start(order, "o-17".to_owned()).key("o-17").await?;
    /// println!("started {}", run.id());
    /// let receipt: String = run.result().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn start<W, Marker>(
        &self,
        workflow: W,
        input: <W::Workflow as crate::Workflow>::Input,
    ) -> StartRun<<W::Workflow as crate::Workflow>::Output>
    where
        W: IntoWorkflow<Marker>,
    {
        let _ = workflow;
        StartRun::typed::<W::Workflow>(self.clone(), &input)
    }

    /// Starts a run of a workflow known by name only. Without a version the newest that the owner knows is run.
    ///
    /// `input` is what the workflow takes: its one argument, an array of several, null for none. It is looked at by the workflow only: a run whose
    /// input does not fit fails. A name that is none is [`ClientError::Invalid`] when this is awaited.
    ///
    /// ```no_run
    /// # async fn example(client: everstep::Client) -> anyhow::Result<()> {
    /// let input = serde_json::json!(["customer-7", 1200]);
    /// let run = client.start_named("charge", None, &input).await?;
    /// let result: serde_json::Value = run.result().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn start_named(&self, workflow: &str, version: Option<u32>, input: &serde_json::Value) -> StartRun<serde_json::Value> {
        StartRun::named(self.clone(), workflow, version, input)
    }

    /// A handle on a run that was started before, here or elsewhere; its result is decoded as `T`. Nothing is asked of the server yet: that there
    /// is no such run is told when its result is waited for.
    ///
    /// ```no_run
    /// # async fn example(client: everstep::Client) -> anyhow::Result<()> {
    /// // The id came with a request, or from a database.
    /// let run: everstep::RunId = "0-e7b97ed98ff28fc8cea316011add4707".parse()?;
    /// let receipt = client.run::<String>(run).result().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn run<T>(&self, run: RunId) -> RunHandle<T> {
        RunHandle::later(self.clone(), run)
    }

    /// Asks a run to cancel: its open waits end with an error, and when the workflow gives in the run ends as cancelled. Children that
    /// it waits for are asked, too, and end before. A run that went on as new is asked where it goes on.
    ///
    /// Acknowledged when durable. Asking again changes nothing while the run goes on; one that is parked ends as it stands.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotFound`] if there is no such run, [`ClientError::Ended`] if it has ended already.
    ///
    /// ```no_run
    /// use everstep::ClientError;
    ///
    /// # async fn example(client: everstep::Client, run: everstep::RunId) -> anyhow::Result<()> {
    /// match client.cancel(&run, "the customer changed their mind").await {
    ///     Ok(()) => println!("asked to cancel"),
    ///     Err(ClientError::Ended { .. }) => println!("too late"),
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn cancel(&self, run: &RunId, reason: &str) -> Result<(), ClientError> {
        self.send_to_newest(run, InboundKind::Cancel, reason).await
    }

    /// Ends a run as it stands, at once: its workflow is not asked, nothing is cleaned up, and children that it waits for are
    /// terminated as well. A run that went on as new is ended where it goes on.
    ///
    /// # Errors
    ///
    /// As for [`Client::cancel`].
    ///
    /// ```no_run
    /// # async fn example(client: everstep::Client, run: everstep::RunId) -> anyhow::Result<()> {
    /// client.terminate(&run, "it was started by mistake").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn terminate(&self, run: &RunId, reason: &str) -> Result<(), ClientError> {
        self.send_to_newest(run, InboundKind::Terminate, reason).await
    }

    /// Has a parked run tried again. With `accept_unasked` it goes on even though recorded steps are no longer asked for.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotFound`] if there is no such run, [`ClientError::Ended`] if it has ended. A run that went on as new has ended.
    ///
    /// ```no_run
    /// use everstep::RunStatus;
    ///
    /// # async fn example(client: everstep::Client, run: everstep::RunId) -> anyhow::Result<()> {
    /// let summary = client.status(&run).await?;
    /// if summary.status == RunStatus::Parked {
    ///     println!("parked: {}", summary.reason.unwrap_or_default());
    ///     client.resume(&run, false, "the fixed code is deployed").await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn resume(&self, run: &RunId, accept_unasked: bool, reason: &str) -> Result<(), ClientError> {
        self.send(run, fresh_id("resume"), InboundKind::Resume { accept_unasked }, Some(reason))
            .await
    }

    async fn send(&self, run: &RunId, id: InboundId, kind: InboundKind, reason: Option<&str>) -> Result<(), ClientError> {
        self.must_be_open(run).await?;
        let reason = reason.filter(|reason| !reason.is_empty()).map(str::to_owned);
        let entry = Entry::In(Inbound { kind, by: None, reason });
        let sequence = match self.create(run, EntryKey::In(id), &entry).await? {
            Created::Ours { sequence } => sequence,
            Created::Theirs(earlier) => earlier.sequence,
        };
        self.must_end_after(run, sequence).await
    }

    /// Read again: a run that ended before a word reached it was not moved by it, and nobody is told that it was.
    async fn must_end_after(&self, run: &RunId, sequence: u64) -> Result<(), ClientError> {
        match self.entry(run, &EntryKey::End).await? {
            Some(end) if end.sequence < sequence => Err(ClientError::Ended { run: run.clone() }),
            _ => Ok(()),
        }
    }

    async fn must_be_open(&self, run: &RunId) -> Result<(), ClientError> {
        if self.entry(run, &EntryKey::Start).await?.is_none() {
            return Err(ClientError::NotFound { run: run.clone() });
        }
        match self.entry(run, &EntryKey::End).await? {
            Some(_) => Err(ClientError::Ended { run: run.clone() }),
            None => Ok(()),
        }
    }

    /// An entry, and never a replica's word that it is not there.
    async fn entry(&self, run: &RunId, key: &EntryKey) -> Result<Option<JournalEntry>, ClientError> {
        let found = self.bounded(self.store.find_entry(run, key)).await?;
        found.map_err(|error| self.unread(run, error))
    }

    async fn entries(&self, run: &RunId) -> Result<Vec<JournalEntry>, ClientError> {
        let read = self.bounded(self.store.read_run_now(run)).await?;
        read.map_err(|error| self.unread(run, error))
    }

    /// Why a run could not be read. Its partition may be one that nobody has made, and then no such run was ever started.
    fn unread(&self, run: &RunId, error: ReadRunError) -> ClientError {
        let is_made = run.partition().0 < self.store.deployment().partitions;
        match error {
            ReadRunError::Unavailable {
                source: ReadError::NoStream,
                ..
            } if !is_made => ClientError::NotFound { run: run.clone() },
            error => error.into(),
        }
    }

    async fn create(&self, run: &RunId, key: EntryKey, entry: &Entry) -> Result<Created, ClientError> {
        match self.bounded(self.store.create(run, key, entry)).await? {
            Ok(created) => Ok(created),
            Err(CreateError::Gone { run, .. }) => Err(ClientError::Ended { run }),
            Err(error) => Err(error.into()),
        }
    }

    /// An answer in good time, or none.
    async fn bounded<T>(&self, answer: impl Future<Output = T>) -> Result<T, ClientError> {
        let late = self.store.clock().sleep(ACKNOWLEDGED_WITHIN);
        match select(std::pin::pin!(answer), late).await {
            Either::Left((answer, _)) => Ok(answer),
            Either::Right(((), _)) => Err(ClientError::Unavailable {
                after: ACKNOWLEDGED_WITHIN,
            }),
        }
    }
}

/// A name for one word to a run: said again it is another one.
fn fresh_id(kind: &str) -> InboundId {
    let id = format!("{kind}-{}", uuid::Uuid::new_v4().simple());
    InboundId::new(&id).expect("letters and hex digits are a token")
}
