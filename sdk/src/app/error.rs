//! Why an application did not start or had to end.

use everstep_common::ports::ReadError;
use everstep_common::store::{DeploymentError, QueueError};
use everstep_nats::{ConnectError, managed};
use everstep_orchestrator::RegisteredTwice;
use everstep_worker::{DuplicateFunction, DuplicateResource};

/// Why an application did not start or had to end.
///
/// ```
/// use everstep::AppError;
///
/// /// Whether whoever supervises the process should start it again.
/// fn again(error: &AppError) -> bool {
///     !matches!(error, AppError::Workflow(_) | AppError::Function(_) | AppError::Resource(_) | AppError::Telemetry(_))
/// }
/// assert!(again(&AppError::Vanished { role: "worker" }));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// Two workflows of the same name and version.
    #[error(transparent)]
    Workflow(RegisteredTwice),
    /// Two functions of the same name.
    #[error(transparent)]
    Function(DuplicateFunction),
    /// Two resources of the same type.
    #[error(transparent)]
    Resource(DuplicateResource),
    /// The server cannot be reached or used.
    #[error("connecting")]
    Connect(#[from] ConnectError),
    /// Nothing is provisioned, or it is another deployment than asked for.
    #[error("finding the deployment")]
    Deployment(#[from] DeploymentError),
    /// A task queue could not be made.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The server of `dev` could not be started, or has ended.
    #[error("running a nats-server of our own")]
    Server(#[from] managed::Error),
    /// Logs, traces or metrics could not be set up.
    #[error("setting up telemetry")]
    Telemetry(#[from] crate::telemetry::TelemetryError),
    /// The orchestrator could not go on.
    #[error("orchestrator")]
    Orchestrator(#[from] everstep_orchestrator::Error),
    /// The worker could not go on.
    #[error("worker")]
    Worker(#[from] everstep_worker::Error),
    /// Something of the operating system's.
    #[error("{what}")]
    System {
        /// What was being done.
        what: &'static str,
        /// What it says.
        source: std::io::Error,
    },
    /// A role ended without a word.
    #[error("{role} ended unexpectedly")]
    Vanished {
        /// Which.
        role: &'static str,
    },
}

impl AppError {
    /// Whether it may go away by itself: the server is down, or not ready yet.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_outage(),
            Self::Deployment(DeploymentError::Read(error)) => matches!(error, ReadError::Unavailable(_)),
            _ => false,
        }
    }

    /// The error and its causes in one line.
    pub(crate) fn chain(&self) -> String {
        let mut line = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            line.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        line
    }
}
