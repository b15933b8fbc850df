//! A wait for an event.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use everstep_common::event::{self, EventName};
use everstep_common::subscription::{self, Subscription};
use everstep_core::Signal;
use futures::future::FusedFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Deadline, decode};
use crate::error::WorkflowError;
use crate::trigger::Event;

/// Which events of a name a workflow waits for; made by [`matching`].
///
/// ```
/// use everstep::prelude::*;
///
/// /// The events of one order, wherever they come from.
/// fn of_order(id: u64) -> Matching {
///     matching("order.id", &id)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Matching(Result<Option<subscription::Matching>, String>);

/// Events in which `value` stands at `path`: a path into the body as in triggers, such as `order.id` or `items[0].id`, or with `@` into the
/// event itself, such as `@.source`.
///
/// Values are compared as JSON: the number 7 is not the text `"7"`, nor 7.0. Path and value have 1,024 bytes at most.
///
/// ```
/// use everstep::prelude::*;
///
/// #[workflow]
/// async fn shipped(ctx: WorkflowContext, order: String) -> Result<String, WorkflowError> {
///     let event = ctx.wait_for_event::<String>("parcel.handed_over", matching("@.id", &order)).await?;
///     Ok(event.data)
/// }
/// ```
pub fn matching<T: Serialize + ?Sized>(path: &str, value: &T) -> Matching {
    let value = serde_json::to_value(value).map_err(|error| format!("the value at {path:?} cannot be written as JSON: {error}"));
    Matching(value.map(|value| {
        Some(subscription::Matching {
            path: path.to_owned(),
            value,
        })
    }))
}

impl Matching {
    /// All events of the name.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn opened(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    ///     let event = ctx.wait_for_event::<()>("shop.opened", Matching::any()).await?;
    ///     Ok(event.data)
    /// }
    /// ```
    pub fn any() -> Self {
        Self(Ok(None))
    }
}

/// A wait for the next event of a name and correlation; made by `ctx.wait_for_event::<T>("name", matching("path", value))`.
///
/// Events count from the start of the run on, also those that were published before the wait was reached: they are looked up in the stream. For
/// a run that was started by an event they count from right behind that one, however much later it was started.
/// All waits of a run for one name and correlation take its events one after another, in the order of the stream, and each event once. One
/// that was given to a wait which is dropped, or cancelled with its block, before it has returned goes to the next. Waits of the same name
/// with another correlation have events of their own: an event that fits both answers both.
///
/// # Errors
///
/// [`WorkflowErrorKind::Unanswered`](crate::WorkflowErrorKind::Unanswered) if the [`deadline`](Self::deadline) passes first: every event that
/// was stored before has been looked at then. [`WorkflowErrorKind::Invalid`](crate::WorkflowErrorKind::Invalid) if name or path are none, or
/// the event's body is not a `T`; the event is taken nevertheless. [`WorkflowErrorKind::Cancelled`](crate::WorkflowErrorKind::Cancelled) if
/// the run or the block round it is cancelled.
///
/// # Limits
///
/// The stream keeps events for seven days: what is older when the wait is reached, or when an orchestrator comes back after an outage, is not
/// found. Bodies that are not JSON are passed over. A run that continues another one looks back to when that one decided to go on.
///
/// ```
/// use everstep::prelude::*;
///
/// #[workflow]
/// async fn paid_in_time(ctx: WorkflowContext, order: String) -> Result<Option<u64>, WorkflowError> {
///     let paid = ctx.wait_for_event::<u64>("order.paid", matching("@.id", &order)).deadline(Duration::from_secs(3_600));
///     match paid.await {
///         Ok(event) => Ok(Some(event.data)),
///         Err(error) if error.is_timed_out() => Ok(None),
///         Err(error) => Err(error),
///     }
/// }
/// ```
#[must_use = "an event is waited for when this is awaited"]
pub struct EventFuture<T> {
    wait: Result<Signal, Option<WorkflowError>>,
    /// For messages.
    name: String,
    output: PhantomData<fn() -> T>,
}

impl<T> EventFuture<T> {
    pub(crate) fn new(core: &everstep_core::Context, name: &str, matching: Matching) -> Self {
        let what = EventName::new(name)
            .map_err(|error| error.to_string())
            .and_then(|event| matching.0.map(|matching| Subscription { event, matching }));
        Self {
            wait: what
                .map(|what| core.event(what))
                .map_err(|reason| Some(WorkflowError::invalid(reason))),
            name: name.to_owned(),
            output: PhantomData,
        }
    }

    /// When it is no longer waited for: that long after it is first polled, or at a time.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn courier(ctx: WorkflowContext, parcel: String) -> Result<String, WorkflowError> {
    ///     let week = Duration::from_secs(7 * 24 * 60 * 60);
    ///     let delivered = ctx.wait_for_event::<String>("parcel.delivered", matching("id", &parcel)).deadline(week);
    ///     Ok(delivered.await?.data)
    /// }
    /// ```
    pub fn deadline(mut self, deadline: impl Into<Deadline>) -> Self {
        self.wait = self.wait.map(|wait| wait.deadline(deadline.into().due()));
        self
    }

    /// Names its deadline in the journal exactly so, and unnumbered. A key may be asked for once only in a run.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn paid(ctx: WorkflowContext, order: u64) -> Result<u64, WorkflowError> {
    ///     let paid = ctx.wait_for_event::<u64>("order.paid", matching("id", &order));
    ///     Ok(paid.deadline(Duration::from_secs(3_600)).key("payment").await?.data)
    /// }
    /// ```
    pub fn key(mut self, key: impl AsRef<str>) -> Self {
        self.wait = self.wait.map(|wait| wait.key(key.as_ref()));
        self
    }
}

impl<T: DeserializeOwned> Future for EventFuture<T> {
    type Output = Result<Event<T>, WorkflowError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = match &mut self.wait {
            Ok(wait) => ready!(Pin::new(wait).poll(context)),
            Err(error) => return error.take().map_or(Poll::Pending, |error| Poll::Ready(Err(error))),
        };
        Poll::Ready(match outcome {
            Ok(bytes) => received(&self.name, &bytes),
            Err(error) => Err(WorkflowError::of_outside(&format!("event `{}`", self.name), error)),
        })
    }
}

fn received<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<Event<T>, WorkflowError> {
    let event: event::Event = decode(format_args!("event `{name}`"), bytes)?;
    let id = event.id.clone().unwrap_or_else(|| event.identity());
    let data = serde_json::from_value(event.data).map_err(|error| {
        let wanted = std::any::type_name::<T>();
        WorkflowError::invalid(format!(
            "the body of event `{name}` with id {id:?} is not a {wanted}: {error}"
        ))
    })?;
    Ok(Event {
        id,
        name: event.name.to_string(),
        source: event.source,
        time: event.time,
        data,
    })
}

impl<T: DeserializeOwned> FusedFuture for EventFuture<T> {
    fn is_terminated(&self) -> bool {
        match &self.wait {
            Ok(wait) => wait.is_terminated(),
            Err(error) => error.is_none(),
        }
    }
}

impl<T> fmt::Debug for EventFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {}", self.name)
    }
}
