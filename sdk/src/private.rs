//! What the macros' expansions name. No part of the public interface: it changes with the macros.

pub use everstep_common::ids::QueueName;
pub use everstep_common::task::StepOptions;
pub use futures::future::{BoxFuture, LocalBoxFuture};
pub use tokio;

pub use crate::combine::{gather, settled};
pub use crate::function::FunctionReturn;
pub use crate::workflow::WorkflowReturn;

use crate::function::FunctionDeclaration;
use everstep_common::flow::{Flow, Limit, Rate};
pub use everstep_common::flow::{RunFlow, WhenBusy};
use everstep_common::ids::FunctionName;
use std::time::Duration;

/// What a function's `limit(…)` says, which `#[function]` has checked.
pub fn flow(
    concurrency: Option<u32>,
    per_key: Option<u32>,
    rate: Option<(u32, Duration)>,
    per_key_rate: Option<(u32, Duration)>,
    worker_rate: Option<(u32, Duration)>,
) -> Flow {
    let checked = |(count, per)| Rate::new(count, per).expect("checked when it was compiled");
    Flow {
        limit: Limit {
            concurrency,
            per_key,
            rate: rate.map(checked),
            per_key_rate: per_key_rate.map(checked),
        },
        worker_rate: worker_rate.map(checked),
        ..Flow::default()
    }
}

/// What a workflow's `limit(…)` and `singleton` say, which `#[workflow]` has checked.
pub fn run_flow(flow: Flow, singleton: Option<WhenBusy>) -> RunFlow {
    RunFlow {
        limit: flow.limit,
        singleton,
    }
}

/// A declaration whose name and options `#[function]` has checked.
pub fn declare(name: &str, options: StepOptions) -> FunctionDeclaration {
    FunctionDeclaration {
        name: FunctionName::new(name).expect("checked when it was compiled"),
        options,
    }
}
