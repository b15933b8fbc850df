//! A future that is given some time.
//!
//! ```text
//!   polled ──▶ body and timer ──body ends──▶ its output, the timer is called back
//!                    └──`timer` entry──▶ body cancelled ──body ends──▶ Passed
//! ```

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use everstep_common::failure::Failure;
use futures::future::{Either, select};

use crate::scope::{KeySeed, Scope};
use crate::shared::Shared;
use crate::waits::{Ask, NewTimer};
use crate::within::{Domain, InScope};
use crate::{Due, Timer, WaitError};

/// Why a future was given no more time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeadlineError {
    /// Its time was up first. What it was doing has been cancelled, and has ended.
    #[error("not done within {0:?}")]
    Passed(Duration),
    /// Its timer could not be asked for.
    #[error("{0}")]
    Failed(Failure),
}

/// `future`, or that its time is up. The timer has the key of the scope itself.
pub(crate) async fn within_time<F: Future>(
    shared: Rc<Shared>,
    scope: Rc<Scope>,
    duration: Duration,
    future: F,
) -> Result<F::Output, DeadlineError> {
    let seed = KeySeed::Explicit(scope.path().into());
    let due = Due::After(duration);
    let timer = Timer(Ask::with_key(shared.clone(), seed, NewTimer { due }));
    let mut body = Body {
        future: Box::pin(future),
        domain: Domain::new(shared.clone()),
        shared,
        scope,
    };
    let refused = match select(&mut body, timer).await {
        Either::Left((output, _)) => return Ok(output),
        // Cancelled from outside, and the body with it: it ends as it ends.
        Either::Right((Err(WaitError::Cancelled), _)) => return Ok(body.await),
        Either::Right((fired, _)) => fired.err(),
    };
    body.domain.cancel();
    body.await;
    Err(match refused {
        Some(WaitError::Failed(failure) | WaitError::Child { failure, .. }) => DeadlineError::Failed(failure),
        Some(WaitError::Cancelled) | None => DeadlineError::Passed(duration),
    })
}

/// What is given some time, in a scope and a domain of its own.
struct Body<F> {
    // Dropped first: what it waits for is given up here, and passes to no other domain.
    future: Pin<Box<F>>,
    domain: Domain,
    shared: Rc<Shared>,
    scope: Rc<Scope>,
}

impl<F: Future> Future for Body<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        let _in_domain = this.domain.enter();
        let _in_scope = InScope::enter(&this.shared, this.scope.clone());
        this.future.as_mut().poll(cx)
    }
}
