//! An event that a workflow emits.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use everstep_common::event::EventName;
use everstep_core::Emit;
use futures::future::FusedFuture;
use serde::Serialize;

use super::encode;
use crate::error::WorkflowError;

/// An event that is published once when this is first polled, and recorded; made by [`ctx.emit`](crate::WorkflowContext::emit).
///
/// ```
/// use everstep::prelude::*;
///
/// #[workflow]
/// async fn pay(ctx: WorkflowContext, order: u64) -> Result<(), WorkflowError> {
///     ctx.emit("order.paid", &order).key("paid").await
/// }
/// ```
#[must_use = "an event is emitted when this is awaited"]
pub struct EmitFuture {
    emit: Result<Emit, Option<WorkflowError>>,
    /// For messages.
    event: String,
}

impl EmitFuture {
    pub(crate) fn new<T: Serialize + ?Sized>(core: &everstep_core::Context, event: &str, data: &T) -> Self {
        let emit = EventName::new(event)
            .map_err(|error| WorkflowError::invalid(error.to_string()))
            .and_then(|name| {
                let data = encode(format_args!("the data of event `{event}`"), data);
                Ok(core.emit(name, data.map_err(|failure| WorkflowError::invalid(failure.message))?))
            });
        Self {
            emit: emit.map_err(Some),
            event: event.to_owned(),
        }
    }

    /// Names it in the journal exactly so, and unnumbered. A key may be asked for once only in a run.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn ship(ctx: WorkflowContext, parcels: Vec<String>) -> Result<(), WorkflowError> {
    ///     for parcel in parcels {
    ///         ctx.emit("parcel.shipped", &parcel).key(format!("shipped/{parcel}")).await?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn key(mut self, key: impl AsRef<str>) -> Self {
        self.emit = self.emit.map(|emit| emit.key(key.as_ref()));
        self
    }
}

impl Future for EmitFuture {
    type Output = Result<(), WorkflowError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = match &mut self.emit {
            Ok(emit) => ready!(Pin::new(emit).poll(context)),
            Err(error) => return error.take().map_or(Poll::Pending, |error| Poll::Ready(Err(error))),
        };
        Poll::Ready(outcome.map(drop).map_err(|error| WorkflowError::of_emit(&self.event, error)))
    }
}

impl FusedFuture for EmitFuture {
    fn is_terminated(&self) -> bool {
        match &self.emit {
            Ok(emit) => emit.is_terminated(),
            Err(error) => error.is_none(),
        }
    }
}

impl fmt::Debug for EmitFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {}", self.event)
    }
}
