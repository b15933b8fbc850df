//! Many items through one function, so many at a time.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use everstep_common::limits::{BATCH_CONCURRENCY, BATCH_ITEMS_MAX, STEPS_IN_FLIGHT_MAX};
use everstep_core::{Block, Collected};
use futures::FutureExt;
use futures::future::{FusedFuture, LocalBoxFuture};

use super::branches::places;
use super::gather::check_labels;
use super::item::{Item, ItemEnd, outcome_of};
use super::outcome::{BatchItem, BatchResult};
use super::tolerance::{IntoTolerance, Tolerance};
use crate::error::{WorkflowError, WorkflowErrorKind};
use crate::function::Function;
use crate::waits::{Refusal, StepFuture};

/// The patch of which the old side takes none at a time for one.
const CONCURRENCY_CHECK: &str = "everstep: max_concurrency(0)";

/// A batch that begins when first polled; made by [`ctx.batch(…)`](crate::WorkflowContext::batch).
///
/// # Errors
///
/// A failed item is a part of the [`BatchResult`]. The batch itself fails with [`WorkflowErrorKind::Invalid`] if it has more than 10,000 items
/// (`BATCH_ITEMS_MAX`), or none of them at a time, or if its keys or its tolerance are no good; with [`WorkflowErrorKind::Cancelled`] if the run or the block round it
/// is cancelled.
///
/// ```
/// use everstep::prelude::*;
///
/// #[function]
/// async fn invoice(ctx: FunctionContext, customer: String, cents: u64) -> Result<String, StepError>;
///
/// #[workflow]
/// async fn billing(ctx: WorkflowContext, due: Vec<(String, u64)>) -> Result<usize, WorkflowError> {
///     let batch = ctx
///         .batch(invoice, due)
///         .key_by(|(customer, _)| customer.clone())
///         .max_concurrency(50)
///         .item_timeout(Duration::from_secs(60))
///         .tolerate(10);
///     Ok(batch.await?.stats.completed)
/// }
/// ```
#[must_use = "a batch begins when it is awaited"]
pub struct BatchFuture<F: Function> {
    stage: Stage<F>,
}

enum Stage<F: Function> {
    /// Not polled yet.
    New(Box<Plan<F>>),
    Running(LocalBoxFuture<'static, Result<Ended<F::Output>, WorkflowError>>),
    Done,
}

/// What a batch is to do.
struct Plan<F: Function> {
    core: everstep_core::Context,
    block: Block,
    items: Vec<F::Input>,
    key_by: Option<KeyBy<F::Input>>,
    max_concurrency: usize,
    item_timeout: Option<Duration>,
    tolerance: Tolerance,
}

type KeyBy<I> = Box<dyn Fn(&I) -> String>;

/// A batch that is over.
pub(super) struct Ended<T> {
    pub(super) result: BatchResult<T>,
    /// What the first item to fail failed with.
    pub(super) first_failure: Option<WorkflowError>,
}

impl<F: Function> BatchFuture<F> {
    pub(super) fn new(core: &everstep_core::Context, name: &str, items: Vec<F::Input>) -> Self {
        let plan = Plan {
            core: core.clone(),
            block: core.block(name),
            items,
            key_by: None,
            max_concurrency: BATCH_CONCURRENCY,
            item_timeout: None,
            tolerance: Tolerance::All,
        };
        Self {
            stage: Stage::New(Box::new(plan)),
        }
    }

    /// How many items run at a time: from 1 to 1,000 (`STEPS_IN_FLIGHT_MAX`), and 20 (`BATCH_CONCURRENCY`) unless it is said. The next one
    /// begins when one ends. More than that is the most there can be; 0 is [`WorkflowErrorKind::Invalid`] when the batch is awaited.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn refund(ctx: FunctionContext, charge: String) -> Result<(), StepError>;
    ///
    /// #[workflow]
    /// async fn recall(ctx: WorkflowContext, charges: Vec<String>) -> Result<usize, WorkflowError> {
    ///     // The payment provider answers five requests at a time.
    ///     let refunds = ctx.batch(refund, charges).max_concurrency(5).await?;
    ///     Ok(refunds.stats.completed)
    /// }
    /// ```
    pub fn max_concurrency(self, items: usize) -> Self {
        self.with(|plan| plan.max_concurrency = items.min(STEPS_IN_FLIGHT_MAX))
    }

    /// How long one item may take from when it begins, retries and waiting included; the function's own `total_timeout` (24 hours unless it
    /// declares another) if that is less. An item whose time is up has failed as [`FailureKind::DeadlineExceeded`](crate::FailureKind).
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn probe(ctx: FunctionContext, host: String) -> Result<u64, StepError>;
    ///
    /// #[workflow]
    /// async fn silent_hosts(ctx: WorkflowContext, hosts: Vec<String>) -> Result<usize, WorkflowError> {
    ///     let probed = ctx.batch(probe, hosts).item_timeout(Duration::from_secs(10)).await?;
    ///     Ok(probed.failures().filter(|(_, failure)| failure.kind == FailureKind::DeadlineExceeded).count())
    /// }
    /// ```
    pub fn item_timeout(self, timeout: Duration) -> Self {
        self.with(|plan| plan.item_timeout = Some(timeout))
    }

    /// How many items may fail: a number, or a ratio of all from 0.0 to 1.0, rounded down. When one more has failed, the rest is cancelled and
    /// awaited, and the result says that the batch was [`stopped`](BatchResult::stopped). All may fail unless it is said.
    ///
    /// A ratio outside of that is [`WorkflowErrorKind::Invalid`] when the batch is awaited.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn migrate(ctx: FunctionContext, account: u64) -> Result<(), StepError>;
    ///
    /// #[workflow]
    /// async fn migration(ctx: WorkflowContext, accounts: Vec<u64>) -> Result<usize, WorkflowError> {
    ///     let migrated = ctx.batch(migrate, accounts).tolerate(0.02).await?;
    ///     if migrated.stopped {
    ///         return Err(WorkflowError::new(format!("gave up after {} failures", migrated.stats.failed)));
    ///     }
    ///     Ok(migrated.stats.completed)
    /// }
    /// ```
    pub fn tolerate(self, failures: impl IntoTolerance) -> Self {
        self.with(|plan| plan.tolerance = failures.into_tolerance())
    }

    /// What an item is called, in the journal's keys and in the result: 1 to 128 characters, no two the same. Its place unless it is said.
    ///
    /// With it a batch that is changed while it runs finds its items again, wherever they stand. `key_by` is called again on each replay, and
    /// must only compute. Names that are empty, too long or there twice are [`WorkflowErrorKind::Invalid`] when the batch is awaited.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[derive(Clone, serde::Serialize, serde::Deserialize)]
    /// struct Invoice {
    ///     number: String,
    ///     cents: u64,
    /// }
    ///
    /// #[function]
    /// async fn send_invoice(ctx: FunctionContext, invoice: Invoice) -> Result<(), StepError>;
    ///
    /// #[workflow]
    /// async fn unsent(ctx: WorkflowContext, invoices: Vec<Invoice>) -> Result<Vec<String>, WorkflowError> {
    ///     let sent = ctx.batch(send_invoice, invoices).key_by(|invoice| invoice.number.clone()).await?;
    ///     Ok(sent.failures().map(|(number, _)| number.to_owned()).collect())
    /// }
    /// ```
    pub fn key_by(self, key_by: impl Fn(&F::Input) -> String + 'static) -> Self {
        self.with(|plan| plan.key_by = Some(Box::new(key_by)))
    }

    /// Changes what it is to do; once it has begun, that is settled.
    fn with(mut self, change: impl FnOnce(&mut Plan<F>)) -> Self {
        if let Stage::New(plan) = &mut self.stage {
            change(plan);
        }
        self
    }

    pub(super) fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Result<Ended<F::Output>, WorkflowError>> {
        if let Stage::New(_) = self.stage
            && let Stage::New(plan) = std::mem::replace(&mut self.stage, Stage::Done)
        {
            self.stage = Stage::Running(plan.run().boxed_local());
        }
        let Stage::Running(running) = &mut self.stage else {
            return Poll::Pending;
        };
        let polled = running.poll_unpin(context);
        if polled.is_ready() {
            self.stage = Stage::Done;
        }
        polled
    }
}

impl<F: Function> Plan<F> {
    async fn run(self: Box<Self>) -> Result<Ended<F::Output>, WorkflowError> {
        let (ids, tolerated) = (self.ids()?, self.tolerance.of(self.items.len())?);
        self.check_concurrency()?;
        let Self {
            core,
            block,
            items,
            max_concurrency,
            item_timeout,
            ..
        } = *self;
        let (began, limit) = (core.now(), item_timeout.unwrap_or(Duration::MAX));
        let item = |input| Item(StepFuture::<F::Output>::new(&core, F::declaration(), &input).within(limit));
        let branches = ids.iter().cloned().zip(items).map(|(id, input)| (id, || item(input)));
        let fan = block.fan(branches).window(max_concurrency);
        let collected = fan.collect_outcomes(tolerated).await;
        let duration = core.now().duration_since(began).unsigned_abs();
        Ended::new(ids, collected, duration)
    }

    fn check_concurrency(&self) -> Result<(), WorkflowError> {
        if self.max_concurrency > 0 {
            return Ok(());
        }
        let message =
            format!("`max_concurrency(0)` runs no item, ever: give how many are to run at a time, from 1 to {STEPS_IN_FLIGHT_MAX}");
        Refusal::since(CONCURRENCY_CHECK, WorkflowError::invalid(message)).tell(&self.core)
    }

    /// What the items are called, if there may be such a batch.
    fn ids(&self) -> Result<Vec<String>, WorkflowError> {
        let count = self.items.len();
        if count > BATCH_ITEMS_MAX {
            let message =
                format!("a batch has up to {BATCH_ITEMS_MAX} items, and this one has {count}; split it over several runs");
            return Err(WorkflowError::invalid(message));
        }
        let Some(key_by) = &self.key_by else {
            return Ok(places(count));
        };
        let ids: Vec<_> = self.items.iter().map(key_by).collect();
        check_labels("the key of an item", &ids)?;
        Ok(ids)
    }
}

impl<T> Ended<T> {
    fn new(
        ids: Vec<String>,
        mut collected: Collected<(T, u32), (WorkflowError, u32)>,
        duration: Duration,
    ) -> Result<Self, WorkflowError> {
        let (stopped, cancelled) = (collected.stopped, collected.cancelled);
        let first_failure = first_error(&collected).map(|(number, error)| error.context(format_args!("item {}", ids[number])));
        collected.outcomes.resize_with(ids.len(), || None);
        let ends = ids.into_iter().zip(collected.outcomes);
        let results: Vec<_> = ends.map(|(id, end)| item(id, end)).collect();
        let result = BatchResult::new(results, stopped, duration);
        // Its items were not cancelled by the batch itself, so what is round it was; nobody waits for the result.
        if cancelled && !stopped && result.stats.cancelled > 0 {
            return Err(WorkflowErrorKind::Cancelled.into());
        }
        Ok(Self { result, first_failure })
    }
}

fn item<T>(id: String, end: Option<ItemEnd<T>>) -> BatchItem<T> {
    let (outcome, attempts) = outcome_of(end);
    BatchItem { id, attempts, outcome }
}

fn first_error<T>(collected: &Collected<(T, u32), (WorkflowError, u32)>) -> Option<(usize, WorkflowError)> {
    let number = collected.first_failed?;
    let (error, _) = collected.outcomes[number].as_ref()?.as_ref().err()?;
    Some((number, error.clone()))
}

impl<F: Function> Future for BatchFuture<F> {
    type Output = Result<BatchResult<F::Output>, WorkflowError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_end(context).map_ok(|ended| ended.result)
    }
}

impl<F: Function> FusedFuture for BatchFuture<F> {
    fn is_terminated(&self) -> bool {
        matches!(self.stage, Stage::Done)
    }
}

// Nothing in it is pinned but what is boxed.
impl<F: Function> Unpin for BatchFuture<F> {}

impl<F: Function> fmt::Debug for BatchFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch of {}", F::NAME)
    }
}
