//! What the macros' expansions name. No part of the public interface: it changes with the macros.

pub use everstep_common::ids::QueueName;
pub use everstep_common::task::StepOptions;
pub use futures::future::{BoxFuture, LocalBoxFuture};
pub use tokio;

pub use crate::combine::{gather, settled};
pub use crate::function::FunctionReturn;
pub use crate::workflow::WorkflowReturn;

use crate::function::FunctionDeclaration;
use everstep_common::ids::FunctionName;

/// A declaration whose name and options `#[function]` has checked.
pub fn declare(name: &str, options: StepOptions) -> FunctionDeclaration {
    FunctionDeclaration {
        name: FunctionName::new(name).expect("checked when it was compiled"),
        options,
    }
}
