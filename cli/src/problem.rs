//! What can go wrong, with the exit code it ends in and a hint where one helps.

use std::error::Error;
use std::fmt::Display;
use std::process::ExitCode;

use everstep::{ClientError, RunError, UpdateError};
use everstep_common::store::DeploymentError;

/// The exit codes, which scripts may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The run that was followed failed, a check found something wrong, or the command could not do its work.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// There is no such thing.
    NotFound = 3,
    /// It stands otherwise than it would have to.
    Conflict = 4,
    /// It took too long.
    TimedOut = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(crate) struct Problem {
    exit: Exit,
    message: String,
    hint: Option<String>,
}

impl Problem {
    pub(crate) fn new(exit: Exit, message: impl Display) -> Self {
        Self {
            exit,
            message: message.to_string(),
            hint: None,
        }
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// The error with all its causes.
    fn of(exit: Exit, error: &dyn Error) -> Self {
        Self::new(exit, chain(error))
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Says it on standard error.
    pub(crate) fn tell(&self) {
        eprintln!("error: {}", self.message);
        if let Some(hint) = &self.hint {
            eprintln!("hint: {hint}");
        }
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_message = cause.to_string();
        // A transparent error says what its cause says.
        if !message.ends_with(&cause_message) {
            message.push_str(": ");
            message.push_str(&cause_message);
        }
        source = cause.source();
    }
    message
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Self {
        match &error {
            ClientError::NotFound { .. } => {
                Self::of(Exit::NotFound, &error).hint("`everstep runs ls` lists the runs that there are")
            }
            ClientError::Ended { run } => {
                Self::of(Exit::Conflict, &error).hint(format_args!("`everstep runs show {run}` tells how"))
            }
            ClientError::Conflict { .. } => {
                Self::of(Exit::Conflict, &error).hint("give another --key, or the input that it was started with")
            }
            ClientError::NoSchedule { .. } => {
                Self::of(Exit::NotFound, &error).hint("`everstep schedules ls` lists the schedules that there are")
            }
            ClientError::TooManyTimes { .. } => Self::of(Exit::Usage, &error),
            ClientError::NoQuestion { run, .. } => {
                Self::of(Exit::NotFound, &error).hint(format_args!("`everstep runs show {run}` tells what it asks"))
            }
            ClientError::Ambiguous { .. } => Self::of(Exit::Usage, &error).hint("give the full name of one of them"),
            ClientError::Answered { .. }
            | ClientError::Expired { .. }
            | ClientError::Withdrawn { .. }
            | ClientError::Refused { .. }
            | ClientError::SignalConflict { .. }
            | ClientError::UpdateConflict { .. } => Self::of(Exit::Conflict, &error),
            ClientError::Misfit { .. } | ClientError::Name { .. } | ClientError::SessionId(_) => Self::of(Exit::Usage, &error),
            ClientError::Unavailable { .. } => Self::of(Exit::TimedOut, &error).hint("`everstep doctor` looks for what is wrong"),
            ClientError::Deployment(DeploymentError::Missing { .. }) => Self::of(Exit::NotFound, &error),
            ClientError::Invalid(_) | ClientError::BadStart { .. } | ClientError::BadLimit { .. } => Self::of(Exit::Usage, &error),
            ClientError::Session { .. }
            | ClientError::Trigger(_)
            | ClientError::Limits(_)
            | ClientError::Create(_)
            | ClientError::Read(_)
            | ClientError::List(_)
            | ClientError::Payload(_) => Self::of(Exit::Failed, &error).hint("`everstep doctor` looks for what is wrong"),
            _ => Self::of(Exit::Failed, &error),
        }
    }
}

impl From<UpdateError> for Problem {
    fn from(error: UpdateError) -> Self {
        match error {
            UpdateError::Client(error) => error.into(),
            UpdateError::Rejected { .. } => Self::of(Exit::Conflict, &error),
            UpdateError::Ended { ref run } => {
                Self::of(Exit::Conflict, &error).hint(format_args!("`everstep runs show {run}` tells how"))
            }
            UpdateError::TimedOut { ref key, .. } => Self::of(Exit::TimedOut, &error).hint(format_args!(
                "the same command with `--key {key}` waits for the answer to this very update"
            )),
            _ => Self::of(Exit::Failed, &error),
        }
    }
}

impl From<RunError> for Problem {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Client(error) => error.into(),
            error => Self::of(Exit::Failed, &error),
        }
    }
}

macro_rules! plain {
    ($($error:ty),+ $(,)?) => {
        $(impl From<$error> for Problem {
            fn from(error: $error) -> Self {
                Self::of(Exit::Failed, &error)
            }
        })+
    };
}

plain!(
    std::io::Error,
    serde_json::Error,
    everstep::AppError,
    everstep::TelemetryError,
    everstep_common::ports::ReadError,
    everstep_nats::ConnectError,
    everstep_nats::managed::Error,
);
