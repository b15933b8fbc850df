//! A recorded closure: local work whose result is kept in the journal.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use everstep_common::failure::FailureKind;
use everstep_core::Local;
use futures::FutureExt;
use futures::future::FusedFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{decode, encode};
use crate::error::WorkflowError;

/// A closure that is run when first polled and whose result is recorded; made by [`ctx.run("name", …)`](crate::WorkflowContext::run).
///
/// # Errors
///
/// [`WorkflowErrorKind::Run`](crate::WorkflowErrorKind::Run), whose failure is [`Fatal`](crate::FailureKind::Fatal) if the closure returned an
/// error or panicked, [`DeadlineExceeded`](crate::FailureKind::DeadlineExceeded) if it took too long, and
/// [`Invalid`](crate::FailureKind::Invalid) if its result cannot be encoded, or its name is empty or over 128 characters.
/// [`WorkflowErrorKind::Cancelled`](crate::WorkflowErrorKind::Cancelled) if the run or the block round it is cancelled.
///
/// ```
/// use everstep::prelude::*;
///
/// #[workflow]
/// async fn lottery(ctx: WorkflowContext) -> Result<u8, WorkflowError> {
///     let drawn = ctx.run("draw", || async { Ok(rand::random::<u8>() % 49) });
///     drawn.timeout(Duration::from_secs(1)).await
/// }
/// # mod rand { pub fn random<T>() -> u8 { 4 } }
/// ```
#[must_use = "a closure is run when it is awaited"]
pub struct RunFuture<T> {
    local: Local,
    /// For messages.
    name: String,
    output: PhantomData<fn() -> T>,
}

impl<T> RunFuture<T> {
    pub(crate) fn new<C, Fut>(core: &everstep_core::Context, name: &str, closure: C) -> Self
    where
        C: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, WorkflowError>> + Send + 'static,
        T: Serialize + 'static,
    {
        let owned_name = name.to_owned();
        let encoded = move || {
            let result = closure();
            async move {
                result
                    .await
                    .map_err(|error| error.into_failure(FailureKind::Fatal))
                    .and_then(|value| encode(format_args!("the result of closure `{owned_name}`"), &value))
            }
            .boxed()
        };
        Self {
            local: core.local(name, Box::new(encoded)),
            name: name.to_owned(),
            output: PhantomData,
        }
    }

    /// Names it in the journal exactly so: unnumbered, and without the names of the blocks that it is in.
    ///
    /// A key may be asked for once only in a run: the second wait fails with [`WorkflowErrorKind::Run`](crate::WorkflowErrorKind::Run), as one with an empty key does.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn greeting(ctx: WorkflowContext, language: String) -> Result<String, WorkflowError> {
    ///     let path = format!("greetings/{language}.txt");
    ///     let text = ctx.run("read", move || async move { Ok(std::fs::read_to_string(path)?) });
    ///     text.key(format!("greeting/{language}")).await
    /// }
    /// ```
    pub fn key(mut self, key: impl AsRef<str>) -> Self {
        self.name = key.as_ref().to_owned();
        self.local = self.local.key(key.as_ref());
        self
    }

    /// How long it may take: 60 seconds unless it is said. A longer job is a step.
    ///
    /// When its time is up it is dropped at its next `await`, and the failure is recorded as
    /// [`FailureKind::DeadlineExceeded`](crate::FailureKind::DeadlineExceeded). It is not tried again.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn on_maintenance(ctx: WorkflowContext) -> Result<bool, WorkflowError> {
    ///     let flag = ctx.run("flag", || async { Ok(std::path::Path::new("/etc/shop/maintenance").exists()) });
    ///     Ok(flag.timeout(Duration::from_millis(500)).await.unwrap_or(false))
    /// }
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.local = self.local.timeout(timeout);
        self
    }
}

impl<T: DeserializeOwned> Future for RunFuture<T> {
    type Output = Result<T, WorkflowError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(Pin::new(&mut self.local).poll(context));
        Poll::Ready(match outcome {
            Ok(bytes) => decode(format_args!("the result of closure `{}`", self.name), &bytes),
            Err(error) => Err(WorkflowError::of_run(&self.name, error)),
        })
    }
}

impl<T: DeserializeOwned> FusedFuture for RunFuture<T> {
    fn is_terminated(&self) -> bool {
        self.local.is_terminated()
    }
}

impl<T> fmt::Debug for RunFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "closure {}", self.name)
    }
}
