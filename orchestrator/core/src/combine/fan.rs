//! Branches that run at once, a bounded number of them at a time.
//!
//! ```text
//!   planned ──room in the window──▶ running ──▶ its outcome
//!      │                               └──cancel──▶ brings Cancelled where it waits, and ends as it ends
//!      └──cancel──▶ never begun
//! ```
//!
//! Sits on `FuturesUnordered`, which polls what was woken and nothing else: an entry costs the same however wide the fan is.

use std::fmt;
use std::future::Future;
use std::iter::Fuse;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures::stream::{FuturesUnordered, Stream, StreamExt};

use crate::scope::Scope;
use crate::shared::Shared;
use crate::within::{Domain, InScope};

/// A place for branches: its number is taken, its domain has not begun. Made by [`crate::Context::block`].
#[derive(Clone)]
pub struct Block {
    shared: Rc<Shared>,
    scope: Rc<Scope>,
}

impl Block {
    pub(crate) fn new(shared: Rc<Shared>, name: &str) -> Self {
        let scope = shared.scope().child(name);
        Self { shared, scope }
    }

    /// Branches in this block, each under its label. Labels must differ. All run at a time unless [`Fan::window`] says otherwise.
    pub fn fan<I, M, F>(self, branches: I) -> Fan<I::IntoIter, F>
    where
        I: IntoIterator<Item = (String, M)>,
        M: FnOnce() -> F,
        F: Future + Unpin,
    {
        Fan::new(self, branches.into_iter())
    }
}

/// Branches, each with its number, in the order in which they end. Made by [`Block::fan`].
///
/// Branches come from an iterator of labels and of what makes them. A branch is made when there is room for it, in its own scope: the
/// block's with the label.
pub struct Fan<I, F> {
    // Dropped first: what the branches wait for is given up here, and passes to no other domain.
    running: FuturesUnordered<Branch<F>>,
    domain: Domain,
    shared: Rc<Shared>,
    scope: Rc<Scope>,
    planned: Fuse<I>,
    window: usize,
    begun: usize,
}

/// How the branches of a fan ended.
#[derive(Debug)]
pub struct Collected<T, E> {
    /// By number; `None` for those that were not begun before a cancel, and missing at the end for those that were not planned yet.
    pub outcomes: Vec<Option<Result<T, E>>>,
    /// The first one to fail.
    pub first_failed: Option<usize>,
    /// More failed than were tolerated, and the rest was cancelled.
    pub stopped: bool,
    /// The domain round the fan was cancelled.
    pub cancelled: bool,
}

impl<I, M, F> Fan<I, F>
where
    I: Iterator<Item = (String, M)>,
    M: FnOnce() -> F,
    F: Future + Unpin,
{
    fn new(block: Block, branches: I) -> Self {
        let Block { shared, scope } = block;
        Self {
            running: FuturesUnordered::new(),
            domain: Domain::new(shared.clone()),
            scope,
            shared,
            planned: branches.fuse(),
            window: usize::MAX,
            begun: 0,
        }
    }

    /// How many branches may run at a time; at least one does.
    pub fn window(mut self, window: usize) -> Self {
        self.window = window.max(1);
        self
    }

    /// Cancels the branches that run; the others are not begun. Those that run still bring their outcomes.
    pub fn cancel(&mut self) {
        self.domain.cancel();
    }

    /// Whether the fan was cancelled, by itself or from outside.
    pub fn is_cancelled(&self) -> bool {
        self.domain.is_cancelled()
    }

    /// The first branch to end. The others are cancelled and awaited. `None` if there are none, or none was begun before a cancel.
    pub async fn race(mut self) -> Option<(usize, F::Output)> {
        let first = self.next().await;
        self.cancel();
        while self.next().await.is_some() {}
        first
    }

    /// All outcomes. If more than `tolerated` branches fail, the others are cancelled and awaited.
    pub async fn collect_outcomes<T, E>(mut self, tolerated: usize) -> Collected<T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        let mut failed = 0;
        let mut collected = Collected {
            outcomes: Vec::new(),
            first_failed: None,
            stopped: false,
            cancelled: false,
        };
        while let Some((number, outcome)) = self.next().await {
            if outcome.is_err() {
                failed += 1;
                collected.first_failed.get_or_insert(number);
                // Cancelled from outside, all fail: then it is not they who stopped it.
                if failed > tolerated && !self.is_cancelled() {
                    collected.stopped = true;
                    self.cancel();
                }
            }
            if collected.outcomes.len() <= number {
                collected.outcomes.resize_with(number + 1, || None);
            }
            collected.outcomes[number] = Some(outcome);
        }
        collected.cancelled = self.shared.with(|state| state.is_cancelled(self.shared.domain()));
        collected
    }

    fn begin(&mut self) {
        while self.running.len() < self.window && !self.domain.is_cancelled() {
            let Some((label, make)) = self.planned.next() else { return };
            let scope = self.scope.branch(&label);
            let in_scope = InScope::enter(&self.shared, scope.clone());
            let future = make();
            drop(in_scope);
            self.running.push(Branch {
                number: self.begun,
                shared: self.shared.clone(),
                scope,
                future,
            });
            self.begun += 1;
        }
    }
}

// Branches are pinned one by one, and what is planned is not pinned at all.
impl<I, F> Unpin for Fan<I, F> {}

impl<I, M, F> Stream for Fan<I, F>
where
    I: Iterator<Item = (String, M)>,
    M: FnOnce() -> F,
    F: Future + Unpin,
{
    type Item = (usize, F::Output);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let _entered = self.domain.enter();
        self.begin();
        self.running.poll_next_unpin(cx)
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({})", self.scope.path())
    }
}

impl<I, F> fmt::Debug for Fan<I, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fan({})", self.scope.path())
    }
}

/// A branch that runs, in its own scope.
struct Branch<F> {
    number: usize,
    shared: Rc<Shared>,
    scope: Rc<Scope>,
    future: F,
}

impl<F: Future + Unpin> Future for Branch<F> {
    type Output = (usize, F::Output);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let _in_scope = InScope::enter(&this.shared, this.scope.clone());
        let number = this.number;
        Pin::new(&mut this.future).poll(cx).map(|output| (number, output))
    }
}
