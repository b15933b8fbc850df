//! What a function says of how far it is, and who hears it: the owner of its run if that listens, and the next attempt.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use everstep_common::limits::HEARTBEAT_DETAILS_BYTES_MAX;
use everstep_common::ports::{CoreMessage, Headers, Instant};
use everstep_common::task::Task;

use crate::context::Call;
use crate::holding::Holding;
use crate::options::{HEARTBEAT_PAUSE, HEARTBEATS_PER_TIMEOUT};

/// The heartbeats of one call.
#[derive(Debug, Default)]
pub(crate) struct Beats {
    /// How long the owner lets it go without one; `None`: nobody listens.
    timeout: Option<Duration>,
    said: Mutex<Said>,
}

#[derive(Debug, Default)]
struct Said {
    /// Last, by this attempt or those before.
    details: Option<Bytes>,
    /// When the owner was told last.
    told: Option<Instant>,
}

impl Beats {
    /// Those of a task's attempt, which begins where the attempts before have come to.
    pub(crate) fn new(task: &Task) -> Self {
        let details = task.details.clone();
        Self {
            timeout: task.heartbeat_timeout,
            said: Mutex::new(Said { details, told: None }),
        }
    }

    /// What was said last.
    pub(crate) fn details(&self) -> Option<Bytes> {
        self.lock().details.clone()
    }

    /// Keeps what is said, and tells the owner, not more often than it needs to hear.
    pub(crate) fn say(&self, call: &Call, holding: &Holding, details: &Bytes) {
        let now = holding.store().clock().now();
        let mut said = self.lock();
        if details.len() <= HEARTBEAT_DETAILS_BYTES_MAX {
            said.details = Some(details.clone());
        } else {
            tracing::debug!(parent: &call.span, bytes = details.len(), "heartbeat details are too large to be kept for the next attempt");
        }
        let Some(timeout) = self.timeout else { return };
        let pause = HEARTBEAT_PAUSE.min(timeout / HEARTBEATS_PER_TIMEOUT);
        if said.told.is_some_and(|told| now.since(told) < pause) {
            return;
        }
        said.told = Some(now);
        holding.store().broker().send(CoreMessage {
            subject: holding.store().names().beat(&call.run, &call.key, call.attempt),
            headers: Headers::new(),
            payload: said.details.clone().unwrap_or_default(),
            reply: None,
        });
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
