//! What a worker counts, and the span of a step.
//!
//! Counters go to the global OpenTelemetry meter, which whoever starts the process sets before the worker is made. The conversion of
//! a W3C trace parent into a span's parent is [`Options::link_trace`](crate::Options): OpenTelemetry's tracing half is not known here.

use everstep_common::ids::QueueName;
use everstep_common::task::Task;
use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};
use tracing::Span;

/// The counters.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// Functions run to an end, by what came of it.
    pub(crate) steps: Counter<u64>,
    /// Attempts after the first.
    pub(crate) retries: Counter<u64>,
    /// Deliveries after the first.
    pub(crate) redeliveries: Counter<u64>,
    /// Executions begun on a redelivery: most follow a crash.
    pub(crate) crashes: Counter<u64>,
    /// Deliveries whose function is not registered here.
    pub(crate) unknown_functions: Counter<u64>,
    /// Deliveries that could not be read.
    pub(crate) undecodable: Counter<u64>,
    /// Outcomes that somebody else had recorded first.
    pub(crate) refused: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let meter = global::meter("everstep");
        let counter = |name, description| meter.u64_counter(name).with_description(description).build();
        Self {
            steps: counter("everstep.worker.steps", "functions run, by what came of it"),
            retries: counter("everstep.worker.retries", "attempts after the first"),
            redeliveries: counter("everstep.worker.redeliveries", "deliveries of a task after the first"),
            crashes: counter(
                "everstep.worker.crashes",
                "executions begun on a redelivery; most follow a crash",
            ),
            unknown_functions: counter(
                "everstep.worker.unknown_functions",
                "deliveries of a function not registered here",
            ),
            undecodable: counter("everstep.worker.undecodable", "deliveries that could not be read"),
            refused: counter(
                "everstep.worker.refused_creates",
                "outcomes that somebody else had recorded first",
            ),
        }
    }
}

/// What came of an attempt, as the counters tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Value,
    Failure,
    Retryable,
    Panic,
    Timeout,
    Dropped,
}

/// The labels of a queue's counters, made once.
#[derive(Debug)]
pub(crate) struct Labels {
    pub(crate) queue: [KeyValue; 1],
    endings: [[KeyValue; 2]; 6],
}

impl Labels {
    pub(crate) fn new(queue: &QueueName) -> Self {
        let label = KeyValue::new("queue", queue.as_str().to_owned());
        let ending = |name| [label.clone(), KeyValue::new("outcome", name)];
        let endings = ["value", "failure", "retryable", "panic", "timeout", "dropped"].map(ending);
        Self { queue: [label], endings }
    }

    pub(crate) fn ending(&self, ending: Ending) -> &[KeyValue] {
        &self.endings[ending as usize]
    }
}

/// The span that an attempt runs in.
pub(crate) fn span(task: &Task, link: Option<fn(&Span, &str)>) -> Span {
    let span = tracing::info_span!("step", run = %task.run, step = %task.key, attempt = task.attempt, function = %task.function);
    if let (Some(link), Some(traceparent)) = (link, &task.traceparent) {
        link(&span, traceparent);
    }
    span
}
