//! `everstep runs …`: looking at runs and moving them.

pub(crate) mod answer;
pub(crate) mod family;
pub(crate) mod list;
pub(crate) mod show;
mod updates;
mod waits;

use std::process::ExitCode;

use everstep::journal::RunOutcome;
use everstep::{RunId, RunStatus};
use serde_json::json;

use crate::arguments::{Cancel, Global, Resume, Tail};
use crate::connection::{Connection, open};
use crate::follow::{To, follow};
use crate::output;
use crate::problem::{Exit, Problem};

/// Prints the timeline until the run ends; a run that did not complete is a failure of the command too.
pub(crate) async fn tail(global: &Global, arguments: Tail) -> Result<ExitCode, Problem> {
    let connection = open(global).await?;
    let run = connection.find_run(&arguments.which.run).await?;
    let to = if global.json { To::Json } else { To::Output };
    let (_, outcome) = follow(&connection, run, to, arguments.timeout).await?;
    Ok(match outcome {
        RunOutcome::Completed(_) => ExitCode::SUCCESS,
        _ => Exit::Failed.into(),
    })
}

/// Asks a run to cancel.
pub(crate) async fn cancel(global: &Global, arguments: Cancel) -> Result<ExitCode, Problem> {
    let connection = open(global).await?;
    let run = stands_at(&connection, &arguments.which.run).await?;
    if arguments.dry_run {
        return would(global, &connection, &run, "cancel").await;
    }
    connection.client.cancel(&run, &arguments.reason).await?;
    done(global, &run, "cancel")
}

/// Ends a run at once.
pub(crate) async fn terminate(global: &Global, arguments: Cancel) -> Result<ExitCode, Problem> {
    let connection = open(global).await?;
    let run = stands_at(&connection, &arguments.which.run).await?;
    if arguments.dry_run {
        return would(global, &connection, &run, "terminate").await;
    }
    connection.client.terminate(&run, &arguments.reason).await?;
    done(global, &run, "terminate")
}

/// The run that is meant, or the one in which that goes on.
async fn stands_at(connection: &Connection, id: &str) -> Result<RunId, Problem> {
    let run = connection.find_run(id).await?;
    Ok(connection.client.newest(&run).await?)
}

/// Has a parked run tried again.
pub(crate) async fn resume(global: &Global, arguments: Resume) -> Result<ExitCode, Problem> {
    let connection = open(global).await?;
    let run = connection.find_run(&arguments.which.run).await?;
    if arguments.dry_run {
        return would(global, &connection, &run, "resume").await;
    }
    let is_parked = connection.client.status(&run).await?.status == RunStatus::Parked;
    connection
        .client
        .resume(&run, arguments.accept_unasked, &arguments.reason)
        .await?;
    if !is_parked {
        eprintln!("warning: run {run} is not known to be parked; a run that is not parked does not mind");
    }
    done(global, &run, "resume")
}

/// What the verb would do, judged by where the run stands.
pub(crate) async fn would(global: &Global, connection: &Connection, run: &RunId, verb: &str) -> Result<ExitCode, Problem> {
    let status = connection.client.status(run).await?.status;
    if status.is_final() {
        return Err(Problem::new(Exit::Conflict, format_args!("run {run} is {status} already")));
    }
    if global.json {
        output::json(&json!({ "dry_run": true, "run": run, "verb": verb, "status": status }))?;
    } else {
        eprintln!("would {verb} run {run}, which is {status}");
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn done(global: &Global, run: &RunId, verb: &str) -> Result<ExitCode, Problem> {
    if global.json {
        output::json(&json!({ "run": run, "verb": verb, "accepted": true }))?;
    } else {
        eprintln!("{verb} is accepted for run {run}");
        eprintln!("hint: `everstep runs tail {run}` shows what follows");
    }
    Ok(ExitCode::SUCCESS)
}
