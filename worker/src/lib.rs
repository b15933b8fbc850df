//! Runs functions: pulls tasks, calls what is registered for them, records what came of it, and only then acknowledges.
//!
//! Knows the ports and the store of `everstep-common` and nothing of NATS, of workflows or of runs: a worker sees one attempt of one
//! step at a time. It never decides on a retry; it records the failed attempt, and the orchestrator decides.
//!
//! ```text
//! pull (one per queue) ── Delivery ──▶ intake ──▶ Held table ◀── beat: in-progress acks, checks, timeouts
//!                                        │                  ◀── control: cancel, "what do you run?"
//!                                        ▼ spawn
//!                        perform: prepare ──▶ the function ──▶ settle ──▶ ack
//!                                 (journal)    (Execution)     (journal)
//! ```
//!
//! What users meet: [`FunctionContext`], [`StepError`]. What the SDK assembles: [`Functions`], [`Resources`], [`Options`], [`Worker`].

mod beat;
mod beats;
mod context;
mod control;
mod delay;
mod execution;
mod functions;
mod held;
mod holding;
mod intake;
mod live;
mod options;
mod pace;
mod perform;
mod pull;
mod record;
mod resources;
mod step_error;
mod telemetry;
mod worker;

pub use context::FunctionContext;
pub use functions::{DuplicateFunction, Functions, Handler};
pub use live::{Live, LiveKind};
pub use options::Options;
pub use resources::{DuplicateResource, Resources};
pub use step_error::{StepError, StepErrorKind};
pub use worker::{Error, Worker};
