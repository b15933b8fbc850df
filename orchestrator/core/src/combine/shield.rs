//! What must finish: out of reach of every cancel from further out.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::within::Domain;

/// A future that no cancel from outside reaches, not even that of the run. Made by [`crate::Context::shield`].
///
/// What it waits for is still given up when it is dropped.
#[must_use = "a shielded future does nothing until it is polled"]
pub struct Shield<F> {
    // Dropped first: what it waits for is given up here, and passes to no other domain.
    future: Pin<Box<F>>,
    domain: Domain,
}

impl<F> Shield<F> {
    pub(crate) fn new(domain: Domain, future: F) -> Self {
        Self {
            future: Box::pin(future),
            domain,
        }
    }
}

impl<F: Future> Future for Shield<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let _entered = self.domain.enter();
        self.future.as_mut().poll(cx)
    }
}

impl<F> fmt::Debug for Shield<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shield")
    }
}
