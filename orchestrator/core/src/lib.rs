//! The pure heart of the engine: replays a workflow future against its journal and says what to do next.
//!
//! ```text
//!   Event ──▶ Run::apply ──▶ workflow future ──asks──▶ waits ──▶ Run::decide ──▶ Command | Parked
//! ```
//!
//! One [`Run`] is one execution of a workflow in memory. It is given the entries of its journal one at a time, in stream
//! order ([`Run::apply`]), polls the workflow's future to quiescence after each, and at the head of the journal says what is
//! to be done ([`Run::decide`]). The workflow sees the run through its [`Context`]; what the context gives out are plain
//! futures ([`Step`], [`Timer`], [`Local`], [`Session`], [`Signal`], [`NextUpdate`], [`Asked`], [`Child`]), so every combinator of the `futures` crate that polls in a
//! fixed order works.
//!
//! *Architecture invariant:* nothing here reads a clock, draws a random number, spawns, logs, or knows of tokio or NATS. A run
//! is a function of its code and its entries. Performing commands, resolving payloads, timers and parking records are the
//! shell's (`everstep-orchestrator`); types and encoding are the SDK's (`everstep`).
//!
//! Where to go next: [`Run`] for how entries are applied, `state` for what is asked and recorded, `shared` for when it may be borrowed, `waits` for one file per
//! family of what a workflow can wait for, `combine` for several of them as one, [`Parked`] for why a run may stand still.

mod aftermath;
mod board;
mod chance;
mod combine;
mod command;
mod context;
mod definition;
mod event;
mod guard;
mod limits;
mod parked;
mod rollback;
mod root;
mod run;
mod scope;
mod shared;
mod state;
mod waits;
mod within;

#[cfg(test)]
mod tests;

pub use board::Full;
pub use combine::{Block, Collected, DeadlineError, Fan, Shield};
pub use command::{Command, Decision, RunEnd};
pub use context::Context;
pub use definition::{Definition, Factory, WaitError, WorkflowFailure};
pub use event::{Answered, Event, EventBody, MissingPayload, Record, pinned_version};
pub use limits::Limits;
pub use parked::{AskedKey, Mismatch, Parked, RecordedKey, TooMany, WaitKind};
pub use rollback::{RolledBack, Undo};
pub use run::{OpenKind, OpenWait, Run};
pub use waits::{
    Asked, Child, ChildSpec, Closure, Due, Emit, Local, NextUpdate, Session, SessionChange, SessionRequest, Signal, Step, Timer,
    Update,
};
pub use within::Scoped;
