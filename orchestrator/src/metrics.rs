//! What an orchestrator counts. Names and meanings are part of the interface.

use std::sync::LazyLock;

use opentelemetry::global;
use opentelemetry::metrics::{Counter, Gauge};

/// The orchestrator's instruments.
pub(crate) struct Metrics {
    /// `everstep.orchestrator.steps_dispatched`: tasks published.
    pub dispatched: Counter<u64>,
    /// `everstep.orchestrator.steps_recorded`: step outcomes applied.
    pub recorded: Counter<u64>,
    /// `everstep.orchestrator.retries`: attempts after the first one.
    pub retries: Counter<u64>,
    /// `everstep.orchestrator.creates_refused`: creates that somebody else had made first.
    pub refused: Counter<u64>,
    /// `everstep.orchestrator.takeovers`: partitions taken over.
    pub takeovers: Counter<u64>,
    /// `everstep.orchestrator.runs_started`: runs whose start was applied.
    pub started: Counter<u64>,
    /// `everstep.orchestrator.runs_ended`: runs whose end was applied.
    pub ended: Counter<u64>,
    /// `everstep.orchestrator.runs_parked`: runs parked.
    pub parked: Counter<u64>,
    /// `everstep.orchestrator.runs_loaded`: journals read back.
    pub loaded: Counter<u64>,
    /// `everstep.orchestrator.task_streams_lost`: task streams found wiped and published anew.
    pub wiped: Counter<u64>,
    /// `everstep.orchestrator.rollbacks`: journal streams found rolled back.
    pub rollbacks: Counter<u64>,
    /// `everstep.orchestrator.sweep_found`: what a sweep had to mend; should stay at zero.
    pub swept: Counter<u64>,
    /// `everstep.orchestrator.entries_orphaned`: entries of runs without a start.
    pub orphaned: Counter<u64>,
    /// `everstep.orchestrator.partitions_owned`: partitions that this process drives.
    pub owned: Gauge<u64>,
    /// `everstep.orchestrator.live_runs`: runs in memory, by partition.
    pub live: Gauge<u64>,
    /// `everstep.orchestrator.steps_in_flight`: steps dispatched and not recorded, by partition.
    pub in_flight: Gauge<u64>,
    /// `everstep.orchestrator.feed_backlog`: entries brought by the feed and not applied yet, by partition.
    pub backlog: Gauge<u64>,
    /// `everstep.orchestrator.feed_open_entries`: entries not passed by the cursor yet, by partition.
    pub lag: Gauge<u64>,
}

/// The instruments on the global meter; without a provider they cost next to nothing.
pub(crate) fn metrics() -> &'static Metrics {
    static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
        let meter = global::meter("everstep");
        let counter = |name: &'static str| meter.u64_counter(name).build();
        let gauge = |name: &'static str| meter.u64_gauge(name).build();
        Metrics {
            dispatched: counter("everstep.orchestrator.steps_dispatched"),
            recorded: counter("everstep.orchestrator.steps_recorded"),
            retries: counter("everstep.orchestrator.retries"),
            refused: counter("everstep.orchestrator.creates_refused"),
            takeovers: counter("everstep.orchestrator.takeovers"),
            started: counter("everstep.orchestrator.runs_started"),
            ended: counter("everstep.orchestrator.runs_ended"),
            parked: counter("everstep.orchestrator.runs_parked"),
            loaded: counter("everstep.orchestrator.runs_loaded"),
            wiped: counter("everstep.orchestrator.task_streams_lost"),
            rollbacks: counter("everstep.orchestrator.rollbacks"),
            swept: counter("everstep.orchestrator.sweep_found"),
            orphaned: counter("everstep.orchestrator.entries_orphaned"),
            owned: gauge("everstep.orchestrator.partitions_owned"),
            live: gauge("everstep.orchestrator.live_runs"),
            in_flight: gauge("everstep.orchestrator.steps_in_flight"),
            backlog: gauge("everstep.orchestrator.feed_backlog"),
            lag: gauge("everstep.orchestrator.feed_open_entries"),
        }
    });
    &METRICS
}
