//! One simulated world: the server, the processes on it, and what they have done.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use everstep_common::ids::Prefix;
use everstep_common::ports::{Broker, Clock};
use everstep_common::store::Deployment;
use everstep_common::subject::Names;
use everstep_memory::{Faults, MemoryBroker, MemoryServer, Nodes, Reaction};
use everstep_nats::TokioClock;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::clients::Clients;
use super::flow::Gauge;
use super::ledger::Ledger;
use super::processes::Processes;
use super::settings::Settings;

/// A world, as scenarios see it. Cheap to clone.
#[derive(Clone)]
pub struct World(pub(super) Rc<Inner>);

pub(super) struct Inner {
    pub(super) settings: Settings,
    pub(super) server: MemoryServer,
    pub(super) deployment: Deployment,
    pub(super) names: Names,
    pub(super) ledger: Ledger,
    pub(super) gauge: Gauge,
    /// The simulation's only runtime.
    pub(super) runtime: Handle,
    pub(super) processes: RefCell<Processes>,
    /// Every connection so far, by name.
    pub(super) brokers: RefCell<BTreeMap<String, MemoryBroker>>,
    pub(super) clients: RefCell<Clients>,
    /// Something has happened that the driver must see to.
    pub(super) changed: Arc<Notify>,
    pub(super) seen: Arc<Mutex<Seen>>,
}

/// What has been stored so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Journal entries so far.
    pub(super) entries: u64,
    /// How often each journal subject was stored under.
    pub(super) stored: BTreeMap<String, u32>,
    /// The server is to be restarted now.
    pub(super) restart: bool,
    /// The planned crash has happened.
    pub(super) crashed: bool,
}

impl World {
    /// Starts the server and provisions it. Inside the simulation's runtime.
    pub(super) async fn new(settings: Settings) -> Self {
        let server = MemoryServer::start(settings.nodes, settings.seed, Faults::none());
        let replicas = if settings.nodes == Nodes::One { 1 } else { 3 };
        let deployment = Deployment::single_node(Prefix::none())
            .with_partitions(settings.partitions)
            .with_durability(settings.durability)
            .with_replicas(replicas);
        let broker: Arc<dyn Broker> = Arc::new(server.connect("provisioner"));
        deployment
            .provision(&broker, &TokioClock)
            .await
            .expect("nothing goes wrong yet");
        server.set_faults(settings.faults.clone());
        let world = Self(Rc::new(Inner {
            settings,
            server,
            names: Names::new(deployment.prefix.clone()),
            deployment,
            ledger: Ledger::default(),
            gauge: Gauge::default(),
            runtime: Handle::current(),
            processes: RefCell::default(),
            brokers: RefCell::default(),
            clients: RefCell::default(),
            changed: Arc::default(),
            seen: Arc::default(),
        }));
        world.watch_entries();
        world
    }

    /// The server, to be disturbed.
    pub fn server(&self) -> &MemoryServer {
        &self.0.server
    }

    /// What the functions did.
    pub fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }

    /// What it was made with.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The deployment's names.
    pub fn names(&self) -> &Names {
        &self.0.names
    }

    /// The deployment.
    pub fn deployment(&self) -> &Deployment {
        &self.0.deployment
    }

    /// Lets that much simulated time pass.
    pub async fn pass(&self, time: Duration) {
        self.0.server.clock().sleep(time).await;
    }

    /// Returns once `condition` holds.
    pub async fn until(&self, condition: impl Fn(&Self) -> bool) {
        while !condition(self) {
            self.pass(Duration::from_millis(50)).await;
        }
    }

    /// How many journal entries were stored so far.
    pub fn entries(&self) -> u64 {
        self.seen().entries
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.0.seen)
    }

    fn watch_entries(&self) {
        let (seen, changed) = (self.0.seen.clone(), self.0.changed.clone());
        let crash = self.0.settings.crash.clone();
        let journals: Vec<String> = self
            .0
            .deployment
            .all_partitions()
            .map(|partition| self.0.names.journal_stream(partition))
            .collect();
        self.0.server.on_stored(move |entry| {
            if !journals.contains(&entry.stream) {
                return Reaction::None;
            }
            let mut seen = lock(&seen);
            seen.entries += 1;
            *seen.stored.entry(entry.subject.clone()).or_default() += 1;
            let Some(crash) = &crash else { return Reaction::None };
            let reaction = crash.at_entry(&mut seen);
            changed.notify_one();
            reaction
        });
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    // Nothing panics while it is held.
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
