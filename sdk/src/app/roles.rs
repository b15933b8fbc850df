//! Starting the roles and stopping them in order.
//!
//! The orchestrator's threads and the worker's thread have connections and current-thread runtimes of their own; functions and closures run
//! on the runtime that the application was started on.

use std::sync::Arc;
use std::time::Duration;

use everstep_common::ports::{Broker, Clock};
use everstep_common::store::{Deployment, Store};
use everstep_nats::{ConnectOptions, MicroService, NatsBroker, TokioClock};
use everstep_orchestrator::{Connect, Connected, Orchestrator};
use everstep_worker::{Functions, Resources, Worker};
use futures::FutureExt;
use serde_json::Value;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::{App, AppError, AppOptions};
use crate::telemetry;

/// How long an outage at the start is left alone before the next look.
const OUTAGE_PAUSE: Duration = Duration::from_millis(500);

/// What a process does.
///
/// ```
/// use everstep::Roles;
///
/// assert_eq!(Roles { orchestrator: true, worker: true }, Roles::ALL);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// Drives runs; the workflows' code is here.
    pub orchestrator: bool,
    /// Runs functions.
    pub worker: bool,
}

impl Roles {
    /// Everything in one process.
    ///
    /// ```
    /// assert!(everstep::Roles::ALL.orchestrator && everstep::Roles::ALL.worker);
    /// ```
    pub const ALL: Self = Self {
        orchestrator: true,
        worker: true,
    };
    /// Drives runs only. Two or more of them share the partitions; when one dies the others take over.
    ///
    /// ```
    /// assert!(!everstep::Roles::ORCHESTRATOR.worker);
    /// ```
    pub const ORCHESTRATOR: Self = Self {
        orchestrator: true,
        worker: false,
    };
    /// Runs functions only: as many of them as there is work for.
    ///
    /// ```
    /// assert!(!everstep::Roles::WORKER.orchestrator);
    /// ```
    pub const WORKER: Self = Self {
        orchestrator: false,
        worker: true,
    };

    fn names(self) -> Vec<&'static str> {
        let names = [(self.orchestrator, "orchestrator"), (self.worker, "worker")];
        names
            .into_iter()
            .filter_map(|(played, name)| played.then_some(name))
            .collect()
    }
}

/// An application that works; brought by [`App::start`]. Dropping it ends it like a crash; [`RunningApp::stop`] ends it in order.
///
/// ```no_run
/// use everstep::prelude::*;
/// use everstep::{AppError, AppOptions, ConnectOptions};
///
/// async fn serve(app: App, shutdown: impl Future<Output = ()>) -> Result<(), AppError> {
///     let mut running = app.start(AppOptions::new(ConnectOptions::default())).await?;
///     tokio::select! {
///         ended = running.ended() => ended,
///         () = shutdown => running.stop().await,
///     }
/// }
/// ```
#[derive(Debug)]
pub struct RunningApp {
    shutdown: watch::Sender<bool>,
    roles: JoinSet<Result<(), AppError>>,
    /// Delists the process when dropped.
    _announced: Option<MicroService>,
}

impl RunningApp {
    /// Has workers finish or hand back what they hold and orchestrators hand their partitions over, and waits for it: up to
    /// [`drain_grace`](AppOptions::drain_grace) for functions that run, 20 s unless it was said.
    ///
    /// # Errors
    ///
    /// What a role ended with, if that was not in order. Example: see [`RunningApp`].
    pub async fn stop(mut self) -> Result<(), AppError> {
        self.shutdown.send_replace(true);
        self.ended().await
    }

    /// Returns when every role has ended, which they do not before [`RunningApp::stop`] unless something is wrong.
    ///
    /// # Errors
    ///
    /// What the first role to fail failed with. Example: see [`RunningApp`].
    pub async fn ended(&mut self) -> Result<(), AppError> {
        while let Some(role) = self.roles.join_next().await {
            role.map_err(|_| AppError::Vanished { role: "a role" })??;
        }
        Ok(())
    }
}

impl App {
    /// Starts the roles that `options` ask for on the current tokio runtime, which should be a multi-threaded one: functions run there.
    ///
    /// For applications that are a part of a larger program; [`App::main`] and [`App::run`] read the command line. Sets up no telemetry: see
    /// [`Telemetry`](crate::Telemetry).
    ///
    /// # Errors
    ///
    /// [`AppError::Workflow`], [`AppError::Function`] and [`AppError::Resource`] if something was registered twice; [`AppError::Connect`] and [`AppError::Deployment`] if the
    /// server cannot be reached or holds no deployment, which is waited out instead if [`wait_for_server`](ConnectOptions::wait_for_server) is set
    /// and the server is down; [`AppError::System`] if there is no thread or runtime to be had.
    ///
    /// ```no_run
    /// use everstep::prelude::*;
    /// use everstep::{AppOptions, ConnectOptions, Roles};
    ///
    /// #[function]
    /// async fn convert(ctx: FunctionContext, file: String) -> Result<String, StepError> {
    ///     Ok(file.replace(".png", ".webp"))
    /// }
    ///
    /// # async fn example() -> anyhow::Result<()> {
    /// let options = AppOptions { roles: Roles::WORKER, ..AppOptions::new(ConnectOptions::default()) };
    /// let worker = App::new().function(convert).start(options).await?;
    /// // The rest of the program does its work, and in the end:
    /// worker.stop().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn start(self, options: AppOptions) -> Result<RunningApp, AppError> {
        let Self {
            definers,
            functions,
            resources,
            mistake,
        } = self;
        if let Some(mistake) = mistake {
            return Err(mistake);
        }
        let resources = Arc::new(resources);
        let workflows = Self::workflows(definers, &resources)?;
        let (broker, deployment) = find_deployment(&options).await?;
        let (shutdown, told) = watch::channel(false);
        let mut roles = JoinSet::new();
        if options.roles.orchestrator {
            let connect = connector(options.connect.clone());
            let settings = everstep_orchestrator::Options {
                process: options.process.clone(),
                leases: options.leases.clone(),
                partitions: options.partitions.clone(),
                trace: telemetry::trace_links(),
            };
            let orchestrator = Orchestrator::new(workflows, deployment.clone(), connect, settings);
            let stop = stopped(told.clone());
            drop(roles.spawn(async move { Ok(orchestrator.run(stop).await?) }));
        }
        if options.roles.worker {
            let worker = start_worker(functions, resources, deployment, &options, told)?;
            drop(roles.spawn(async move { worker.await.unwrap_or(Err(AppError::Vanished { role: "worker" })) }));
        }
        let announced = announce(&broker, &options).await;
        Ok(RunningApp {
            shutdown,
            roles,
            _announced: announced,
        })
    }
}

/// The deployment; with `wait_for_server` an outage is told and waited out, as it is later on.
async fn find_deployment(options: &AppOptions) -> Result<(Arc<NatsBroker>, Deployment), AppError> {
    let wait = options.connect.wait_for_server;
    let mut attempts: u32 = 0;
    loop {
        match load_deployment(options).await {
            Err(error) if wait && error.is_outage() => {
                attempts += 1;
                // Ever more seldom, so that a long outage does not fill the log.
                if attempts.is_power_of_two() {
                    tracing::error!(error = error.chain(), attempts, "no deployment to work for yet; trying on");
                }
                TokioClock.sleep(OUTAGE_PAUSE).await;
            }
            found => return found,
        }
    }
}

async fn load_deployment(options: &AppOptions) -> Result<(Arc<NatsBroker>, Deployment), AppError> {
    let connect = ConnectOptions {
        wait_for_server: false,
        ..options.connect.clone()
    };
    let connection = NatsBroker::connect(connect.named(options.process.to_string())).await?;
    let broker: Arc<dyn Broker> = connection.clone();
    let deployment = Deployment::load(&broker, &options.prefix).await?;
    Ok((connection, deployment))
}

/// Shows the process to `nats micro ls`. Where credentials do not permit it the process works all the same, unseen.
async fn announce(broker: &NatsBroker, options: &AppOptions) -> Option<MicroService> {
    let queues = options.queues.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let roles = options.roles.names();
    let told = [
        ("process", options.process.to_string()),
        ("prefix", options.prefix.to_string()),
        ("queues", queues),
        ("roles", roles.join(",")),
    ];
    let metadata = told.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let statistics = Arc::new(move || statistics(&roles));
    let served = broker
        .serve_micro(
            "everstep",
            env!("CARGO_PKG_VERSION"),
            "Everstep process",
            metadata,
            statistics,
        )
        .await;
    served
        .inspect_err(|error| tracing::warn!(%error, "this process is not shown by `nats micro ls`"))
        .ok()
}

/// What `nats micro stats` shows of the process beside its answers: what each of its roles has counted.
fn statistics(roles: &[&'static str]) -> Value {
    let of_role = roles.iter().map(|role| ((*role).to_owned(), telemetry::figures(role).into()));
    Value::Object(of_role.collect())
}

/// Resolves when the shutdown is asked for, or nobody is left to ask for it.
async fn stopped(mut told: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a reason to stop too.
    let _ = told.wait_for(|stop| *stop).await;
}

/// A connection of its own for each thread that asks.
fn connector(options: ConnectOptions) -> Connect {
    Arc::new(move |name| {
        let options = ConnectOptions {
            wait_for_server: true,
            ..options.clone()
        }
        .named(name);
        async move {
            let broker = NatsBroker::connect(options).await.map_err(|error| error.to_string())?;
            let connected: Connected = (broker, Arc::new(TokioClock) as Arc<dyn Clock>);
            Ok(connected)
        }
        .boxed()
    })
}

/// The worker's own thread: its connection is a third cheaper on a current-thread runtime, and no function can delay its heartbeats.
fn start_worker(
    functions: Functions,
    resources: Arc<Resources>,
    deployment: Deployment,
    options: &AppOptions,
    told: watch::Receiver<bool>,
) -> Result<oneshot::Receiver<Result<(), AppError>>, AppError> {
    let (ended, end) = oneshot::channel();
    let settings = everstep_worker::Options {
        process: options.process.clone(),
        queues: options.queues.clone(),
        slots: options.slots,
        drain_grace: options.drain_grace,
        runtime: Some(tokio::runtime::Handle::current()),
        trace: telemetry::trace_links(),
    };
    let connect = options.connect.clone().named(format!("{}-worker", options.process));
    let system = |what| move |source| AppError::System { what, source };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("starting the worker's runtime"))?;
    let work = async move {
        let broker: Arc<dyn Broker> = NatsBroker::connect(ConnectOptions {
            wait_for_server: true,
            ..connect
        })
        .await?;
        let (store, driver) = Store::new(broker, Arc::new(TokioClock), deployment);
        drop(tokio::spawn(driver));
        Ok(Worker::new(store, functions, resources, settings).run(stopped(told)).await?)
    };
    let thread = std::thread::Builder::new().name("everstep-worker".to_owned());
    // The receiver is gone only if the application was dropped.
    let run = move || drop(ended.send(runtime.block_on(work)));
    thread.spawn(run).map_err(system("starting the worker's thread"))?;
    Ok(end)
}
