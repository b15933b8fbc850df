//! An orchestrator without threads, for simulations: the same loop of leases and the same actors as the [service](crate::Orchestrator),
//! moved by hand on one thread under a simulated clock.
//!
//! ```text
//! loop {
//!     runtime.block_on(any of the orchestrators' ready(), or the scenario);   inside tokio: everything that is awaited
//!     each orchestrator's turn();                                            outside: workflow code
//! }
//! ```
//!
//! Dropping one is its death: nothing is handed over. Whoever drops it first kills the connections that it was given, so that nothing it
//! has begun goes on.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use everstep_common::ids::{Partition as PartitionId, ProcessId};
use everstep_common::store::{Deployment, Store};
use futures::channel::{mpsc, oneshot};
use futures::future::LocalBoxFuture;
use futures::{FutureExt, StreamExt};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::limits::Limits;
use crate::ownership::{self, Change, Code, Omens, Ownership, Released, Tenure};
use crate::partition::{Partition, StartError, Starting, unless_stopped};
use crate::service::{Connected, Options, tell_triggers};
use crate::triggers::{self, Triggers};
use crate::watchdog::Polled;
use crate::workflows::Workflows;

/// Makes a connection of that name.
pub type SimulatedConnect = Box<dyn Fn(&str) -> Connected>;

/// An orchestrator that moves only when it is told to.
pub struct SimulatedOrchestrator {
    workflows: Arc<Workflows>,
    deployment: Deployment,
    connect: SimulatedConnect,
    options: Options,
    /// Where everything that is awaited is spawned: the simulation's only runtime.
    runtime: Handle,
    leases: ownership::Handle,
    changes: mpsc::UnboundedReceiver<Change>,
    ownership: JoinHandle<()>,
    triggers: triggers::Handle,
    triggering: JoinHandle<()>,
    limits: Limits,
    following: JoinHandle<()>,
    /// Partitions being driven, and those that are still stopping.
    driven: Vec<Driven>,
    /// What the leases' loop has said since the last turn.
    told: Vec<Change>,
}

/// One partition, from the take-over to its end.
struct Driven {
    id: PartitionId,
    tenure: Tenure,
    actor: Actor,
    stop: mpsc::UnboundedSender<()>,
    /// Told when it has stopped.
    released: Option<oneshot::Sender<Released>>,
    /// It was told to stop.
    stopping: bool,
    /// It has something to do in the next turn.
    ready: bool,
}

enum Actor {
    Starting(LocalBoxFuture<'static, Result<Option<Partition>, StartError>>),
    Driving(Box<Partition>),
    Ended,
}

impl SimulatedOrchestrator {
    /// Starts it. Inside the simulation's runtime.
    pub fn start(workflows: Workflows, deployment: Deployment, connect: SimulatedConnect, options: Options) -> Self {
        let runtime = Handle::current();
        let (broker, clock) = connect(&format!("{}-leases", options.process));
        let (store, driver) = Store::new(broker, clock, deployment.clone());
        drop(runtime.spawn(driver));
        let code = Code::of(&workflows);
        let limits = Limits::default();
        let following = runtime.spawn(limits.clone().follow(store.clone()));
        let (ownership, changes, leases) = Ownership::new(store, options.process.clone(), code, options.leases.clone());
        let ownership = runtime.spawn(ownership.run());
        let (broker, clock) = connect(&format!("{}-triggers", options.process));
        let (store, driver) = Store::new(broker, clock, deployment.clone());
        drop(runtime.spawn(driver));
        let (work, triggers) = Triggers::of(&options.process, &workflows);
        let triggering = runtime.spawn(async move { work.run(&store).await });
        Self {
            workflows: Arc::new(workflows),
            deployment,
            connect,
            options,
            runtime,
            leases,
            changes,
            ownership,
            triggers,
            triggering,
            limits,
            following,
            driven: Vec::new(),
            told: Vec::new(),
        }
    }

    /// Who it is.
    pub fn process(&self) -> &ProcessId {
        &self.options.process
    }

    /// Has it hand every partition over and end.
    pub fn leave(&self) {
        self.leases.leave();
    }

    /// Whether it has left and handed everything over.
    pub fn has_left(&self) -> bool {
        self.ownership.is_finished() && self.driven.is_empty()
    }

    /// The partitions that it drives.
    pub fn partitions(&self) -> impl Iterator<Item = PartitionId> {
        self.driven.iter().filter(|driven| !driven.stopping).map(|driven| driven.id)
    }

    /// Returns when it has something to do. Inside the runtime; may be dropped at any time.
    pub async fn ready(&mut self) {
        let Self {
            driven, changes, told, ..
        } = self;
        let mut waiting: Vec<_> = driven.iter_mut().map(|driven| driven.ready().boxed_local()).collect();
        poll_fn(|context| {
            let mut ready = false;
            while let Poll::Ready(Some(change)) = changes.poll_next_unpin(context) {
                told.push(change);
            }
            for actor in &mut waiting {
                ready |= actor.poll_unpin(context).is_ready();
            }
            if ready || !told.is_empty() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Does it. Outside every runtime.
    pub fn turn(&mut self) {
        for change in std::mem::take(&mut self.told) {
            self.change(change);
        }
        self.driven.iter_mut().for_each(Driven::turn);
        self.driven.retain_mut(|driven| {
            let ended = driven.has_ended();
            if ended && !driven.stopping {
                driven.tenure.stopped();
            }
            !ended
        });
    }

    fn change(&mut self, change: Change) {
        tell_triggers(&change, &self.triggers);
        match change {
            Change::Acquired { partition, epoch, omens } => {
                self.stop(partition, None);
                let driven = self.start_partition(partition, epoch, omens);
                self.driven.push(driven);
            }
            Change::Lost { partition } => self.stop(partition, None),
            Change::Release { partition, stopped } => self.stop(partition, Some(stopped)),
        }
    }

    /// If it drives no such partition, `released` is dropped, which says so too.
    fn stop(&mut self, partition: PartitionId, released: Option<oneshot::Sender<Released>>) {
        let current = self
            .driven
            .iter_mut()
            .find(|driven| driven.id == partition && !driven.stopping);
        if let Some(driven) = current {
            driven.stopping = true;
            driven.released = released;
            // A partition that has ended by itself needs no telling.
            let _ = driven.stop.unbounded_send(());
        }
    }

    fn start_partition(&self, id: PartitionId, epoch: u64, omens: Omens) -> Driven {
        let (stop, stopped) = mpsc::unbounded();
        let (_, polled) = Polled::pair();
        let (broker, clock) = (self.connect)(&format!("{}-partition-{id}", self.options.process));
        polled.use_clock(clock.clone());
        let (store, driver) = Store::new(broker, clock, self.deployment.clone());
        drop(self.runtime.spawn(driver));
        let tenure = self.leases.tenure(id, epoch);
        let starting = Starting {
            id,
            epoch,
            omens,
            tenure: tenure.clone(),
            options: self.options.partitions.clone(),
            process: self.options.process.clone(),
            trace: self.options.trace,
            store,
            workflows: self.workflows.clone(),
            limits: self.limits.clone(),
            runtime: self.runtime.clone(),
            polled,
        };
        Driven {
            id,
            tenure,
            actor: Actor::Starting(unless_stopped(stopped, starting.take_over()).boxed_local()),
            stop,
            released: None,
            stopping: false,
            ready: false,
        }
    }
}

impl Driven {
    async fn ready(&mut self) {
        match &mut self.actor {
            Actor::Starting(starting) => {
                self.actor = match starting.await {
                    Ok(Some(partition)) => Actor::Driving(Box::new(partition)),
                    Ok(None) => Actor::Ended,
                    Err(error) => {
                        tracing::error!(partition = %self.id, %error, "partition not taken over");
                        Actor::Ended
                    }
                };
            }
            Actor::Driving(partition) => partition.ready().await,
            Actor::Ended => return std::future::pending().await,
        }
        self.ready = true;
    }

    fn turn(&mut self) {
        if !std::mem::take(&mut self.ready) {
            return;
        }
        if let Actor::Driving(partition) = &mut self.actor
            && !partition.turn()
        {
            self.actor = Actor::Ended;
        }
    }

    /// Whether it is over; if so, whoever waits for that is told.
    fn has_ended(&mut self) -> bool {
        let ended = matches!(self.actor, Actor::Ended);
        if let (true, Some(released)) = (ended, self.released.take()) {
            // The leases' loop may have ended meanwhile.
            let _ = released.send(Released);
        }
        ended
    }
}

impl Drop for SimulatedOrchestrator {
    fn drop(&mut self) {
        self.ownership.abort();
        self.triggering.abort();
        self.following.abort();
    }
}

impl fmt::Debug for SimulatedOrchestrator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimulatedOrchestrator").field(&self.options.process).finish()
    }
}
