//! What the log says when the server has no room: once in a while, for everyone who writes meets it, again and again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::ports::Instant;

/// How long nothing more is said of it.
const QUIET: Duration = Duration::from_secs(30);

/// When it was last said.
#[derive(Debug, Default)]
pub(super) struct Full(Mutex<Option<Instant>>);

impl Full {
    /// A stream refused a write for want of room; whoever wrote waits, and tries again.
    pub(super) fn tell(&self, stream: &str, now: Instant) {
        // Nothing panics while it is held.
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| now.since(told) >= QUIET) {
            *told = Some(now);
            tracing::error!(
                stream,
                "no room in the stream: writes wait until there is, and nothing is lost; free space on the server's disk, \
                 or raise the limit (max_file_store, the account's, or the stream's own)"
            );
        }
    }
}
