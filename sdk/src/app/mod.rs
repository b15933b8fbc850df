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

pub use cli::{DurabilityArg, ServerArgs};
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
///
/// ```
/// use everstep::{AppOptions, ConnectOptions, QueueName, Roles};
///
/// /// A worker of the machines with graphics cards: one job at a time.
/// fn gpu_worker() -> Result<AppOptions, Box<dyn std::error::Error>> {
///     Ok(AppOptions {
///         roles: Roles::WORKER,
///         queues: vec![QueueName::new("gpu")?],
///         slots: 1,
///         ..AppOptions::new(ConnectOptions::default())
///     })
/// }
/// assert_eq!(gpu_worker().unwrap().queues.len(), 1);
/// ```
#[derive(Clone, Debug)]
pub struct AppOptions {
    /// The server.
    pub connect: ConnectOptions,
    /// Which deployment on it. Default: the one without a prefix.
    pub prefix: Prefix,
    /// What it is to do. Default: everything.
    pub roles: Roles,
    /// Names this process, in logs, leases and the journal. Default: `app-` and a random part. No two that run may have the same.
    pub process: ProcessId,
    /// The queues that a worker serves. Default: `default`.
    pub queues: Vec<QueueName>,
    /// How many functions a worker runs at once, in all of its queues together. Default: 256.
    pub slots: usize,
    /// How long running functions may go on after a shutdown was asked for. Default: 20 s.
    pub drain_grace: std::time::Duration,
    /// How the orchestrator drives its partitions.
    pub partitions: everstep_orchestrator::PartitionOptions,
    /// How the orchestrator holds its leases.
    pub leases: everstep_orchestrator::LeaseOptions,
}

impl AppOptions {
    /// All roles against the server that `connect` names, everything else at its default.
    ///
    /// ```
    /// use everstep::{AppOptions, ConnectOptions, Roles};
    ///
    /// let options = AppOptions::new(ConnectOptions::to("nats://127.0.0.1:4222"));
    /// assert_eq!((options.roles, options.slots), (Roles::ALL, 256));
    /// ```
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
    /// An application that can do nothing yet. Example: see [`App`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Something that functions share, such as a client of a payment service; they get it by its type with `ctx.resource::<T>()`.
    ///
    /// There is one of each type; two of the same are [`AppError::Resource`] when the application is started. A function that asks for a type that was not given panics, which fails the attempt.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// struct Mailer {
    ///     from: String,
    /// }
    ///
    /// #[function]
    /// async fn welcome_mail(ctx: FunctionContext, to: String) -> Result<String, StepError> {
    ///     let mailer = ctx.resource::<Mailer>();
    ///     Ok(format!("{} -> {to}", mailer.from))
    /// }
    ///
    /// let mailer = Mailer { from: "shop@example.com".to_owned() };
    /// let _app = App::new().resource(mailer).function(welcome_mail);
    /// ```
    #[must_use]
    pub fn resource<T: Send + Sync + 'static>(mut self, resource: T) -> Self {
        if let Err(error) = self.resources.insert(resource) {
            self.mistake.get_or_insert(AppError::Resource(error));
        }
        self
    }

    /// A workflow that orchestrators of this application drive. Several versions of one may be given; two of the same name and version are
    /// [`AppError::Workflow`] when the application is started.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// mod v1 {
    ///     use everstep::prelude::*;
    ///
    ///     #[workflow]
    ///     pub async fn order(ctx: WorkflowContext, id: u64) -> Result<u64, WorkflowError> {
    ///         ctx.sleep(Duration::from_secs(60)).await?;
    ///         Ok(id)
    ///     }
    /// }
    ///
    /// #[workflow(version = 2)]
    /// async fn order(ctx: WorkflowContext, id: u64) -> Result<u64, WorkflowError> {
    ///     Ok(id)
    /// }
    ///
    /// // Runs that began with version 1 end with it.
    /// let _app = App::new().workflow(v1::order).workflow(order);
    /// ```
    #[must_use]
    pub fn workflow<W, Marker>(mut self, workflow: W) -> Self
    where
        W: IntoWorkflow<Marker, Workflow: WorkflowBody> + Send + 'static,
    {
        self.definers.push(Box::new(move |resources| definition(workflow, resources)));
        self
    }

    /// A function that workers of this application run. Two of the same name are [`AppError::Function`] when the application is started.
    ///
    /// ```
    /// use everstep::prelude::*;
    ///
    /// #[function(queue = "reports")]
    /// async fn monthly_report(ctx: FunctionContext, month: String) -> Result<u64, StepError> {
    ///     Ok(month.len() as u64)
    /// }
    ///
    /// let _app = App::new().function(monthly_report);
    /// ```
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

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn what_is_given_twice_is_told_by_name_before_anything_is_connected() {
        let app = App::new().resource(7_u8).resource("one of another type").resource(8_u8);
        let options = AppOptions::new(ConnectOptions::default());
        let started = app.start(options).now_or_never().expect("nothing is waited for");
        let Err(AppError::Resource(twice)) = started else {
            panic!("{started:?}")
        };
        let message = twice.to_string();
        assert!(message.starts_with("two resources of type `u8` are registered"), "{message}");
    }
}
