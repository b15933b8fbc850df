//! The command line. What is said to [runs](runs), and of [what starts them](triggers), has a file of its own.

mod runs;
mod triggers;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use everstep::{DurabilityArg, ServerArgs, WorkflowName};
use everstep_common::limits::{LIMIT_SLOTS_MAX, PARTITIONS_MAX, REPLICAS_MAX};

pub(crate) use runs::{Answer, Approve, Cancel, List, Resume, Runs, Signal, Tail, Update, Which, Who};
pub(crate) use triggers::{Backfill, Events, Forget, Pause, Schedules, SendEvent, WhichSchedule};

/// Durable workflows on NATS JetStream
#[derive(Debug, Parser)]
#[command(name = "everstep", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

/// What every verb takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    #[command(flatten, next_help_heading = "Server")]
    pub server: ServerArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Start a private nats-server, ready for an application to connect to
    Dev(Dev),
    /// Start a run
    Run(Run),
    /// Look at runs, and move them
    #[command(subcommand)]
    Runs(Runs),
    /// Look at what the runs of a session share
    #[command(subcommand)]
    Sessions(Sessions),
    /// Publish events, and look at who listens
    #[command(subcommand)]
    Event(Events),
    /// Look at schedules, pause, resume and backfill them
    #[command(subcommand)]
    Schedules(Schedules),
    /// Look at limits of functions and queues, and set them
    #[command(subcommand)]
    Limits(Limits),
    /// Check the server and the deployment on it
    Doctor(Doctor),
    /// Make what a deployment needs on the server
    Provision(Provision),
    /// Print a completion script
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// Where the server keeps its data; a temporary folder without it
    #[arg(long)]
    pub store: Option<PathBuf>,
    /// What acknowledged writes survive
    #[arg(long, value_enum, default_value_t = DurabilityArg::Strict)]
    pub durability: DurabilityArg,
    /// Run this against the server, and stop with it
    #[arg(last = true)]
    pub command: Vec<std::ffi::OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The workflow's name
    pub workflow: WorkflowName,
    /// Its input as JSON; `-` reads it from standard input
    #[arg(long, default_value = "null")]
    pub input: String,
    /// The same key and input start the same run once
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub key: Option<String>,
    /// The session whose values the run shares with others: 1 to 256 characters
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub session: Option<String>,
    /// A label, as name=value; can be given again
    #[arg(long = "tag", value_parser = parse_tag)]
    pub tags: Vec<(String, String)>,
    /// Pin the run to this version of the workflow
    #[arg(long = "workflow-version", value_parser = clap::value_parser!(u32).range(1..))]
    pub version: Option<u32>,
    #[command(flatten)]
    pub terms: Terms,
    /// The input is one JSON value a line, or an object with "input" and, for the run's own, "key": start a run for each
    #[arg(long, conflicts_with_all = ["follow", "key"])]
    pub each: bool,
    /// Print the timeline as it happens, then the result
    #[arg(long)]
    pub follow: bool,
    /// With --follow: give up looking after this long, such as 30s or 5m; the run goes on
    #[arg(long, requires = "follow", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// When a run begins, by when it must be over, and what goes first.
#[derive(Debug, Args)]
pub(crate) struct Terms {
    /// Begin this long after the start, such as 90s or 36h
    #[arg(long, value_parser = parse_duration)]
    pub delay: Option<Duration>,
    /// Give the run this long from when it begins; then it ends as failed
    #[arg(long, value_parser = parse_duration)]
    pub deadline: Option<Duration>,
    /// Of tasks that wait under a limit, those of runs with a higher one go first, from -128 to 127
    #[arg(long, default_value_t = 0, allow_hyphen_values = true)]
    pub priority: i8,
    /// Whose work it is, where the workflow limits runs of one key
    #[arg(long)]
    pub limit_key: Option<String>,
    /// The trace that the run is a part of, as a W3C traceparent
    #[arg(long)]
    pub traceparent: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Limits {
    /// List limits, who holds a place and who waits
    Ls,
    /// Set a limit in place of what the code says, at once and for everybody
    Set(SetLimit),
    /// Have what the code says hold again
    Rm {
        #[command(flatten)]
        which: WhichLimit,
        /// Say what would be done, and do nothing
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct WhichLimit {
    /// Of what: function.<name>, queue.<name> or workflow.<name>
    pub limit: everstep::LimitName,
}

#[derive(Debug, Args)]
pub(crate) struct SetLimit {
    #[command(flatten)]
    pub which: WhichLimit,
    /// So many at a time
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(LIMIT_SLOTS_MAX)))]
    pub concurrency: Option<u32>,
    /// So many of one key at a time
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(LIMIT_SLOTS_MAX)))]
    pub per_key: Option<u32>,
    /// So fast, such as 100/s, 5/min or 10/30s
    #[arg(long)]
    pub rate: Option<everstep::Rate>,
    /// So fast those of one key
    #[arg(long)]
    pub per_key_rate: Option<everstep::Rate>,
    /// No limit, whatever the code says
    #[arg(long, conflicts_with_all = ["concurrency", "per_key", "rate", "per_key_rate"])]
    pub none: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Sessions {
    /// Show the values of a session
    Show(WhichSession),
}

#[derive(Debug, Args)]
pub(crate) struct WhichSession {
    /// The session's id
    pub session: String,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Task queues to look at, with commas
    #[arg(long, env = "EVERSTEP_QUEUES", value_delimiter = ',', default_value = "default")]
    pub queues: Vec<everstep::QueueName>,
    /// The server's monitoring address, such as http://127.0.0.1:8222; it tells the durability
    #[arg(long)]
    pub monitor: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Provision {
    /// How many partitions the journal has; may grow, never shrink [default: as provisioned, else 8]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(PARTITIONS_MAX)))]
    pub partitions: Option<u32>,
    /// On how many nodes each stream is kept [default: as provisioned, else 1]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=REPLICAS_MAX as i64))]
    pub replicas: Option<u8>,
    /// What acknowledged writes survive, as the server is configured [default: as provisioned, else strict]
    #[arg(long, value_enum)]
    pub durability: Option<DurabilityArg>,
    /// After how long a dead worker's tasks come back [default: as provisioned, else 30s]
    #[arg(long, value_parser = parse_duration)]
    pub ack_wait: Option<Duration>,
    /// Print what an administrator has to create, and do not connect
    #[arg(long)]
    pub print: bool,
    /// The task queues that workers serve, with commas; others are made when they are first used
    #[arg(long, env = "EVERSTEP_QUEUES", value_delimiter = ',', default_value = "default")]
    pub queues: Vec<everstep::QueueName>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

fn parse_tag(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or("a tag is written name=value")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let parsed: jiff::SignedDuration = text.parse().map_err(|_| "write a duration such as 30s or 5m".to_owned())?;
    parsed.try_into().map_err(|_| "a duration is not negative".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_are_written_with_their_unit() {
        assert_eq!(parse_duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
        assert!(parse_duration("30").is_err() && parse_duration("-1s").is_err());
    }
}
