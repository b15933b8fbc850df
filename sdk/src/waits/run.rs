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

/// A closure that is run when first polled and whose result is recorded; made by `ctx.run("name", …)`.
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

    /// Names it in the journal exactly so, and unnumbered. A key may be asked for once only in a run.
    pub fn key(mut self, key: impl AsRef<str>) -> Self {
        self.name = key.as_ref().to_owned();
        self.local = self.local.key(key.as_ref());
        self
    }

    /// How long it may take.
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
