//! Several futures as one: what `ctx.parallel`, `gather`, `race`, `timeout`, `shield`, `batch` and `map` give out.
//!
//! What a block does with its branches (scopes, cancels, the order of outcomes) is the core's; here are the types. One file each; the
//! guide is `docs/guide/parallel.md` and `docs/guide/batch.md`.

mod batch;
mod branches;
mod context;
mod gather;
mod item;
mod map;
mod outcome;
mod tolerance;

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::{FusedFuture, LocalBoxFuture};

pub use batch::BatchFuture;
pub use branches::{Branches, Racers};
pub use gather::{gather, settled};
pub use map::MapFuture;
pub use outcome::{BatchItem, BatchResult, BatchStats, ItemOutcome};
pub use tolerance::{IntoTolerance, Tolerance};

/// A block of branches, a deadline or a shield, to be awaited; made by `ctx.parallel`, `gather`, `race`, `timeout` and `shield`.
///
/// Its place in the journal's keys is taken when it is made, and its branches begin when it is first polled. Dropped before its end it gives
/// up what its branches wait for, and they do not clean up.
///
/// ```
/// use everstep::prelude::*;
///
/// #[function]
/// async fn price(ctx: FunctionContext, article: String) -> Result<u64, StepError>;
///
/// #[workflow]
/// async fn cheapest(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
///     let prices = ctx.parallel((ctx.step(price, "tea".into()), ctx.step(price, "milk".into())));
///     let (tea, milk) = ctx.timeout(Duration::from_secs(5), prices).await?;
///     Ok(tea.min(milk))
/// }
/// ```
#[must_use = "branches begin when they are awaited"]
pub struct Combined<'a, T> {
    /// `None` once it has ended.
    future: Option<LocalBoxFuture<'a, T>>,
}

impl<'a, T> Combined<'a, T> {
    pub(crate) fn new(future: impl Future<Output = T> + 'a) -> Self {
        Self {
            future: Some(future.boxed_local()),
        }
    }
}

impl<T> Future for Combined<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let Some(future) = &mut self.future else {
            return Poll::Pending;
        };
        let polled = future.poll_unpin(context);
        if polled.is_ready() {
            self.future = None;
        }
        polled
    }
}

impl<T> FusedFuture for Combined<'_, T> {
    fn is_terminated(&self) -> bool {
        self.future.is_none()
    }
}

impl<T> fmt::Debug for Combined<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Combined").field("ended", &self.is_terminated()).finish()
    }
}
