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

/// What a private server is to be like.
#[derive(Clone, Debug, Default)]
pub struct DevOptions {
    /// Where it keeps its data; a temporary folder without one.
    pub store: Option<PathBuf>,
    /// What acknowledged writes survive.
    pub durability: Durability,
    /// Under which names.
    pub prefix: Option<Prefix>,
    /// After how long a dead worker's tasks are delivered again; 30 s without it. Counts when the store is new.
    pub ack_wait: Option<Duration>,
}

/// A private nats-server with a deployment of one partition on it; dies with its owner.
#[derive(Debug)]
pub struct DevServer {
    server: ManagedServer,
    prefix: Prefix,
}

impl DevServer {
    /// Starts the server and provisions it.
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

    /// How to connect to it.
    pub fn connect(&self) -> ConnectOptions {
        ConnectOptions::to(self.server.url())
    }

    /// The prefix of its deployment.
    pub fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    /// The server itself.
    pub fn server(&mut self) -> &mut ManagedServer {
        &mut self.server
    }
}
