//! The demo's children: this binary again, as orchestrator or worker, each a process that can be killed.

use std::process::Stdio;

use everstep::DevServer;
use tokio::process::{Child, Command};

use super::{Error, PAYMENTS_VARIABLE};

/// One child. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Process {
    /// `worker` or `orchestrator`, as the command line says it.
    pub(super) role: &'static str,
    child: Child,
    /// The system's name for it.
    pub(super) id: u32,
}

impl Process {
    /// Starts a child that plays `role`.
    pub(super) fn start(role: &'static str, server: &DevServer, payments: &str) -> Result<Self, Error> {
        let failed = |source| Error::System {
            what: "starting a process of the demo",
            source,
        };
        let binary = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(binary);
        command
            .args([role, "--server", &server.connect().servers.join(",")])
            .env(PAYMENTS_VARIABLE, payments)
            // Read to its end by the child: it ends when we do, however that comes.
            .stdin(Stdio::piped())
            .kill_on_drop(true);
        if std::env::var_os("EVERSTEP_LOG").is_none() {
            command.env("EVERSTEP_LOG", "off");
        }
        let child = command.spawn().map_err(failed)?;
        let id = child.id().unwrap_or_default();
        Ok(Self { role, child, id })
    }

    /// SIGKILL, and waits until it is dead.
    pub(super) async fn kill(&mut self) -> Result<(), Error> {
        self.child.kill().await.map_err(|source| Error::System {
            what: "killing a process of the demo",
            source,
        })
    }
}

/// Has this process end as soon as the one that started it is gone.
pub fn end_with_owner() {
    std::thread::spawn(|| {
        // The owner never writes: this returns when its end of the pipe is closed.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(1);
    });
}
