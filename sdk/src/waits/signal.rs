//! A wait for a signal.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use everstep_core::Signal;
use futures::future::FusedFuture;
use serde::de::DeserializeOwned;

use super::{Deadline, decode};
use crate::error::WorkflowError;

/// A wait for the next signal of a name; made by `ctx.signal::<T>("name")`.
///
/// A signal that came before is kept, from the start of the run on. It is taken when the wait returns it: one that was given to a wait which
/// is dropped, or cancelled with its block, before that goes to the next. Several waits for one name are served in the order in which they
/// were first polled.
///
/// # Errors
///
/// [`WorkflowErrorKind::Unanswered`](crate::WorkflowErrorKind::Unanswered) if the [`deadline`](Self::deadline) passes first: of a signal and a
/// deadline the one that was stored first counts. [`WorkflowErrorKind::Invalid`](crate::WorkflowErrorKind::Invalid) if the value that was
/// sent is not a `T`; the signal is taken nevertheless. [`WorkflowErrorKind::Cancelled`](crate::WorkflowErrorKind::Cancelled) if the run or
/// the block round it is cancelled.
///
/// # Limits
///
/// A run of which more than 2,000 signals are not taken is parked, and nothing of them is lost.
///
/// ```
/// use everstep::prelude::*;
///
/// #[workflow]
/// async fn paid(ctx: WorkflowContext) -> Result<bool, WorkflowError> {
///     let paid = ctx.signal::<u64>("paid").deadline(Duration::from_secs(24 * 60 * 60));
///     match paid.await {
///         Ok(cents) => Ok(cents > 0),
///         Err(error) if error.is_timed_out() => Ok(false),
///         Err(error) => Err(error),
///     }
/// }
/// ```
#[must_use = "a signal is waited for when it is awaited"]
pub struct SignalFuture<T> {
    signal: Signal,
    /// For messages.
    name: String,
    output: PhantomData<fn() -> T>,
}

impl<T> SignalFuture<T> {
    pub(crate) fn new(core: &everstep_core::Context, name: &str) -> Self {
        Self {
            signal: core.signal(name),
            name: name.to_owned(),
            output: PhantomData,
        }
    }

    /// When it is no longer waited for: that long after it is first polled, or at a time.
    pub fn deadline(mut self, deadline: impl Into<Deadline>) -> Self {
        self.signal = self.signal.deadline(deadline.into().due());
        self
    }

    /// Names its deadline in the journal exactly so, and unnumbered. A key may be asked for once only in a run.
    pub fn key(mut self, key: impl AsRef<str>) -> Self {
        self.signal = self.signal.key(key.as_ref());
        self
    }
}

impl<T: DeserializeOwned> Future for SignalFuture<T> {
    type Output = Result<T, WorkflowError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(Pin::new(&mut self.signal).poll(context));
        Poll::Ready(match outcome {
            Ok(bytes) => decode(format_args!("the value of signal `{}`", self.name), &bytes),
            Err(error) => Err(WorkflowError::of_outside(&format!("signal `{}`", self.name), error)),
        })
    }
}

impl<T: DeserializeOwned> FusedFuture for SignalFuture<T> {
    fn is_terminated(&self) -> bool {
        self.signal.is_terminated()
    }
}

impl<T> fmt::Debug for SignalFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "signal {}", self.name)
    }
}
