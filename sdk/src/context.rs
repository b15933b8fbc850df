//! What a workflow is given beside its input: the typed face of the core's context.
//!
//! Knows nothing of journals and orchestrators: it encodes what goes in, decodes what comes out, and leaves keys, order and
//! replay to [`everstep_core::Context`]. The futures it gives out are in `waits`, one file each.

use std::any::{TypeId, type_name};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use everstep_common::ids::RunId;
use everstep_common::key::StepKey;
use everstep_core::Due;
use everstep_worker::{FunctionContext, Resources};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::Level;
use uuid::Uuid;

use crate::error::{NextInput, WorkflowError, WorkflowErrorKind};
use crate::function::{Function, IntoFunction};
use crate::session::Session;
use crate::state::{RunState, full};
use crate::waits::{
    Approval, ApprovalFuture, ChildFuture, EmitFuture, EventFuture, Matching, Question, QuestionFuture, RunFuture, SignalFuture,
    SleepFuture, StepFuture, UpdateFuture, encode,
};
use crate::workflow::{IntoWorkflow, Workflow};

/// A workflow's way to everything outside itself. A cheap clone, by value; helpers and branches may borrow it.
///
/// What it gives out are futures: asked for when first polled, cancelled when dropped unanswered. Their keys are taken when they
/// are *made*, so a future made inside a loop is another one each round.
///
/// It stays on the thread of its run, since a run moves by being replayed and not by being sent. So it cannot be spawned away,
/// and a workflow may hold an `Rc` across an `await`.
///
/// ```
/// use everstep::prelude::*;
///
/// #[function]
/// async fn price(ctx: FunctionContext, article: String) -> Result<u64, StepError>;
///
/// async fn total(ctx: &WorkflowContext, articles: &[String]) -> Result<u64, WorkflowError> {
///     let prices = articles.iter().map(|article| ctx.step(price, article.clone()));
///     Ok(futures::future::try_join_all(prices).await?.iter().sum())
/// }
///
/// #[workflow]
/// async fn quote(ctx: WorkflowContext, articles: Vec<String>) -> Result<u64, WorkflowError> {
///     total(&ctx, &articles).await
/// }
/// ```
#[derive(Clone)]
pub struct WorkflowContext {
    core: everstep_core::Context,
    /// For functions that are called in place.
    resources: Arc<Resources>,
    /// What the run's workflow takes.
    input: Type,
}

/// A type, to be compared with others and named in messages.
#[derive(Clone, Copy)]
struct Type {
    id: TypeId,
    name: &'static str,
}

impl Type {
    fn of<T: 'static>() -> Self {
        Self {
            id: TypeId::of::<T>(),
            name: type_name::<T>(),
        }
    }
}

impl WorkflowContext {
    pub(crate) fn new<W: Workflow>(core: everstep_core::Context, resources: Arc<Resources>) -> Self {
        let input = Type::of::<W::Input>();
        Self { core, resources, input }
    }

    pub(crate) fn core(&self) -> &everstep_core::Context {
        &self.core
    }

    /// Has a worker run `function` with `input`; its outcome is recorded once and never replaced.
    ///
    /// One argument is itself the input, several are a tuple, none is `()`.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn reserve(ctx: FunctionContext, article: String, pieces: u32) -> Result<u64, StepError>;
    ///
    /// #[workflow]
    /// async fn order(ctx: WorkflowContext, article: String) -> Result<u64, WorkflowError> {
    ///     let reserved = ctx.step(reserve, (article, 2)).key("reserve-pair").timeout(Duration::from_secs(5));
    ///     reserved.await
    /// }
    /// ```
    pub fn step<F, Marker>(
        &self,
        function: F,
        input: <F::Function as Function>::Input,
    ) -> StepFuture<<F::Function as Function>::Output>
    where
        F: IntoFunction<Marker>,
    {
        // The value only stands for the function; its type says everything.
        let _ = function;
        StepFuture::new(&self.core, F::Function::declaration(), &input)
    }

    /// Runs `closure` here, in the orchestrator, and records what it returns: a step without a queue, for quick local work.
    ///
    /// It runs off the run's thread, where clocks, random numbers, files and sockets are allowed. It may run again if the process
    /// dies before its result is recorded; only the recorded one is seen. It is not tried again when it fails.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn configured(ctx: WorkflowContext, path: String) -> Result<usize, WorkflowError> {
    ///     let text = ctx.run("configuration", move || async move { Ok(std::fs::read_to_string(path)?) }).await?;
    ///     Ok(text.lines().count())
    /// }
    /// ```
    pub fn run<T, C, Fut>(&self, name: &str, closure: C) -> RunFuture<T>
    where
        C: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, WorkflowError>> + Send + 'static,
        T: Serialize + DeserializeOwned + 'static,
    {
        RunFuture::new(&self.core, name, closure)
    }

    /// Waits, without holding a process. Due at [`now`](Self::now), when first polled, plus `duration`; never early.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn reminder(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    ///     ctx.sleep(Duration::from_secs(7 * 24 * 60 * 60)).named("a week later").await
    /// }
    /// ```
    pub fn sleep(&self, duration: Duration) -> SleepFuture {
        SleepFuture::new(&self.core, Due::After(duration))
    }

    /// Waits until `time`, without holding a process. At once if that is past; never early.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn on_the_day(ctx: WorkflowContext, day: Timestamp) -> Result<(), WorkflowError> {
    ///     ctx.sleep_until(day).named("the day").await
    /// }
    /// ```
    pub fn sleep_until(&self, time: Timestamp) -> SleepFuture {
        SleepFuture::new(&self.core, Due::At(time))
    }

    /// Waits for the next signal of that name; `Client::signal` and `everstep runs signal` send one.
    ///
    /// One that came before is kept, from the start of the run on; each is taken once, the first stored first. See [`SignalFuture`] for
    /// errors and limits.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn paid(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
    ///     ctx.signal::<u64>("paid").deadline(Duration::from_secs(3600)).await
    /// }
    /// ```
    pub fn signal<T: DeserializeOwned>(&self, name: &str) -> SignalFuture<T> {
        SignalFuture::new(&self.core, name)
    }

    /// Waits for the next event of that name for which the correlation holds, published by anyone: another program, a webhook, or a workflow
    /// with [`emit`](Self::emit).
    ///
    /// One that was published since the run began is found, however long ago; each is taken once, in the order of the stream. See
    /// [`EventFuture`] for errors and limits.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Paid {
    ///     order_id: String,
    ///     cents: u64,
    /// }
    ///
    /// #[workflow]
    /// async fn checkout(ctx: WorkflowContext, order: String) -> Result<u64, WorkflowError> {
    ///     let paid = ctx.wait_for_event::<Paid>("order.paid", matching("order_id", &order));
    ///     Ok(paid.deadline(Duration::from_secs(3_600)).await?.data.cents)
    /// }
    /// ```
    pub fn wait_for_event<T: DeserializeOwned>(&self, name: &str, matching: Matching) -> EventFuture<T> {
        EventFuture::new(&self.core, name, matching)
    }

    /// Waits for the next update of that name: a request whose caller waits for the answer. [`Client::update`](crate::Client::update) and
    /// `everstep runs update` send one.
    ///
    /// Request and answer are recorded, so that whoever dies meanwhile the update is done once and has one answer. See [`UpdateFuture`] for
    /// validation, errors and limits, and [`UpdateFuture::serve`] for answering all of them beside other work.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn seat(ctx: WorkflowContext) -> Result<u32, WorkflowError> {
    ///     let book = ctx.update::<u32, String>("book").await?;
    ///     let row = *book.input();
    ///     book.reply(&format!("row {row} is yours"))?;
    ///     Ok(row)
    /// }
    /// ```
    pub fn update<In: DeserializeOwned, Out>(&self, name: &str) -> UpdateFuture<In, Out> {
        UpdateFuture::new(&self.core, name)
    }

    /// Asks people something, and waits for the answer without holding a process.
    ///
    /// The question is recorded, so that it can be seen and answered by its name (`Client::questions`, `Client::answer`, `everstep runs
    /// answer`) whether or not an orchestrator is up. An answer is checked before it is taken, and of an answer and a timeout the one that
    /// was stored first counts. See [`Question`] and [`QuestionFuture`] for what can be asked, errors and limits.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn order(ctx: WorkflowContext, order_id: String) -> Result<bool, WorkflowError> {
    ///     let decision = ctx
    ///         .wait_for_user::<String>(Question {
    ///             question: format!("Approve order {order_id}?"),
    ///             input_type: InputType::Approval,
    ///             timeout: Some(Duration::from_secs(24 * 60 * 60)),
    ///             on_timeout: OnTimeout::Answer("reject".into()),
    ///             name: Some("approve-order".to_owned()),
    ///             ..Question::default()
    ///         })
    ///         .await?;
    ///     Ok(decision.value == "approve")
    /// }
    /// ```
    pub fn wait_for_user<T: DeserializeOwned>(&self, question: Question) -> QuestionFuture<T> {
        QuestionFuture::new(&self.core, question)
    }

    /// Waits for people to approve exactly this; see [`Approval`]. What it brings is good for one step that
    /// [`requires`](StepFuture::requires) it.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn delete_account(ctx: FunctionContext, account: String) -> Result<(), StepError>;
    ///
    /// #[workflow]
    /// async fn closing(ctx: WorkflowContext, account: String) -> Result<bool, WorkflowError> {
    ///     let decision = ctx.await_approval(Approval::of("Delete this account", &account).groups(["support"])).await?;
    ///     if decision.is_approved() {
    ///         ctx.step(delete_account, account).requires(&decision).await?;
    ///     }
    ///     Ok(decision.is_approved())
    /// }
    /// ```
    pub fn await_approval(&self, approval: Approval) -> ApprovalFuture {
        ApprovalFuture::new(&self.core, approval)
    }

    /// Starts a run of another workflow and waits for its end: a run and a journal of its own, linked with this one both ways.
    ///
    /// It runs in this run's session and with its tags. It is started once, whatever dies: which run it is follows from this run's id and
    /// the child's key. Cancelled with this run, or with the branch that it is asked for in, it is asked to cancel and its end is awaited.
    /// A child that goes on as new brings the result of its last run.
    ///
    /// # Errors
    ///
    /// [`WorkflowErrorKind::Child`](crate::WorkflowErrorKind::Child) says which run ended without a value, and how. 64 children may be
    /// nested in one another, and 1,000 may be open in a run; beyond that it stands still.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn parcel(ctx: WorkflowContext, address: String) -> Result<String, WorkflowError> {
    ///     ctx.sleep(Duration::from_secs(24 * 60 * 60)).await?;
    ///     Ok(format!("delivered to {address}"))
    /// }
    ///
    /// #[workflow]
    /// async fn order(ctx: WorkflowContext, address: String) -> Result<String, WorkflowError> {
    ///     match ctx.child(parcel, address).await {
    ///         Err(error) if matches!(error.kind(), WorkflowErrorKind::Child { .. }) => Ok(format!("kept here: {error}")),
    ///         delivered => delivered,
    ///     }
    /// }
    /// ```
    pub fn child<W, Marker>(
        &self,
        workflow: W,
        input: <W::Workflow as Workflow>::Input,
    ) -> ChildFuture<<W::Workflow as Workflow>::Output>
    where
        W: IntoWorkflow<Marker>,
    {
        let _ = workflow;
        ChildFuture::new::<W::Workflow>(&self.core, &input)
    }

    /// Ends this run, and goes on with `input` in another one, with a journal of its own: for workflows that never end, or whose journal
    /// would grow too long. To be returned by the workflow.
    ///
    /// The next run has this one's workflow, version, session, tags, parent and trace; its id follows from this one's, so it is started
    /// once. Whoever waits for this run's result waits for that of the last one. State, and children that nobody waited for, end with this
    /// run. If it was asked to cancel it ends as cancelled instead.
    ///
    /// # Errors
    ///
    /// Always an error, for the workflow to return: [`WorkflowErrorKind::Continued`](crate::WorkflowErrorKind::Continued), or
    /// [`WorkflowErrorKind::Invalid`](crate::WorkflowErrorKind::Invalid) if the workflow takes another type. Without `.await`.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn poll_feed(ctx: FunctionContext, since: u64) -> Result<u64, StepError>;
    ///
    /// #[workflow]
    /// async fn follow(ctx: WorkflowContext, mut since: u64) -> Result<(), WorkflowError> {
    ///     for _ in 0..1_000 {
    ///         since = ctx.step(poll_feed, since).await?;
    ///         ctx.sleep(Duration::from_secs(60)).await?;
    ///     }
    ///     ctx.continue_as_new(since)
    /// }
    /// ```
    pub fn continue_as_new<T, I: Serialize + 'static>(&self, input: I) -> Result<T, WorkflowError> {
        let (given, taken) = (Type::of::<I>(), self.input);
        if given.id != taken.id {
            let message = format!("this workflow takes a {}, and cannot go on with a {}", taken.name, given.name);
            return Err(WorkflowError::invalid(message));
        }
        let input = encode(format_args!("the input to go on with"), &input);
        let input = input.map_err(|failure| WorkflowError::invalid(failure.message))?;
        Err(WorkflowErrorKind::Continued(NextInput(input)).into())
    }

    /// Values by name that live as long as the run, and that operators can see. They cost no write and are not awaited.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn stateful(ctx: WorkflowContext) -> Result<(), WorkflowError> {
    ///     ctx.state().set("phase", "started")
    /// }
    /// ```
    pub fn state(&self) -> RunState {
        RunState::new(self.core.clone())
    }

    /// What the run shares with the other runs that were started in the same session.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn visit(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
    ///     ctx.session().state().update("visit_count", 0, |visits: u64| visits + 1).await
    /// }
    /// ```
    pub fn session(&self) -> Session {
        Session::new(self.core.clone())
    }

    /// Publishes an event, which starts every workflow that listens to it; in the journal it is called `emit.<event>`.
    ///
    /// It is published once for ever, however often the run is replayed and whoever dies: event and a mark under the run and key are
    /// stored together, and what is recorded is that they are. Other programs see it under the subject `event.<event>`, as a CloudEvent
    /// with source `everstep/run`. Who listens is not waited for.
    ///
    /// Fails if the name is none, or the data is no JSON or over 768 KiB of it.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn pay(ctx: WorkflowContext, order: u64) -> Result<(), WorkflowError> {
    ///     ctx.emit("order.paid", &order).await
    /// }
    ///
    /// #[workflow(on(event("order.paid")))]
    /// async fn ship(ctx: WorkflowContext, order: u64) -> Result<(), WorkflowError> {
    ///     ctx.sleep(Duration::from_secs(order)).await
    /// }
    /// ```
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, data: &T) -> EmitFuture {
        EmitFuture::new(&self.core, event, data)
    }

    /// Shows `view` to whoever asks with [`Client::view`](crate::Client::view), in place of what was shown before. It costs no write: who
    /// asks is answered from memory. Gone with the run.
    ///
    /// Fails if the view cannot be encoded or is over 256 KiB; the one before is shown then.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn import(ctx: WorkflowContext, pages: u32) -> Result<(), WorkflowError> {
    ///     for page in 1..=pages {
    ///         ctx.publish_view(&format!("page {page} of {pages}"))?;
    ///         ctx.sleep(Duration::from_secs(1)).await?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn publish_view<T: Serialize + ?Sized>(&self, view: &T) -> Result<(), WorkflowError> {
        let view = encode(format_args!("the view"), view).map_err(|failure| WorkflowError::invalid(failure.message))?;
        self.core.publish_view(view).map_err(full)
    }

    /// The time of what the workflow last saw: that of a journal entry, the same on every replay. Never goes back.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn is_late(ctx: WorkflowContext, due: Timestamp) -> Result<bool, WorkflowError> {
    ///     Ok(ctx.now() > due)
    /// }
    /// ```
    pub fn now(&self) -> Timestamp {
        self.core.now()
    }

    /// A random number, the same on every replay. Not secret: who knows the run's id can compute it.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn dice(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
    ///     Ok(1 + ctx.random() % 6)
    /// }
    /// ```
    pub fn random(&self) -> u64 {
        self.core.random()
    }

    /// A unique id, the same on every replay. Not secret: who knows the run's id can compute it.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn invoice(ctx: WorkflowContext) -> Result<String, WorkflowError> {
    ///     Ok(format!("invoice-{}", ctx.uuid()))
    /// }
    /// ```
    pub fn uuid(&self) -> Uuid {
        self.core.uuid()
    }

    /// The run's id.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn who_am_i(ctx: WorkflowContext) -> Result<String, WorkflowError> {
    ///     Ok(ctx.run_id().to_string())
    /// }
    /// ```
    pub fn run_id(&self) -> RunId {
        self.core.run_id().clone()
    }

    /// Logs a line when the workflow gets here for the first time, and not when it is replayed.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn talkative(ctx: WorkflowContext, name: String) -> Result<(), WorkflowError> {
    ///     ctx.log(format_args!("waiting for {name}"));
    ///     ctx.sleep(Duration::from_secs(60)).await
    /// }
    /// ```
    pub fn log(&self, message: impl fmt::Display) {
        self.log_at(Level::INFO, message);
    }

    /// The same with a level.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn careful(ctx: WorkflowContext, stock: u32) -> Result<(), WorkflowError> {
    ///     if stock < 10 {
    ///         ctx.log_at(LogLevel::WARN, format_args!("only {stock} left"));
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn log_at(&self, level: Level, message: impl fmt::Display) {
        if self.core.is_replaying() {
            return;
        }
        let run = self.core.run_id();
        match level {
            Level::ERROR => tracing::error!(target: "everstep::workflow", %run, "{message}"),
            Level::WARN => tracing::warn!(target: "everstep::workflow", %run, "{message}"),
            Level::INFO => tracing::info!(target: "everstep::workflow", %run, "{message}"),
            Level::DEBUG => tracing::debug!(target: "everstep::workflow", %run, "{message}"),
            Level::TRACE => tracing::trace!(target: "everstep::workflow", %run, "{message}"),
        }
    }

    /// The context with which a function is called in place: part of the workflow's own code, unrecorded, and done again on
    /// every replay. For functions that only compute.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn vat(ctx: FunctionContext, cents: u64) -> Result<u64, StepError> {
    ///     Ok(cents * 19 / 100)
    /// }
    ///
    /// #[workflow]
    /// async fn gross(ctx: WorkflowContext, cents: u64) -> Result<u64, WorkflowError> {
    ///     Ok(cents + vat(ctx.inline(), cents).await?)
    /// }
    /// ```
    pub fn inline(&self) -> FunctionContext {
        let key = StepKey::from_path(&format!("inline/{}", self.core.uuid()));
        FunctionContext::inline(self.run_id(), key, self.resources.clone())
    }
}

impl fmt::Debug for WorkflowContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkflowContext")
            .field("run", &self.core.run_id())
            .finish_non_exhaustive()
    }
}
