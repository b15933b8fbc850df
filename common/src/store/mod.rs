//! How the journal, the records and the task queues are kept in JetStream; written on the [ports](crate::ports) alone.
//!
//! Here live the rules that a lost acknowledgement, a stale read or a second writer must not break:
//! `create` (a refusal is a question), `read` (a read proves itself complete), `record` (compare-and-set), `session` (values that runs share), `queue` (marks and tasks),
//! `payload` (large values), `trigger` (runs and events made once), `listening` (registrations and schedules), `group` (creates that share an fsync), `full` (no room), `deployment` (which streams there are),
//! `provision` (making them).

mod create;
mod deployment;
mod full;
mod group;
mod listening;
mod payload;
mod provision;
mod queue;
mod read;
mod record;
mod session;
mod trigger;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::ports::{Broker, Clock, Publish, PublishError, Stored};
use crate::subject::Names;
use futures::future::BoxFuture;

pub use create::{Create, CreateError, Created};
pub use deployment::{
    ACK_WAIT, ACK_WAIT_MIN, DEPLOYMENT_KEY, Deployment, DeploymentError, EVENT_AGE_MAX, LEASES, LIMITS, RUNS, SESSIONS,
    TASK_STREAM_BYTES_MAX, TRIGGERS,
};
pub use listening::{Kept, TriggerRecords};
pub use payload::PayloadError;
pub use queue::{Mark, QueueError, TaskPublished};
pub use read::{ReadAt, ReadRunError};
pub use record::{PutError, Record};
pub use session::{SessionError, SessionValue};
pub use trigger::{TriggerError, TriggeredRun};

/// A handle on one deployment's storage. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    names: Names,
    broker: Arc<dyn Broker>,
    clock: Arc<dyn Clock>,
    deployment: Deployment,
    /// Creates that wait for a batch; none where the server groups by itself or does not sync.
    groups: Option<group::Groups>,
    nonces: create::Nonces,
    full: full::Full,
}

impl Store {
    /// A store on `broker`, and the driver of its grouped writes, which the caller spawns; it ends with the last handle.
    pub fn new(
        broker: Arc<dyn Broker>,
        clock: Arc<dyn Clock>,
        deployment: Deployment,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (groups, driver) = if deployment.groups_creates() {
            let (groups, driver) = group::Groups::new(broker.clone(), clock.clone());
            (Some(groups), Some(driver))
        } else {
            (None, None)
        };
        let names = Names::new(deployment.prefix.clone());
        let nonces = create::Nonces::new();
        let store = Self {
            inner: Arc::new(Inner {
                names,
                broker,
                clock,
                deployment,
                groups,
                nonces,
                full: full::Full::default(),
            }),
        };
        let driver = async move {
            if let Some(driver) = driver {
                driver.await;
            }
        };
        (store, driver)
    }

    /// The names of the deployment's subjects and streams.
    pub fn names(&self) -> &Names {
        &self.inner.names
    }

    /// The port below.
    pub fn broker(&self) -> &Arc<dyn Broker> {
        &self.inner.broker
    }

    /// The clock below.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// What was provisioned.
    pub fn deployment(&self) -> &Deployment {
        &self.inner.deployment
    }

    /// Says in the log that a stream has no room, if that was not said just now.
    pub(crate) fn tell_full(&self, stream: &str) {
        self.inner.full.tell(stream, self.inner.clock.now());
    }

    /// Publishes to `stream`, together with whatever else waits for it where that saves an fsync.
    pub fn publish(&self, stream: &str, message: Publish) -> BoxFuture<'static, Result<Stored, PublishError>> {
        match &self.inner.groups {
            Some(groups) => groups.publish(stream, message),
            None => self.inner.broker.publish(message),
        }
    }
}

/// Delays of a retry loop: doubling from 5 ms to 250 ms, so that work goes on soon after a server is back.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    /// The longest delay.
    pub const MAX: Duration = Duration::from_millis(250);

    /// Begins with the shortest delay.
    pub fn new() -> Self {
        Self {
            next: Duration::from_millis(5),
        }
    }

    /// The delay before the next try.
    pub fn delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(Self::MAX);
        delay
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}
