//! A step: the call of a function, done by a worker.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use everstep_common::ids::{FunctionName, QueueName};
use everstep_common::retry::RetryPolicy;
use everstep_common::task::StepOptions;
use everstep_core::Step;
use futures::future::FusedFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Decision, decode, encode};
use crate::error::WorkflowError;
use crate::function::FunctionDeclaration;

/// A step that is asked for when first polled; made by `ctx.step(…)`. What it says overrides what the function declares.
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
    step: Step,
    /// For messages, with the key where it has one of its own.
    function: FunctionName,
    key: Option<String>,
    /// A setter was given what cannot be; told when the step is awaited.
    refused: Option<WorkflowError>,
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
            step,
            function,
            key: None,
            refused: None,
            requires: Vec::new(),
            is_refused: false,
            output: PhantomData,
        }
    }

    /// Names it in the journal; else it is called after the function, and numbered from the second use on.
    ///
    /// A key may be asked for once only in a run.
    pub fn key(mut self, key: impl AsRef<str>) -> Self {
        self.key = Some(key.as_ref().to_owned());
        self.step = self.step.key(key.as_ref());
        self
    }

    /// The queue whose workers do it.
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
    pub fn retries(self, retries: impl IntoRetries) -> Self {
        self.with(|options| options.retries = retries.into_retries(options.retries.clone()))
    }

    /// How long one attempt may take from its start.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|options| options.timeout = Some(timeout))
    }

    /// How long it may take in all, retries and waiting included.
    pub fn total_timeout(self, timeout: Duration) -> Self {
        self.with(|options| options.total_timeout = timeout)
    }

    /// Never begin it twice: an attempt that was interrupted, or that failed, is the last.
    pub fn at_most_once(self) -> Self {
        self.with(|options| {
            options.at_most_once = true;
            options.retries = RetryPolicy::never();
        })
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
        if self.refused.is_some() || self.requires.is_empty() {
            return self.refused.take();
        }
        let requires = std::mem::take(&mut self.requires);
        // What cannot be encoded is told by the step itself, which never runs.
        let Some(Ok(input)) = self.step.input() else { return None };
        let allowed = requires.iter().try_for_each(|decision| decision.use_for(self.name(), &input));
        allowed.err()
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
/// assert_eq!(3.into_retries(declared.clone()), RetryPolicy { max_attempts: 3, ..declared.clone() });
/// assert_eq!(RetryPolicy::never().into_retries(declared), RetryPolicy::never());
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
        RetryPolicy {
            max_attempts: self.max(1),
            ..declared
        }
    }
}

impl IntoRetries for RetryPolicy {
    fn into_retries(self, _: RetryPolicy) -> RetryPolicy {
        self
    }
}
