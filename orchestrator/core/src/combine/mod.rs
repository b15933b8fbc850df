//! Several futures of a workflow as one: fans of branches, the first of several, deadlines, shields.
//!
//! A block takes its scope's number when it is made (`parallel~2`), and begins its domain when it is first polled. Each branch is polled in
//! a scope of its own (`parallel~2/1`). A block that is to end early cancels its domain and polls its branches to their ends, so that
//! shielded clean-up in them is done; it never just drops them.
//!
//! No entry speaks of any of this: it follows from the entries that the branches wait for, in the poll that decides it.

mod deadline;
mod fan;
mod shield;

pub use deadline::DeadlineError;
pub(crate) use deadline::within_time;
pub use fan::{Block, Collected, Fan};
pub use shield::Shield;
