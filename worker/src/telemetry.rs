//! What a worker counts, and the span of a step.
//!
//! Counters go to the global OpenTelemetry meter, which whoever starts the process sets before the worker is made. The conversion of
//! a W3C trace parent into a span's parent is [`Options::trace`](crate::Options): OpenTelemetry's tracing half is not known here.

use everstep_common::ids::QueueName;
use everstep_common::task::Task;
use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};
use tracing::Span;
use tracing::field::Empty;

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

    /// Shows the counters of a queue from zero on: the first increase of one that nobody has seen yet would be none.
    pub(crate) fn show(&self, labels: &Labels) {
        let counters = [
            &self.retries,
            &self.redeliveries,
            &self.crashes,
            &self.unknown_functions,
            &self.undecodable,
            &self.refused,
        ];
        counters.into_iter().for_each(|counter| counter.add(0, &labels.queue));
        labels.endings.iter().for_each(|ending| self.steps.add(0, ending));
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

impl Ending {
    const ALL: [Self; 6] = [
        Self::Value,
        Self::Failure,
        Self::Retryable,
        Self::Panic,
        Self::Timeout,
        Self::Dropped,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Failure => "failure",
            Self::Retryable => "retryable",
            Self::Panic => "panic",
            Self::Timeout => "timeout",
            Self::Dropped => "dropped",
        }
    }
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
        let endings = Ending::ALL.map(|ending| [label.clone(), KeyValue::new("outcome", ending.name())]);
        Self { queue: [label], endings }
    }

    pub(crate) fn ending(&self, ending: Ending) -> &[KeyValue] {
        &self.endings[ending as usize]
    }
}

/// The span that an attempt runs in, from its first look into the journal until its outcome is recorded.
pub(crate) fn span(task: &Task) -> Span {
    tracing::info_span!(
        "step",
        run = %task.run,
        step = %task.key,
        attempt = task.attempt,
        partition = task.run.partition().0,
        function = %task.function,
        outcome = Empty,
        otel.kind = "consumer",
        otel.status_code = Empty,
    )
}

/// What came of the attempt, into its queue's counter and, unless it is a value, its span: a record costs the log as much as a span.
pub(crate) fn ended(metrics: &Metrics, labels: &Labels, span: &Span, ending: Ending) {
    metrics.steps.add(1, labels.ending(ending));
    if ending == Ending::Value {
        return;
    }
    span.record("outcome", ending.name());
    if ending != Ending::Dropped {
        span.record("otel.status_code", "ERROR");
    }
}
