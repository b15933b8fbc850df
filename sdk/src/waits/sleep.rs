//! A durable sleep.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use everstep_core::{Due, Timer};
use futures::future::FusedFuture;

use crate::error::WorkflowError;

/// The name of sleeps that are given none.
const UNNAMED: &str = "sleep";

/// A sleep that begins when first polled; made by `ctx.sleep(…)` and `ctx.sleep_until(…)`.
///
/// ```
/// use everstep::prelude::*;
///
/// #[function]
/// async fn confirmed(ctx: FunctionContext, order: u64) -> Result<bool, StepError>;
///
/// #[workflow]
/// async fn confirm(ctx: WorkflowContext, order: u64) -> Result<bool, WorkflowError> {
///     select! {
///         confirmed = ctx.step(confirmed, order) => confirmed,
///         slept = ctx.sleep(Duration::from_secs(3600)).named("patience") => slept.map(|()| false),
///     }
/// }
/// ```
#[must_use = "a sleep begins when it is awaited"]
pub struct SleepFuture {
    timer: Timer,
}

impl SleepFuture {
    pub(crate) fn new(core: &everstep_core::Context, due: Due) -> Self {
        Self {
            timer: core.timer(UNNAMED, due),
        }
    }

    /// Names it in the journal exactly so, and unnumbered. A key may be asked for once only in a run.
    pub fn key(mut self, key: impl AsRef<str>) -> Self {
        self.timer = self.timer.key(key.as_ref());
        self
    }

    /// What it is called in the journal and on the timeline; numbered from the second use on.
    pub fn named(mut self, name: impl AsRef<str>) -> Self {
        self.timer = self.timer.named(name.as_ref());
        self
    }
}

impl Future for SleepFuture {
    type Output = Result<(), WorkflowError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(Pin::new(&mut self.timer).poll(context));
        Poll::Ready(outcome.map_err(WorkflowError::of_timer))
    }
}

impl FusedFuture for SleepFuture {
    fn is_terminated(&self) -> bool {
        self.timer.is_terminated()
    }
}

impl fmt::Debug for SleepFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sleep")
    }
}
