//! The child's end of a child process: it tells the harness how far it is, and ends with it.
//!
//! ```text
//! harness ── stdin: kept open, its end is the child's ──▶ role
//!         ◀── stdout: one Message a line, as JSON ──────
//! ```

use std::io::{Read, Write};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One line from a child.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// It is connected and can begin.
    Ready,
    /// So much is done.
    Progress(u64),
    /// What it found in the end. It goes on living until the harness has looked at its usage.
    Done(Value),
}

/// A role's way to speak to the harness.
#[derive(Debug)]
pub struct Stage(());

impl Stage {
    /// Begins a role. From here on the process ends when its standard input does: a harness that is killed takes all its children along.
    pub fn enter() -> Self {
        std::thread::spawn(|| {
            let mut ignored = [0; 64];
            while std::io::stdin().read(&mut ignored).is_ok_and(|count| count > 0) {}
            std::process::exit(0);
        });
        Self(())
    }

    /// Says something.
    pub fn say(&self, message: &Message) -> anyhow::Result<()> {
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{}", serde_json::to_string(message)?)?;
        stdout.flush()?;
        Ok(())
    }

    /// Says that it can begin.
    pub fn ready(&self) -> anyhow::Result<()> {
        self.say(&Message::Ready)
    }

    /// Tells the result and waits to be ended.
    pub async fn done(self, result: impl Serialize) -> anyhow::Result<()> {
        self.say(&Message::Done(serde_json::to_value(result)?))?;
        std::future::pending().await
    }
}
