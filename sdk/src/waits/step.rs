//! A step: the call of a function, done by a worker.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::ids::{FunctionName, QueueName};
use everstep_common::limits::NAME_CHARS_MAX;
use everstep_common::retry::RetryPolicy;
use everstep_common::task::StepOptions;
use everstep_core::{Step, Undo};
use futures::future::FusedFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Decision, Refusal, decode, encode};
use crate::error::WorkflowError;
use crate::function::{Function, FunctionDeclaration, IntoFunction};

/// The patch of which the old side does once what is to be retried.
const RETRIES_CHECK: &str = "everstep: retries of what begins once";

/// A step that is asked for when first polled; made by [`ctx.step(…)`](crate::WorkflowContext::step). What it says overrides what the
/// function declares.
///
/// # Errors
///
/// [`WorkflowErrorKind::Step`](crate::WorkflowErrorKind::Step) if it ended without a value: its failure says how, and
/// [`Invalid`](crate::FailureKind::Invalid) that it could not be asked for (its input cannot be encoded or is over 64 MiB,
/// `PAYLOAD_BYTES_MAX`). [`WorkflowErrorKind::Invalid`](crate::WorkflowErrorKind::Invalid) if what is recorded is not a `T`.
/// [`WorkflowErrorKind::Cancelled`](crate::WorkflowErrorKind::Cancelled) if the run or the block round it is cancelled.
///
/// # Limits
///
/// 1,000 steps of a run may be open at once (`STEPS_IN_FLIGHT_MAX`), and 25,000 keys be asked for in all (`JOURNAL_ENTRIES_MAX`); beyond that the
/// run is parked.
///
/// ```
/// use everstep::prelude::*;
///
/// #[function(queue = "cpu", retries(max_attempts = 10))]
/// async fn render(ctx: FunctionContext, page: u32) -> Result<String, StepError>;
///
/// #[workflow]
/// async fn preview(ctx: WorkflowContext) -> Result<String, WorkflowError> {
///     ctx.step(render, 1).key("cover").queue("gpu").retries(2).timeout(Duration::from_secs(30)).await
/// }
/// ```
#[must_use = "a step is asked for when it is awaited"]
pub struct StepFuture<T> {
    core: everstep_core::Context,
    step: Step,
    /// For messages, with the key where it has one of its own.
    function: FunctionName,
    key: Option<String>,
    /// A setter was given what cannot be; told when the step is awaited.
    refused: Option<WorkflowError>,
    /// `retries` said so: an attempt that fails is to be followed by another one.
    is_retried: bool,
    /// What has to allow it before it is asked for.
    requires: Vec<Decision>,
    /// It was refused, and is not asked for by being polled again.
    is_refused: bool,
    output: PhantomData<fn() -> T>,
}

impl<T> StepFuture<T> {
    pub(crate) fn new(core: &everstep_core::Context, declaration: &FunctionDeclaration, input: &impl Serialize) -> Self {
        let FunctionDeclaration { name: function, options } = declaration.clone();
        let name = function.as_str();
        let input = encode(format_args!("the input of step `{name}`"), input);
        let step = core.step(name, function.clone(), input, options);
        Self {
            core: core.clone(),
            step,
            function,
            key: None,
            refused: None,
            is_retried: false,
            requires: Vec::new(),
            is_refused: false,
            output: PhantomData,
        }
    }

    /// Names it in the journal exactly so, without the names of the blocks that it is in; else it is called after the function, and numbered from
    /// the second use in a scope on.
    ///
    /// A key may be asked for once only in a run: the second step fails with [`WorkflowErrorKind::Step`](crate::WorkflowErrorKind::Step), as one with an
    /// empty key does.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn ship(ctx: FunctionContext, article: String) -> Result<(), StepError>;
    ///
    /// #[workflow]
    /// async fn ship_all(ctx: WorkflowContext, articles: Vec<String>) -> Result<(), WorkflowError> {
    ///     for article in articles {
    ///         // Articles may be sorted otherwise by the next version: each keeps its step.
    ///         ctx.step(ship, article.clone()).key(format!("ship/{article}")).await?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn key(mut self, key: impl AsRef<str>) -> Self {
        self.key = Some(key.as_ref().to_owned());
        self.step = self.step.key(key.as_ref());
        self
    }

    /// The queue whose workers do it: letters, digits, `_` and `-`, up to 128. Anything else is
    /// [`WorkflowErrorKind::Invalid`](crate::WorkflowErrorKind::Invalid) when the step is awaited.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn export(ctx: FunctionContext, tenant: String) -> Result<String, StepError>;
    ///
    /// #[workflow]
    /// async fn exported(ctx: WorkflowContext, tenant: String, region: String) -> Result<String, WorkflowError> {
    ///     // The data stays in its region: each has workers of its own.
    ///     ctx.step(export, tenant).queue(format!("export-{region}")).await
    /// }
    /// ```
    pub fn queue(mut self, queue: impl AsRef<str>) -> Self {
        match QueueName::new(queue) {
            Ok(queue) => self.with(|options| options.queue = queue),
            Err(error) => {
                self.refused = Some(WorkflowError::invalid(format!("step `{}`: {error}", self.name())));
                self
            }
        }
    }

    /// How often it is attempted in all, as a number, or a whole [`RetryPolicy`].
    ///
    /// What begins [at most once](Self::at_most_once) has one attempt: with more of them it is
    /// [`WorkflowErrorKind::Invalid`](crate::WorkflowErrorKind::Invalid) when the step is awaited.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn fetch(ctx: FunctionContext, page: u32) -> Result<String, StepError>;
    ///
    /// #[workflow]
    /// async fn patient(ctx: WorkflowContext) -> Result<String, WorkflowError> {
    ///     let minute = Duration::from_secs(60);
    ///     let policy = RetryPolicy::linear(Duration::from_secs(2)).attempts(20).cap(minute).total(10 * minute).never("NotFound");
    ///     ctx.step(fetch, 1).retries(policy).await
    /// }
    /// ```
    pub fn retries(self, retries: impl IntoRetries) -> Self {
        let mut is_retried = self.is_retried;
        let step = self.with(|options| {
            options.retries = retries.into_retries(options.retries.clone());
            is_retried = options.retries.max_attempts > 1;
        });
        Self { is_retried, ..step }
    }

    /// How long one attempt may take from its start; then it fails, and the retry policy says whether there is another one. No limit unless it, or
    /// the function, says one.
    ///
    /// The worker stops it. If that hangs or died, the orchestrator fails the attempt, one to two seconds later.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn fetch_rates(ctx: FunctionContext) -> Result<f64, StepError>;
    ///
    /// #[workflow]
    /// async fn rates(ctx: WorkflowContext) -> Result<f64, WorkflowError> {
    ///     ctx.step(fetch_rates, ()).timeout(Duration::from_secs(2)).retries(3).await
    /// }
    /// ```
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|options| options.timeout = Some(timeout))
    }

    /// How long it may take in all, retries and waiting included: 24 hours unless it, or the function, says otherwise. Then it fails as
    /// [`FailureKind::DeadlineExceeded`](crate::FailureKind).
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn quote(ctx: FunctionContext, parcel: u64) -> Result<u64, StepError>;
    ///
    /// #[workflow]
    /// async fn quoted(ctx: WorkflowContext, parcel: u64) -> Result<u64, WorkflowError> {
    ///     match ctx.step(quote, parcel).total_timeout(Duration::from_secs(30)).await {
    ///         Err(error) if error.failure().is_some_and(|failure| failure.kind == FailureKind::DeadlineExceeded) => Ok(990), // the list price
    ///         quoted => quoted,
    ///     }
    /// }
    /// ```
    pub fn total_timeout(self, timeout: Duration) -> Self {
        self.with(|options| options.total_timeout = timeout)
    }

    /// How long an attempt may wait for a worker to begin it; then the step fails as [`FailureKind::NotStarted`](crate::FailureKind), for
    /// another attempt would wait in the same queue.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function(queue = "gpu", start_timeout = "30s")]
    /// async fn render(ctx: FunctionContext, page: u32) -> Result<String, StepError>;
    ///
    /// #[workflow]
    /// async fn preview(ctx: WorkflowContext) -> Result<String, WorkflowError> {
    ///     let rendered = ctx.step(render, 1).start_timeout(Duration::from_secs(5)).await;
    ///     match rendered {
    ///         Err(error) if error.failure().is_some_and(|failure| failure.kind == FailureKind::NotStarted) => {
    ///             ctx.step(render, 1).key("render-on-cpu").queue("cpu").await
    ///         }
    ///         rendered => rendered,
    ///     }
    /// }
    /// ```
    pub fn start_timeout(self, timeout: Duration) -> Self {
        self.with(|options| options.start_timeout = Some(timeout))
    }

    /// How long an attempt may go without a [`heartbeat`](crate::FunctionContext::heartbeat); then it fails, as by its timeout. No limit unless it, or
    /// the function, says one. It costs a durable write for each attempt: that it began.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn copy(ctx: FunctionContext, bucket: String) -> Result<u64, StepError>;
    ///
    /// #[workflow]
    /// async fn backup(ctx: WorkflowContext, bucket: String) -> Result<u64, WorkflowError> {
    ///     // It may take hours, and is missed after half a minute.
    ///     ctx.step(copy, bucket).heartbeat_timeout(Duration::from_secs(30)).await
    /// }
    /// ```
    pub fn heartbeat_timeout(self, timeout: Duration) -> Self {
        self.with(|options| options.heartbeat_timeout = Some(timeout))
    }

    /// Never begin it twice: an attempt that was interrupted, or that failed, is the last, whatever the function declares of retries.
    ///
    /// If it began and nobody knows how far it came, it fails as [`FailureKind::Interrupted`](crate::FailureKind), and the workflow, or a
    /// person, decides.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn launch(ctx: FunctionContext, rocket: String) -> Result<(), StepError>;
    ///
    /// #[workflow]
    /// async fn countdown(ctx: WorkflowContext, rocket: String) -> Result<String, WorkflowError> {
    ///     match ctx.step(launch, rocket).at_most_once().await {
    ///         Ok(()) => Ok("launched".to_owned()),
    ///         Err(error) if error.failure().is_some_and(|failure| failure.kind == FailureKind::Interrupted) => Ok("go and look".to_owned()),
    ///         Err(error) => Err(error),
    ///     }
    /// }
    /// ```
    pub fn at_most_once(self) -> Self {
        self.with(|options| {
            options.at_most_once = true;
            options.retries = RetryPolicy::once();
        })
    }

    /// Whose work it is, where steps wait for a place under a limit (`#[function(limit(…))]`, `everstep limits`): keys take
    /// turns, so that a busy one does not keep the others waiting, and each may have limits of its own (`per_key`, `per_key_rate`). Without
    /// it the run is the key, and those two do not hold. Up to 128 characters.
    ///
    /// ```
    /// # use everstep::prelude::*;
    /// #[function(limit(concurrency = 20, per_key = 2, per_key_rate = "5/min"))]
    /// async fn sync(ctx: FunctionContext, customer: String) -> Result<(), StepError>;
    ///
    /// #[workflow]
    /// async fn nightly(ctx: WorkflowContext, customer: String) -> Result<(), WorkflowError> {
    ///     ctx.step(sync, customer.clone()).limit_key(customer).priority(5).await
    /// }
    /// ```
    pub fn limit_key(mut self, key: impl Into<String>) -> Self {
        let key = key.into();
        if key.is_empty() || key.chars().count() > NAME_CHARS_MAX {
            let message = format!("step `{}`: a limit key has 1 to {NAME_CHARS_MAX} characters", self.name());
            self.refused = Some(WorkflowError::invalid(message));
            return self;
        }
        self.with(|options| options.flow.key = Some(key))
    }

    /// Before other steps that wait for the same, in addition to the [priority of its run](crate::StartRun::priority); 0 unless given.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn render(ctx: FunctionContext, page: u32) -> Result<String, StepError>;
    ///
    /// #[workflow]
    /// async fn book(ctx: WorkflowContext) -> Result<String, WorkflowError> {
    ///     ctx.step(render, 1).priority(10).await // somebody looks at the first page
    /// }
    /// ```
    pub fn priority(self, priority: i8) -> Self {
        self.with(|options| options.flow.priority = priority)
    }

    /// Undoes it by `function`, which is given what the step brought, when the run is [rolled back](crate::WorkflowContext::rollback).
    ///
    /// It is undone if its value is recorded, also if nobody waits for it any more; a step that failed is not, so a function that may fail
    /// half way has to undo that itself. Undoing is a step of its own, with the key `undo/<key>`, the options that `function` declares,
    /// and an idempotency key of its own.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn book_room(ctx: FunctionContext, nights: u32) -> Result<String, StepError>;
    ///
    /// #[function]
    /// async fn cancel_room(ctx: FunctionContext, booking: String) -> Result<(), StepError>;
    ///
    /// #[workflow(on_failure = "rollback")]
    /// async fn journey(ctx: WorkflowContext, nights: u32) -> Result<String, WorkflowError> {
    ///     let room = ctx.step(book_room, nights).compensate(cancel_room).await?;
    ///     if nights > 30 {
    ///         return Err(WorkflowError::new("nobody stays that long")); // the room is cancelled
    ///     }
    ///     Ok(room)
    /// }
    /// ```
    pub fn compensate<F, Marker>(self, function: F) -> Self
    where
        F: IntoFunction<Marker, Function: Function<Input = T>>,
    {
        let _ = function;
        // What the one returns is what the other takes, so the bytes are the same.
        self.undone_by::<F::Function>(Rc::new(Ok))
    }

    /// The same by a function that takes something else, made by `input` from what the step brought. `input` must only compute.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn charge(ctx: FunctionContext, cents: u64) -> Result<String, StepError>;
    ///
    /// #[function]
    /// async fn refund(ctx: FunctionContext, charge: String, cents: u64) -> Result<(), StepError>;
    ///
    /// #[workflow]
    /// async fn buy(ctx: WorkflowContext, cents: u64) -> Result<(), WorkflowError> {
    ///     ctx.step(charge, cents).compensate_with(refund, move |charge| (charge, cents)).await?;
    ///     ctx.rollback().await?;
    ///     Ok(())
    /// }
    /// ```
    pub fn compensate_with<F, Marker>(self, function: F, input: impl Fn(T) -> <F::Function as Function>::Input + 'static) -> Self
    where
        F: IntoFunction<Marker>,
        T: DeserializeOwned + 'static,
    {
        let _ = function;
        let name = self.name().to_owned();
        self.undone_by::<F::Function>(Rc::new(move |bytes| {
            let value = decode(format_args!("the result of step `{name}`"), &bytes)
                .map_err(|error| error.into_failure(FailureKind::Invalid))?;
            encode(format_args!("the input that undoes step `{name}`"), &input(value))
        }))
    }

    fn undone_by<F: Function>(mut self, input: Rc<dyn Fn(Bytes) -> Result<Bytes, Failure>>) -> Self {
        let FunctionDeclaration { name, options } = F::declaration().clone();
        self.step = self.step.undone_by(Undo {
            function: name,
            options,
            input,
        });
        self
    }

    /// Runs it only if `decision` approves exactly its input, and has not been used for another step.
    ///
    /// Looked at when it is first polled, on every replay alike. What is not approved fails with
    /// [`WorkflowErrorKind::NotApproved`](crate::WorkflowErrorKind::NotApproved), and is not asked for.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function]
    /// async fn send(ctx: FunctionContext, letter: String) -> Result<(), StepError>;
    ///
    /// #[workflow]
    /// async fn outreach(ctx: WorkflowContext, letter: String) -> Result<(), WorkflowError> {
    ///     let decision = ctx.await_approval(Approval::of("Send this letter", &letter)).await?;
    ///     ctx.step(send, letter).requires(&decision).await
    /// }
    /// ```
    pub fn requires(mut self, decision: &Decision) -> Self {
        self.requires.push(decision.clone());
        self
    }

    /// Within that time in all, if its own is longer.
    pub(crate) fn within(self, limit: Duration) -> Self {
        self.with(|options| options.total_timeout = options.total_timeout.min(limit))
    }

    /// How often it has been attempted.
    pub(crate) fn attempts(&self) -> u32 {
        self.step.attempts()
    }

    fn name(&self) -> &str {
        self.key.as_deref().unwrap_or(self.function.as_str())
    }

    /// Why it may not be asked for: a setter was given what cannot be, or what it requires does not allow it, and is used up if it does.
    fn refusal(&mut self) -> Option<WorkflowError> {
        if let Err(refused) = self.check_retries() {
            return Some(refused);
        }
        if self.refused.is_some() || self.requires.is_empty() {
            return self.refused.take();
        }
        let requires = std::mem::take(&mut self.requires);
        // What cannot be encoded is told by the step itself, which never runs.
        let Some(Ok(input)) = self.step.input() else { return None };
        let allowed = requires.iter().try_for_each(|decision| decision.use_for(self.name(), &input));
        allowed.err()
    }

    /// Whether it may be tried again, if it says that it is to be.
    fn check_retries(&mut self) -> Result<(), WorkflowError> {
        let once = self.step.options_mut().is_some_and(|options| options.at_most_once);
        if !(once && self.is_retried) {
            return Ok(());
        }
        let message = format!(
            "step `{}` begins at most once and is never tried again: remove either `retries` or `at_most_once`",
            self.name()
        );
        Refusal::since(RETRIES_CHECK, WorkflowError::invalid(message)).tell(&self.core)
    }

    /// Changes how it is done; once it has been asked for, that is settled.
    fn with(mut self, change: impl FnOnce(&mut StepOptions)) -> Self {
        if let Some(options) = self.step.options_mut() {
            change(options);
        }
        self
    }
}

impl<T: DeserializeOwned> Future for StepFuture<T> {
    type Output = Result<T, WorkflowError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.is_refused {
            return Poll::Pending;
        }
        if let Some(refused) = self.refusal() {
            self.is_refused = true;
            return Poll::Ready(Err(refused));
        }
        let outcome = ready!(Pin::new(&mut self.step).poll(context));
        Poll::Ready(match outcome {
            Ok(bytes) => decode(format_args!("the result of step `{}`", self.name()), &bytes),
            Err(error) => Err(WorkflowError::of_step(self.name(), error)),
        })
    }
}

impl<T: DeserializeOwned> FusedFuture for StepFuture<T> {
    fn is_terminated(&self) -> bool {
        self.is_refused || self.step.is_terminated()
    }
}

impl<T> fmt::Debug for StepFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}", self.name())
    }
}

/// What [`StepFuture::retries`] takes: the number of attempts in all, or a [`RetryPolicy`].
///
/// ```
/// use everstep::{IntoRetries, RetryPolicy};
///
/// let declared = RetryPolicy::default();
/// assert_eq!(3.into_retries(declared.clone()), declared.clone().attempts(3));
/// assert_eq!(RetryPolicy::once().into_retries(declared), RetryPolicy::once());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say how often to retry",
    label = "write the number of attempts, or a `RetryPolicy`"
)]
pub trait IntoRetries {
    /// The policy, given the one that the function declares.
    fn into_retries(self, declared: RetryPolicy) -> RetryPolicy;
}

impl IntoRetries for u32 {
    fn into_retries(self, declared: RetryPolicy) -> RetryPolicy {
        declared.attempts(self)
    }
}

impl IntoRetries for RetryPolicy {
    fn into_retries(self, _: RetryPolicy) -> RetryPolicy {
        self
    }
}
