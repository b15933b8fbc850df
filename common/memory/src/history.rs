//! What has happened in a simulation, line by line: equal seeds must give equal histories.

use std::fmt::{self, Write};
use std::time::Duration;

/// The lines, each with the simulated time in microseconds.
#[derive(Debug, Default)]
pub(crate) struct History(String);

impl History {
    /// Adds a line.
    pub(crate) fn note(&mut self, now: Duration, line: fmt::Arguments<'_>) {
        writeln!(self.0, "{:>12} {line}", now.as_micros()).expect("writing to a string cannot fail");
    }

    /// All of it.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}
