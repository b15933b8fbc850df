//! The clock of a process that really runs.

use std::sync::LazyLock;
use std::time::Duration;

use everstep_common::ports::{Clock, Instant};
use futures::future::{BoxFuture, FutureExt};
use jiff::Timestamp;

/// Where [`Clock::now`] counts from; the same for every clock of the process, so that readings can be compared.
static ZERO: LazyLock<tokio::time::Instant> = LazyLock::new(tokio::time::Instant::now);

/// [`Clock`] by the operating system and tokio's timer.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioClock;

impl Clock for TokioClock {
    fn now(&self) -> Instant {
        let zero = *ZERO;
        Instant(tokio::time::Instant::now().saturating_duration_since(zero))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the port that all others ask")]
    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        pause(duration).boxed()
    }
}

/// Returns after `duration`: for pauses between requests to a real server, which no simulated clock reaches.
#[expect(
    clippy::disallowed_methods,
    reason = "this is what the port and the adapters beside it sleep by"
)]
pub(crate) async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Returns at `instant`.
#[expect(clippy::disallowed_methods, reason = "this is what the adapters beside the port wait by")]
pub(crate) async fn pause_until(instant: tokio::time::Instant) {
    tokio::time::sleep_until(instant).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleep_lasts_at_least_as_long_as_asked() {
        let clock = TokioClock;
        let before = clock.now();
        clock.sleep(Duration::from_millis(20)).await;
        assert!(clock.now().since(before) >= Duration::from_millis(20));
    }
}
