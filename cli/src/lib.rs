//! The `everstep` command: for operators, and for a server of one's own to develop against.
//!
//! | to learn | read |
//! |---|---|
//! | what can be said on the command line | `arguments` |
//! | exit codes and hints | `problem` |
//! | how results are printed | `output`, `timeline` |
//! | what each verb does | the module of its name; `runs` has one for each of its verbs |
//!
//! Data goes to standard output, everything else to standard error. Knows nothing of how runs are driven: everything here goes through
//! [`everstep::Client`] and what is stored.

mod arguments;
mod connection;
mod dev;
mod doctor;
mod events;
mod follow;
mod limits;
mod output;
mod problem;
mod provision;
mod run;
mod runs;
mod schedules;
mod sessions;
mod timeline;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use arguments::{Cli, Events, Limits, Runs, Schedules, Sessions, Verb};
use problem::Problem;

/// Does what the command line says; the exit code tells how it went.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match act(cli) {
        Ok(code) => code,
        Err(problem) => {
            problem.tell();
            problem.exit().into()
        }
    }
}

fn act(cli: Cli) -> Result<ExitCode, Problem> {
    // A command that was asked a question does not talk of its connection, unless that was asked for too.
    let logs_wanted = ["EVERSTEP_LOG", "OTEL_EXPORTER_OTLP_ENDPOINT"]
        .iter()
        .any(|name| std::env::var_os(name).is_some());
    let _telemetry = logs_wanted.then(everstep::Telemetry::start).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(perform(cli))
}

async fn perform(cli: Cli) -> Result<ExitCode, Problem> {
    let Cli { global, verb } = cli;
    match verb {
        Verb::Dev(arguments) => dev::dev(&global, arguments).await,
        Verb::Run(arguments) => run::run(&global, arguments).await,
        Verb::Runs(Runs::Ls(arguments)) => runs::list::list(&global, arguments).await,
        Verb::Runs(Runs::Show(arguments)) => runs::show::show(&global, arguments).await,
        Verb::Runs(Runs::Tail(arguments)) => runs::tail(&global, arguments).await,
        Verb::Runs(Runs::Cancel(arguments)) => runs::cancel(&global, arguments).await,
        Verb::Runs(Runs::Tree(arguments)) => runs::family::tree(&global, arguments).await,
        Verb::Runs(Runs::Terminate(arguments)) => runs::terminate(&global, arguments).await,
        Verb::Runs(Runs::Resume(arguments)) => runs::resume(&global, arguments).await,
        Verb::Runs(Runs::Signal(arguments)) => runs::answer::signal(&global, arguments).await,
        Verb::Runs(Runs::Update(arguments)) => runs::answer::update(&global, arguments).await,
        Verb::Runs(Runs::Answer(arguments)) => runs::answer::answer(&global, arguments).await,
        Verb::Runs(Runs::Approve(arguments)) => runs::answer::decide(&global, arguments, true).await,
        Verb::Runs(Runs::Reject(arguments)) => runs::answer::decide(&global, arguments, false).await,
        Verb::Sessions(Sessions::Show(arguments)) => sessions::show(&global, arguments).await,
        Verb::Event(Events::Send(arguments)) => events::send(&global, arguments).await,
        Verb::Event(Events::Listeners) => events::listeners(&global).await,
        Verb::Event(Events::Refused) => events::refused(&global).await,
        Verb::Event(Events::Forget(arguments)) => events::forget(&global, arguments).await,
        Verb::Schedules(Schedules::Ls) => schedules::list(&global).await,
        Verb::Schedules(Schedules::Pause(arguments)) => schedules::pause(&global, arguments).await,
        Verb::Schedules(Schedules::Resume(arguments)) => schedules::resume(&global, arguments).await,
        Verb::Schedules(Schedules::Backfill(arguments)) => schedules::backfill(&global, arguments).await,
        Verb::Limits(Limits::Ls) => limits::list(&global).await,
        Verb::Limits(Limits::Set(arguments)) => limits::set(&global, arguments).await,
        Verb::Limits(Limits::Rm { which, dry_run }) => limits::remove(&global, which, dry_run).await,
        Verb::Doctor(arguments) => doctor::doctor(&global, arguments).await,
        Verb::Provision(arguments) => provision::provision(&global, arguments).await,
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "everstep", &mut script);
            output::line(String::from_utf8_lossy(&script).trim_end())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
