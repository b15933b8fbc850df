//! What stands behind `everstep event` and `everstep schedules`: what starts runs by itself.

use clap::{Args, Subcommand};
use everstep::WorkflowName;

#[derive(Debug, Subcommand)]
pub(crate) enum Events {
    /// Publish an event: every workflow that listens to it is started once
    Send(SendEvent),
    /// List the workflows that listen, and what to
    Listeners,
    /// List the events that could not start a workflow which listens to them
    Refused,
    /// Have a workflow listen to nothing until an orchestrator with its code starts
    Forget(Forget),
}

#[derive(Debug, Args)]
pub(crate) struct SendEvent {
    /// What the event is called, such as user.signed_up
    pub name: String,
    /// Its data as JSON; `-` reads it from standard input
    #[arg(long, default_value = "null")]
    pub data: String,
    /// The same id and source are the same event, however often it is sent
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub id: Option<String>,
    /// Where it happened
    #[arg(long, default_value = "everstep/cli")]
    pub source: String,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Forget {
    /// The workflow's name
    pub workflow: WorkflowName,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Schedules {
    /// List schedules, when they run next and when they did last
    Ls,
    /// Have a schedule stand still
    Pause(Pause),
    /// Have a paused schedule go on with its next time
    Resume(WhichSchedule),
    /// Start a run for each time of a schedule in the past (or future) that has had none
    Backfill(Backfill),
}

#[derive(Debug, Args)]
pub(crate) struct WhichSchedule {
    /// The schedule, as `schedules ls` calls it: report/daily
    pub schedule: String,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Pause {
    #[command(flatten)]
    pub which: WhichSchedule,
    /// Why, for those who look at it
    #[arg(long, default_value = "", hide_default_value = true)]
    pub reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct Backfill {
    #[command(flatten)]
    pub which: WhichSchedule,
    /// From this time on, such as 2026-03-01T00:00:00Z
    #[arg(long)]
    pub from: jiff::Timestamp,
    /// Before this time
    #[arg(long)]
    pub to: jiff::Timestamp,
}
