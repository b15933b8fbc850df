//! The clock port on tokio's paused time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use everstep_common::ports::{Clock, Instant};
use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::server::{EPOCH, Life, Shared};

/// A process's clock. Its monotonic time is the simulation's; its wall clock may be set off by
/// [`MemoryServer::set_wall_skew`](crate::MemoryServer::set_wall_skew). A stopped process sleeps on, a dead one for ever.
#[derive(Clone)]
pub struct SimClock {
    shared: Arc<Shared>,
    life: Arc<Life>,
}

impl SimClock {
    pub(crate) fn new(shared: Arc<Shared>, life: Arc<Life>) -> Self {
        Self { shared, life }
    }
}

impl fmt::Debug for SimClock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("SimClock").field(&self.shared.elapsed()).finish()
    }
}

impl Clock for SimClock {
    fn now(&self) -> Instant {
        Instant(self.shared.elapsed())
    }

    fn wall(&self) -> Timestamp {
        let date = EPOCH.checked_add(self.shared.elapsed()).unwrap_or(Timestamp::MAX);
        date.saturating_add(self.life.wall_skew()).unwrap_or(date)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the Clock port, and tokio's clock is the simulated one"
    )]
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let until = self.shared.origin() + self.shared.elapsed().saturating_add(duration);
        let life = Arc::clone(&self.life);
        Box::pin(async move {
            tokio::time::sleep_until(until).await;
            life.go_on().await;
        })
    }
}
