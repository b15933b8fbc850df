//! The worker as a whole: what its parts share, how it starts and how it stops.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use everstep_common::ids::FunctionName;
use everstep_common::ports::{Ack, Instant};
use everstep_common::store::Store;
use futures::future::{BoxFuture, join_all};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::execution::{Execution, Stage};
use crate::functions::Functions;
use crate::held::{Alarm, Held};
use crate::options::{CANCEL_GRACE, FLUSH_WAIT, Options, SLOTS_MAX};
use crate::pace::Paces;
use crate::resources::Resources;
use crate::telemetry::{Labels, Metrics};
use crate::{beat, control, pull};

/// Why a worker did not start.
///
/// ```
/// assert_eq!(everstep_worker::Error::NoQueues.to_string(), "a worker needs at least one queue to serve");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It would serve no queue.
    #[error("a worker needs at least one queue to serve")]
    NoQueues,
    /// It could run nothing.
    #[error("a worker needs at least one slot to run functions in")]
    NoSlots,
}

/// Pulls tasks and runs functions, until it is told to stop.
pub struct Worker {
    store: Store,
    functions: Functions,
    resources: Arc<Resources>,
    options: Options,
}

/// What the parts of a running worker share.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) functions: Functions,
    pub(crate) paces: Paces,
    pub(crate) resources: Arc<Resources>,
    pub(crate) options: Options,
    /// Where executions run, beside the connection; functions run where [`Options::runtime`] says.
    pub(crate) runtime: Handle,
    pub(crate) held: Held,
    /// One permit for each execution that may yet begin.
    pub(crate) slots: Semaphore,
    pub(crate) metrics: Metrics,
    /// The unknown functions that were logged.
    pub(crate) unknown: Mutex<BTreeSet<FunctionName>>,
}

/// One of the worker's slots, taken. Dropping it frees the slot.
pub(crate) struct Slot(pub(crate) Arc<Shared>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.slots.add_permits(1);
    }
}

/// An execution's place among those held, and its slot.
pub(crate) struct Ticket {
    pub(crate) execution: Arc<Execution>,
    slot: Slot,
}

impl Ticket {
    pub(crate) fn new(slot: Slot, execution: Execution) -> Self {
        let execution = Arc::new(execution);
        slot.0.held.insert(execution.clone());
        Self { execution, slot }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.slot.0
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.slot.0.held.remove(self.execution.serial);
    }
}

impl Shared {
    pub(crate) async fn sleep(&self, duration: Duration) {
        self.store.clock().sleep(duration).await;
    }

    /// Tells the function that its result is no longer wanted, and gives it its grace.
    pub(crate) fn cancel(&self, execution: &Execution) {
        if !execution.call.cancellation.is_cancelled() {
            execution.call.cancellation.cancel();
            let end = Instant(self.store.clock().now().0 + CANCEL_GRACE);
            self.held.set_alarm(execution.serial, end, Alarm::Grace);
        }
    }

    /// Hands back every execution that `stops` stops.
    fn hand_back(&self, stops: impl Fn(&Execution) -> bool) {
        let held = self.held.all();
        // Answered from here: a function that blocks its thread must not delay it.
        held.iter()
            .filter(|execution| stops(execution))
            .for_each(|execution| execution.answer(Ack::Retry(Duration::ZERO)));
    }

    /// Returns when nothing is held any more.
    async fn idle(&self) {
        let all = u32::try_from(self.options.slots).unwrap_or(u32::MAX);
        drop(self.slots.acquire_many(all).await.expect("the semaphore is never closed"));
    }

    /// Acknowledgements are sent without an answer; an answer to a later request tells that they have arrived.
    async fn flush(&self) {
        let Some(queue) = self.options.queues.first() else { return };
        let answered = self.store.read_mark(queue).map(drop);
        first(answered, self.sleep(FLUSH_WAIT)).await;
    }
}

/// Marks what is held as killed when the worker's future is dropped instead of shut down: as if the process had died, nothing more is
/// recorded or acknowledged in its name.
struct KillWhenDropped(Arc<Shared>);

impl Drop for KillWhenDropped {
    fn drop(&mut self) {
        for execution in self.0.held.all() {
            execution.stop(Stage::Killed);
        }
    }
}

impl Worker {
    /// A worker that runs `functions`.
    pub fn new(store: Store, functions: Functions, resources: impl Into<Arc<Resources>>, options: Options) -> Self {
        Self {
            store,
            functions,
            resources: resources.into(),
            options,
        }
    }

    /// Works until `shutdown` resolves. Then it pulls no more, hands back what has not begun, lets functions end within
    /// [`Options::drain_grace`], and hands back the rest.
    ///
    /// Dropping the future is like the death of the process: what it held is delivered again after the `ack_wait`.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let shared = self.shared()?;
        let _kill = KillWhenDropped(shared.clone());
        let mut upkeep = upkeep(&shared);
        {
            let pulls = join_all(shared.options.queues.iter().map(|queue| pull::pull(&shared, queue)));
            first(shutdown, join_with(pulls, &mut upkeep)).await;
        }
        tracing::info!(held = shared.held.all().len(), "the worker stops pulling tasks");
        shared.hand_back(Execution::hand_back_unbegun);
        first(first(shared.idle(), shared.sleep(shared.options.drain_grace)), &mut upkeep).await;
        shared.hand_back(|execution| execution.stop(Stage::HandedBack));
        first(shared.idle(), shared.sleep(FLUSH_WAIT)).await;
        shared.flush().await;
        Ok(())
    }

    fn shared(self) -> Result<Arc<Shared>, Error> {
        let Self {
            store,
            functions,
            resources,
            options,
        } = self;
        if options.queues.is_empty() {
            return Err(Error::NoQueues);
        }
        let slots = options.slots.min(SLOTS_MAX);
        if slots == 0 {
            return Err(Error::NoSlots);
        }
        let metrics = Metrics::new();
        options.queues.iter().for_each(|queue| metrics.show(&Labels::new(queue)));
        let paces = Paces::new(functions.rates(), store.clock());
        Ok(Arc::new(Shared {
            store,
            paces,
            functions,
            resources,
            runtime: Handle::current(),
            options: Options { slots, ..options },
            held: Held::default(),
            slots: Semaphore::new(slots),
            metrics,
            unknown: Mutex::default(),
        }))
    }
}

/// What goes on beside the pulling, until the last execution has ended. Each part is polled only when it has something to do.
fn upkeep(shared: &Arc<Shared>) -> BoxFuture<'static, ()> {
    let mut parts: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
    parts.push(beat::alarms(shared.clone()).boxed());
    parts.push(beat::beats(shared.clone()).boxed());
    parts.push(beat::checks(shared.clone()).boxed());
    for queue in &shared.options.queues {
        parts.push(control::control(shared.clone(), queue.clone()).boxed());
    }
    async move { while parts.next().await.is_some() {} }.boxed()
}

/// Returns when one of the two does; the first is asked first.
pub(crate) async fn first(one: impl Future, other: impl Future) {
    tokio::select! {
        biased;
        _ = one => {}
        _ = other => {}
    }
}

async fn join_with(one: impl Future, other: impl Future) {
    futures::join!(one, other);
}
