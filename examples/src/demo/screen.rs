//! What the demo prints: a line for each thing that happens, with the seconds since it began.

use std::fmt::Display;

use everstep::journal::{Entry, EntryKey, JournalEntry, RunOutcome, StepResult};
use everstep::{Client, ClientError, RunId};
use tokio::time::Instant;

/// Characters of a value that are shown.
const VALUE_CHARS_MAX: usize = 72;

/// Standard output, and when it all began.
#[derive(Debug)]
pub(super) struct Screen {
    began: Instant,
}

impl Screen {
    pub(super) fn begin() -> Self {
        println!("\nAn order is paid for on Everstep, and the processes that do the work are killed on the way.\n");
        Self { began: Instant::now() }
    }

    /// Something happened to a process, or outside.
    pub(super) fn say(&self, what: impl Display) {
        println!("{:>6.2} s  {what}", self.began.elapsed().as_secs_f64());
    }

    /// Something that the customer should notice.
    pub(super) fn stress(&self, what: impl Display) {
        let (on, off) = if std::io::IsTerminal::is_terminal(&std::io::stdout()) {
            ("\x1b[1;31m", "\x1b[0m")
        } else {
            ("", "")
        };
        self.say(format_args!("{on}{what}{off}"));
    }

    /// An entry reached the run's journal.
    pub(super) async fn entry(&self, client: &Client, run: &RunId, entry: &JournalEntry) -> Result<(), ClientError> {
        let value = match entry.entry.payload() {
            Some(payload) => shortened(&client.value(run, payload).await?.to_string()),
            None => String::new(),
        };
        let (what, how) = described(entry, value);
        self.say(format_args!("  │ {what:<18} {how}"));
        Ok(())
    }

    /// The end of it.
    pub(super) fn close(&self, lines: &[String]) {
        println!();
        for line in lines {
            println!("{line}");
        }
        println!();
    }
}

fn described(entry: &JournalEntry, value: String) -> (String, String) {
    let what = entry.key.step().map(ToString::to_string);
    let what = what.unwrap_or_else(|| entry.key.to_string());
    let how = match (&entry.key, &entry.entry) {
        (_, Entry::Start(start)) => format!("{}({value})", start.workflow),
        (EntryKey::Begun(_, _, delivery), _) => format!("handed out again (delivery {delivery}): its worker went silent"),
        (EntryKey::Try(_, attempt), Entry::Try(failed)) => format!("attempt {attempt} failed: {}", failed.message),
        (_, Entry::Step(outcome)) => match &outcome.result {
            StepResult::Value(_) => format!("→ {value}"),
            StepResult::Failure(failure) => format!("✗ {failure}"),
        },
        (_, Entry::Timer(_)) => "the sleep is over".to_owned(),
        (_, Entry::End(ended)) => match &ended.outcome {
            RunOutcome::Completed(_) => format!("completed: {value}"),
            RunOutcome::Failed(failure) | RunOutcome::Cancelled(failure) | RunOutcome::Terminated(failure) => {
                format!("✗ {failure}")
            }
            RunOutcome::Continued(next) => format!("goes on in run {}", next.run),
        },
        _ => value,
    };
    (what, how)
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
