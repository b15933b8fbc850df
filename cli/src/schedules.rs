//! `everstep schedules …`: looking at schedules, and moving them.

use std::process::ExitCode;

use serde_json::json;

use crate::arguments::{Backfill, Global, Pause, WhichSchedule};
use crate::connection::open;
use crate::output::{self, moment};
use crate::problem::Problem;

/// Lists all schedules.
pub(crate) async fn list(global: &Global) -> Result<ExitCode, Problem> {
    let schedules = open(global).await?.client.schedules().await?;
    if global.json {
        output::json_pretty(&schedules)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = output::table(["SCHEDULE", "TIMES", "NEXT", "LAST", "LAST RUN", "SKIPPED"]);
    for schedule in schedules {
        let paused = || match &schedule.reason {
            Some(reason) => format!("paused: {reason}"),
            None => "paused".to_owned(),
        };
        table.add_row([
            schedule.id.clone(),
            format!("{} ({})", schedule.expression, schedule.time_zone),
            schedule.next.map_or_else(paused, moment),
            schedule.last_time.map(moment).unwrap_or_default(),
            schedule.last_run.as_ref().map(ToString::to_string).unwrap_or_default(),
            schedule.skipped.to_string(),
        ]);
    }
    output::print_table(&table)?;
    Ok(ExitCode::SUCCESS)
}

/// Has one stand still.
pub(crate) async fn pause(global: &Global, arguments: Pause) -> Result<ExitCode, Problem> {
    let client = open(global).await?.client;
    let schedule = &arguments.which.schedule;
    if arguments.which.dry_run {
        eprintln!("would pause {schedule}");
        return Ok(ExitCode::SUCCESS);
    }
    client.pause_schedule(schedule, &arguments.reason).await?;
    eprintln!("{schedule} is paused");
    Ok(ExitCode::SUCCESS)
}

/// Has one go on.
pub(crate) async fn resume(global: &Global, arguments: WhichSchedule) -> Result<ExitCode, Problem> {
    let client = open(global).await?.client;
    let schedule = &arguments.schedule;
    if arguments.dry_run {
        eprintln!("would resume {schedule}");
        return Ok(ExitCode::SUCCESS);
    }
    client.resume_schedule(schedule).await?;
    eprintln!("{schedule} goes on with its next time");
    Ok(ExitCode::SUCCESS)
}

/// Starts the runs of times that have had none.
pub(crate) async fn backfill(global: &Global, arguments: Backfill) -> Result<ExitCode, Problem> {
    let client = open(global).await?.client;
    let (schedule, from, to) = (&arguments.which.schedule, arguments.from, arguments.to);
    let times = client.schedule_times(schedule, from, to).await?;
    if arguments.which.dry_run {
        match global.json {
            true => output::json(&json!({ "dry_run": true, "schedule": schedule, "times": times }))?,
            false => eprintln!("would have {} times of {schedule} run", times.len()),
        }
        return Ok(ExitCode::SUCCESS);
    }
    let runs = client.backfill_schedule(schedule, from, to).await?;
    if global.json {
        output::json(&json!({ "schedule": schedule, "runs": runs }))?;
    } else {
        runs.iter().try_for_each(output::line)?;
        eprintln!("{} times of {schedule} have their runs", runs.len());
    }
    Ok(ExitCode::SUCCESS)
}
