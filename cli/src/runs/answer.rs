//! `everstep runs signal`, `update`, `answer`, `approve` and `reject`: what people and programs say to a run.

use std::process::ExitCode;

use everstep::{PayloadHash, Respondent, RunId};
use serde_json::Value;

use super::{done, would};
use crate::arguments::{Answer, Approve, Global, Signal, Update, Who};
use crate::connection::{Connection, open};
use crate::output;
use crate::problem::{Exit, Problem};
use crate::run::read_text;

impl From<Who> for Respondent {
    fn from(who: Who) -> Self {
        let respondent = who.groups.into_iter().fold(Self::new(who.by), Self::in_group);
        match who.reason {
            Some(reason) => respondent.because(reason),
            None => respondent,
        }
    }
}

/// Sends a run a signal.
pub(crate) async fn signal(global: &Global, arguments: Signal) -> Result<ExitCode, Problem> {
    let text = read_text(&arguments.value)?;
    let value: Value = serde_json::from_str(&text)
        .map_err(|error| Problem::new(Exit::Usage, format_args!("the value of the signal is not JSON: {error}")))?;
    let connection = open(global).await?;
    let run = connection.find_run(&arguments.which.run).await?;
    if arguments.dry_run {
        return would(global, &connection, &run, "signal").await;
    }
    let id = arguments.id.unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string());
    connection.client.signal(&run, &arguments.name, &id, &value).await?;
    done(global, &run, "signal")
}

/// Asks a run to do something, and prints its answer.
pub(crate) async fn update(global: &Global, arguments: Update) -> Result<ExitCode, Problem> {
    let text = read_text(&arguments.value)?;
    let value: Value = serde_json::from_str(&text)
        .map_err(|error| Problem::new(Exit::Usage, format_args!("the value of the update is not JSON: {error}")))?;
    let connection = open(global).await?;
    let run = connection.find_run(&arguments.which.run).await?;
    if arguments.dry_run {
        return would(global, &connection, &run, "update").await;
    }
    let mut update = connection.client.update::<_, Value>(&run, &arguments.name, &value);
    if let Some(key) = arguments.key {
        update = update.key(key);
    }
    if let Some(timeout) = arguments.timeout {
        update = update.deadline(timeout);
    }
    let answer = update.await?;
    output::line(answer)?;
    Ok(ExitCode::SUCCESS)
}

/// Answers a question.
pub(crate) async fn answer(global: &Global, arguments: Answer) -> Result<ExitCode, Problem> {
    let value = arguments.value.as_deref().map(read_text).transpose()?;
    let connection = open(global).await?;
    let run = connection.find_run(&arguments.which.run).await?;
    if arguments.dry_run {
        return would(global, &connection, &run, "answer").await;
    }
    let (client, wait) = (&connection.client, arguments.wait.as_str());
    match value {
        // What is no JSON is a text: `--value blue` needs no quotes within quotes.
        Some(text) => {
            let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
            client.answer(&run, wait, &value, arguments.who).await?;
        }
        None => client.skip(&run, wait, arguments.who).await?,
    }
    done(global, &run, "answer")
}

/// Says yes or no to an approval.
pub(crate) async fn decide(global: &Global, arguments: Approve, yes: bool) -> Result<ExitCode, Problem> {
    let verb = if yes { "approve" } else { "reject" };
    let connection = open(global).await?;
    let run = connection.find_run(&arguments.which.run).await?;
    if arguments.dry_run {
        return would(global, &connection, &run, verb).await;
    }
    let (client, wait) = (&connection.client, arguments.wait.as_str());
    match subject(&connection, &run, wait, arguments.hash).await? {
        Some(hash) if yes => client.approve(&run, wait, hash, arguments.who).await?,
        Some(hash) => client.reject(&run, wait, hash, arguments.who).await?,
        // A question whose answer is yes or no.
        None => client.answer(&run, wait, verb, arguments.who).await?,
    }
    done(global, &run, verb)
}

/// The hash that is decided on: the one given, or that of what the run asks about, which is then told.
async fn subject(
    connection: &Connection,
    run: &RunId,
    wait: &str,
    given: Option<PayloadHash>,
) -> Result<Option<PayloadHash>, Problem> {
    if given.is_some() {
        return Ok(given);
    }
    let terms = connection.client.question(run, wait).await?.question.approval;
    if let Some(terms) = &terms {
        eprintln!("it has the hash {}", terms.hash);
    }
    Ok(terms.map(|terms| terms.hash))
}
