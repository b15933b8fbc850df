//! A durable sleep.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use everstep_core::{Due, Timer};
use futures::future::FusedFuture;

use crate::error::WorkflowError;

/// The name of sleeps that are given none.
const UNNAMED: &str = "sleep";

/// A sleep that begins when first polled; made by [`ctx.sleep(…)`](crate::WorkflowContext::sleep) and
/// [`ctx.sleep_until(…)`](crate::WorkflowContext::sleep_until). Dropped before its time, it is cancelled.
///
/// # Errors
///
/// [`WorkflowErrorKind::Cancelled`](crate::WorkflowErrorKind::Cancelled) if the run or the block round it is cancelled;
/// [`WorkflowErrorKind::Invalid`](crate::WorkflowErrorKind::Invalid) if its name is empty or over 128 characters, or its key is used already.
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

    /// Names it in the journal exactly so: unnumbered, and without the names of the blocks that it is in.
    ///
    /// A key may be asked for once only in a run: the second wait fails with [`WorkflowErrorKind::Invalid`](crate::WorkflowErrorKind::Invalid), as one with an empty key does.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn dunning(ctx: WorkflowContext, invoice: String, reminders: u32) -> Result<(), WorkflowError> {
    ///     for reminder in 1..=reminders {
    ///         ctx.sleep(Duration::from_secs(14 * 24 * 60 * 60)).key(format!("{invoice}/reminder-{reminder}")).await?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn key(mut self, key: impl AsRef<str>) -> Self {
        self.timer = self.timer.key(key.as_ref());
        self
    }

    /// What it is called in the journal and on the timeline, in place of `sleep`: 1 to 128 characters. Numbered from the second use in a scope on:
    /// `cool-down`, `cool-down~2`.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn trial(ctx: WorkflowContext, days: u64) -> Result<(), WorkflowError> {
    ///     ctx.sleep(Duration::from_secs(days * 24 * 60 * 60)).named("trial period").await
    /// }
    /// ```
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
