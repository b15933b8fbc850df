//! A provisioned server in memory, clients of it, and a journal written by hand.

use std::sync::Arc;
use std::time::Duration;

use everstep::journal::{Continuation, Ended, Entry, EntryKey, Local, LocalKind, RunOutcome, StepResult};
use everstep::{Client, Prefix, RunId};
use everstep_common::digest::InputDigest;
use everstep_common::ids::ProcessId;
use everstep_common::key::StepKey;
use everstep_common::payload::Payload;
use everstep_common::ports::Broker;
use everstep_common::store::Deployment;
use everstep_memory::{Faults, MemoryServer, Nodes, simulate};
use everstep_nats::TokioClock;

/// Longer than anything here takes by the simulated clock.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

pub(crate) struct Bench {
    pub server: MemoryServer,
    pub deployment: Deployment,
}

impl Bench {
    pub(crate) async fn start(nodes: Nodes, seed: u64) -> Self {
        let server = MemoryServer::start(nodes, seed, Faults::none());
        let replicas = if nodes == Nodes::One { 1 } else { 3 };
        let deployment = Deployment::single_node(Prefix::none()).with_replicas(replicas);
        let bench = Self { server, deployment };
        bench.deployment.provision(&bench.port("setup"), &TokioClock).await.unwrap();
        bench
    }

    pub(crate) fn port(&self, name: &str) -> Arc<dyn Broker> {
        Arc::new(self.server.connect(name))
    }

    pub(crate) async fn client(&self, name: &str) -> Client {
        let broker = self.server.connect(name);
        let clock = Arc::new(broker.clock());
        Client::over(Arc::new(broker), clock, &Prefix::none()).await.unwrap()
    }
}

/// Runs a test once for each seed, or for the one that the environment names.
pub(crate) fn for_seeds(seeds: u64, test: impl AsyncFn(u64)) {
    let named = std::env::var("EVERSTEP_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in named.map_or(0..seeds, |seed: u64| seed..seed + 1) {
        simulate(async {
            let ended = tokio::time::timeout(ENDS_WITHIN, test(seed)).await;
            assert!(ended.is_ok(), "EVERSTEP_SEED={seed}: it never ends");
        });
    }
}

pub(crate) fn local(name: &str) -> (EntryKey, Entry) {
    let entry = Entry::Local(Local {
        kind: LocalKind::Closure,
        result: StepResult::Value(Payload::unit()),
    });
    (EntryKey::Local(StepKey::from_path(name)), entry)
}

pub(crate) fn end() -> (EntryKey, Entry) {
    let entry = Entry::End(Ended {
        outcome: RunOutcome::Completed(Payload::unit()),
        by: ProcessId::new("owner").unwrap(),
    });
    (EntryKey::End, entry)
}

pub(crate) fn goes_on_in(next: &RunId) -> (EntryKey, Entry) {
    let entry = Entry::End(Ended {
        outcome: RunOutcome::Continued(Continuation {
            run: next.clone(),
            input: Payload::unit(),
            digest: InputDigest::of(b"input"),
            decided: None,
            listened: Vec::new(),
        }),
        by: ProcessId::new("owner").unwrap(),
    });
    (EntryKey::End, entry)
}

/// Writes into a run's journal, as its owner would.
pub(crate) async fn write(client: &Client, run: &RunId, entries: impl IntoIterator<Item = (EntryKey, Entry)>) {
    for (key, entry) in entries {
        client.store().create(run, key, &entry).await.unwrap();
    }
}
