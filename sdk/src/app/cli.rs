//! The command line of an application: which roles it plays, and where.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use everstep_common::ids::{Prefix, QueueName};
use everstep_common::topology::Durability;
use everstep_nats::ConnectOptions;

use super::dev::{DevOptions, DevServer};
use super::{App, AppError, AppOptions, Roles};
use crate::telemetry::{self, Telemetry};

/// Runs this application's workflows and functions.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Everything in one process, with a private nats-server
    Dev {
        /// Where the server keeps its data; a temporary folder without it
        #[arg(long)]
        store: Option<PathBuf>,
        /// What acknowledged writes survive
        #[arg(long, value_enum, default_value_t = DurabilityArg::Strict)]
        durability: DurabilityArg,
        #[command(flatten)]
        work: Work,
    },
    /// Drive runs
    Orchestrator {
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        work: Work,
    },
    /// Run functions
    Worker {
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        work: Work,
    },
    /// Drive runs and run functions
    All {
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        work: Work,
    },
}

/// Where the deployment is, for a command line of one's own. The names are those of the `nats` command.
///
/// The variables are read by [`ConnectOptions`], after the context: read here they would be taken for flags, which come before it.
///
/// ```
/// use clap::Parser;
/// use everstep::ServerArgs;
///
/// #[derive(Parser)]
/// struct Import {
///     #[command(flatten)]
///     server: ServerArgs,
///     file: std::path::PathBuf,
/// }
///
/// let import = Import::parse_from(["import", "--server", "nats://nats.internal:4222", "--prefix", "staging", "orders.csv"]);
/// assert_eq!(import.server.connect().servers, ["nats://nats.internal:4222"]);
/// assert_eq!(import.server.prefix.as_str(), "staging");
/// ```
#[derive(Clone, Debug, Args)]
pub struct ServerArgs {
    /// Server address; several with commas [env: NATS_URL]
    #[arg(long, global = true)]
    pub server: Option<String>,
    /// Credentials file [env: NATS_CREDS]
    #[arg(long, global = true)]
    pub creds: Option<PathBuf>,
    /// File with an nkey seed
    #[arg(long, global = true)]
    pub nkey: Option<PathBuf>,
    /// NATS context, by name or path [env: NATS_CONTEXT]
    #[arg(long, global = true)]
    pub context: Option<String>,
    /// Certificates of the authority that signed the server's
    #[arg(long, global = true)]
    pub tlsca: Option<PathBuf>,
    /// Sets one deployment apart from others on the server
    #[arg(long, env = "EVERSTEP_PREFIX", global = true, default_value = "", hide_default_value = true, value_parser = parse_prefix)]
    pub prefix: Prefix,
}

#[derive(Clone, Debug, Args)]
struct Work {
    /// Queues to serve, with commas
    #[arg(long, env = "EVERSTEP_QUEUES", value_delimiter = ',', default_value = "default", value_parser = parse_queue)]
    queues: Vec<QueueName>,
    /// Functions that run at once
    #[arg(long, env = "EVERSTEP_SLOTS", default_value_t = 256)]
    slots: usize,
    /// Serve /metrics there, such as 127.0.0.1:9464
    #[arg(long, env = "EVERSTEP_METRICS")]
    metrics: Option<std::net::SocketAddr>,
}

/// What acknowledged writes survive, as a command line says it; [`Durability`](crate::Durability) is what it means.
///
/// ```
/// use clap::Parser;
/// use everstep::{Durability, DurabilityArg};
///
/// #[derive(Parser)]
/// struct Import {
///     #[arg(long, value_enum, default_value_t = DurabilityArg::Strict)]
///     durability: DurabilityArg,
/// }
///
/// let import = Import::parse_from(["import", "--durability", "relaxed"]);
/// assert_eq!(Durability::from(import.durability), Durability::Relaxed);
/// ```
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum DurabilityArg {
    /// A power cut
    Strict,
    /// The death of the server process; a power cut loses the last tenth of a second
    Relaxed,
}

impl From<DurabilityArg> for Durability {
    fn from(argument: DurabilityArg) -> Self {
        match argument {
            DurabilityArg::Strict => Self::Strict,
            DurabilityArg::Relaxed => Self::Relaxed,
        }
    }
}

fn parse_prefix(text: &str) -> Result<Prefix, String> {
    Prefix::new(text).map_err(|error| error.to_string())
}

fn parse_queue(text: &str) -> Result<QueueName, String> {
    QueueName::new(text).map_err(|error| error.to_string())
}

impl ServerArgs {
    /// How to connect.
    ///
    /// ```no_run
    /// use everstep::{Client, ClientError, ServerArgs};
    ///
    /// async fn client(server: &ServerArgs) -> Result<Client, ClientError> {
    ///     Client::connect_to(server.connect(), server.prefix.clone()).await
    /// }
    /// ```
    pub fn connect(&self) -> ConnectOptions {
        ConnectOptions {
            servers: self.server.iter().cloned().collect(),
            credentials: self.creds.clone(),
            nkey: self.nkey.clone(),
            context: self.context.clone(),
            tls_ca: self.tlsca.clone(),
            ..ConnectOptions::default()
        }
    }
}

impl App {
    /// Runs the application as its command line says, until it is told to stop (SIGTERM, SIGINT).
    ///
    /// `dev` plays every role against a private server; `orchestrator`, `worker` and `all` play theirs against the server named by
    /// `--server`, `--context` or the environment. `--help` tells the rest.
    ///
    /// Makes a multi-threaded runtime, so it is not to be called on one: there, use [`App::run`]. An error is told on standard error, with its causes,
    /// and makes the exit code a failure.
    ///
    /// ```no_run
    /// use everstep::prelude::*;
    ///
    /// #[workflow]
    /// async fn reminder(ctx: WorkflowContext, days: u64) -> Result<(), WorkflowError> {
    ///     ctx.sleep(Duration::from_secs(days * 24 * 60 * 60)).await
    /// }
    ///
    /// fn main() -> std::process::ExitCode {
    ///     App::new().workflow(reminder).main()
    /// }
    /// ```
    pub fn main(self) -> ExitCode {
        let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(source) => {
                return failed(&AppError::System {
                    what: "starting the runtime",
                    source,
                });
            }
        };
        match runtime.block_on(self.run()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        }
    }

    /// The same on a runtime of the caller's, which should be a multi-threaded one: functions run there.
    ///
    /// Sets up telemetry ([`Telemetry`]) for as long as it runs. A wrong command line ends the process with its usage.
    ///
    /// # Errors
    ///
    /// Whatever keeps a role from starting or going on: see [`AppError`].
    ///
    /// ```no_run
    /// use everstep::AppError;
    /// use everstep::prelude::*;
    ///
    /// struct Database;
    ///
    /// impl Database {
    ///     async fn connect(_url: &str) -> Self {
    ///         Self
    ///     }
    /// }
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), AppError> {
    ///     let database = Database::connect("postgres://localhost/shop").await;
    ///     App::new().resource(database).run().await
    /// }
    /// ```
    pub async fn run(self) -> Result<(), AppError> {
        let cli = Cli::parse();
        let _telemetry = Telemetry::start()?;
        self.play(cli.role).await
    }

    async fn play(self, role: Role) -> Result<(), AppError> {
        let (roles, work, server) = match role {
            Role::Dev { store, durability, work } => return self.run_dev(store, durability, work).await,
            Role::Orchestrator { server, work } => (Roles::ORCHESTRATOR, work, server),
            Role::Worker { server, work } => (Roles::WORKER, work, server),
            Role::All { server, work } => (Roles::ALL, work, server),
        };
        let options = AppOptions {
            roles,
            prefix: server.prefix.clone(),
            ..AppOptions::new(ConnectOptions {
                wait_for_server: true,
                ..server.connect()
            })
        };
        self.run_until_told(options, work).await
    }

    async fn run_dev(self, store: Option<PathBuf>, durability: DurabilityArg, work: Work) -> Result<(), AppError> {
        let mut server = DevServer::start(DevOptions {
            store,
            durability: durability.into(),
            ..DevOptions::default()
        })
        .await?;
        let connect = server.connect();
        let url = connect.servers.join(",");
        eprintln!("nats-server {url}\n\nIn another terminal:\n  export NATS_URL={url}\n  everstep runs ls\n");
        let mut options = AppOptions::new(ConnectOptions {
            // If it dies while a role connects, that is the word to end with, and not that the role could not.
            wait_for_server: true,
            ..connect
        });
        // Whoever writes a workflow hears of what is not deterministic in it as soon as a run has ended.
        options.partitions.compare_one_in = 1;
        tokio::select! {
            ended = self.run_until_told(options, work) => ended,
            // Nobody restarts it, and without it there is nothing to hand back and nobody to hand it to.
            error = server.server().ended() => Err(error.into()),
        }
    }

    async fn run_until_told(self, options: AppOptions, work: Work) -> Result<(), AppError> {
        let told = told_to_stop().map_err(|source| AppError::System {
            what: "listening for signals",
            source,
        })?;
        let mut told = std::pin::pin!(told);
        if let Some(address) = work.metrics {
            let serving = telemetry::serve_metrics(address).await?;
            eprintln!("metrics http://{serving}/metrics");
        }
        let options = AppOptions {
            queues: work.queues,
            slots: work.slots,
            ..options
        };
        let (process, roles) = (options.process.clone(), options.roles);
        let mut running = tokio::select! {
            biased;
            // A process that waits for its server may be told to stop as well. What it has begun by then is as after a crash.
            () = &mut told => return Ok(()),
            started = self.start(options) => started?,
        };
        tracing::info!(%process, ?roles, "ready");
        tokio::select! {
            ended = running.ended() => ended,
            () = told => running.stop().await,
        }
    }
}

/// Resolves at SIGTERM or SIGINT.
fn told_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Tells an error with its causes, once, at the edge.
fn failed(error: &AppError) -> ExitCode {
    eprintln!("error: {}", error.chain());
    ExitCode::FAILURE
}
