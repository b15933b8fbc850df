//! Triggers: what starts runs by itself.
//!
//! ```text
//!   registrar ──▶ KV triggers ◀──▶ schedules ◀──due── TRIGGERS (schedules of the server)
//!   (each orchestrator,     │         │ ▲
//!    for the code it has)   ▼         ▼ └── windows
//!              EVENTS ──▶ router ──▶ start entries, create-only under keys that follow from the event or the time
//! ```
//!
//! Whoever drives partition 0 routes. That is an optimisation: two who route at once start the same runs under the same keys, and the
//! second start is refused. Knows nothing of workflow code: what is started for code that nobody has waits, parked and visible.
//!
//! [`router`] reads the events up to where [`cursor`] says, [`work`] is what follows from one, [`due`] what comes later ([`reminder`]):
//! [`schedules`] with the runs that they have ([`chain`]), [`windows`] that put several events together. A run that a trigger delays is started
//! at once, and is scheduled until its time comes, like any other. [`registrar`] says what this process has.

mod chain;
mod cursor;
mod due;
mod registrar;
mod reminder;
mod router;
mod schedules;
mod server_time;
mod windows;
mod work;

use std::time::Duration;

use everstep_common::ids::{Partition, ProcessId};
use everstep_common::ports::Instant;
use everstep_common::store::{Store, TriggerError, TriggeredRun};
use tokio::sync::watch;

use crate::metrics::metrics;
use crate::workflows::Workflows;

/// The partition whose owner routes.
pub(crate) const ROUTING: Partition = Partition(0);

/// How long is waited before what failed is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// How often a failure that goes on is said again.
const SAID_EVERY: Duration = Duration::from_secs(30);

/// Tells the triggers of a process whether it routes.
#[derive(Clone, Debug)]
pub(crate) struct Handle(watch::Sender<bool>);

impl Handle {
    /// A partition was taken, or is not driven here any more.
    pub(crate) fn drives(&self, partition: Partition, driven: bool) {
        if partition == ROUTING {
            self.0.send_replace(driven);
        }
    }
}

/// What a process does for triggers, until every handle on it is gone.
pub(crate) struct Triggers {
    registrar: registrar::Registrar,
    routes: watch::Receiver<bool>,
}

impl Triggers {
    /// Nothing is done before it is run.
    pub(crate) fn of(process: &ProcessId, workflows: &Workflows) -> (Self, Handle) {
        let (tell, routes) = watch::channel(false);
        let registrar = registrar::Registrar::new(process.clone(), workflows);
        (Self { registrar, routes }, Handle(tell))
    }

    /// What the future brings, unless every handle goes before.
    pub(crate) async fn unless_over<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        let mut routes = self.routes.clone();
        tokio::select! {
            biased;
            brought = future => Some(brought),
            () = over(&mut routes) => None,
        }
    }

    /// Says what the code here listens to, and routes while that is this process's task.
    pub(crate) async fn run(mut self, store: &Store) {
        let (registrar, routes) = (self.registrar.clone(), self.routes.clone());
        let work = futures::future::join(registrar.clone().run(store), route_while_told(store, routes, registrar));
        self.unless_over(work).await;
    }
}

/// Returns when nobody can tell any more.
async fn over(routes: &mut watch::Receiver<bool>) {
    while routes.changed().await.is_ok() {}
}

async fn route_while_told(store: &Store, mut routes: watch::Receiver<bool>, registrar: registrar::Registrar) {
    let mut told = routes.clone();
    while routes.wait_for(|routes| *routes).await.is_ok() {
        let relieved = async { told.wait_for(|routes| !*routes).await.map(drop) };
        tokio::select! {
            biased;
            _ = relieved => {}
            _ = futures::future::join(registrar.clone().run_again(store), router::route(store)) => {}
        }
    }
}

/// Starts a run, once however often it is asked for; whether it was started now.
async fn start(store: &Store, new: &TriggeredRun) -> Result<bool, TriggerError> {
    let (run, started) = store.start_once(new).await?;
    if started {
        metrics().triggered.add(1, &[]);
        tracing::debug!(%run, workflow = %new.workflow, key = new.key, "started by a trigger");
    } else {
        metrics().repeated.add(1, &[]);
    }
    Ok(started)
}

/// Says what went wrong when it begins and now and then while it goes on.
#[derive(Debug, Default)]
struct Complaint(Option<(Instant, String)>);

impl Complaint {
    fn tell(&mut self, what: &str, error: &dyn std::error::Error, now: Instant) {
        let reason = error.to_string();
        let is_known = |(said, before): &(Instant, String)| *before == reason && now.since(*said) < SAID_EVERY;
        if self.0.as_ref().is_some_and(is_known) {
            return;
        }
        tracing::error!(reason, "{what}; tried again until it works");
        self.0 = Some((now, reason));
    }
}
