//! What one run may use, so that one run's mistake stays its own.

use everstep_common::limits::{
    CHILDREN_OPEN_MAX, JOURNAL_ENTRIES_MAX, SIGNALS_UNREAD_MAX, STEPS_IN_FLIGHT_MAX, UPDATES_UNREAD_MAX,
};

/// The bounds of one run. Beyond them it is parked, not failed: code that asks for less can be deployed and goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Keys asked for, and entries applied, in all.
    pub entries: usize,
    /// Steps open at the same time.
    pub steps_open: usize,
    /// Children open at the same time.
    pub children_open: usize,
    /// Signals that have come and were not taken.
    pub signals_kept: usize,
    /// Updates that have come and were not taken. One more is rejected, and the run goes on.
    pub updates_kept: usize,
    /// Polls of the workflow for one entry. An honest workflow needs a handful; one that wakes itself for ever needs more than
    /// any number, and this one costs milliseconds.
    pub polls_per_entry: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: JOURNAL_ENTRIES_MAX,
            steps_open: STEPS_IN_FLIGHT_MAX,
            children_open: CHILDREN_OPEN_MAX,
            signals_kept: SIGNALS_UNREAD_MAX,
            updates_kept: UPDATES_UNREAD_MAX,
            polls_per_entry: 100_000,
        }
    }
}
