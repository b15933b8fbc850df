//! What stands behind `everstep runs`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use everstep::{PayloadHash, RunStatus, WorkflowName};

use super::parse_duration;

#[derive(Debug, Subcommand)]
pub(crate) enum Runs {
    /// List runs, the newest first
    Ls(List),
    /// Show where a run stands, why it waits, and its timeline
    Show(Which),
    /// Print a run's timeline, and go on until it ends
    Tail(Tail),
    /// Show a run with the runs that it started, and what those started
    Tree(Which),
    /// Ask a run to cancel
    Cancel(Cancel),
    /// End a run at once, as it stands: nothing is cleaned up
    Terminate(Cancel),
    /// Have a parked run tried again
    Resume(Resume),
    /// Send a run a signal
    Signal(Signal),
    /// Ask a run to do something, and print its answer
    Update(Update),
    /// Answer what a run asks
    Answer(Answer),
    /// Approve what a run asks to be approved
    Approve(Approve),
    /// Reject what a run asks to be approved
    Reject(Approve),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only runs of this workflow
    #[arg(long)]
    pub workflow: Option<WorkflowName>,
    /// Only runs with this status
    #[arg(long, value_enum)]
    pub status: Option<Status>,
    /// At most so many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The run's id, or as much of its beginning as names no other
    pub run: String,
}

#[derive(Debug, Args)]
pub(crate) struct Tail {
    #[command(flatten)]
    pub which: Which,
    /// Give up after this long, such as 30s or 5m
    #[arg(long, value_parser = parse_duration)]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct Cancel {
    #[command(flatten)]
    pub which: Which,
    /// Why, for those who read the journal
    #[arg(long, default_value = "", hide_default_value = true)]
    pub reason: String,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Resume {
    #[command(flatten)]
    pub which: Which,
    /// Go on although the code no longer asks for steps that are recorded
    #[arg(long)]
    pub accept_unasked: bool,
    /// Why, for those who read the journal
    #[arg(long, default_value = "", hide_default_value = true)]
    pub reason: String,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Signal {
    #[command(flatten)]
    pub which: Which,
    /// The signal's name
    pub name: String,
    /// Its value as JSON; `-` reads it from standard input
    #[arg(long, default_value = "null")]
    pub value: String,
    /// The same id and value are the same signal, however often it is sent; a new one without it
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub id: Option<String>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Update {
    #[command(flatten)]
    pub which: Which,
    /// The update's name
    pub name: String,
    /// What is asked for, as JSON; `-` reads it from standard input
    #[arg(long, default_value = "null")]
    pub value: String,
    /// The same key, name and value are the same update, done once and with one answer; a new one without it
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub key: Option<String>,
    /// How long to wait for the answer, such as 30s or 5m; a minute without it
    #[arg(long, value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Who says something to a run.
#[derive(Debug, Args)]
pub(crate) struct Who {
    /// Who answers
    #[arg(long, env = "USER", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub by: String,
    /// A group that they are in; can be given again
    #[arg(long = "group")]
    pub groups: Vec<String>,
    /// Why, for those who read the journal
    #[arg(long)]
    pub reason: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Answer {
    #[command(flatten)]
    pub which: Which,
    /// The question's name, as `everstep runs show` tells it
    pub wait: String,
    /// The answer as JSON, or as a text; `-` reads it from standard input
    #[arg(long, required_unless_present = "skip", conflicts_with = "skip")]
    pub value: Option<String>,
    /// Leave the question unanswered
    #[arg(long)]
    pub skip: bool,
    #[command(flatten)]
    pub who: Who,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Approve {
    #[command(flatten)]
    pub which: Which,
    /// The approval's name, as `everstep runs show` tells it
    pub wait: String,
    /// The hash of what you were shown, in full; else of what the run asks about now
    #[arg(long)]
    pub hash: Option<PayloadHash>,
    #[command(flatten)]
    pub who: Who,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Status {
    /// Begins later
    Scheduled,
    /// Driven, or waiting
    Running,
    /// Stands still until someone acts
    Parked,
    /// Returned a value
    Completed,
    /// Returned an error
    Failed,
    /// Was cancelled
    Cancelled,
    /// Was ended as it stood
    Terminated,
    /// Goes on in another run
    Continued,
}

impl From<Status> for RunStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Scheduled => Self::Scheduled,
            Status::Running => Self::Running,
            Status::Parked => Self::Parked,
            Status::Completed => Self::Completed,
            Status::Failed => Self::Failed,
            Status::Cancelled => Self::Cancelled,
            Status::Terminated => Self::Terminated,
            Status::Continued => Self::Continued,
        }
    }
}
