//! Orchestrators and workers: how they start, die, and are started again.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use everstep_common::ids::{ProcessId, QueueName};
use everstep_common::ports::{Broker, Clock};
use everstep_common::store::Store;
use everstep_memory::MemoryBroker;
use everstep_orchestrator::{Options as OrchestratorOptions, SimulatedOrchestrator, Workflows};
use everstep_worker::{Options as WorkerOptions, Resources, Worker};
use futures::FutureExt;
use futures::future::{Either, select, select_all};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::crashes::Crash;
use super::examples;
use super::shop::{self, FunctionClock};
use super::world::World;

/// The processes that run, by name.
#[derive(Default)]
pub(super) struct Processes {
    running: BTreeMap<String, Process>,
    /// How often each name was started.
    generations: BTreeMap<String, u32>,
    /// Those that have died.
    buried: BTreeSet<ProcessId>,
    /// Orchestrators that the driver is yet to take over.
    pub(super) started: Vec<(String, SimulatedOrchestrator)>,
}

struct Process {
    id: ProcessId,
    role: Role,
    /// Its connections to the server.
    connections: Rc<RefCell<Vec<String>>>,
    /// A worker's task, and how it is told to stop.
    worker: Option<(JoinHandle<()>, Option<oneshot::Sender<()>>)>,
}

/// What a process does.
#[derive(Clone)]
enum Role {
    Orchestrator(fn() -> Workflows),
    Worker { queues: Vec<QueueName>, drain_grace: Duration },
}

impl World {
    /// Starts an orchestrator that has this code.
    pub fn orchestrator(&self, name: &str, code: fn() -> Workflows) {
        self.begin(name, Role::Orchestrator(code));
    }

    /// Starts a worker of these queues.
    pub fn worker(&self, name: &str, queues: &[&str]) {
        self.worker_that_drains(name, queues, Duration::from_secs(20));
    }

    /// Starts a worker of these queues that lets functions end for so long when it is stopped.
    pub fn worker_that_drains(&self, name: &str, queues: &[&str], drain_grace: Duration) {
        let queues = queues.iter().map(|queue| QueueName::new(queue).expect("a name")).collect();
        self.begin(name, Role::Worker { queues, drain_grace });
    }

    /// Kills a process; it is not started again.
    pub fn kill(&self, name: &str) {
        let process = self.0.processes.borrow_mut().running.remove(name);
        self.bury(process.unwrap_or_else(|| panic!("no process {name} runs")));
        self.0.changed.notify_one();
    }

    /// Kills a process and starts it again.
    pub fn restart(&self, name: &str) {
        let role = self.0.processes.borrow().running[name].role.clone();
        self.kill(name);
        self.begin(name, role);
    }

    /// Stops a worker in order; returns when it has ended, or has died over it.
    pub async fn drain(&self, name: &str) {
        let process = self.0.processes.borrow_mut().running.remove(name);
        let process = process.unwrap_or_else(|| panic!("no process {name} runs"));
        let (task, stop) = process.worker.expect("a worker is drained");
        // If it is gone it has stopped.
        let _ = stop.expect("a worker is drained once").send(());
        let connections = process.connections.borrow().clone();
        let died = select_all(connections.iter().map(|name| self.0.server.died(name).boxed_local()));
        if let Either::Left((ended, _)) = select(task, died).await {
            ended.expect("the worker ends in order");
        }
    }

    /// Starts every process again that has died by itself.
    pub(super) fn revive(&self) {
        let dead: Vec<(String, Process)> = {
            let mut processes = self.0.processes.borrow_mut();
            let is_dead = |process: &Process| process.connections.borrow().iter().any(|name| self.0.server.is_dead(name));
            processes.running.extract_if(.., |_, process| is_dead(process)).collect()
        };
        for (name, process) in dead {
            let role = process.role.clone();
            self.bury(process);
            self.begin(&name, role);
        }
    }

    /// The connections of the process, while it runs.
    pub(super) fn connections_of(&self, name: &str) -> Vec<String> {
        let processes = self.0.processes.borrow();
        let process = processes.running.get(name);
        process
            .map(|process| process.connections.borrow().clone())
            .unwrap_or_default()
    }

    /// Whether the process has died.
    pub(super) fn is_buried(&self, process: &ProcessId) -> bool {
        self.0.processes.borrow().buried.contains(process)
    }

    fn bury(&self, process: Process) {
        process.connections.borrow().iter().for_each(|name| self.0.server.kill(name));
        if let Some((task, _)) = process.worker {
            task.abort();
        }
        self.0.processes.borrow_mut().buried.insert(process.id);
    }

    fn begin(&self, name: &str, role: Role) {
        let generation = {
            let mut processes = self.0.processes.borrow_mut();
            let generation = processes.generations.entry(name.to_owned()).or_default();
            *generation += 1;
            *generation
        };
        let id = match generation {
            1 => name.to_owned(),
            later => format!("{name}-{later}"),
        };
        let id = ProcessId::new(id).expect("a name");
        let process = id.clone();
        let connections = Rc::default();
        let worker = match &role {
            Role::Orchestrator(code) => {
                self.start_orchestrator(name, process, *code, Rc::clone(&connections));
                None
            }
            Role::Worker { queues, drain_grace } => Some(self.start_worker(process, queues.clone(), *drain_grace, &connections)),
        };
        let process = Process {
            id,
            role,
            connections,
            worker,
        };
        self.0.processes.borrow_mut().running.insert(name.to_owned(), process);
        self.0.changed.notify_one();
    }

    fn start_orchestrator(&self, name: &str, process: ProcessId, code: fn() -> Workflows, connections: Rc<RefCell<Vec<String>>>) {
        let mut options = OrchestratorOptions::new(process.clone());
        options.partitions.live_runs_max = self.settings().live_runs_max;
        options.partitions.sweep_every = self.settings().sweep_every;
        let world = self.clone();
        let connect = move |thread: &str| {
            let connection = if world.settings().connection_each {
                thread
            } else {
                process.as_str()
            };
            let mut connections = connections.borrow_mut();
            let broker = world.connect(connection, &mut connections);
            let clock: Arc<dyn Clock> = Arc::new(broker.clock());
            (Arc::new(broker) as Arc<dyn Broker>, clock)
        };
        let orchestrator = SimulatedOrchestrator::start(code(), self.deployment().clone(), Box::new(connect), options);
        self.0.processes.borrow_mut().started.push((name.to_owned(), orchestrator));
    }

    fn start_worker(
        &self,
        process: ProcessId,
        queues: Vec<QueueName>,
        drain_grace: Duration,
        connections: &Rc<RefCell<Vec<String>>>,
    ) -> (JoinHandle<()>, Option<oneshot::Sender<()>>) {
        let broker = self.connect(process.as_str(), &mut connections.borrow_mut());
        let clock: Arc<dyn Clock> = Arc::new(broker.clock());
        let mut resources = Resources::new();
        resources.insert(self.0.ledger.clone()).unwrap();
        resources.insert(self.0.gauge.clone()).unwrap();
        resources.insert(FunctionClock(clock.clone())).unwrap();
        resources.insert(examples::payments(&self.0.ledger)).unwrap();
        let (store, driver) = Store::new(Arc::new(broker), clock, self.deployment().clone());
        drop(self.0.runtime.spawn(driver));
        let options = WorkerOptions {
            queues,
            drain_grace,
            slots: 32,
            runtime: Some(self.0.runtime.clone()),
            ..WorkerOptions::new(process)
        };
        let worker = Worker::new(store, shop::functions(), resources, options);
        let (stop, stopped) = oneshot::channel::<()>();
        let work = async move {
            let told = async move {
                if stopped.await.is_err() {
                    // Nobody is left to tell it: it works for as long as it lives.
                    std::future::pending::<()>().await;
                }
            };
            worker.run(told).await.expect("the worker's settings are right");
        };
        (self.0.runtime.spawn(work), Some(stop))
    }

    /// A connection of that name; the one there is, if there is one.
    fn connect(&self, name: &str, connections: &mut Vec<String>) -> MemoryBroker {
        if let Some(broker) = self.0.brokers.borrow().get(name) {
            return broker.clone();
        }
        connections.push(name.to_owned());
        self.new_connection(name)
    }

    /// A new connection, watched for its death; the planned one, if it is its.
    pub(super) fn new_connection(&self, name: &str) -> MemoryBroker {
        let broker = self.0.server.connect(name);
        if let Some(Crash::AtCall { process, number, when }) = &self.settings().crash
            && process == name
        {
            self.0.server.crash_at(name, *number, *when);
        }
        let (server, changed, watched) = (self.0.server.clone(), self.0.changed.clone(), name.to_owned());
        drop(self.0.runtime.spawn(async move {
            server.died(&watched).await;
            changed.notify_one();
        }));
        self.0.brokers.borrow_mut().insert(name.to_owned(), broker.clone());
        broker
    }
}
