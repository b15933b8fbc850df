//! Everything that the author of workflows and functions needs.
//!
//! ```
//! use everstep::prelude::*;
//!
//! #[function]
//! async fn greet(ctx: FunctionContext, name: String) -> Result<String, StepError> {
//!     Ok(format!("Hello, {name}!"))
//! }
//!
//! #[workflow]
//! async fn greet_later(ctx: WorkflowContext, name: String) -> Result<String, WorkflowError> {
//!     ctx.sleep(Duration::from_secs(60)).await?;
//!     ctx.step(greet, name).await
//! }
//!
//! let _app = App::new().workflow(greet_later).function(greet);
//! ```

pub use std::time::Duration;

pub use everstep_common::failure::{Failure, FailureKind};
pub use everstep_common::retry::RetryPolicy;
pub use everstep_macros::{function, workflow};
pub use everstep_worker::{FunctionContext, StepError, StepErrorKind};
pub use futures::{join, try_join};
pub use jiff::Timestamp;
pub use tracing::Level as LogLevel;

pub use crate::app::App;
pub use crate::client::Client;
pub use crate::context::WorkflowContext;
pub use crate::error::{WorkflowError, WorkflowErrorKind};
pub use crate::function::Function;
pub use crate::waits::{Approval, Choice, InputType, Matching, OnExpire, OnTimeout, Question, matching};
pub use crate::workflow::Workflow;
pub use crate::{gather, gather_settled, select};
