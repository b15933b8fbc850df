//! What the context gives out to be awaited: one file per family.
//!
//! Each wraps the core's future of the same family and adds types. All are `Unpin` and `'static`, their setters take and
//! return the future itself, and each is a plain [`Future`], so that it can stand in `join!`, `select!` and a
//! `FuturesUnordered` as it is.

mod approval;
mod canonical;
mod child;
mod deadline;
mod decision;
mod emit;
mod event;
mod question;
mod refusal;
mod run;
mod session;
mod signal;
mod sleep;
mod step;
mod update;

use std::any::type_name;
use std::fmt;

use bytes::Bytes;
use everstep_common::failure::{Failure, FailureKind};
use everstep_common::wire;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use approval::{Approval, ApprovalFuture, OnExpire};
pub use child::{ChildFuture, DetachedFuture};
pub use deadline::Deadline;
pub use decision::{Decision, Said, Verdict};
pub use emit::EmitFuture;
pub use event::{EventFuture, Matching, matching};
pub use question::{Answer, Choice, InputType, OnTimeout, Question, QuestionFuture};
pub(crate) use refusal::Refusal;
pub use run::RunFuture;
pub use session::SessionFuture;
pub use signal::SignalFuture;
pub use sleep::SleepFuture;
pub use step::{IntoRetries, StepFuture};
pub use update::{Update, UpdateFuture};

use crate::error::WorkflowError;

/// The encoded value, or why the journal cannot have it.
pub(crate) fn encode<T: Serialize + ?Sized>(what: fmt::Arguments<'_>, value: &T) -> Result<Bytes, Failure> {
    let described = |error| format!("{what} ({}) {error}", type_name::<T>());
    wire::encode_value(value).map_err(|error| Failure::new(FailureKind::Invalid, described(error)))
}

/// The value that was recorded, if it is of the type expected.
pub(crate) fn decode<T: DeserializeOwned>(what: fmt::Arguments<'_>, bytes: &[u8]) -> Result<T, WorkflowError> {
    wire::decode_value(bytes).map_err(|error| {
        WorkflowError::invalid(format!(
            "{what} was recorded, but is not a {}: {error}; was its type changed? A changed type must still read what was written, or take a new version of the workflow",
            type_name::<T>()
        ))
    })
}
