//! The simulated server, to be compared with real ones.

use std::sync::Arc;
use std::time::Duration;

use everstep_common::ports::{Broker, Clock};
use everstep_memory::{Faults, MemoryServer, simulate};
use futures::FutureExt;
use futures::future::BoxFuture;

use super::{Behaviour, Nodes, Server, run};

/// Shows a behaviour on a simulated server of its own. Faults that delay are welcome; those that lose are not, for no behaviour
/// holds of what never arrives.
pub fn show(nodes: Nodes, seed: u64, faults: Faults, behaviour: Behaviour) -> anyhow::Result<()> {
    simulate(async {
        let kind = match nodes {
            Nodes::One => everstep_memory::Nodes::One,
            Nodes::Three => everstep_memory::Nodes::Three,
        };
        let server = MemoryServer::start(kind, seed, faults);
        run(Arc::new(Twin { nodes, server }), behaviour).await
    })
}

struct Twin {
    nodes: Nodes,
    server: MemoryServer,
}

impl Server for Twin {
    fn nodes(&self) -> Nodes {
        self.nodes
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.server.clock())
    }

    fn connect(&self, name: &str) -> BoxFuture<'_, anyhow::Result<Arc<dyn Broker>>> {
        let broker: Arc<dyn Broker> = Arc::new(self.server.connect(name));
        async move { Ok(broker) }.boxed()
    }

    fn restart(&self) -> BoxFuture<'_, anyhow::Result<()>> {
        async move {
            self.server.restart();
            // Longer than a restart takes.
            self.server.clock().sleep(Duration::from_secs(2)).await;
            Ok(())
        }
        .boxed()
    }

    fn delete_stream(&self, name: &str) -> BoxFuture<'_, anyhow::Result<()>> {
        let deleted = self.server.delete_stream(name);
        async move {
            anyhow::ensure!(deleted, "there was no such stream");
            Ok(())
        }
        .boxed()
    }
}
