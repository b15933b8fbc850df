//! Everything in one process with a private server: for trying things out.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use everstep_common::ids::{Prefix, QueueName};
use everstep_common::ports::Broker;
use everstep_common::store::{ACK_WAIT, Deployment, DeploymentError, Store};
use everstep_common::topology::Durability;
use everstep_nats::managed::{self, ManagedServer};
use everstep_nats::{ConnectOptions, NatsBroker, TokioClock};

use super::AppError;

/// What a private server is to be like: strict, with its data in a temporary folder, unless it is said.
///
/// ```
/// use std::time::Duration;
///
/// use everstep::{DevOptions, Durability};
///
/// // For tests: fast, and a worker that is killed is missed soon.
/// let options = DevOptions {
///     durability: Durability::Relaxed,
///     ack_wait: Some(Duration::from_secs(2)),
///     ..DevOptions::default()
/// };
/// assert_eq!(options.store, None);
/// ```
#[derive(Clone, Debug, Default)]
pub struct DevOptions {
    /// Where it keeps its data; a temporary folder without one.
    pub store: Option<PathBuf>,
    /// What acknowledged writes survive.
    pub durability: Durability,
    /// Under which names.
    pub prefix: Option<Prefix>,
    /// After how long a dead worker's tasks are delivered again: at least 1 s, 30 s without it. Counts when the store is new.
    pub ack_wait: Option<Duration>,
}

/// A private nats-server with a deployment of one partition on it; dies with its owner.
///
/// The binary is that of `EVERSTEP_NATS_SERVER`, else the first good one on `PATH`.
///
/// ```no_run
/// use everstep::prelude::*;
/// use everstep::{AppOptions, DevOptions, DevServer};
///
/// #[workflow]
/// async fn greet(ctx: WorkflowContext, name: String) -> Result<String, WorkflowError> {
///     Ok(format!("Hello, {name}!"))
/// }
///
/// #[tokio::main]
/// async fn main() -> anyhow::Result<()> {
///     let server = DevServer::start(DevOptions::default()).await?;
///     let app = App::new().workflow(greet).start(AppOptions::new(server.connect())).await?;
///     let client = Client::connect(server.connect()).await?;
///     let greeting = client.start(greet, "Ada".to_owned()).await?.result().await?;
///     assert_eq!(greeting, "Hello, Ada!");
///     app.stop().await?;
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct DevServer {
    server: ManagedServer,
    prefix: Prefix,
}

impl DevServer {
    /// Starts the server and provisions it.
    ///
    /// # Errors
    ///
    /// [`AppError::Server`] if there is no nats-server, or it does not start; [`AppError::Connect`] and [`AppError::Deployment`] if it cannot be used,
    /// for instance because its store holds another deployment than this.
    ///
    /// ```no_run
    /// # async fn example() -> anyhow::Result<()> {
    /// use everstep::{DevOptions, DevServer};
    ///
    /// // What was stored stays there for the next start.
    /// let store = Some("/var/tmp/shop-dev".into());
    /// let server = DevServer::start(DevOptions { store, ..DevOptions::default() }).await?;
    /// println!("export NATS_URL={}", server.connect().servers.join(","));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn start(options: DevOptions) -> Result<Self, AppError> {
        let prefix = options.prefix.unwrap_or_else(Prefix::none);
        let mut settings = managed::Options::with_durability(options.durability);
        settings.store = options.store;
        let server = ManagedServer::start(settings).await?;
        let broker: Arc<dyn Broker> = NatsBroker::connect(ConnectOptions::to(server.url())).await?;
        let deployment = match Deployment::load(&broker, &prefix).await {
            // A store that was used before keeps what it was given.
            Ok(known) => known,
            Err(DeploymentError::Missing { .. }) => {
                Deployment::single_node(prefix.clone()).with_ack_wait(options.ack_wait.unwrap_or(ACK_WAIT))
            }
            Err(error) => return Err(error.into()),
        };
        let deployment = deployment.with_durability(options.durability);
        deployment.provision(&broker, &TokioClock).await?;
        // Made ahead, so that the first step does not wait for a worker to look whether its queue is there.
        let (store, _) = Store::new(broker, Arc::new(TokioClock), deployment);
        store.ensure_queue(&QueueName::default_queue()).await?;
        if options.durability == Durability::Relaxed {
            server.flush_store().await?;
        }
        Ok(Self { server, prefix })
    }

    /// How to connect to it, for [`AppOptions::new`](crate::AppOptions::new) and [`Client::connect`](crate::Client::connect). Example: see [`DevServer`].
    pub fn connect(&self) -> ConnectOptions {
        ConnectOptions::to(self.server.url())
    }

    /// The prefix of its deployment; none unless it was given one.
    ///
    /// ```no_run
    /// # async fn example() -> anyhow::Result<()> {
    /// use everstep::{Client, DevOptions, DevServer, Prefix};
    ///
    /// let options = DevOptions { prefix: Some(Prefix::new("team-a")?), ..DevOptions::default() };
    /// let server = DevServer::start(options).await?;
    /// let client = Client::connect_to(server.connect(), server.prefix().clone()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    /// The server itself: to kill it, start it again, or be told of its end.
    ///
    /// ```no_run
    /// # async fn example(mut server: everstep::DevServer) {
    /// // A server that has died takes the program along.
    /// let error = server.server().ended().await;
    /// eprintln!("nats-server: {error}");
    /// # }
    /// ```
    pub fn server(&mut self) -> &mut ManagedServer {
        &mut self.server
    }
}
