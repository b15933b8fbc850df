//! `everstep event …`: publishing events, and who listens to them.

use std::process::ExitCode;

use everstep::trigger::Trigger;
use serde_json::json;

use crate::arguments::{Forget, Global, SendEvent};
use crate::connection::open;
use crate::output::{self, moment};
use crate::problem::{Exit, Problem};
use crate::run;

/// Publishes one event.
pub(crate) async fn send(global: &Global, arguments: SendEvent) -> Result<ExitCode, Problem> {
    let data = run::json_input(&arguments.data, "data")?;
    let connection = open(global).await?;
    if arguments.dry_run {
        eprintln!("would publish {}({data})", arguments.name);
        return Ok(ExitCode::SUCCESS);
    }
    let mut event = connection
        .client
        .publish_event(&arguments.name, &data)
        .source(arguments.source);
    if let Some(id) = &arguments.id {
        event = event.id(id.clone());
    }
    event.await?;
    match global.json {
        true => output::json(&json!({ "event": arguments.name, "id": arguments.id }))?,
        false => eprintln!("published {}", arguments.name),
    }
    Ok(ExitCode::SUCCESS)
}

/// Lists who listens, and what to.
pub(crate) async fn listeners(global: &Global) -> Result<ExitCode, Problem> {
    let listeners = open(global).await?.client.listeners().await?;
    if global.json {
        output::json_pretty(&listeners)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = output::table(["WORKFLOW", "VERSION", "LISTENS TO", "SINCE"]);
    for listener in listeners {
        for trigger in &listener.triggers {
            let since = moment(listener.registered);
            table.add_row([
                listener.workflow.to_string(),
                listener.version.to_string(),
                described(trigger),
                since,
            ]);
        }
    }
    output::print_table(&table)?;
    Ok(ExitCode::SUCCESS)
}

fn described(trigger: &Trigger) -> String {
    match trigger {
        Trigger::Event(trigger) => match &trigger.filter {
            Some(filter) => format!("event {} if {filter}", trigger.event),
            None => format!("event {}", trigger.event),
        },
        Trigger::Cron(trigger) => format!("cron {} ({})", trigger.expression, trigger.time_zone),
    }
}

/// Lists the events that could not be taken up.
pub(crate) async fn refused(global: &Global) -> Result<ExitCode, Problem> {
    let refused = open(global).await?.client.refused_events().await?;
    if global.json {
        let list: Vec<_> = refused
            .iter()
            .map(|(time, refused)| json!({ "time": time, "refused": refused }))
            .collect();
        output::json_pretty(&list)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = output::table(["WHEN", "EVENT", "SEQUENCE", "WORKFLOW", "REASON"]);
    for (time, refused) in refused {
        let (workflow, sequence) = (refused.workflow.to_string(), refused.sequence.to_string());
        table.add_row([moment(time), refused.event, sequence, workflow, refused.reason]);
    }
    output::print_table(&table)?;
    Ok(ExitCode::SUCCESS)
}

/// Has a workflow listen to nothing.
pub(crate) async fn forget(global: &Global, arguments: Forget) -> Result<ExitCode, Problem> {
    let client = open(global).await?.client;
    let workflow = &arguments.workflow;
    if arguments.dry_run {
        eprintln!("would have {workflow} listen to nothing");
        return Ok(ExitCode::SUCCESS);
    }
    match client.forget_listener(workflow).await? {
        true => eprintln!("{workflow} listens to nothing until an orchestrator that has its code starts"),
        false => {
            return Err(Problem::new(Exit::NotFound, format_args!("{workflow} listens to nothing"))
                .hint("`everstep event listeners` lists the workflows that do"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
