//! A batch of which every item must complete.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::FusedFuture;

use super::batch::{BatchFuture, Ended};
use crate::error::WorkflowError;
use crate::function::Function;

/// A batch of which every item must complete; made by [`ctx.map(…)`](crate::WorkflowContext::map).
///
/// # Errors
///
/// What the first item to fail failed with, with the item named before it: `item 3: step …`. Otherwise as for [`BatchFuture`].
///
/// ```
/// use everstep::prelude::*;
///
/// #[function]
/// async fn translate(ctx: FunctionContext, text: String) -> Result<String, StepError>;
///
/// #[workflow]
/// async fn book(ctx: WorkflowContext, chapters: Vec<String>) -> Result<String, WorkflowError> {
///     Ok(ctx.map(translate, chapters).max_concurrency(4).await?.concat())
/// }
/// ```
#[must_use = "items begin when they are awaited"]
pub struct MapFuture<F: Function>(BatchFuture<F>);

impl<F: Function> MapFuture<F> {
    pub(super) fn new(batch: BatchFuture<F>) -> Self {
        Self(batch.tolerate(0))
    }

    /// How many items run at a time, as for [`BatchFuture::max_concurrency`]: from 1 to 1,000, and 20 unless it is said; 0 is [`WorkflowErrorKind::Invalid`](crate::WorkflowErrorKind::Invalid).
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn transcode(ctx: FunctionContext, clip: String) -> Result<String, StepError>;
    ///
    /// #[workflow]
    /// async fn film(ctx: WorkflowContext, clips: Vec<String>) -> Result<Vec<String>, WorkflowError> {
    ///     ctx.map(transcode, clips).max_concurrency(2).await
    /// }
    /// ```
    pub fn max_concurrency(self, items: usize) -> Self {
        Self(self.0.max_concurrency(items))
    }

    /// How long one item may take from when it begins, retries and waiting included. An item whose time is up has failed, and the map with it:
    /// [`WorkflowErrorKind::Step`](crate::WorkflowErrorKind::Step) with a failure of the kind [`DeadlineExceeded`](crate::FailureKind).
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn rate(ctx: FunctionContext, currency: String) -> Result<f64, StepError>;
    ///
    /// #[workflow]
    /// async fn rates(ctx: WorkflowContext, currencies: Vec<String>) -> Result<Vec<f64>, WorkflowError> {
    ///     ctx.map(rate, currencies).item_timeout(Duration::from_secs(30)).await
    /// }
    /// ```
    pub fn item_timeout(self, timeout: Duration) -> Self {
        Self(self.0.item_timeout(timeout))
    }

    /// What an item is called in the journal's keys, as for [`BatchFuture::key_by`]; its place unless it is said.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn thumbnail(ctx: FunctionContext, picture: String) -> Result<String, StepError>;
    ///
    /// #[workflow]
    /// async fn gallery(ctx: WorkflowContext, pictures: Vec<String>) -> Result<Vec<String>, WorkflowError> {
    ///     // Pictures may be added while it runs: those that are done are not done again.
    ///     ctx.map(thumbnail, pictures).key_by(|picture| picture.clone()).await
    /// }
    /// ```
    pub fn key_by(self, key_by: impl Fn(&F::Input) -> String + 'static) -> Self {
        Self(self.0.key_by(key_by))
    }
}

impl<F: Function> Future for MapFuture<F> {
    type Output = Result<Vec<F::Output>, WorkflowError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_end(context).map(|ended| {
            let Ended { result, first_failure } = ended?;
            match first_failure {
                Some(error) => Err(error),
                None => Ok(result.into_outputs()),
            }
        })
    }
}

impl<F: Function> FusedFuture for MapFuture<F> {
    fn is_terminated(&self) -> bool {
        self.0.is_terminated()
    }
}

impl<F: Function> fmt::Debug for MapFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "map of {}", F::NAME)
    }
}
