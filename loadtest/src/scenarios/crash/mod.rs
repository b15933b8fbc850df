//! `crash`: a process is killed again and again under load, and nothing may be lost or done twice.
//!
//! ```text
//! client ── orders ──▶ engine ── a booking for each step ──▶ ledger (a process of its own, never killed)
//!                        ▲
//! harness ── SIGKILL, restart, wait for the journal to move, again
//! ```

pub mod ledger;
mod progress;

use std::time::Duration;

use anyhow::ensure;
use clap::{Args, ValueEnum};
use everstep_common::ports::Clock;
use everstep_nats::TokioClock;

use self::ledger::{Ledger, Tally};
use self::progress::Journal;
use crate::engine::load::{Found, Load, Workflow};
use crate::engine::roles::Part;
use crate::engine::{self, Engine};
use crate::harness::report::round;
use crate::harness::{Output, Process, Report, Server};
use crate::roles::Role;

/// How much to do.
#[derive(Clone, Copy, Debug, Args)]
pub struct Settings {
    /// Whom to kill.
    #[arg(long, value_enum)]
    pub victim: Victim,
    /// How many runs, all at once.
    #[arg(long, default_value_t = 500)]
    pub runs: u64,
    /// How many bookings each makes, one after the other.
    #[arg(long, default_value_t = 8)]
    pub steps: u64,
    /// How often to kill, if the runs last so long.
    #[arg(long, default_value_t = 5)]
    pub kills: u64,
}

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Victim {
    /// The process that runs functions.
    Worker,
    /// The process that drives runs.
    Orchestrator,
    /// The server, on whose store it starts again.
    Nats,
}

/// Executions that the worker has at once: few enough that a dead worker takes only some of the tasks along.
const SLOTS: usize = 32;

/// How long the load goes on undisturbed before the next kill.
const UNDISTURBED: Duration = Duration::from_millis(800);

/// How long a victim stays dead.
const DEAD: Duration = Duration::from_millis(100);

/// What the kills showed.
#[derive(Debug, Default)]
struct Kills {
    /// From each restart to the first entry that the victim's work brought.
    first_progress: Vec<Duration>,
}

/// Runs the scenario and prints the report. Anything lost or doubled is an error.
pub async fn run(settings: &Settings, server: &mut Server, output: &Output) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("ledger");
    let books = Process::start(Role::Ledger, &socket).await?;
    let told = |part| Part {
        slots: SLOTS,
        ledger: Some(socket.clone()),
        ..part
    };
    let mut engine = Engine::start_with(server, told).await?;
    engine.warm_up().await?;

    let before = engine.usages(server)?;
    let load = Load {
        workflow: Workflow::Orders,
        size: settings.steps,
        runs: settings.runs,
        concurrency: settings.runs,
    };
    let mut client = engine.client(load).await?;
    let (found, kills) = under_fire(settings, &mut engine, server, &mut client, output).await?;
    let mut usages = engine.usages(server)?.since(&before);
    usages.client = Some(client.usage()?);
    client.end().await?;
    let tally = Ledger::at(socket).tally().await?;

    let report = engine::report("crash", load, &found, &usages, server);
    output.print(&with_findings(report, settings.victim, &kills, &tally))?;
    engine.end().await?;
    books.end().await?;
    verdict(settings, &found, &tally)
}

/// Kills until that was often enough or the client is done, then waits for the client.
async fn under_fire(
    settings: &Settings,
    engine: &mut Engine,
    server: &mut Server,
    client: &mut Process,
    output: &Output,
) -> anyhow::Result<(Found, Kills)> {
    let bar = output.bar("crash", settings.runs);
    let mut journal = Journal::follow(server, &engine.part().prefix).await?;
    let mut kills = Kills::default();
    let found = {
        let mut result = std::pin::pin!(client.result(|runs| bar.set_position(runs)));
        loop {
            // No more kills than asked for: then there is nothing to wait for but the client.
            let undisturbed = async {
                match kills.first_progress.len() as u64 {
                    enough if enough >= settings.kills => std::future::pending().await,
                    _ => TokioClock.sleep(UNDISTURBED).await,
                }
            };
            tokio::select! {
                found = &mut result => break found?,
                () = undisturbed => {}
            }
            // Not given up when the client is done meanwhile: what was killed is started again.
            let restarted = kill(settings.victim, engine, server).await?;
            tokio::select! {
                found = &mut result => break found?,
                moved = journal.moved_after(restarted, settings.victim) => kills.first_progress.push(moved?),
            }
        }
    };
    bar.finish_and_clear();
    Ok((found, kills))
}

/// Kills the victim and starts it again; when it was started.
async fn kill(victim: Victim, engine: &mut Engine, server: &mut Server) -> anyhow::Result<jiff::Timestamp> {
    match victim {
        Victim::Worker => engine.kill_worker().await?,
        Victim::Orchestrator => engine.kill_orchestrator().await?,
        Victim::Nats => server.kill()?,
    }
    TokioClock.sleep(DEAD).await;
    let restarted = TokioClock.wall();
    match victim {
        Victim::Worker => engine.restart_worker().await?,
        Victim::Orchestrator => engine.restart_orchestrator().await?,
        Victim::Nats => server.restart().await?,
    }
    Ok(restarted)
}

fn with_findings(report: Report, victim: Victim, kills: &Kills, tally: &Tally) -> Report {
    let millis: Vec<f64> = kills
        .first_progress
        .iter()
        .map(|moved| round(moved.as_secs_f64() * 1e3, 1))
        .collect();
    let slowest = millis.iter().copied().fold(0.0, f64::max);
    let victim = victim.to_possible_value().map(|value| value.get_name().to_owned());
    report
        .with("victim", victim)
        .with("kills", millis.len())
        .with("first_progress_ms", millis)
        .with("first_progress_max_ms", slowest)
        .with("bookings", tally.bookings)
        .with("booking_keys", tally.keys)
        .with("bookings_doubled", tally.doubled)
        .with("booking_calls", tally.calls)
}

/// Every logical step booked, each under one key.
fn verdict(settings: &Settings, found: &Found, tally: &Tally) -> anyhow::Result<()> {
    let expected = settings.runs * settings.steps;
    ensure!(found.failed == 0, "{} runs failed", found.failed);
    ensure!(
        tally.doubled == 0,
        "{} bookings were made under more than one key",
        tally.doubled
    );
    ensure!(
        tally.bookings == expected && tally.keys == expected,
        "{} bookings under {} keys, not {expected}",
        tally.bookings,
        tally.keys
    );
    Ok(())
}
