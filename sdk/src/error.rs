//! Why a workflow did not get what it awaited, and how it fails itself.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::ids::RunId;
use everstep_core::{WaitError, WorkflowFailure};
use everstep_worker::StepError;

/// What is said where a workflow should have returned that it goes on in another run, and did something else with it.
const GOES_ON: &str = "the workflow goes on in another run, which only the workflow itself can return";

/// A workflow's failure, and that of everything its context gives it to await.
///
/// [`kind`](Self::kind) says what happened. Every error and every text converts into one, so `?` works on them too; the run then
/// fails with that message. It is no [`Error`] itself, for otherwise that conversion could not exist.
///
/// ```
/// use everstep::prelude::*;
///
/// fn quantity(text: &str) -> Result<u32, WorkflowError> {
///     let quantity: u32 = text.parse()?;
///     if quantity == 0 {
///         return Err(WorkflowError::new("nothing was ordered"));
///     }
///     Ok(quantity)
/// }
/// assert_eq!(quantity("x").unwrap_err().to_string(), "invalid digit found in string");
/// assert_eq!(quantity("0").unwrap_err().kind(), &WorkflowErrorKind::Failed("nothing was ordered".into()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkflowError {
    // Boxed, for results are moved a lot and errors are rare.
    kind: Box<WorkflowErrorKind>,
    /// What was being done, innermost first.
    context: Vec<String>,
}

/// What happened.
///
/// ```
/// use everstep::prelude::*;
///
/// #[function]
/// async fn charge(ctx: FunctionContext, cents: u64) -> Result<String, StepError>;
///
/// #[workflow]
/// async fn buy(ctx: WorkflowContext, cents: u64) -> Result<String, WorkflowError> {
///     match ctx.step(charge, cents).await {
///         Err(error) if matches!(error.kind(), WorkflowErrorKind::Step { .. }) => Ok(format!("not charged: {error}")),
///         charged => charged,
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkflowErrorKind {
    /// A step ended without a value.
    Step {
        /// Its name: that of the function, or its own key.
        step: String,
        /// How it ended.
        failure: Failure,
    },
    /// A closure given to `ctx.run` ended without a value.
    Run {
        /// The name it was given.
        name: String,
        /// How it ended.
        failure: Failure,
    },
    /// An operation on the session ended without a value.
    Session {
        /// Which: `update(visit_count)`.
        operation: String,
        /// How it ended.
        failure: Failure,
    },
    /// An event was not emitted.
    Emit {
        /// What it is called.
        event: String,
        /// Why.
        failure: Failure,
    },
    /// A child ended without a value.
    Child {
        /// Its name: that of its workflow, or its own key.
        child: String,
        /// Which run it was: the first one, if it went on in others. Unknown if it could not be started.
        run: Option<RunId>,
        /// How it ended.
        failure: Failure,
    },
    /// No failure: the workflow goes on in another run, see [`ctx.continue_as_new`](crate::WorkflowContext::continue_as_new).
    Continued(NextInput),
    /// Nobody sent, answered or decided before the deadline of the wait itself.
    Unanswered {
        /// What was waited for.
        wait: String,
    },
    /// A step requires an approval that does not allow it. It has not been asked for.
    NotApproved {
        /// Its name.
        step: String,
        /// Why not.
        reason: String,
    },
    /// The run is being cancelled, or the block of branches that this was asked for in. Clean up under
    /// [`ctx.shield`](crate::WorkflowContext::shield) and return this error: then a run that was asked to cancel ends as cancelled.
    Cancelled,
    /// The time given by [`ctx.timeout`](crate::WorkflowContext::timeout) was up first.
    TimedOut {
        /// How long that was.
        after: Duration,
    },
    /// A [rollback](crate::WorkflowContext::rollback) could not undo everything.
    Rollback {
        /// How many steps are undone.
        undone: usize,
        /// Those that are not, by their keys, newest first, and how undoing them ended.
        failed: Vec<(String, Failure)>,
    },
    /// A value cannot be encoded, is not of the type that was expected, or is over a limit.
    Invalid(String),
    /// Something of the workflow's own.
    Failed(String),
}

/// What a workflow goes on with in another run, encoded.
///
/// ```
/// use everstep::prelude::*;
///
/// // Where errors are looked at: this one is passed on.
/// fn is_failure(error: &WorkflowError) -> bool {
///     !matches!(error.kind(), WorkflowErrorKind::Continued(_))
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextInput(pub(crate) Bytes);

impl WorkflowError {
    /// A failure of the workflow's own: a text, or an error, whose sources are told too.
    ///
    /// ```
    /// # use everstep::WorkflowError;
    /// let error = WorkflowError::new("out of stock");
    /// assert_eq!(error.to_string(), "out of stock");
    /// ```
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        // Told as a step's error is told: in one line, with its sources.
        WorkflowErrorKind::Failed(StepError::fatal(error).message().to_owned()).into()
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        WorkflowErrorKind::Invalid(message.into()).into()
    }

    /// What happened.
    ///
    /// ```
    /// # use everstep::{WorkflowError, WorkflowErrorKind};
    /// assert_eq!(WorkflowError::new("no").kind(), &WorkflowErrorKind::Failed("no".into()));
    /// ```
    pub fn kind(&self) -> &WorkflowErrorKind {
        &self.kind
    }

    /// How the step, the closure, the child or the operation on the session ended that this error is about.
    ///
    /// ```
    /// # use everstep::WorkflowError;
    /// assert_eq!(WorkflowError::new("no").failure(), None);
    /// ```
    pub fn failure(&self) -> Option<&Failure> {
        match self.kind() {
            WorkflowErrorKind::Step { failure, .. }
            | WorkflowErrorKind::Run { failure, .. }
            | WorkflowErrorKind::Session { failure, .. }
            | WorkflowErrorKind::Child { failure, .. }
            | WorkflowErrorKind::Emit { failure, .. } => Some(failure),
            _ => None,
        }
    }

    /// Whether the run is being cancelled, or the block of branches that this was asked for in.
    ///
    /// ```
    /// # use everstep::WorkflowError;
    /// assert!(!WorkflowError::new("no").is_cancelled());
    /// ```
    pub fn is_cancelled(&self) -> bool {
        *self.kind == WorkflowErrorKind::Cancelled
    }

    /// Whether a time was up first: that of a wait for people or signals, or that given by
    /// [`ctx.timeout`](crate::WorkflowContext::timeout).
    ///
    /// ```
    /// # use everstep::WorkflowError;
    /// assert!(!WorkflowError::new("no").is_timed_out());
    /// ```
    pub fn is_timed_out(&self) -> bool {
        matches!(
            *self.kind,
            WorkflowErrorKind::TimedOut { .. } | WorkflowErrorKind::Unanswered { .. }
        )
    }

    /// The same error, with what was being done put before its message. The kind stays.
    ///
    /// ```
    /// # use everstep::WorkflowError;
    /// let error = WorkflowError::new("card declined").context("charging the deposit");
    /// assert_eq!(error.to_string(), "charging the deposit: card declined");
    /// ```
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.context.push(doing.to_string());
        self
    }

    /// The error of a wait for the step `name`.
    pub(crate) fn of_step(name: &str, error: WaitError) -> Self {
        Self::of_wait(error, |failure| WorkflowErrorKind::Step {
            step: name.to_owned(),
            failure,
        })
    }

    /// The error of a wait for the closure `name`.
    pub(crate) fn of_run(name: &str, error: WaitError) -> Self {
        Self::of_wait(error, |failure| WorkflowErrorKind::Run {
            name: name.to_owned(),
            failure,
        })
    }

    /// The error of an operation on the session.
    pub(crate) fn of_session(operation: &str, error: WaitError) -> Self {
        Self::of_wait(error, |failure| WorkflowErrorKind::Session {
            operation: operation.to_owned(),
            failure,
        })
    }

    /// The error of an event that was to be emitted.
    pub(crate) fn of_emit(event: &str, error: WaitError) -> Self {
        Self::of_wait(error, |failure| WorkflowErrorKind::Emit {
            event: event.to_owned(),
            failure,
        })
    }

    /// The error of a wait for the child `name`.
    pub(crate) fn of_child(name: &str, error: WaitError) -> Self {
        let run = match &error {
            WaitError::Child { run, .. } => run.clone(),
            WaitError::Failed(_) | WaitError::Cancelled => None,
        };
        Self::of_wait(error, |failure| WorkflowErrorKind::Child {
            child: name.to_owned(),
            run,
            failure,
        })
    }

    /// The error of a wait for a timer, which cannot fail but only be refused.
    pub(crate) fn of_timer(error: WaitError) -> Self {
        Self::of_wait(error, |failure| WorkflowErrorKind::Invalid(failure.message))
    }

    /// The error of a wait for something from outside.
    pub(crate) fn of_outside(wait: &str, error: WaitError) -> Self {
        Self::of_wait(error, |failure| match failure.kind {
            FailureKind::DeadlineExceeded => WorkflowErrorKind::Unanswered { wait: wait.to_owned() },
            _ => WorkflowErrorKind::Invalid(format!("{wait}: {}", failure.message)),
        })
    }

    pub(crate) fn unanswered(wait: &str) -> Self {
        WorkflowErrorKind::Unanswered { wait: wait.to_owned() }.into()
    }

    pub(crate) fn not_approved(step: &str, reason: String) -> Self {
        let step = step.to_owned();
        WorkflowErrorKind::NotApproved { step, reason }.into()
    }

    fn of_wait(error: WaitError, failed: impl FnOnce(Failure) -> WorkflowErrorKind) -> Self {
        match error {
            WaitError::Cancelled => WorkflowErrorKind::Cancelled,
            WaitError::Failed(failure) | WaitError::Child { failure, .. } => failed(failure),
        }
        .into()
    }

    /// What the journal keeps of it; `own` is the kind of what the workflow's author failed with.
    pub(crate) fn into_failure(self, own: FailureKind) -> Failure {
        let kind = match self.kind() {
            WorkflowErrorKind::Step { failure, .. }
            | WorkflowErrorKind::Run { failure, .. }
            | WorkflowErrorKind::Session { failure, .. }
            | WorkflowErrorKind::Child { failure, .. }
            | WorkflowErrorKind::Emit { failure, .. } => failure.kind,
            WorkflowErrorKind::Cancelled => FailureKind::Cancelled,
            WorkflowErrorKind::TimedOut { .. } | WorkflowErrorKind::Unanswered { .. } => FailureKind::DeadlineExceeded,
            WorkflowErrorKind::Rollback { .. } => FailureKind::RollbackFailed,
            WorkflowErrorKind::NotApproved { .. } => own,
            WorkflowErrorKind::Invalid(_) => FailureKind::Invalid,
            WorkflowErrorKind::Failed(_) | WorkflowErrorKind::Continued(_) => own,
        };
        Failure::new(kind, self.told(|failure| failure.message.clone()))
    }

    /// The message, with `failure` saying how a step's failure reads in it.
    fn told(&self, failure_text: impl Fn(&Failure) -> String) -> String {
        let doing = self
            .context
            .iter()
            .rev()
            .fold(String::new(), |doing, next| doing + next + ": ");
        match self.kind() {
            WorkflowErrorKind::Step { step, failure } => format!("{doing}step `{step}` failed: {}", failure_text(failure)),
            WorkflowErrorKind::Run { name, failure } => format!("{doing}closure `{name}` failed: {}", failure_text(failure)),
            WorkflowErrorKind::Emit { event, failure } => {
                format!("{doing}event `{event}` was not emitted: {}", failure_text(failure))
            }
            WorkflowErrorKind::Session { operation, failure } => {
                format!("{doing}session `{operation}` failed: {}", failure_text(failure))
            }
            WorkflowErrorKind::Child { child, run, failure } => {
                let run = run.as_ref().map(|run| format!(" (run {run})")).unwrap_or_default();
                format!("{doing}child `{child}`{run} failed: {}", failure_text(failure))
            }
            WorkflowErrorKind::Continued(_) => format!("{doing}{GOES_ON}"),
            WorkflowErrorKind::Unanswered { wait } => format!("{doing}{wait}: nobody answered in time"),
            WorkflowErrorKind::NotApproved { step, reason } => format!("{doing}step `{step}` may not run: {reason}"),
            WorkflowErrorKind::Cancelled => format!("{doing}{}", WaitError::Cancelled),
            WorkflowErrorKind::TimedOut { after } => format!("{doing}not done within {after:?}"),
            WorkflowErrorKind::Rollback { undone, failed } => {
                let failed: Vec<_> = failed
                    .iter()
                    .map(|(step, failure)| format!("step `{step}` is not undone: {}", failure_text(failure)))
                    .collect();
                format!("{doing}{undone} undone; {}", failed.join("; "))
            }
            WorkflowErrorKind::Invalid(text) | WorkflowErrorKind::Failed(text) => format!("{doing}{text}"),
        }
    }
}

impl From<WorkflowErrorKind> for WorkflowError {
    fn from(kind: WorkflowErrorKind) -> Self {
        Self {
            kind: Box::new(kind),
            context: Vec::new(),
        }
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for WorkflowError {
    fn from(error: E) -> Self {
        Self::new(error)
    }
}

impl From<WorkflowError> for WorkflowFailure {
    fn from(error: WorkflowError) -> Self {
        match *error.kind {
            WorkflowErrorKind::Cancelled => Self::Cancelled,
            WorkflowErrorKind::Continued(NextInput(input)) => Self::Continued(input),
            _ => Self::Failed(error.into_failure(FailureKind::Workflow)),
        }
    }
}

impl fmt::Display for WorkflowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told(ToString::to_string))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declined() -> WorkflowError {
        WorkflowError::of_step(
            "charge",
            WaitError::Failed(Failure::new(FailureKind::Exhausted, "card declined")),
        )
    }

    #[test]
    fn the_message_names_the_step_and_how_it_ended() {
        assert_eq!(
            declined().to_string(),
            "step `charge` failed: attempts exhausted: card declined"
        );
        let deposit = declined().context("taking the deposit").context("booking");
        assert_eq!(
            deposit.to_string(),
            "booking: taking the deposit: step `charge` failed: attempts exhausted: card declined"
        );
    }

    #[test]
    fn a_failed_step_ends_the_run_with_its_own_kind() {
        let failure = Failure::new(FailureKind::Exhausted, "booking: step `charge` failed: card declined");
        assert_eq!(
            WorkflowFailure::from(declined().context("booking")),
            WorkflowFailure::Failed(failure)
        );
    }

    #[test]
    fn a_cancelled_wait_ends_the_run_as_cancelled_whatever_is_said_about_it() {
        let cancelled = WorkflowError::of_timer(WaitError::Cancelled).context("waiting for the courier");
        assert!(cancelled.is_cancelled());
        assert_eq!(WorkflowFailure::from(cancelled), WorkflowFailure::Cancelled);
    }

    #[test]
    fn errors_and_texts_become_failures_of_the_workflow() {
        let check = |error: WorkflowError, message: &str| {
            assert_eq!(
                WorkflowFailure::from(error),
                WorkflowFailure::Failed(Failure::new(FailureKind::Workflow, message))
            );
        };
        check("out of stock".into(), "out of stock");
        check(format!("{} left", 0).into(), "0 left");
        check("x".parse::<u8>().unwrap_err().into(), "invalid digit found in string");
        check(anyhow::anyhow!("inner").context("outer").into(), "outer: inner");
        check(StepError::retryable("busy").into(), "busy");
    }
}
