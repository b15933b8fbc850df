//! The orchestrator as a service: a thread for the leases, a thread for each partition owned, and an orderly end.
//!
//! ```text
//! Orchestrator::run ──┬── thread "leases"       Ownership::run   (own connection, own current-thread runtime)
//!                     ├── thread "triggers"     Triggers::run    (the same)
//!                     ├── thread "partition-0"  loop { block_on(Partition::ready); Partition::turn }   (the same)
//!                     └── watches polls: names a run that blocks its thread, in the end ends the process
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use everstep_common::ids::{Partition as PartitionId, ProcessId, RunId};
use everstep_common::ports::{Broker, Clock};
use everstep_common::store::{Deployment, Store};
use everstep_common::trace::TraceLinks;
use futures::channel::{mpsc, oneshot};
use futures::future::{BoxFuture, join_all};
use futures::{FutureExt, StreamExt};

use crate::limits::Limits;
use crate::metrics::metrics;
use crate::ownership::{self, Change, Code, Omens, Ownership, Released, Tenure};
use crate::partition::{self, Starting, unless_stopped};
use crate::triggers::{self, Triggers};
use crate::watchdog::{FATAL_AFTER, NAMED_AFTER, Polled};
use crate::workflows::Workflows;

/// The stack of a partition's thread in bytes: workflow futures are polled on it, nested as deep as their author likes.
const PARTITION_STACK_BYTES: usize = 16 * 1024 * 1024;

/// How often polls are looked at.
const WATCH_EVERY: Duration = Duration::from_millis(250);

/// How often a connection is tried for without which the service goes on.
const CONNECT_AGAIN: Duration = Duration::from_secs(1);

/// How long partitions have to stop once the leases are given up: without the server they cannot write their last cursor.
const STOP_MAX: Duration = Duration::from_secs(1);

/// What the process ends with when a workflow blocks its thread for good (`EX_SOFTWARE`).
const POISON_EXIT_CODE: i32 = 70;

/// A connection of its own for each thread: async-nats is a third cheaper on the current-thread runtime that polls it.
pub type Connect = Arc<dyn Fn(String) -> BoxFuture<'static, Result<Connected, String>> + Send + Sync>;

/// What [`Connect`] brings.
pub type Connected = (Arc<dyn Broker>, Arc<dyn Clock>);

/// How an orchestrator works.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names this process in leases and records.
    pub process: ProcessId,
    /// Leases.
    pub leases: ownership::Options,
    /// Partitions.
    pub partitions: partition::Options,
    /// Makes the spans of a run part of its trace; set where OpenTelemetry is known.
    pub trace: TraceLinks,
}

impl Options {
    /// The defaults for a process.
    pub fn new(process: ProcessId) -> Self {
        Self {
            process,
            leases: ownership::Options::default(),
            partitions: partition::Options::default(),
            trace: TraceLinks::default(),
        }
    }
}

/// Why an orchestrator could not run.
///
/// ```
/// use everstep_orchestrator::Error;
///
/// assert!(Error::NoWorkflows.to_string().starts_with("no workflow is registered"));
/// ```
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It has no workflows.
    #[error("no workflow is registered: an orchestrator needs the workflows' code")]
    NoWorkflows,
    /// Panics must unwind, or one workflow's panic would end the process.
    #[error(
        "this program is built with panic = \"abort\"; workflows need panic = \"unwind\" so that one that panics is parked alone"
    )]
    PanicAborts,
    /// A thread could not be started or its connection not be made.
    #[error("starting {what}: {reason}")]
    Start {
        /// Which thread.
        what: String,
        /// Why.
        reason: String,
    },
    /// The leases' thread ended unasked: its partitions are driven by others soon.
    #[error("the leases' thread has ended (it panicked): this process drives nothing any more")]
    LeasesEnded,
}

/// An orchestrator that is yet to run.
pub struct Orchestrator {
    workflows: Arc<Workflows>,
    deployment: Deployment,
    connect: Connect,
    options: Options,
    limits: Limits,
}

/// A partition's thread.
struct Driven {
    stop: mpsc::UnboundedSender<()>,
    polled: Polled,
    /// The run that the lease says is being polled for long.
    noted: Option<RunId>,
    /// Resolves when the thread is done.
    done: oneshot::Receiver<()>,
    /// Its word with the leases. A late end of an earlier thread of the same partition says nothing about this one.
    tenure: Tenure,
}

/// The thread of the triggers.
struct Triggering {
    handle: triggers::Handle,
    /// Resolves when the thread is done.
    done: oneshot::Receiver<()>,
}

impl Orchestrator {
    /// An orchestrator of `workflows` for a deployment.
    pub fn new(workflows: Workflows, deployment: Deployment, connect: Connect, options: Options) -> Self {
        Self {
            workflows: Arc::new(workflows),
            deployment,
            connect,
            options,
            limits: Limits::default(),
        }
    }

    /// Drives runs until `shutdown`, then hands every partition over.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        if self.workflows.is_empty() {
            return Err(Error::NoWorkflows);
        }
        if cfg!(panic = "abort") {
            return Err(Error::PanicAborts);
        }
        let mut shutdown = Box::pin(shutdown.fuse());
        let started = tokio::select! {
            biased;
            () = &mut shutdown => return Ok(()),
            started = self.start_leases() => started?,
        };
        let (mut changes, leases, leases_done) = started;
        let mut triggers = self.start_triggers()?;
        let _following = AbortOnDrop(tokio::spawn(self.follow_limits()));
        let mut driven: BTreeMap<PartitionId, Driven> = BTreeMap::new();
        let mut leases_done = leases_done.fuse();
        let mut leaving = false;
        let mut watch = tokio::time::interval(WATCH_EVERY);
        loop {
            tokio::select! {
                biased;
                () = &mut shutdown => {
                    leaving = true;
                    leases.leave();
                }
                _ = &mut leases_done => break,
                Some(change) = changes.next() => {
                    tell_triggers(&change, &triggers.handle);
                    self.change(change, &leases, &mut driven)?;
                }
                _ = watch.tick() => {
                    give_up_stopped(&mut driven);
                    if !goes_on(&mut triggers.done) {
                        tracing::error!("the thread of the triggers has ended (it panicked); it is started anew");
                        triggers = self.start_triggers()?;
                        give_up_routing(&mut driven);
                    }
                    watch_polls(&mut driven);
                }
            }
        }
        // One that has not stopped by then ends with the process, as in a crash.
        drop(tokio::time::timeout(STOP_MAX, join_all(driven.into_values().map(stop))).await);
        if leaving { Ok(()) } else { Err(Error::LeasesEnded) }
    }

    /// On a connection of its own, so that neither leases nor partitions wait for what it brings.
    fn follow_limits(&self) -> impl Future<Output = ()> + Send + 'static {
        let (connect, deployment, limits) = (self.connect.clone(), self.deployment.clone(), self.limits.clone());
        let name = format!("{}-limits", self.options.process);
        async move {
            let (broker, clock) = connected(connect, name).await;
            // It only reads: there is nothing to group.
            let (store, _) = Store::new(broker, clock, deployment);
            limits.follow(store).await;
        }
    }

    async fn start_leases(&self) -> Result<(mpsc::UnboundedReceiver<Change>, ownership::Handle, oneshot::Receiver<()>), Error> {
        let (connect, deployment, options) = (self.connect.clone(), self.deployment.clone(), self.options.clone());
        let code = Code::of(&self.workflows);
        let (started, start) = oneshot::channel();
        let (done, is_done) = oneshot::channel();
        spawn("everstep-leases".to_owned(), move |runtime| {
            runtime.block_on(async move {
                let (broker, clock) = match connect(format!("{}-leases", options.process)).await {
                    Ok(connected) => connected,
                    Err(reason) => return drop(started.send(Err(reason))),
                };
                let (store, driver) = Store::new(broker, clock, deployment);
                drop(tokio::spawn(driver));
                let (ownership, changes, handle) = Ownership::new(store, options.process, code, options.leases);
                if started.send(Ok((changes, handle))).is_ok() {
                    ownership.run().await;
                }
            });
            drop(done);
        })?;
        let failed = |reason: String| Error::Start {
            what: "the leases' thread".to_owned(),
            reason,
        };
        match start.await {
            Ok(Ok((changes, handle))) => Ok((changes, handle, is_done)),
            Ok(Err(reason)) => Err(failed(reason)),
            Err(_) => Err(failed("it panicked".to_owned())),
        }
    }

    /// They end with the last handle on them.
    fn start_triggers(&self) -> Result<Triggering, Error> {
        let (connect, deployment, process) = (self.connect.clone(), self.deployment.clone(), self.options.process.clone());
        let (mut begin, handle) = Triggers::of(&process, &self.workflows);
        let (done, is_done) = oneshot::channel::<()>();
        spawn("everstep-triggers".to_owned(), move |runtime| {
            runtime.block_on(async move {
                let connecting = connected(connect, format!("{process}-triggers"));
                let Some((broker, clock)) = begin.unless_over(connecting).await else {
                    return;
                };
                let (store, driver) = Store::new(broker, clock, deployment);
                drop(tokio::spawn(driver));
                begin.run(&store).await;
            });
            drop(done);
        })?;
        Ok(Triggering { handle, done: is_done })
    }

    fn change(&self, change: Change, leases: &ownership::Handle, driven: &mut BTreeMap<PartitionId, Driven>) -> Result<(), Error> {
        match change {
            Change::Acquired { partition, epoch, omens } => {
                if let Some(earlier) = driven.remove(&partition) {
                    drop(tokio::spawn(stop(earlier)));
                }
                let tenure = leases.tenure(partition, epoch);
                driven.insert(partition, self.start_partition(partition, epoch, omens, tenure)?);
            }
            Change::Lost { partition } => {
                if let Some(partition) = driven.remove(&partition) {
                    drop(tokio::spawn(stop(partition)));
                }
            }
            Change::Release { partition, stopped } => {
                let partition = driven.remove(&partition);
                drop(tokio::spawn(async move {
                    if let Some(partition) = partition {
                        stop(partition).await;
                    }
                    // The leases' loop may have ended meanwhile.
                    let _ = stopped.send(Released);
                }));
            }
        }
        metrics().owned.record(driven.len() as u64, &[]);
        Ok(())
    }

    fn start_partition(&self, id: PartitionId, epoch: u64, omens: Omens, tenure: Tenure) -> Result<Driven, Error> {
        let (stop, stopped) = mpsc::unbounded();
        let (done, is_done) = oneshot::channel::<()>();
        let (polled, polled_by_thread) = Polled::pair();
        let (connect, deployment, options, workflows, limits) = (
            self.connect.clone(),
            self.deployment.clone(),
            self.options.clone(),
            self.workflows.clone(),
            self.limits.clone(),
        );
        let closures = tokio::runtime::Handle::current();
        let speaks = tenure.clone();
        spawn(format!("everstep-partition-{id}"), move |runtime| {
            let take_over = async {
                let (broker, clock) = connect(format!("{}-partition-{id}", options.process)).await?;
                polled_by_thread.use_clock(clock.clone());
                let (store, driver) = Store::new(broker, clock, deployment);
                drop(tokio::spawn(driver));
                let starting = Starting {
                    id,
                    epoch,
                    omens,
                    tenure: speaks,
                    options: options.partitions.clone(),
                    process: options.process.clone(),
                    store,
                    workflows,
                    limits,
                    runtime: closures,
                    polled: polled_by_thread,
                    trace: options.trace,
                };
                starting.take_over().await.map_err(|error| error.to_string())
            };
            match runtime.block_on(unless_stopped(stopped, take_over)) {
                Ok(Some(mut partition)) => loop {
                    runtime.block_on(partition.ready());
                    // Outside every tokio context: workflow code that reaches for one panics at once and is parked.
                    if !partition.turn() {
                        break;
                    }
                },
                Ok(None) => tracing::debug!(partition = %id, "stopped before it was taken over"),
                Err(error) => tracing::error!(partition = %id, error, "partition not taken over"),
            }
            drop(done);
        })?;
        Ok(Driven {
            stop,
            polled,
            noted: None,
            done: is_done,
            tenure,
        })
    }
}

/// Whoever drives a certain partition does the work of triggers.
pub(crate) fn tell_triggers(change: &Change, triggers: &triggers::Handle) {
    match change {
        Change::Acquired { partition, .. } => triggers.drives(*partition, true),
        Change::Lost { partition } | Change::Release { partition, .. } => triggers.drives(*partition, false),
    }
}

/// A connection, however long that takes.
async fn connected(connect: Connect, name: String) -> Connected {
    let mut pauses = tokio::time::interval(CONNECT_AGAIN);
    loop {
        pauses.tick().await;
        match connect(name.clone()).await {
            Ok(connected) => return connected,
            Err(reason) => tracing::warn!(name, reason, "no connection; trying again"),
        }
    }
}

/// Ends a task with whoever began it.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn stop(partition: Driven) {
    // A thread that is gone already needs no telling.
    let _ = partition.stop.unbounded_send(());
    let _ = partition.done.await;
    tracing::debug!(tenure = ?partition.tenure, "partition stopped");
}

/// A thread that ended without being told to (it panicked, or could not take its partition over) leaves a partition that nobody drives
/// and whose lease would be renewed for ever.
fn give_up_stopped(driven: &mut BTreeMap<PartitionId, Driven>) {
    driven.retain(|_, driven| {
        let is_driven = goes_on(&mut driven.done);
        if !is_driven {
            driven.tenure.stopped();
        }
        is_driven
    });
}

/// Whoever routes drives a certain partition. It is given to a process whose triggers work, or comes back to this one.
fn give_up_routing(driven: &mut BTreeMap<PartitionId, Driven>) {
    if let Some(partition) = driven.remove(&triggers::ROUTING) {
        drop(tokio::spawn(async move {
            let tenure = partition.tenure.clone();
            stop(partition).await;
            tenure.stopped();
        }));
    }
}

/// Whether a thread has not ended.
fn goes_on(done: &mut oneshot::Receiver<()>) -> bool {
    matches!(done.try_recv(), Ok(None))
}

/// Names runs that block their partition's thread; one that never comes back ends the process, after a note for the successor.
fn watch_polls(driven: &mut BTreeMap<PartitionId, Driven>) {
    for (partition, driven) in driven {
        let blocking = driven.polled.current().filter(|(_, long)| *long >= NAMED_AFTER);
        let long = blocking.as_ref().map(|(_, long)| *long);
        let run = blocking.map(|(run, _)| run);
        if run != driven.noted {
            if let Some(back) = driven.noted.take() {
                driven.tenure.polled(back);
            }
            if let Some(run) = &run {
                tracing::warn!(%run, %partition, "a workflow blocks its partition: blocking calls belong into a step");
                // Nobody waits for it: it stands there long before the process ends for it.
                drop(driven.tenure.polling(run.clone()));
            }
            driven.noted = run;
        }
        if long.is_some_and(|long| long >= FATAL_AFTER) {
            let run = driven.noted.as_ref().map(ToString::to_string);
            tracing::error!(run, %partition, ?long, "a workflow does not come back from its poll; ending the process so that others can go on");
            std::process::exit(POISON_EXIT_CODE);
        }
    }
}

/// A thread with a current-thread runtime of its own.
fn spawn(name: String, work: impl FnOnce(tokio::runtime::Runtime) + Send + 'static) -> Result<(), Error> {
    let failed = |reason: std::io::Error| Error::Start {
        what: format!("thread {name}"),
        reason: reason.to_string(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let thread = std::thread::Builder::new()
        .name(name.clone())
        .stack_size(PARTITION_STACK_BYTES);
    thread.spawn(move || work(runtime)).map(drop).map_err(failed)
}
