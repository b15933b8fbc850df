//! The context's ways to run several futures as one.

use std::collections::BTreeMap;
use std::time::Duration;

use everstep_core::DeadlineError;

use super::branches::{Branches, Racers, places};
use super::gather::check_labels;
use super::{BatchFuture, Combined, MapFuture};
use crate::context::WorkflowContext;
use crate::error::{WorkflowError, WorkflowErrorKind};
use crate::function::{Function, IntoFunction};

/// How branches ended, by name.
type Named<T> = Vec<(String, Result<T, WorkflowError>)>;

fn unzip<N: Into<String>, F>(branches: impl IntoIterator<Item = (N, F)>) -> (Vec<String>, Vec<F>) {
    branches.into_iter().map(|(name, future)| (name.into(), future)).unzip()
}

impl WorkflowContext {
    /// Runs a tuple of up to twelve futures, or a `Vec`, at once, and yields their values in that order.
    ///
    /// If one fails, the others are cancelled and awaited, so that clean-up under [`shield`](Self::shield) in them is done, and the first
    /// failure is returned. What a branch makes has its keys under the branch: `parallel/1/charge`, and `parallel~2/1/charge` in the second
    /// block of that scope; branches count from 0. A future that was made before keeps the key that it was made with.
    ///
    /// Of a `Vec`, 1,000 branches run at a time and the next one begins when one ends.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn fetch_sales(ctx: FunctionContext, report: String) -> Result<Vec<u64>, StepError>;
    ///
    /// #[function]
    /// async fn fetch_customers(ctx: FunctionContext, report: String) -> Result<u64, StepError>;
    ///
    /// #[workflow]
    /// async fn report(ctx: WorkflowContext, report: String) -> Result<u64, WorkflowError> {
    ///     let (sales, customers) = ctx
    ///         .parallel((ctx.step(fetch_sales, report.clone()), ctx.step(fetch_customers, report)))
    ///         .await?;
    ///     Ok(sales.iter().sum::<u64>() / customers)
    /// }
    /// ```
    pub fn parallel<'a, B: Branches<'a>>(&self, branches: B) -> Combined<'a, Result<B::Values, WorkflowError>> {
        let (block, begun) = (self.core().block("parallel"), branches.begin());
        let labels = places(begun.count());
        Combined::new(async move { B::values(begun.join(block, labels, true).await?) })
    }

    /// The same, and yields how each of them ended: a failure cancels nothing.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn ping(ctx: FunctionContext, host: String) -> Result<(), StepError>;
    ///
    /// #[workflow]
    /// async fn reachable(ctx: WorkflowContext, hosts: Vec<String>) -> Result<usize, WorkflowError> {
    ///     let pings = hosts.into_iter().map(|host| ctx.step(ping, host)).collect::<Vec<_>>();
    ///     let outcomes = ctx.parallel_settled(pings).await?;
    ///     Ok(outcomes.iter().filter(|outcome| outcome.is_ok()).count())
    /// }
    /// ```
    pub fn parallel_settled<'a, B: Branches<'a>>(&self, branches: B) -> Combined<'a, Result<B::Outcomes, WorkflowError>> {
        let (block, begun) = (self.core().block("parallel"), branches.begin());
        let labels = places(begun.count());
        Combined::new(begun.join(block, labels, false))
    }

    /// Runs named futures at once and yields their values by name. For values of different types there is [`gather!`](crate::gather!).
    ///
    /// If one fails, the others are cancelled and awaited, and the first failure is returned. The names, of 1 to 128 characters, are in the
    /// keys of what the branches make: `gather/berlin/fetch`.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn stock(ctx: FunctionContext, city: String) -> Result<u64, StepError>;
    ///
    /// #[workflow]
    /// async fn inventory(ctx: WorkflowContext, cities: Vec<String>) -> Result<u64, WorkflowError> {
    ///     let stocks = ctx.gather(cities.into_iter().map(|city| (city.clone(), ctx.step(stock, city)))).await?;
    ///     Ok(stocks["berlin"])
    /// }
    /// ```
    pub fn gather<'a, N, F, T>(
        &self,
        branches: impl IntoIterator<Item = (N, F)>,
    ) -> Combined<'a, Result<BTreeMap<String, T>, WorkflowError>>
    where
        N: Into<String>,
        F: Future<Output = Result<T, WorkflowError>> + 'a,
        T: 'a,
    {
        let (names, futures) = unzip(branches);
        let gathered = self.gather_branches(names, futures, true);
        Combined::new(async move {
            let outcomes = gathered.await?;
            outcomes.into_iter().map(|(name, outcome)| Ok((name, outcome?))).collect()
        })
    }

    /// The same, and yields how each of them ended: a failure cancels nothing.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn notify(ctx: FunctionContext, text: String) -> Result<(), StepError>;
    ///
    /// #[workflow]
    /// async fn announce(ctx: WorkflowContext, text: String) -> Result<Vec<String>, WorkflowError> {
    ///     let told = ctx.gather_settled(["mail", "chat"].map(|way| (way, ctx.step(notify, text.clone()).queue(way)))).await?;
    ///     Ok(told.into_iter().filter(|(_, outcome)| outcome.is_err()).map(|(way, _)| way).collect())
    /// }
    /// ```
    #[expect(clippy::type_complexity, reason = "it is what it yields, and aliases would hide it")]
    pub fn gather_settled<'a, N, F, T>(
        &self,
        branches: impl IntoIterator<Item = (N, F)>,
    ) -> Combined<'a, Result<BTreeMap<String, Result<T, WorkflowError>>, WorkflowError>>
    where
        N: Into<String>,
        F: Future<Output = Result<T, WorkflowError>> + 'a,
        T: 'a,
    {
        let (names, futures) = unzip(branches);
        let gathered = self.gather_branches(names, futures, false);
        Combined::new(async move { Ok(gathered.await?.into_iter().collect()) })
    }

    fn gather_branches<'a, F, T>(
        &self,
        names: Vec<String>,
        futures: Vec<F>,
        stop: bool,
    ) -> Combined<'a, Result<Named<T>, WorkflowError>>
    where
        F: Future<Output = Result<T, WorkflowError>> + 'a,
        T: 'a,
    {
        let (block, begun) = (self.core().block("gather"), futures.begin());
        Combined::new(async move {
            check_labels("a name in gather", &names)?;
            let outcomes = begun.join(block, names.clone(), stop).await?;
            Ok(names.into_iter().zip(outcomes).collect())
        })
    }

    /// Runs a tuple of up to twelve futures, or a `Vec`, at once, and yields the first outcome, value or failure.
    ///
    /// First is what its entry in the journal came first for, so every replay has the same winner; of branches that end by the same entry, it
    /// is the one that was woken first. The others are cancelled and awaited, so that clean-up under [`shield`](Self::shield) in them is done.
    /// Keys are as in [`parallel`](Self::parallel), under `race`. An empty `Vec` is an error.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn quote(ctx: FunctionContext, carrier: String) -> Result<u64, StepError>;
    ///
    /// #[workflow]
    /// async fn quickest(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
    ///     ctx.race((ctx.step(quote, "one".into()), ctx.step(quote, "two".into()))).await
    /// }
    /// ```
    pub fn race<'a, R: Racers<'a>>(&self, racers: R) -> Combined<'a, Result<R::Value, WorkflowError>> {
        let (block, racers) = (self.core().block("race"), racers.line_up());
        let none = racers.is_empty();
        let fan = block.fan(
            places(racers.len())
                .into_iter()
                .zip(racers)
                .map(|(label, racer)| (label, move || racer)),
        );
        Combined::new(async move {
            match fan.race().await {
                Some((_, outcome)) => outcome,
                None if none => Err(WorkflowError::invalid("a race of nothing has no winner")),
                None => Err(WorkflowErrorKind::Cancelled.into()),
            }
        })
    }

    /// What `future` yields, if that comes within `duration` from the first poll on. Otherwise it is cancelled and awaited, and the error is
    /// of the kind [`TimedOut`](WorkflowErrorKind::TimedOut).
    ///
    /// The deadline is a timer in the journal, called `timeout`, and never early; what `future` makes has its keys under it, as in
    /// `timeout/charge`. To bound a single step, its own [`total_timeout`](crate::StepFuture::total_timeout) costs less.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn reserve(ctx: FunctionContext) -> Result<u64, StepError>;
    ///
    /// #[workflow]
    /// async fn hurried(ctx: WorkflowContext) -> Result<Option<u64>, WorkflowError> {
    ///     let both = ctx.parallel((ctx.step(reserve, ()), ctx.step(reserve, ())));
    ///     match ctx.timeout(Duration::from_secs(30), both).await {
    ///         Err(error) if matches!(error.kind(), WorkflowErrorKind::TimedOut { .. }) => Ok(None),
    ///         reserved => reserved.map(|(one, two)| Some(one + two)),
    ///     }
    /// }
    /// ```
    pub fn timeout<'a, T: 'a>(
        &self,
        duration: Duration,
        future: impl Future<Output = Result<T, WorkflowError>> + 'a,
    ) -> Combined<'a, Result<T, WorkflowError>> {
        let timed = self.core().timeout(duration, future);
        Combined::new(async move {
            timed.await.unwrap_or_else(|error| match error {
                DeadlineError::Passed(after) => Err(WorkflowErrorKind::TimedOut { after }.into()),
                DeadlineError::Failed(failure) => Err(WorkflowError::invalid(failure.message)),
            })
        })
    }

    /// Does what must be finished: no cancel from outside reaches `future`, neither that of a block which it is in nor that of the run.
    ///
    /// It may begin before the cancel or after it, so this is how to clean up. Nothing bounds its time but the deadlines of its own steps. It
    /// is not a `terminate` that it withstands, nor being dropped.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn hold_room(ctx: FunctionContext) -> Result<String, StepError>;
    ///
    /// #[function]
    /// async fn release_room(ctx: FunctionContext, room: String) -> Result<(), StepError>;
    ///
    /// #[workflow]
    /// async fn stay(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    ///     let room = ctx.step(hold_room, ()).await?;
    ///     let stayed = ctx.sleep(Duration::from_secs(24 * 60 * 60)).await;
    ///     ctx.shield(ctx.step(release_room, room)).await?;
    ///     stayed
    /// }
    /// ```
    pub fn shield<'a, T: 'a>(&self, future: impl Future<Output = T> + 'a) -> Combined<'a, T> {
        Combined::new(self.core().shield(future))
    }

    /// Whether what is asked for here is cancelled: the run, or the block of branches that this is in. Then every wait brings an error of the
    /// kind [`Cancelled`](WorkflowErrorKind::Cancelled), save under [`shield`](Self::shield).
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn poll_carrier(ctx: FunctionContext) -> Result<bool, StepError>;
    ///
    /// #[workflow]
    /// async fn delivered(ctx: WorkflowContext) -> Result<bool, WorkflowError> {
    ///     while !ctx.is_cancelled() {
    ///         if ctx.step(poll_carrier, ()).await.unwrap_or(false) {
    ///             return Ok(true);
    ///         }
    ///         let _ = ctx.sleep(Duration::from_secs(3600)).await;
    ///     }
    ///     Ok(false)
    /// }
    /// ```
    pub fn is_cancelled(&self) -> bool {
        self.core().is_cancelled()
    }

    /// Has workers run `function` for every item, a bounded number at a time. A failed item is a result, not an error.
    ///
    /// It takes up to 10,000 items. The step of an item has the key `batch/<item>/<function>`, where an item is called by its place unless
    /// [`key_by`](BatchFuture::key_by) says otherwise; so a batch goes on where it was, and items that are done are not done again.
    /// An error is returned only if the batch itself cannot be (too many items, a key twice) or is cancelled from outside.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn process(ctx: FunctionContext, document: String) -> Result<u64, StepError>;
    ///
    /// #[workflow]
    /// async fn bulk(ctx: WorkflowContext, documents: Vec<String>) -> Result<(usize, usize), WorkflowError> {
    ///     let batch = ctx.batch(process, documents).max_concurrency(20).item_timeout(Duration::from_secs(60)).tolerate(0.1);
    ///     let result = batch.await?;
    ///     Ok((result.stats.completed, result.stats.failed))
    /// }
    /// ```
    pub fn batch<F, Marker>(
        &self,
        function: F,
        items: impl IntoIterator<Item = <F::Function as Function>::Input>,
    ) -> BatchFuture<F::Function>
    where
        F: IntoFunction<Marker>,
    {
        // The value only stands for the function; its type says everything.
        let _ = function;
        BatchFuture::new(self.core(), "batch", items.into_iter().collect())
    }

    /// Has workers run `function` for every item, a bounded number at a time, and yields what it returned, in order. The first item to fail
    /// for good is the error; the rest is cancelled.
    ///
    /// Limits and keys are those of [`batch`](Self::batch), under `map`.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn resize(ctx: FunctionContext, picture: String) -> Result<String, StepError>;
    ///
    /// #[workflow]
    /// async fn thumbnails(ctx: WorkflowContext, pictures: Vec<String>) -> Result<Vec<String>, WorkflowError> {
    ///     ctx.map(resize, pictures).await
    /// }
    /// ```
    pub fn map<F, Marker>(
        &self,
        function: F,
        items: impl IntoIterator<Item = <F::Function as Function>::Input>,
    ) -> MapFuture<F::Function>
    where
        F: IntoFunction<Marker>,
    {
        let _ = function;
        MapFuture::new(BatchFuture::new(self.core(), "map", items.into_iter().collect()))
    }
}
