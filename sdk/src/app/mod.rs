//! The application: workflows, functions and what they share, in any set of roles.

mod cli;
mod dev;
mod error;
mod roles;

use std::sync::Arc;

use everstep_common::ids::{Prefix, ProcessId, QueueName};
use everstep_nats::ConnectOptions;
use everstep_orchestrator::Workflows;
use everstep_worker::{Functions, Resources};

pub use cli::{Level, ServerArgs};
pub use dev::{DevOptions, DevServer};
pub use error::AppError;
pub use roles::{Roles, RunningApp};

use crate::function::{Function, FunctionBody, IntoFunction};
use crate::registration::{definition, handler};
use crate::workflow::{IntoWorkflow, WorkflowBody};

/// Builds a workflow's definition once the resources are complete.
type Definer = Box<dyn FnOnce(Arc<Resources>) -> everstep_core::Definition + Send>;

/// An application: what it can run, and, once told by the command line or by [`App::start`], what it does run.
///
/// ```no_run
/// use everstep::prelude::*;
/// use everstep::App;
///
/// #[function]
/// async fn greet(ctx: FunctionContext, name: String) -> Result<String, StepError> {
///     Ok(format!("Hello, {name}"))
/// }
///
/// #[workflow]
/// async fn welcome(ctx: WorkflowContext, name: String) -> Result<String, WorkflowError> {
///     ctx.step(greet, name).await
/// }
///
/// fn main() -> std::process::ExitCode {
///     App::new().workflow(welcome).function(greet).main()
/// }
/// ```
#[derive(Default)]
pub struct App {
    definers: Vec<Definer>,
    functions: Functions,
    resources: Resources,
    /// The first mistake in putting it together; told when it is started.
    mistake: Option<AppError>,
}

/// How an application reaches its deployment and works there.
#[derive(Clone, Debug)]
pub struct AppOptions {
    /// The server.
    pub connect: ConnectOptions,
    /// Which deployment on it.
    pub prefix: Prefix,
    /// What it is to do.
    pub roles: Roles,
    /// Names this process.
    pub process: ProcessId,
    /// The queues that a worker serves.
    pub queues: Vec<QueueName>,
    /// How many functions a worker runs at once.
    pub slots: usize,
    /// How long running functions may go on after a shutdown was asked for.
    pub drain_grace: std::time::Duration,
    /// How the orchestrator drives its partitions.
    pub partitions: everstep_orchestrator::PartitionOptions,
    /// How the orchestrator holds its leases.
    pub leases: everstep_orchestrator::LeaseOptions,
}

impl AppOptions {
    /// All roles against the server that `connect` names, everything else at its default.
    pub fn new(connect: ConnectOptions) -> Self {
        let process = ProcessId::fresh("app");
        let worker = everstep_worker::Options::new(process.clone());
        Self {
            connect,
            prefix: Prefix::none(),
            roles: Roles::ALL,
            process,
            queues: worker.queues,
            slots: worker.slots,
            drain_grace: worker.drain_grace,
            partitions: everstep_orchestrator::PartitionOptions::default(),
            leases: everstep_orchestrator::LeaseOptions::default(),
        }
    }
}

impl App {
    /// An application that can do nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Something that functions share, such as a client of a payment service; they get it by its type with `ctx.resource::<T>()`.
    #[must_use]
    pub fn resource<T: Send + Sync + 'static>(mut self, resource: T) -> Self {
        self.resources.insert(resource);
        self
    }

    /// A workflow that orchestrators of this application drive.
    #[must_use]
    pub fn workflow<W, Marker>(mut self, workflow: W) -> Self
    where
        W: IntoWorkflow<Marker, Workflow: WorkflowBody> + Send + 'static,
    {
        self.definers.push(Box::new(move |resources| definition(workflow, resources)));
        self
    }

    /// A function that workers of this application run.
    #[must_use]
    pub fn function<F, Marker>(mut self, function: F) -> Self
    where
        F: IntoFunction<Marker, Function: FunctionBody>,
    {
        let (name, handler) = handler(function);
        if let Some(rate) = F::Function::declaration().options.flow.worker_rate {
            self.functions.pace(name.clone(), rate);
        }
        if let Err(error) = self.functions.register(name, handler) {
            self.mistake.get_or_insert(AppError::Function(error));
        }
        self
    }

    fn workflows(definers: Vec<Definer>, resources: &Arc<Resources>) -> Result<Workflows, AppError> {
        let mut workflows = Workflows::new();
        for definer in definers {
            workflows.register(definer(resources.clone())).map_err(AppError::Workflow)?;
        }
        Ok(workflows)
    }
}
