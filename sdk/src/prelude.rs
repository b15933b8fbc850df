//! Everything that the author of workflows and functions needs: `use everstep::prelude::*;`.

pub use std::time::Duration;

pub use everstep_common::failure::{Failure, FailureKind};
pub use everstep_common::retry::RetryPolicy;
pub use everstep_macros::{function, workflow};
pub use everstep_worker::{FunctionContext, StepError};
pub use futures::{join, try_join};
pub use jiff::Timestamp;
pub use tracing::Level;

pub use crate::app::App;
pub use crate::client::Client;
pub use crate::context::WorkflowContext;
pub use crate::error::{WorkflowError, WorkflowErrorKind};
pub use crate::function::Function;
pub use crate::select;
pub use crate::workflow::Workflow;
