//! `everstep runs ls`.

use std::process::ExitCode;

use everstep::{ListFilter, ListedRun, RunId, RunSummary};
use serde::Serialize;

use crate::arguments::{Global, List};
use crate::connection::open;
use crate::output::{self, moment, shortened};
use crate::problem::Problem;

/// A run and its summary, as one JSON object.
#[derive(Serialize)]
struct Row<'a> {
    run: &'a RunId,
    #[serde(flatten)]
    summary: &'a RunSummary,
}

/// Lists runs by their summaries.
pub(crate) async fn list(global: &Global, arguments: List) -> Result<ExitCode, Problem> {
    let connection = open(global).await?;
    let limit = arguments.limit as usize;
    let mut listed = connection
        .client
        .list(&ListFilter {
            workflow: arguments.workflow,
            status: arguments.status.map(Into::into),
            // One more tells whether there are more.
            limit: limit + 1,
        })
        .await?;
    let more = listed.len() > limit;
    listed.truncate(limit);
    if global.json {
        let rows: Vec<_> = listed.iter().map(|ListedRun { run, summary }| Row { run, summary }).collect();
        output::json_pretty(&rows)?;
    } else {
        print(&listed)?;
    }
    if more {
        eprintln!("hint: there are more; raise --limit, or filter with --workflow and --status");
    }
    Ok(ExitCode::SUCCESS)
}

/// Why it stands still, how it failed, or whom it waits for.
fn why(summary: &RunSummary) -> String {
    let waits = summary
        .waits
        .iter()
        .map(|wait| format!("waits for {} {}", wait.kind, wait.key));
    summary.reason.clone().unwrap_or_else(|| waits.collect::<Vec<_>>().join(", "))
}

fn print(listed: &[ListedRun]) -> std::io::Result<()> {
    if listed.is_empty() {
        eprintln!("no runs");
        return Ok(());
    }
    let mut table = output::table(["RUN", "WORKFLOW", "STATUS", "STARTED", "SINCE", "WHY"]);
    for ListedRun { run, summary } in listed {
        table.add_row([
            run.to_string(),
            summary.workflow.to_string(),
            summary.status.to_string(),
            moment(summary.started),
            moment(summary.since),
            shortened(&why(summary)),
        ]);
    }
    output::print_table(&table)
}
