//! What can go wrong for a client, told apart by what the caller can do about it.

use std::time::Duration;

use everstep_common::failure::Failure;
use everstep_common::ids::{InvalidId, RunId, WorkflowName};
use everstep_common::limits::CHAIN_RUNS_MAX;
use everstep_common::question::Refused;
use everstep_common::session::BadSessionId;
use everstep_common::store::{CreateError, DeploymentError, PayloadError, ReadRunError, TriggerError};
use everstep_common::{ports, wire};
use everstep_nats::ConnectError;
use jiff::Timestamp;

/// Why a request of a client failed, told apart by what the caller can do about it.
///
/// ```
/// use everstep::ClientError;
///
/// /// What an HTTP handler answers.
/// fn status(error: &ClientError) -> u16 {
///     match error {
///         ClientError::NotFound { .. } | ClientError::NoQuestion { .. } => 404,
///         ClientError::Ended { .. } | ClientError::Conflict { .. } | ClientError::Answered { .. } => 409,
///         ClientError::Misfit { .. } | ClientError::Invalid(_) | ClientError::Name { .. } | ClientError::SessionId(_) => 422,
///         ClientError::Refused { .. } => 403,
///         ClientError::Connect(_) | ClientError::Unavailable { .. } => 503,
///         _ => 500,
///     }
/// }
/// assert_eq!(status(&ClientError::Unavailable { after: std::time::Duration::from_secs(15) }), 503);
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The server cannot be reached or used.
    #[error("connecting")]
    Connect(#[from] ConnectError),
    /// Nothing is provisioned, or it cannot be read.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    /// The server did not answer in time. A start or cancel may have been stored; asking again with the same key is safe.
    #[error("no answer within {} s; asking again with the same key is safe", after.as_secs())]
    Unavailable {
        /// How long was waited.
        after: Duration,
    },
    /// There is no such run.
    #[error("there is no run {run}")]
    NotFound {
        /// The run asked for.
        run: RunId,
    },
    /// The run has ended, so it can no longer be moved; or it was purged.
    #[error("run {run} has ended")]
    Ended {
        /// The run.
        run: RunId,
    },
    /// The run went on as new more often than is followed from one of them; ask for the last one that was reached.
    #[error("the runs that follow one another are more than {CHAIN_RUNS_MAX}; ask for run {reached}, which was reached")]
    ChainTooLong {
        /// The last one that was looked at.
        reached: RunId,
    },
    /// The run stands still, so nothing computes how it looks from inside.
    #[error("run {run} is parked, so what it keeps in memory cannot be told")]
    Parked {
        /// The run.
        run: RunId,
    },
    /// No orchestrator answers for the run.
    #[error("no orchestrator answers for run {run}; does one of its application run?")]
    NotDriven {
        /// The run.
        run: RunId,
    },
    /// The id of a session is empty, or over 256 characters (`SESSION_ID_CHARS_MAX`). Nothing was asked of the server.
    #[error(transparent)]
    SessionId(#[from] BadSessionId),
    /// The values of a session could not be read.
    #[error("reading session {session:?}")]
    Session {
        /// The session.
        session: String,
        /// Why.
        source: ports::ReadError,
    },
    /// The start key was used before, with another input.
    #[error("workflow {workflow} was started before under key {key:?} with another input; the earlier run is {run}")]
    Conflict {
        /// The workflow.
        workflow: WorkflowName,
        /// The start key.
        key: String,
        /// The run that has the key.
        run: RunId,
    },
    /// Something that a start asks for is out of its bounds.
    #[error("{what}: {reason}")]
    BadStart {
        /// What is asked for.
        what: &'static str,
        /// What its bounds are.
        reason: String,
    },
    /// A limit lets nobody in, or more than its record can name.
    #[error("a limit of {count} at a time: it is from 1 to 1000")]
    BadLimit {
        /// How many it was to let in.
        count: u32,
    },
    /// Limits could not be read or written.
    #[error("limits: {0}")]
    Limits(String),
    /// Another signal was sent to the run under this id.
    #[error("another signal was sent to run {run} under the id {id:?}")]
    SignalConflict {
        /// The run.
        run: RunId,
        /// The id.
        id: String,
    },
    /// Another update was sent to the run under this key.
    #[error("another update was sent to run {run} under the key {key:?}")]
    UpdateConflict {
        /// The run.
        run: RunId,
        /// The key.
        key: String,
    },
    /// A name is empty or too long.
    #[error("the name or {what} has 1 to 128 characters, and this one has {characters}")]
    Name {
        /// What it is to name.
        what: &'static str,
        /// How long it is.
        characters: usize,
    },
    /// The run asks nothing under this name.
    #[error("run {run} asks nothing under the name {wait:?}")]
    NoQuestion {
        /// The run.
        run: RunId,
        /// The name.
        wait: String,
    },
    /// Several questions of the run go by this name.
    #[error("run {run} has asked several questions called {wait:?}: {}", names.join(", "))]
    Ambiguous {
        /// The run.
        run: RunId,
        /// The name.
        wait: String,
        /// Their full names, also of those that are over.
        names: Vec<String>,
    },
    /// Somebody was first.
    #[error("{wait} of run {run} was answered by {by} at {at}")]
    Answered {
        /// The run.
        run: RunId,
        /// The question.
        wait: String,
        /// Whose answer stands; of an approval by several, the one that decided it.
        by: String,
        /// Since when.
        at: Timestamp,
    },
    /// The time to answer is over.
    #[error("{wait} of run {run} could be answered until {deadline}")]
    Expired {
        /// The run.
        run: RunId,
        /// The question.
        wait: String,
        /// When it was over.
        deadline: Timestamp,
    },
    /// The run went on without an answer.
    #[error("run {run} no longer asks {wait}")]
    Withdrawn {
        /// The run.
        run: RunId,
        /// The question.
        wait: String,
    },
    /// The value is no answer to the question.
    #[error("that is no answer to {wait} of run {run}: {what}")]
    Misfit {
        /// The run.
        run: RunId,
        /// The question.
        wait: String,
        /// What is wrong with it.
        what: String,
    },
    /// The answer is not theirs to give, or is not about what is asked.
    #[error("{wait} of run {run} is not answered so")]
    Refused {
        /// The run.
        run: RunId,
        /// The question.
        wait: String,
        /// Why not.
        source: Refused,
    },
    /// A name or id is none.
    #[error(transparent)]
    Invalid(#[from] InvalidId),
    /// A value cannot be encoded or decoded.
    #[error("{what}")]
    Value {
        /// Which value.
        what: String,
        /// What is wrong with it.
        source: wire::Error,
    },
    /// A large value could not be stored or fetched.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// An entry could not be created.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// The journal could not be read.
    #[error(transparent)]
    Read(#[from] ReadRunError),
    /// A value cannot be written as JSON.
    #[error("{what}")]
    Json {
        /// Which value.
        what: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// There is no such schedule.
    #[error("there is no schedule {id:?}")]
    NoSchedule {
        /// The schedule asked for.
        id: String,
    },
    /// A backfill would start too many runs at once.
    #[error("schedule {id:?} names more than {max} times there; take them in parts")]
    TooManyTimes {
        /// The schedule.
        id: String,
        /// The most that one backfill may start.
        max: usize,
    },
    /// A schedule cannot do what was asked.
    #[error("schedule {id:?}: {reason}")]
    Schedule {
        /// The schedule.
        id: String,
        /// What is in the way.
        reason: String,
    },
    /// An event or schedule could not be read, written or acted upon.
    #[error(transparent)]
    Trigger(#[from] TriggerError),
    /// The list of runs could not be read.
    #[error("reading the list of runs")]
    List(#[source] ports::ReadError),
}

/// Why an update brought no answer of the type expected.
///
/// ```
/// use everstep::UpdateError;
///
/// /// What the form says.
/// fn told(error: &UpdateError) -> String {
///     match error {
///         UpdateError::Rejected { reason, .. } => reason.clone(),
///         UpdateError::TimedOut { .. } => "this takes longer than usual, look again later".to_owned(),
///         _ => "that did not work, please call us".to_owned(),
///     }
/// }
/// let run = "0-e7b97ed98ff28fc8cea316011add4707".parse().unwrap();
/// assert_eq!(told(&UpdateError::Rejected { run, reason: "no such street".to_owned() }), "no such street");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// The workflow refused it and did nothing of it: its validation said no, or the input is not of the type it takes.
    #[error("run {run} rejected the update: {reason}")]
    Rejected {
        /// The run.
        run: RunId,
        /// Why.
        reason: String,
    },
    /// The workflow took it, and something of it may be done, but it did not come to its end.
    #[error("run {run} failed to do the update: {failure}")]
    Failed {
        /// The run.
        run: RunId,
        /// How.
        failure: Failure,
    },
    /// The run ended and had not answered; it never will.
    #[error("run {run} ended without answering the update")]
    Ended {
        /// The run.
        run: RunId,
    },
    /// There is no answer yet. The update stays with the run: asking again with the same key brings the answer, and does nothing twice.
    #[error("no answer within {} s; asking again with key {key:?} is safe", after.as_secs_f32())]
    TimedOut {
        /// The key to ask again with.
        key: String,
        /// How long was waited.
        after: Duration,
    },
    /// The update could not be sent, or its answer not be had.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Why a run brought no result.
///
/// ```
/// use everstep::{Failure, FailureKind, RunError};
///
/// let error = RunError::Failed {
///     run: "0-e7b97ed98ff28fc8cea316011add4707".parse().unwrap(),
///     failure: Failure::new(FailureKind::Exhausted, "step `charge` failed: card declined"),
/// };
/// let is_ours = matches!(&error, RunError::Failed { failure, .. } if failure.kind != FailureKind::Workflow);
/// assert!(is_ours, "{error}");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The workflow failed.
    #[error("run {run} failed: {failure}")]
    Failed {
        /// The run.
        run: RunId,
        /// How.
        failure: Failure,
    },
    /// The run was cancelled.
    #[error("run {run} was cancelled: {}", failure.message)]
    Cancelled {
        /// The run.
        run: RunId,
        /// Why, as far as it was said.
        failure: Failure,
    },
    /// The run was ended as it stood.
    #[error("run {run} was terminated: {}", failure.message)]
    Terminated {
        /// The run.
        run: RunId,
        /// Why, as far as it was said.
        failure: Failure,
    },
    /// The result could not be had.
    #[error(transparent)]
    Client(#[from] ClientError),
}
