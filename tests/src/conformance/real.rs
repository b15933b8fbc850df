//! Real nats-servers, started for the test and gone with it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use everstep_common::ports::{Broker, Clock};
use everstep_nats::managed::{ManagedCluster, ManagedServer, Options};
use everstep_nats::{ConnectOptions, NatsBroker, TokioClock};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::Mutex;

use super::{Nodes, Server};

/// One real server or three.
pub struct Real {
    nodes: Nodes,
    url: String,
    process: Mutex<Process>,
}

enum Process {
    One(ManagedServer),
    Three(ManagedCluster),
}

impl Real {
    /// Starts a single server.
    pub async fn one() -> anyhow::Result<Self> {
        let server = ManagedServer::start(Options::default()).await?;
        Ok(Self {
            nodes: Nodes::One,
            url: server.url(),
            process: Mutex::new(Process::One(server)),
        })
    }

    /// Starts a cluster.
    pub async fn three() -> anyhow::Result<Self> {
        let cluster = ManagedCluster::start(Options::default()).await?;
        Ok(Self {
            nodes: Nodes::Three,
            url: cluster.url(),
            process: Mutex::new(Process::Three(cluster)),
        })
    }
}

impl Server for Real {
    fn nodes(&self) -> Nodes {
        self.nodes
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(TokioClock)
    }

    fn connect(&self, name: &str) -> BoxFuture<'_, anyhow::Result<Arc<dyn Broker>>> {
        let options = ConnectOptions {
            // A busy machine may keep a cluster from answering in the time that a client gives it.
            wait_for_server: true,
            ..ConnectOptions::to(self.url.clone()).named(name)
        };
        async move { Ok(NatsBroker::connect(options).await? as Arc<dyn Broker>) }.boxed()
    }

    fn restart(&self) -> BoxFuture<'_, anyhow::Result<()>> {
        async move {
            match &mut *self.process.lock().await {
                Process::One(server) => server.restart().await?,
                Process::Three(cluster) => cluster.restart_all().await?,
            }
            Ok(())
        }
        .boxed()
    }

    fn delete_stream(&self, name: &str) -> BoxFuture<'_, anyhow::Result<()>> {
        let name = name.to_owned();
        async move {
            let broker = self.connect("deleting").await?;
            let subject = format!("$JS.API.STREAM.DELETE.{name}");
            let answers = broker.ask(&subject, Default::default(), Duration::from_secs(2)).await;
            let answer = answers.first().context("deleting the stream was not answered")?;
            let text = String::from_utf8_lossy(&answer.payload);
            ensure!(text.contains("\"success\":true"), "deleting the stream: {text}");
            Ok(())
        }
        .boxed()
    }
}
