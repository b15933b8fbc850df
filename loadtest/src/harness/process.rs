//! The harness' end of a child process.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::role::Message;
use super::usage::Usage;
use crate::roles::Role;

/// How long a child may take to connect.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// How long a child may take to end by itself.
const END_WITHIN: Duration = Duration::from_secs(10);

/// A child that plays a role. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    role: Role,
    child: Child,
    /// Its end is the child's.
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
    /// Known from the start; the child no longer tells it once it has ended.
    pid: u32,
}

impl Process {
    /// Starts this binary in `role` and waits until it is ready.
    pub async fn start(role: Role, settings: &impl Serialize) -> anyhow::Result<Self> {
        let mut process = Self::spawn(role, settings)?;
        let first = tokio::time::timeout(READY_WITHIN, process.message()).await;
        match first.with_context(|| format!("{} is not ready after {READY_WITHIN:?}", role.name()))?? {
            Message::Ready => Ok(process),
            other => bail!("{} began with {other:?}", role.name()),
        }
    }

    fn spawn(role: Role, settings: &impl Serialize) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("role")
            .arg(role.name())
            .arg(serde_json::to_string(settings)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", role.name()))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("the child has no stdout")?;
        let pid = child.id().context("the child has no process id")?;
        Ok(Self {
            role,
            child,
            stdin,
            lines: BufReader::new(stdout).lines(),
            pid,
        })
    }

    /// What it says next. A child that ends instead is an error, with its status.
    pub async fn message(&mut self) -> anyhow::Result<Message> {
        match self.lines.next_line().await? {
            Some(line) => serde_json::from_str(&line).with_context(|| format!("{} said {line:?}", self.role.name())),
            None => bail!("{} ended by itself: {}", self.role.name(), self.child.wait().await?),
        }
    }

    /// Waits for its result, handing on how far it is.
    pub async fn result<T: DeserializeOwned>(&mut self, mut progress: impl FnMut(u64)) -> anyhow::Result<T> {
        loop {
            match self.message().await? {
                Message::Ready => bail!("{} was ready twice", self.role.name()),
                Message::Progress(so_far) => progress(so_far),
                Message::Done(result) => {
                    return serde_json::from_value(result).with_context(|| format!("the result of {}", self.role.name()));
                }
            }
        }
    }

    /// What it has used so far.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of(self.pid)
    }

    /// SIGKILL; what it had used. The process is gone afterwards.
    pub async fn kill(&mut self) -> anyhow::Result<Usage> {
        let used = self.usage()?;
        self.child.kill().await?;
        Ok(used)
    }

    /// Ends it and waits until it is gone.
    pub async fn end(mut self) -> anyhow::Result<ExitStatus> {
        drop(self.stdin.take());
        match tokio::time::timeout(END_WITHIN, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => {
                self.child.kill().await?;
                bail!("{} did not end within {END_WITHIN:?} and was killed", self.role.name())
            }
        }
    }
}
