//! Workflows as values: what `#[workflow]` makes of an `async fn`.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use everstep_common::flow::RunFlow;
use futures::future::LocalBoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use everstep_common::trigger::Trigger;

use crate::context::WorkflowContext;
use crate::error::WorkflowError;

/// What is known of a workflow wherever it is named: its name, version and types.
///
/// [`#[workflow]`](macro@crate::workflow) implements it for a struct of the workflow's name.
///
/// ```
/// use everstep::prelude::*;
///
/// #[workflow(name = "shop.order", version = 2)]
/// async fn order(ctx: WorkflowContext, order_id: String) -> Result<u64, WorkflowError> {
///     Ok(order_id.len() as u64)
/// }
/// assert_eq!((order::NAME, order::VERSION), ("shop.order", 2));
/// ```
pub trait Workflow: 'static {
    /// What starts name it by.
    const NAME: &'static str;
    /// Which version of the code this is; a run stays with the version it began with.
    const VERSION: u32;
    /// Whether a run that fails, or is cancelled, is [rolled back](WorkflowContext::rollback) before it ends.
    const ROLLS_BACK: bool = false;
    /// Its argument; a tuple if there are several, `()` if there are none.
    type Input: Serialize + DeserializeOwned + 'static;
    /// What it returns if it succeeds.
    type Output: Serialize + DeserializeOwned + 'static;

    /// What starts runs of it by itself: what stands in `on(…)`.
    fn triggers() -> Vec<Trigger> {
        Vec::new()
    }

    /// How many of its runs may be at work: what `limit(…)` and `singleton` say.
    fn flow() -> RunFlow {
        RunFlow::default()
    }
}

/// A workflow whose code is in this binary, so that an orchestrator can drive it.
///
/// ```
/// use everstep::prelude::*;
/// use everstep::WorkflowBody;
///
/// #[workflow]
/// async fn nap(ctx: WorkflowContext) -> Result<(), WorkflowError> {
///     ctx.sleep(Duration::from_secs(60)).await
/// }
/// fn is_here<W: WorkflowBody>() {}
/// is_here::<nap>();
/// ```
#[diagnostic::on_unimplemented(
    message = "the code of the workflow `{Self}` is not in this binary",
    label = "declared without a body",
    note = "give the `#[workflow]` a body to drive it here, or start it with a client"
)]
pub trait WorkflowBody: Workflow {
    /// Runs it from the beginning.
    fn call(ctx: WorkflowContext, input: Self::Input) -> LocalBoxFuture<'static, Result<Self::Output, WorkflowError>>;
}

/// A call of a workflow as an ordinary `fn`: in place, as a part of the run that calls it.
///
/// ```
/// use everstep::prelude::*;
///
/// #[workflow]
/// async fn nap(ctx: WorkflowContext, seconds: u64) -> Result<(), WorkflowError> {
///     ctx.sleep(Duration::from_secs(seconds)).await
/// }
///
/// #[workflow]
/// async fn night(ctx: WorkflowContext) -> Result<(), WorkflowError> {
///     nap(ctx.clone(), 60).await?;
///     nap(ctx, 8 * 60 * 60).await
/// }
/// ```
#[must_use = "a call does nothing until it is awaited"]
pub struct WorkflowCall<W: Workflow> {
    /// `None` if the code is in another binary; then the call cannot be awaited either.
    future: Option<LocalBoxFuture<'static, Result<W::Output, WorkflowError>>>,
}

impl<W: WorkflowBody> WorkflowCall<W> {
    #[doc(hidden)]
    pub fn new(ctx: WorkflowContext, input: W::Input) -> Self {
        Self {
            future: Some(W::call(ctx, input)),
        }
    }
}

impl<W: Workflow> WorkflowCall<W> {
    #[doc(hidden)]
    pub fn elsewhere(_: WorkflowContext, _: W::Input) -> Self {
        Self { future: None }
    }
}

impl<W: WorkflowBody> Future for WorkflowCall<W> {
    type Output = Result<W::Output, WorkflowError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let future = self.future.as_mut().expect("a workflow with a body is called with it");
        future.as_mut().poll(context)
    }
}

impl<W: Workflow> fmt::Debug for WorkflowCall<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call of {} v{}", W::NAME, W::VERSION)
    }
}

/// A value that stands for a workflow: the `fn` that `#[workflow]` made. `Marker` is inferred.
///
/// ```
/// use everstep::prelude::*;
/// use everstep::IntoWorkflow;
///
/// #[workflow]
/// async fn nap(ctx: WorkflowContext) -> Result<(), WorkflowError>;
///
/// fn name_of<W: IntoWorkflow<Marker>, Marker>(_: W) -> &'static str {
///     W::Workflow::NAME
/// }
/// assert_eq!(name_of(nap), "nap");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a workflow of Everstep",
    label = "expected the name of an `async fn` that has the attribute `#[workflow]`",
    note = "write `#[workflow]` above `async fn …(ctx: WorkflowContext, …) -> Result<…, WorkflowError>` and give its name"
)]
pub trait IntoWorkflow<Marker> {
    /// What it stands for.
    type Workflow: Workflow;
}

/// What a `#[workflow]` returns.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "a workflow returns `Result<T, WorkflowError>`, not `{Self}`",
    label = "the error type is `WorkflowError`, into which `?` turns every other error"
)]
pub trait WorkflowReturn {
    type Value;
}

impl<T> WorkflowReturn for Result<T, WorkflowError> {
    type Value = T;
}

macro_rules! into_workflow {
    ($($argument:ident)*) => {
        impl<Value, W, $($argument),*> IntoWorkflow<(W, $($argument,)*)> for Value
        where
            W: Workflow,
            Value: Fn(WorkflowContext, $($argument),*) -> WorkflowCall<W>,
        {
            type Workflow = W;
        }
    };
}

into_workflow!();
into_workflow!(A);
into_workflow!(A B);
into_workflow!(A B C);
into_workflow!(A B C D);
into_workflow!(A B C D E);
into_workflow!(A B C D E F);
into_workflow!(A B C D E F G);
into_workflow!(A B C D E F G H);
