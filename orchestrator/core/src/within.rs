//! Where a future is polled: the scope in which new keys are numbered, and the domain that new waits belong to.
//!
//! Both are the run's current ones while the future is polled, and put back afterwards, also by a panic.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::thread;

use crate::scope::Scope;
use crate::shared::Shared;
use crate::state::DomainId;

/// A future whose polls happen in a scope of their own.
pub struct Scoped<F> {
    shared: Rc<Shared>,
    scope: Rc<Scope>,
    future: Pin<Box<F>>,
}

impl<F> Scoped<F> {
    pub(crate) fn new(shared: Rc<Shared>, name: &str, future: F) -> Self {
        let scope = shared.scope().child(name);
        Self {
            shared,
            scope,
            future: Box::pin(future),
        }
    }
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        let _entered = InScope::enter(&this.shared, this.scope.clone());
        this.future.as_mut().poll(cx)
    }
}

impl<F> fmt::Debug for Scoped<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scoped({})", self.scope.path())
    }
}

/// The scope is the current one until this is dropped.
pub(crate) struct InScope<'a> {
    shared: &'a Shared,
    outer: Rc<Scope>,
}

impl<'a> InScope<'a> {
    pub(crate) fn enter(shared: &'a Shared, scope: Rc<Scope>) -> Self {
        Self {
            shared,
            outer: shared.swap_scope(scope),
        }
    }
}

impl Drop for InScope<'_> {
    fn drop(&mut self) {
        self.shared.swap_scope(self.outer.clone());
    }
}

/// A domain of its owner's. Its place among the others is taken when it is first entered; it is over when this is dropped.
pub(crate) struct Domain {
    shared: Rc<Shared>,
    shield: bool,
    id: Option<DomainId>,
}

impl Domain {
    /// One that is cancelled with the domain round it.
    pub(crate) fn new(shared: Rc<Shared>) -> Self {
        Self {
            shared,
            shield: false,
            id: None,
        }
    }

    /// One that no cancel from further out reaches.
    pub(crate) fn shield(shared: Rc<Shared>) -> Self {
        Self {
            shared,
            shield: true,
            id: None,
        }
    }

    pub(crate) fn enter(&mut self) -> InDomain {
        let (shared, shield) = (&self.shared, self.shield);
        let id = *self
            .id
            .get_or_insert_with(|| shared.change(|state| state.open_domain(shared.domain(), shield)));
        InDomain {
            outer: shared.swap_domain(id),
            shared: shared.clone(),
        }
    }

    /// Whether it, or one round it, is cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        let id = self.id.unwrap_or_else(|| self.shared.domain());
        self.shared.with(|state| state.is_cancelled(id))
    }

    /// Every wait in it brings that it is cancelled, and every later one.
    pub(crate) fn cancel(&mut self) {
        drop(self.enter());
        if let Some(id) = self.id {
            let aftermath = self.shared.change(|state| state.cancel(id));
            aftermath.act_in_poll();
        }
    }
}

impl Drop for Domain {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        let aftermath = self.shared.change(|state| state.close_domain(id));
        // Unwinding says nothing about what the workflow wants; a second panic would end the process.
        if thread::panicking() {
            let _ = aftermath.scrap();
        } else {
            aftermath.act_in_poll();
        }
    }
}

/// The domain is the current one until this is dropped.
pub(crate) struct InDomain {
    shared: Rc<Shared>,
    outer: DomainId,
}

impl Drop for InDomain {
    fn drop(&mut self) {
        self.shared.swap_domain(self.outer);
    }
}
