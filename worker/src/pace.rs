//! How fast this worker alone begins the executions of a function, whatever other workers do.
//!
//! For what belongs to one process: a connection, a device, a share of the machine. A rate for the whole deployment is a limit, which the
//! orchestrators keep. Who waits here has not begun: the task is kept by the worker's beats, may be handed back at any time, and counts
//! no attempt.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::ops::Add;
use std::sync::Arc;
use std::time::Duration;

use everstep_common::flow::Rate;
use everstep_common::ids::FunctionName;
use everstep_common::ports::{self, Clock};
use governor::clock::{self, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::Mutex;

/// What was missed within this time, because a timer rang late, may be made up for. As for the rates of limits.
const MADE_UP_FOR: Duration = Duration::from_millis(100);

/// The functions of a worker that have a pace.
#[derive(Debug)]
pub(crate) struct Paces(BTreeMap<FunctionName, Pace>);

impl Paces {
    pub(crate) fn new<'a>(rates: impl Iterator<Item = (&'a FunctionName, Rate)>, clock: &Arc<dyn Clock>) -> Self {
        Self(rates.map(|(name, rate)| (name.clone(), Pace::new(rate, clock))).collect())
    }

    /// That of a function, if it has one.
    pub(crate) fn of(&self, function: &FunctionName) -> Option<&Pace> {
        self.0.get(function)
    }
}

/// One function's.
pub(crate) struct Pace {
    limiter: RateLimiter<NotKeyed, InMemoryState, Time, NoOpMiddleware<Reading>>,
    clock: Arc<dyn Clock>,
    /// Held by whoever is next, so that only one looks at the clock and the others stand in line.
    next: Mutex<()>,
}

impl Pace {
    fn new(rate: Rate, clock: &Arc<dyn Clock>) -> Self {
        Self {
            limiter: RateLimiter::direct_with_clock(quota(rate), Time(clock.clone())),
            clock: clock.clone(),
            next: Mutex::new(()),
        }
    }

    /// Returns when it is the caller's turn; in the order of asking.
    pub(crate) async fn turn(&self) {
        let _next = self.next.lock().await;
        while let Err(too_soon) = self.limiter.check() {
            let now = now(&self.clock);
            self.clock
                .sleep(too_soon.wait_time_from(now).max(Duration::from_micros(1)))
                .await;
        }
    }
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pace").finish_non_exhaustive()
    }
}

/// Evenly spread, but for what may be made up for.
fn quota(rate: Rate) -> Quota {
    let interval = rate.interval().max(Duration::from_nanos(1));
    let burst = 1 + u32::try_from(MADE_UP_FOR.as_nanos() / interval.as_nanos()).unwrap_or(u32::MAX - 1);
    Quota::with_period(interval)
        .expect("an interval is more than nothing")
        .allow_burst(NonZeroU32::new(burst).expect("at least one"))
}

/// The worker's clock, so that a simulated one holds here too.
#[derive(Clone, Debug)]
struct Time(Arc<dyn Clock>);

/// A reading of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Reading(Duration);

fn now(clock: &Arc<dyn Clock>) -> Reading {
    let ports::Instant(elapsed) = clock.now();
    Reading(elapsed)
}

impl clock::Clock for Time {
    type Instant = Reading;

    fn now(&self) -> Reading {
        now(&self.0)
    }
}

impl Add<Nanos> for Reading {
    type Output = Self;

    fn add(self, nanos: Nanos) -> Self {
        Self(self.0.saturating_add(nanos.into()))
    }
}

impl Reference for Reading {
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.saturating_sub(earlier.0).into()
    }

    fn saturating_sub(&self, duration: Nanos) -> Self {
        self.0.checked_sub(duration.into()).map_or(*self, Self)
    }
}
