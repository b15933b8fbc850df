//! What the orchestrator's memory is while a load goes on.

use std::time::Duration;

use tokio::time::Instant;

use super::Engine;
use crate::harness::Server;

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What was seen.
#[derive(Debug)]
pub struct Memory {
    /// Until when a look is an early one.
    early: Instant,
    /// At the last early look.
    pub early_mib: f64,
    /// At most.
    pub peak_mib: f64,
}

impl Memory {
    /// Nothing seen yet; looks before `early` are told apart.
    pub fn until(early: Instant) -> Self {
        Self {
            early,
            early_mib: 0.0,
            peak_mib: 0.0,
        }
    }

    /// Looks now and then until the load is through.
    pub async fn watch<T>(
        &mut self,
        engine: &Engine,
        server: &Server,
        load: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let mut load = std::pin::pin!(load);
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                done = &mut load => return done,
                now = looks.tick() => {
                    let mib = engine.orchestrator_rss_mib(server)?;
                    self.peak_mib = self.peak_mib.max(mib);
                    if now < self.early {
                        self.early_mib = mib;
                    }
                }
            }
        }
    }
}
