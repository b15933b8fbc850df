//! From typed code to what the engine drives: a workflow becomes a [`Definition`], a function a [`Handler`]. Both speak bytes.

use std::any::type_name;
use std::sync::Arc;

use bytes::Bytes;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::ids::{FunctionName, WorkflowName};
use everstep_common::limits::PAYLOAD_BYTES_MAX;
use everstep_common::payload::TooLarge;
use everstep_common::wire;
use everstep_core::{Definition, WorkflowFailure};
use everstep_worker::{FunctionContext, Handler, Resources, StepError};
use futures::FutureExt;

use crate::context::WorkflowContext;
use crate::function::{Function, FunctionBody, IntoFunction};
use crate::waits::encode;
use crate::workflow::{IntoWorkflow, Workflow, WorkflowBody};

/// The workflow as an orchestrator drives it; `resources` are for functions that it calls in place.
///
/// ```
/// use everstep::prelude::*;
///
/// #[workflow(version = 3)]
/// async fn nap(ctx: WorkflowContext) -> Result<(), WorkflowError> {
///     ctx.sleep(Duration::from_secs(60)).await
/// }
/// let definition = everstep::definition(nap, Default::default());
/// assert_eq!((definition.name.as_str(), definition.version), ("nap", 3));
/// ```
///
/// # Panics
///
/// If a [`Workflow`] written by hand has a name that is none; `#[workflow]` refuses those.
pub fn definition<W, Marker>(workflow: W, resources: Arc<Resources>) -> Definition
where
    W: IntoWorkflow<Marker, Workflow: WorkflowBody>,
{
    let _ = workflow;
    let name = WorkflowName::new(W::Workflow::NAME).expect("the name of a workflow");
    let factory = move |core, input: Bytes| {
        run::<W::Workflow>(WorkflowContext::new::<W::Workflow>(core, resources.clone()), input).boxed_local()
    };
    Definition {
        name,
        version: W::Workflow::VERSION,
        factory: Arc::new(factory),
        triggers: W::Workflow::triggers(),
        flow: W::Workflow::flow(),
    }
}

/// The function as a worker runs it, with the name that tasks call it by.
///
/// ```
/// use everstep::prelude::*;
///
/// #[function]
/// async fn double(ctx: FunctionContext, number: u64) -> Result<u64, StepError> {
///     Ok(2 * number)
/// }
/// let (name, _handler) = everstep::handler(double);
/// assert_eq!(name.as_str(), "double");
/// ```
pub fn handler<F, Marker>(function: F) -> (FunctionName, Handler)
where
    F: IntoFunction<Marker, Function: FunctionBody>,
{
    let _ = function;
    let handler = |ctx, input: Bytes| attempt::<F::Function>(ctx, input).boxed();
    (F::Function::declaration().name.clone(), Arc::new(handler))
}

async fn run<W: WorkflowBody>(ctx: WorkflowContext, input: Bytes) -> Result<Bytes, WorkflowFailure> {
    let input = wire::decode_value(&input).map_err(|error| invalid_input::<W>(&error))?;
    let failure = match returned::<W>(ctx.clone(), input).await {
        Ok(output) => return Ok(output),
        Err(failure) => failure,
    };
    // A run that goes on in another one has not failed; one that was cancelled ends here whatever it returns.
    let goes_on = matches!(failure, WorkflowFailure::Continued(_)) && !ctx.is_cancelled();
    Err(if W::ROLLS_BACK && !goes_on {
        rolled_back(&ctx, failure).await
    } else {
        failure
    })
}

/// What the workflow returns; nothing of its code is left when this has ended.
async fn returned<W: WorkflowBody>(ctx: WorkflowContext, input: W::Input) -> Result<Bytes, WorkflowFailure> {
    let output = W::call(ctx, input).await?;
    let encoded = encode(format_args!("the result of workflow `{}`", W::NAME), &output).map_err(WorkflowFailure::Failed)?;
    if encoded.len() > PAYLOAD_BYTES_MAX {
        let message = TooLarge { bytes: encoded.len() }.to_string();
        return Err(WorkflowFailure::Failed(Failure::new(FailureKind::Invalid, message)));
    }
    Ok(encoded)
}

/// What the run ends with once it is rolled back. If that did not undo everything it has failed, whatever came before, and says both.
async fn rolled_back(ctx: &WorkflowContext, failure: WorkflowFailure) -> WorkflowFailure {
    match ctx.rollback().await {
        Ok(_) => failure,
        Err(error) => {
            let rollback = error.into_failure(FailureKind::RollbackFailed);
            let message = format!("{failure}; rolled back: {}", rollback.message);
            WorkflowFailure::Failed(Failure::new(FailureKind::RollbackFailed, message))
        }
    }
}

fn invalid_input<W: Workflow>(error: &wire::Error) -> WorkflowFailure {
    let message = format!(
        "the input is not what workflow `{}` v{} takes ({}): {error}",
        W::NAME,
        W::VERSION,
        type_name::<W::Input>()
    );
    WorkflowFailure::Failed(Failure::new(FailureKind::Invalid, message))
}

async fn attempt<F: FunctionBody>(ctx: FunctionContext, input: Bytes) -> Result<Bytes, StepError> {
    let input = wire::decode_value(&input).map_err(|error| {
        StepError::invalid(format!(
            "the input is not what function `{}` takes ({}): {error}",
            F::NAME,
            type_name::<F::Input>()
        ))
    })?;
    let output = F::call(ctx, input).await?;
    encode(format_args!("the result of function `{}`", F::NAME), &output).map_err(|failure| StepError::invalid(failure.message))
}
