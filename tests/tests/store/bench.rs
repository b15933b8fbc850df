//! A provisioned server and stores on it, each a process of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use everstep_common::digest::InputDigest;
use everstep_common::ids::{FunctionName, Prefix, ProcessId, RunId, WorkflowName};
use everstep_common::journal::{Entry, EntryKey, Local, LocalKind, Start, StepResult};
use everstep_common::key::StepKey;
use everstep_common::payload::Payload;
use everstep_common::ports::{Broker, Clock, Message};
use everstep_common::store::{Deployment, Store};
use everstep_common::task::Task;
use everstep_common::topology::Durability;
use everstep_memory::{Faults, MemoryBroker, MemoryServer, Nodes, simulate};
use everstep_nats::TokioClock;

pub struct Bench {
    pub server: MemoryServer,
    pub deployment: Deployment,
}

/// Runs a test on a provisioned server where nothing goes wrong unless the test says so.
pub fn on<T>(nodes: Nodes, test: impl AsyncFnOnce(Bench) -> anyhow::Result<T>) -> anyhow::Result<T> {
    simulate(async { test(Bench::start(nodes, 1).await?).await })
}

/// On one node, where writes are grouped.
pub fn on_one<T>(test: impl AsyncFnOnce(Bench) -> anyhow::Result<T>) -> anyhow::Result<T> {
    on(Nodes::One, test)
}

impl Bench {
    pub async fn start(nodes: Nodes, seed: u64) -> anyhow::Result<Self> {
        let server = MemoryServer::start(nodes, seed, Faults::none());
        let replicas = if nodes == Nodes::One { 1 } else { 3 };
        let deployment = Deployment::single_node(Prefix::none()).with_replicas(replicas);
        deployment.provision(&port(server.connect("setup")), &TokioClock).await?;
        Ok(Self { server, deployment })
    }

    /// A store of a new process of that name.
    pub fn store(&self, name: &str) -> Store {
        self.store_with(name, self.deployment.clone())
    }

    /// One that sends each write by itself.
    pub fn ungrouped(&self, name: &str) -> Store {
        self.store_with(name, self.deployment.clone().with_durability(Durability::Relaxed))
    }

    fn store_with(&self, name: &str, deployment: Deployment) -> Store {
        let broker = self.server.connect(name);
        let clock = Arc::new(broker.clock());
        let (store, driver) = Store::new(port(broker), clock, deployment);
        tokio::spawn(driver);
        store
    }

    /// What the journal holds.
    pub fn journal(&self) -> Vec<Message> {
        self.server.messages("KV_checkpoints_0")
    }

    /// The sizes of the batches that were stored.
    pub fn batches(&self) -> Vec<usize> {
        let history = self.server.history();
        let sizes = history
            .lines()
            .filter(|line| line.contains(": stored at"))
            .filter_map(|line| {
                let (_, size) = line.split_once("publishes a batch of ")?;
                size.split_once(':')?.0.parse().ok()
            });
        sizes.collect()
    }

    /// Returns once the condition holds, within a minute.
    pub async fn until(&self, condition: impl Fn() -> bool) -> anyhow::Result<()> {
        for _ in 0..60_000 {
            if condition() {
                return Ok(());
            }
            self.server.clock().sleep(Duration::from_millis(1)).await;
        }
        anyhow::bail!("it did not come so far within a minute")
    }

    pub fn lose_answers(&self) {
        self.server.set_faults(Faults {
            answer_lost: 1.0,
            ..Faults::none()
        });
    }

    pub fn lose_requests(&self) {
        self.server.set_faults(Faults {
            request_lost: 1.0,
            ..Faults::none()
        });
    }

    pub fn lose_nothing(&self) {
        self.server.set_faults(Faults::none());
    }
}

pub fn port(broker: MemoryBroker) -> Arc<dyn Broker> {
    Arc::new(broker)
}

/// The n-th run of the one partition.
pub fn run(number: u128) -> RunId {
    format!("0-{number:032x}").parse().expect("a run id")
}

pub fn step(number: usize) -> EntryKey {
    EntryKey::Local(StepKey::from_path(&format!("s{number}")))
}

/// An entry that says `value`.
pub fn local(value: impl Into<Bytes>) -> Entry {
    Entry::Local(Local {
        kind: LocalKind::Closure,
        result: StepResult::Value(Payload::Inline(value.into())),
    })
}

pub fn start() -> Entry {
    Entry::Start(Start {
        workflow: WorkflowName::new("order").expect("a name"),
        version: None,
        input: Payload::unit(),
        digest: InputDigest::of(&[0xc0]),
        start_key: None,
        session: None,
        parent: None,
        tags: BTreeMap::new(),
        traceparent: None,
        terms: Default::default(),
        continues: None,
        listens_from: None,
        listened: Vec::new(),
    })
}

pub fn task(attempt: u32) -> Task {
    Task {
        run: run(1),
        key: StepKey::from_path("charge"),
        attempt,
        function: FunctionName::new("charge").expect("a name"),
        input: Payload::unit(),
        digest: InputDigest::of(&[0xc0]),
        timeout: None,
        heartbeat_timeout: None,
        details: None,
        announce: false,
        deadline: jiff::Timestamp::UNIX_EPOCH,
        at_most_once: false,
        check: false,
        traceparent: None,
    }
}

pub fn process(name: &str) -> ProcessId {
    ProcessId::new(name).expect("a token")
}
