//! One nats-server process, and the watchdog that ends it with its owner.
//!
//! A shell puts the watchdog into the background and becomes nats-server by `exec`, so the child we hold *is* the server:
//!
//! ```text
//! owner ──spawn──▶ sh ──exec──▶ nats-server        (one process id)
//!   │               └─fork──▶ watchdog: read a line from the pipe, else kill -9 the server and wipe its temporary folder
//!   └── writing end of the pipe: a line stands the watchdog down, the owner's death closes it
//! ```
//!
//! The kernel's own parent-death signal would need unsafe code, and it fires when the *thread* that spawned the child ends.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// `$$` stays the shell's own process id in the subshell, and is nats-server's after the `exec`. The folder is wiped twice because
/// the dying server may finish a write in between.
const SCRIPT: &str = r#"
wipe=$1
shift
exec 3<&0
(read -r stand_down <&3 || { kill -9 $$; [ -z "$wipe" ] || rm -rf -- "$wipe" || rm -rf -- "$wipe"; }) >/dev/null 2>&1 &
exec "$@" </dev/null 3<&-
"#;

/// A running nats-server. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    /// The writing end of the watchdog's pipe.
    watchdog: Option<ChildStdin>,
}

impl Process {
    /// Starts `binary -c config`, writing to `log`. If the owner dies first, `wipe` goes with it.
    pub(super) fn spawn(binary: &Path, config: &Path, log: &File, wipe: Option<&Path>) -> io::Result<Self> {
        let mut child = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "nats-server"])
            .arg(wipe.unwrap_or(Path::new("")))
            .arg(binary)
            .arg("-c")
            .arg(config)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log.try_clone()?)
            // A Ctrl-C in the owner's terminal is the owner's to answer; it must find its server alive while it drains.
            .process_group(0)
            .spawn()?;
        let watchdog = child.stdin.take();
        Ok(Self { child, watchdog })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// SIGKILL, and waits until the process is gone.
    pub(super) fn kill(&mut self) {
        // Only fails if it has ended already, which is what is wanted.
        let _ = self.child.kill();
        self.stand_watchdog_down();
        let _ = self.child.wait();
    }

    /// SIGTERM: the server closes its connections and its store by itself.
    pub(super) fn terminate(&self) -> io::Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).map_err(io::Error::from)
    }

    /// Must come before the child is waited for: from then on its process id may be another's, which the watchdog would kill.
    fn stand_watchdog_down(&mut self) {
        if let Some(mut pipe) = self.watchdog.take() {
            // Only fails if the watchdog is gone, and then it cannot do harm either.
            let _ = pipe.write_all(b"\n");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
