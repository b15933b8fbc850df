//! The clock of a process that really runs.

use std::sync::LazyLock;
use std::time::Duration;

use everstep_common::ports::{Clock, Instant};
use futures::future::{BoxFuture, FutureExt};
use jiff::Timestamp;

/// Where [`Clock::now`] counts from; the same for every clock of the process, so that readings can be compared.
static ZERO: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);

/// [`Clock`] by the operating system and tokio's timer.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioClock;

impl Clock for TokioClock {
    fn now(&self) -> Instant {
        let zero = *ZERO;
        Instant(std::time::Instant::now().saturating_duration_since(zero))
    }

    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(duration).boxed()
    }
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
