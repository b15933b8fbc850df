//! `everstep run`: starts a run.

mod each;

use std::io::Read;
use std::process::ExitCode;

use everstep::journal::RunOutcome;
use everstep::{RunId, RunStatus, StartRun};
use serde_json::{Value, json};

use crate::arguments::{Global, Run};
use crate::connection::{Connection, open};
use crate::follow::{To, follow};
use crate::output;
use crate::problem::{Exit, Problem};

/// Starts the run, and with `--follow` tells how it goes.
pub(crate) async fn run(global: &Global, arguments: Run) -> Result<ExitCode, Problem> {
    let text = read_text(&arguments.input)?;
    if arguments.each {
        return each::run(global, &arguments, &text).await;
    }
    let input = json_of(&text, "input")?;
    let connection = open(global).await?;
    if arguments.dry_run {
        return dry_run(global, &connection, &arguments, &input);
    }
    let started = start(&connection, &arguments, &input, arguments.key.as_deref()).await?;
    let (run, durability) = (started.id().clone(), started.durability());
    let to = if global.json {
        output::json(&json!({ "run": run, "durability": durability }))?;
        To::Json
    } else {
        // The id alone is what scripts take from standard output, unless the result is.
        match arguments.follow {
            true => eprintln!("run {run}"),
            false => output::line(&run)?,
        }
        eprintln!("durability {durability}");
        To::Margin
    };
    if !arguments.follow {
        return Ok(ExitCode::SUCCESS);
    }
    let (last, outcome) = follow(&connection, run, to, arguments.timeout).await?;
    finish(global, &connection, &last, outcome).await
}

/// A start with all that the arguments say of it.
fn start(connection: &Connection, arguments: &Run, input: &Value, key: Option<&str>) -> StartRun<Value> {
    let (workflow, terms) = (arguments.workflow.as_str(), &arguments.terms);
    let mut start = connection.client.start_named(workflow, arguments.version, input);
    if let Some(key) = key {
        start = start.key(key);
    }
    if let Some(session) = &arguments.session {
        start = start.session(session);
    }
    for (name, value) in &arguments.tags {
        start = start.tag(name, value);
    }
    if let Some(delay) = terms.delay {
        start = start.delay(delay);
    }
    if let Some(deadline) = terms.deadline {
        start = start.deadline(deadline);
    }
    if let Some(key) = &terms.limit_key {
        start = start.limit_key(key);
    }
    if let Some(traceparent) = &terms.traceparent {
        start = start.traceparent(traceparent);
    }
    start.priority(terms.priority)
}

/// The text given, or what `-` stands for.
pub(crate) fn read_text(text: &str) -> Result<String, Problem> {
    if text != "-" {
        return Ok(text.to_owned());
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

/// The JSON of an argument called `--what`, or of standard input.
pub(crate) fn json_input(text: &str, what: &str) -> Result<Value, Problem> {
    json_of(&read_text(text)?, what)
}

fn json_of(text: &str, what: &str) -> Result<Value, Problem> {
    if text.trim().is_empty() {
        return Err(
            Problem::new(Exit::Usage, format_args!("the {what} is empty")).hint(format_args!("without --{what} it is null"))
        );
    }
    serde_json::from_str(text).map_err(|error| {
        Problem::new(Exit::Usage, format_args!("the {what} is not JSON: {error}"))
            .hint(format_args!(r#"a text needs its own quotes: --{what} '"order-1"'"#))
    })
}

fn dry_run(global: &Global, connection: &Connection, arguments: &Run, input: &Value) -> Result<ExitCode, Problem> {
    let partitions = connection.client.store().deployment().keyed_partitions;
    let key = arguments.key.as_deref();
    let run = key.map(|key| RunId::keyed(&arguments.workflow, key, partitions));
    if global.json {
        output::json(&json!({ "dry_run": true, "workflow": arguments.workflow, "input": input, "run": run }))?;
    } else {
        let named = run.map(|run| format!(" as run {run}")).unwrap_or_default();
        eprintln!("would start {}({input}){named}", arguments.workflow);
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints how the run ended; a run that did not complete is a failure of the command too.
pub(crate) async fn finish(
    global: &Global,
    connection: &Connection,
    run: &RunId,
    outcome: RunOutcome,
) -> Result<ExitCode, Problem> {
    let (status, failure) = match outcome {
        RunOutcome::Completed(value) => {
            let result = connection.client.value(run, &value).await?;
            match global.json {
                true => output::json(&json!({ "run": run, "status": RunStatus::Completed, "result": result }))?,
                false => output::json_pretty(&result)?,
            }
            return Ok(ExitCode::SUCCESS);
        }
        RunOutcome::Failed(failure) => (RunStatus::Failed, failure),
        RunOutcome::Cancelled(failure) => (RunStatus::Cancelled, failure),
        RunOutcome::Terminated(failure) => (RunStatus::Terminated, failure),
        RunOutcome::Continued(next) => {
            return Err(Problem::new(
                Exit::Failed,
                format_args!("run {run} goes on in run {}", next.run),
            ));
        }
    };
    if global.json {
        output::json(&json!({ "run": run, "status": status, "failure": failure }))?;
    }
    Err(match status {
        RunStatus::Cancelled | RunStatus::Terminated => {
            Problem::new(Exit::Failed, format_args!("run {run} was {status}: {}", failure.message))
        }
        _ => Problem::new(Exit::Failed, format_args!("run {run} failed: {failure}")),
    })
}
