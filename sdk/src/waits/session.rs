//! An operation on the values of the session.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use everstep_core::{Session, SessionRequest};
use futures::future::FusedFuture;

use crate::error::WorkflowError;

/// Makes the value that the operation brings of what was recorded.
type Bring<T> = Box<dyn FnOnce(&[u8]) -> Result<T, WorkflowError>>;

/// An operation on the session that is done when first polled, and whose outcome is recorded; made by `ctx.session().state()`.
///
/// ```
/// use everstep::prelude::*;
///
/// #[workflow]
/// async fn both(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
///     let session = ctx.session().state();
///     let visits = session.update("visits", 0, |visits: u64| visits + 1);
///     let (visits, seen) = join!(visits, session.set("seen", "today"));
///     seen?;
///     visits
/// }
/// ```
#[must_use = "an operation on the session is done when it is awaited"]
pub struct SessionFuture<T> {
    session: Session,
    /// For messages.
    operation: String,
    /// Until it has answered.
    bring: Option<Bring<T>>,
}

impl<T> SessionFuture<T> {
    pub(crate) fn new(core: &everstep_core::Context, request: SessionRequest, bring: Bring<T>) -> Self {
        let operation = request.to_string();
        Self {
            session: core.session(request),
            operation,
            bring: Some(bring),
        }
    }
}

impl<T> Future for SessionFuture<T> {
    type Output = Result<T, WorkflowError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(Pin::new(&mut self.session).poll(context));
        let Some(bring) = self.bring.take() else {
            return Poll::Pending;
        };
        Poll::Ready(match outcome {
            Ok(bytes) => bring(&bytes),
            Err(error) => Err(WorkflowError::of_session(&self.operation, error)),
        })
    }
}

impl<T> FusedFuture for SessionFuture<T> {
    fn is_terminated(&self) -> bool {
        self.session.is_terminated()
    }
}

impl<T> fmt::Debug for SessionFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session {}", self.operation)
    }
}
