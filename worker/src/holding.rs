//! The deliveries that one execution answers for.
//!
//! Usually one; a redelivery that reaches the worker while it still runs that very task joins the first. They are answered together
//! and once, by whoever comes first: the execution when it is done, or the worker when it hands back what it holds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use everstep_common::ports::{Ack, AckToken};
use everstep_common::store::Store;

/// Unanswered deliveries of one task.
#[derive(Debug)]
pub(crate) struct Holding {
    /// Where answers go.
    store: Store,
    /// `None` once answered.
    tokens: Mutex<Option<Vec<AckToken>>>,
    /// When the last in-progress acknowledgement of [`Holding::in_progress_unless`] went out, in microseconds of the clock.
    last: AtomicU64,
}

impl Holding {
    pub(crate) fn new(store: Store, token: AckToken) -> Self {
        Self {
            store,
            tokens: Mutex::new(Some(vec![token])),
            last: AtomicU64::new(0),
        }
    }

    /// The store that the answers go through.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Takes one more delivery of the same task, unless they are answered already.
    pub(crate) fn join(&self, token: &AckToken) -> bool {
        let mut tokens = self.lock();
        if let Some(tokens) = tokens.as_mut() {
            tokens.push(token.clone());
        }
        tokens.is_some()
    }

    /// Tells the server that work goes on.
    pub(crate) fn in_progress(&self) {
        self.lock()
            .iter()
            .flatten()
            .for_each(|token| self.store.broker().ack(token, Ack::InProgress));
    }

    /// The same, unless it was told less than `pause` ago in this way.
    pub(crate) fn in_progress_unless(&self, pause: Duration) {
        let now = u64::try_from(self.store.clock().now().0.as_micros()).unwrap_or(u64::MAX);
        let last = self.last.load(Ordering::Relaxed);
        if last == 0 || now.saturating_sub(last) >= u64::try_from(pause.as_micros()).unwrap_or(u64::MAX) {
            self.last.store(now.max(1), Ordering::Relaxed);
            self.in_progress();
        }
    }

    /// Answers for good. Only the first answer is sent.
    pub(crate) fn answer(&self, ack: Ack) {
        let tokens = self.lock().take();
        tokens.iter().flatten().for_each(|token| self.store.broker().ack(token, ack));
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<AckToken>>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
