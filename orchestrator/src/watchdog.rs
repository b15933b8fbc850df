//! Which run is being polled, and for how long: a workflow that blocks its thread is named after a second, in the log and beside the lease;
//! after thirty the process ends. A run that three owners were found polling is parked by the next one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use everstep_common::ids::RunId;
use everstep_common::ports::{Clock, Instant};

/// How many owners may die over a run before it is parked.
pub(crate) const STRIKES_MAX: u32 = 3;

/// After how long a poll is named in the log.
pub(crate) const NAMED_AFTER: Duration = Duration::from_secs(1);

/// After how long a poll ends the process.
pub(crate) const FATAL_AFTER: Duration = Duration::from_secs(30);

/// The run that a partition's thread is polling right now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Polled {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Known once the partition's thread has connected.
    clock: Option<Arc<dyn Clock>>,
    current: Option<(RunId, Instant)>,
}

impl Polled {
    /// One for the watcher, one for the thread.
    pub(crate) fn pair() -> (Self, Self) {
        let polled = Self::default();
        (polled.clone(), polled)
    }

    /// What to measure with.
    pub(crate) fn use_clock(&self, clock: Arc<dyn Clock>) {
        self.lock().clock = Some(clock);
    }

    /// The run is polled until the guard is dropped.
    pub(crate) fn enter(&self, run: &RunId) -> Polling {
        let mut inner = self.lock();
        inner.current = inner.clock.as_ref().map(|clock| (run.clone(), clock.now()));
        Polling(self.clone())
    }

    /// What is being polled, and for how long.
    pub(crate) fn current(&self) -> Option<(RunId, Duration)> {
        let inner = self.lock();
        let (run, since) = inner.current.as_ref()?;
        Some((run.clone(), inner.clock.as_ref()?.now().since(*since)))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it is held.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A poll under way.
#[must_use]
pub(crate) struct Polling(Polled);

impl Drop for Polling {
    fn drop(&mut self) {
        self.0.lock().current = None;
    }
}
