//! Durable workflows on NATS JetStream: the crate that users import.
//!
//! A workflow is an ordinary async function; each step it awaits is run by some worker, its outcome recorded once and never
//! replaced. Write `use everstep::prelude::*;`, put [`#[function]`](macro@function) on what has effects and
//! [`#[workflow]`](macro@workflow) on what orders them.
//!
//! *Architecture invariant:* this crate adds types and assembly, no semantics. What a run does is decided in `everstep-core`, how
//! a step is run in `everstep-worker`, and how both reach NATS in `everstep-orchestrator` and `everstep-nats`.

// The macros' expansions say `::everstep`, here too.
extern crate self as everstep;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
mod app;
pub mod cause;
mod client;
mod code;
mod combine;
mod context;
mod error;
mod function;
pub mod prelude;
mod registration;
mod select;
mod session;
mod state;
mod telemetry;
pub mod trigger;
mod waits;
mod workflow;

pub use everstep_common::failure::{Failure, FailureKind};
pub use everstep_common::flow::{Limit, LimitName, Rate, RunFlow, WhenBusy};
pub use everstep_common::ids::{FunctionName, Partition, Prefix, ProcessId, QueueName, RunId, WorkflowName};
pub use everstep_common::journal;
pub use everstep_common::key::StepKey;
pub use everstep_common::question::{self, PayloadHash};
pub use everstep_common::retry::{Growth, RetryPolicy};
pub use everstep_common::summary::{RunStatus, RunSummary, WaitSummary, WaitedFor};
pub use everstep_common::topology::Durability;
pub use everstep_common::view::GateWait;
pub use everstep_nats::ConnectOptions;
pub use everstep_orchestrator::{LeaseOptions, PartitionOptions};
pub use everstep_worker::{FunctionContext, StepError, StepErrorKind};
pub use tracing::Level as LogLevel;

pub use app::{App, AppError, AppOptions, DevOptions, DevServer, DurabilityArg, Roles, RunningApp, ServerArgs};
pub use client::{
    ChildRun, Client, ClientError, Inside, LimitEntry, ListFilter, ListedRun, Listener, OpenQuestion, PublishEvent, Respondent,
    RunError, RunHandle, ScheduleEntry, SessionEntry, StartRun, UpdateError, UpdateRun,
};
pub use combine::{
    BatchFuture, BatchItem, BatchResult, BatchStats, Branches, Combined, IntoTolerance, ItemOutcome, MapFuture, Racers, Tolerance,
};
pub use context::WorkflowContext;
pub use error::{NextInput, WorkflowError, WorkflowErrorKind};
pub use function::{Function, FunctionBody, FunctionCall, FunctionDeclaration, IntoFunction};
pub use registration::{definition, handler};
pub use session::{Session, SessionState};
pub use state::RunState;
pub use telemetry::{Telemetry, TelemetryError};
pub use waits::{
    Answer, Approval, ApprovalFuture, ChildFuture, Choice, Deadline, Decision, DetachedFuture, EmitFuture, EventFuture, InputType,
    IntoRetries, Matching, OnExpire, OnTimeout, Question, QuestionFuture, RunFuture, Said, SessionFuture, SignalFuture,
    SleepFuture, StepFuture, Update, UpdateFuture, Verdict, matching,
};
pub use workflow::{IntoWorkflow, Workflow, WorkflowBody, WorkflowCall};

#[doc = include_str!("function.md")]
pub use everstep_macros::function;
#[doc = include_str!("workflow.md")]
pub use everstep_macros::workflow;

/// The guide's pages, for their code to be compiled and run.
#[cfg(doctest)]
mod guide {
    #[doc = include_str!("../../docs/guide/application.md")]
    mod application {}
    #[doc = include_str!("../../docs/guide/replay.md")]
    mod replay {}
    #[doc = include_str!("../../docs/guide/parallel.md")]
    mod parallel {}
    #[doc = include_str!("../../docs/guide/batch.md")]
    mod batch {}
    #[doc = include_str!("../../docs/guide/flow-control.md")]
    mod flow_control {}
    #[doc = include_str!("../../docs/guide/starting.md")]
    mod starting {}
    #[doc = include_str!("../../docs/guide/state.md")]
    mod state {}
    #[doc = include_str!("../../docs/guide/triggers.md")]
    mod triggers {}
    #[doc = include_str!("../../docs/guide/steps.md")]
    mod steps {}
    #[doc = include_str!("../../docs/guide/versions.md")]
    mod versions {}
    #[doc = include_str!("../../docs/guide/compensation.md")]
    mod compensation {}
    #[doc = include_str!("../../docs/guide/signals.md")]
    mod signals {}
    #[doc = include_str!("../../docs/guide/updates.md")]
    mod updates {}
    #[doc = include_str!("../../docs/guide/questions.md")]
    mod questions {}
    #[doc = include_str!("../../docs/guide/approvals.md")]
    mod approvals {}
    #[doc = include_str!("../../docs/guide/children.md")]
    mod children {}
    #[doc = include_str!("../../docs/guide/cancellation.md")]
    mod cancellation {}
    #[doc = include_str!("../../docs/guide/time.md")]
    mod time {}
}
