//! Each process as a NATS micro service, so that `nats micro ls`, `info` and `stats` show who is there.
//!
//! The service has one endpoint, `everstep.status.<id>`, that answers with the same JSON as the statistics; it is reached by the id that
//! `nats micro ls` shows, so that asking one process does not ask them all.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_nats::service::ServiceExt as _;
use async_nats::service::endpoint::Endpoint;
use futures::StreamExt;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::broker::NatsBroker;

/// What a process tells of itself, asked whenever somebody wants to know.
pub type Statistics = Arc<dyn Fn() -> Value + Send + Sync>;

/// A registered service; dropping it takes it off the list.
#[derive(Debug)]
pub struct MicroService {
    /// Closed with this, and that stops the task that answers.
    _stop: oneshot::Sender<()>,
}

/// The process cannot be registered.
#[derive(Debug, thiserror::Error)]
#[error("registering the micro service {name} {version}: {reason}")]
pub struct MicroError {
    name: String,
    version: String,
    reason: String,
}

impl NatsBroker {
    /// Registers this process under `name` (letters, digits, `-` and `_`) and `version` (as in semantic versioning).
    pub async fn serve_micro(
        &self,
        name: &str,
        version: &str,
        description: &str,
        metadata: HashMap<String, String>,
        statistics: Statistics,
    ) -> Result<MicroService, MicroError> {
        let error = |reason: &dyn fmt::Display| MicroError {
            name: name.to_owned(),
            version: version.to_owned(),
            reason: reason.to_string(),
        };
        let told = Arc::clone(&statistics);
        let client = &self.link.client;
        let builder = client.service_builder().description(description).metadata(metadata);
        let builder = builder.stats_handler(move |_endpoint, _statistics| told());
        let service = builder.start(name, version).await.map_err(|reason| error(&reason))?;
        let id = service.info().await.id;
        let endpoint = service
            .endpoint_builder()
            .name("status")
            .add(format!("everstep.status.{id}"))
            .await;
        let endpoint = endpoint.map_err(|reason| error(&reason))?;
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(async move {
            tokio::select! {
                () = answer(endpoint, statistics) => {}
                _ = stopped => {}
            }
            // It would go on answering pings otherwise.
            let _ = service.stop().await;
        });
        Ok(MicroService { _stop: stop })
    }
}

async fn answer(mut endpoint: Endpoint, statistics: Statistics) {
    while let Some(request) = endpoint.next().await {
        // A client that does not wait for its answer is not our trouble.
        let _ = request.respond(Ok(statistics().to_string().into())).await;
    }
}
