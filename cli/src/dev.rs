//! `everstep dev`: a private nats-server with a deployment on it, for as long as this process or a command lives.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;

use everstep::{DevOptions, DevServer};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::{Dev, Global};
use crate::output;
use crate::problem::{Exit, Problem};

/// What a command that cannot be run ends in, as shells have it.
const CANNOT_RUN: u8 = 127;

/// What a process killed by a signal ends in, plus the signal's number, as shells have it.
const SIGNAL_BASE: i32 = 128;

/// Starts the server and stays, or runs the command against it.
pub(crate) async fn dev(global: &Global, arguments: Dev) -> Result<ExitCode, Problem> {
    let mut told = Told::listen()?;
    let mut server = DevServer::start(DevOptions {
        store: arguments.store,
        durability: arguments.durability.into(),
        prefix: Some(global.server.prefix.clone()),
        ..DevOptions::default()
    })
    .await?;
    let url = server.connect().servers.join(",");
    let code = if arguments.command.is_empty() {
        announce(global, &mut server, &url)?;
        tokio::select! {
            _ = told.next() => ExitCode::SUCCESS,
            error = server.server().ended() => return Err(error.into()),
        }
    } else {
        eprintln!("nats-server {url}");
        tokio::select! {
            code = run(&arguments.command, global, &url, &mut told) => code?,
            // The command is killed with this: what it works on is gone.
            error = server.server().ended() => return Err(error.into()),
        }
    };
    server.server().stop().await?;
    Ok(code)
}

fn announce(global: &Global, server: &mut DevServer, url: &str) -> std::io::Result<()> {
    let (store, monitor) = (server.server().store().display().to_string(), server.server().monitor_url());
    if global.json {
        return output::json(&json!({ "server": url, "monitor": monitor, "store": store }));
    }
    output::line(format_args!("nats-server  {url}"))?;
    output::line(format_args!("monitoring   {monitor}"))?;
    output::line(format_args!("store        {store}"))?;
    let prefix = global.server.prefix.as_str();
    let export = match prefix {
        "" => format!("export NATS_URL={url}"),
        prefix => format!("export NATS_URL={url} EVERSTEP_PREFIX={prefix}"),
    };
    eprintln!("\nIn another terminal:\n  {export}\n  everstep runs ls\n\nCtrl-C stops it.");
    Ok(())
}

/// Runs the command to its end. What we are told to do, it is told too, unless it hears that from the terminal as we do.
async fn run(command: &[OsString], global: &Global, url: &str, told: &mut Told) -> Result<ExitCode, Problem> {
    let mut child = Command::new(&command[0]);
    child.args(&command[1..]).env("NATS_URL", url).kill_on_drop(true);
    if !global.server.prefix.as_str().is_empty() {
        child.env("EVERSTEP_PREFIX", global.server.prefix.as_str());
    }
    let mut child = match child.spawn() {
        Ok(child) => child,
        Err(error) => {
            let name = command[0].to_string_lossy();
            Problem::new(Exit::Failed, format_args!("running {name}: {error}")).tell();
            return Ok(CANNOT_RUN.into());
        }
    };
    loop {
        tokio::select! {
            status = child.wait() => return Ok(code_of(status?)),
            signal = told.next() => {
                if signal != Signal::INT || !std::io::stdin().is_terminal() {
                    pass_on(&child, signal);
                }
            }
        }
    }
}

fn pass_on(child: &Child, signal: Signal) {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(id) = id {
        // It may have ended in this moment.
        let _ = kill_process(id, signal);
    }
}

fn code_of(status: std::process::ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt;
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| SIGNAL_BASE + signal))
        .and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}

/// The signals that end a process.
struct Told {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Told {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.interrupt.recv() => Signal::INT,
        }
    }
}
