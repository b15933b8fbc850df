//! What an orchestrator counts. Names and meanings are part of the interface.

use std::sync::LazyLock;

use opentelemetry::global;
use opentelemetry::metrics::{Counter, Gauge};

/// The orchestrator's instruments.
pub(crate) struct Metrics {
    /// `everstep_steps_dispatched_total`: tasks published.
    pub dispatched: Counter<u64>,
    /// `everstep_steps_recorded_total`: step outcomes applied.
    pub recorded: Counter<u64>,
    /// `everstep_retries_total`: attempts after the first one.
    pub retries: Counter<u64>,
    /// `everstep_creates_refused_total`: creates that somebody else had made first.
    pub refused: Counter<u64>,
    /// `everstep_takeovers_total`: partitions taken over.
    pub takeovers: Counter<u64>,
    /// `everstep_runs_started_total`: runs whose start was applied.
    pub started: Counter<u64>,
    /// `everstep_runs_ended_total`: runs whose end was applied.
    pub ended: Counter<u64>,
    /// `everstep_runs_parked_total`: runs parked.
    pub parked: Counter<u64>,
    /// `everstep_runs_loaded_total`: journals read back.
    pub loaded: Counter<u64>,
    /// `everstep_task_streams_lost_total`: task streams found wiped and published anew.
    pub wiped: Counter<u64>,
    /// `everstep_rollbacks_total`: journal streams found rolled back.
    pub rollbacks: Counter<u64>,
    /// `everstep_sweep_found_total`: what a sweep had to mend; should stay at zero.
    pub swept: Counter<u64>,
    /// `everstep_entries_orphaned_total`: entries of runs without a start.
    pub orphaned: Counter<u64>,
    /// `everstep_partitions_owned`: partitions that this process drives.
    pub owned: Gauge<u64>,
    /// `everstep_live_runs`: runs in memory, by partition.
    pub live: Gauge<u64>,
    /// `everstep_steps_in_flight`: steps dispatched and not recorded, by partition.
    pub in_flight: Gauge<u64>,
    /// `everstep_feed_backlog`: entries brought by the feed and not applied yet, by partition.
    pub backlog: Gauge<u64>,
    /// `everstep_feed_open_entries`: entries not passed by the cursor yet, by partition.
    pub lag: Gauge<u64>,
}

/// The instruments on the global meter; without a provider they cost next to nothing.
pub(crate) fn metrics() -> &'static Metrics {
    static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
        let meter = global::meter("everstep");
        let counter = |name: &'static str| meter.u64_counter(name).build();
        let gauge = |name: &'static str| meter.u64_gauge(name).build();
        Metrics {
            dispatched: counter("everstep_steps_dispatched"),
            recorded: counter("everstep_steps_recorded"),
            retries: counter("everstep_retries"),
            refused: counter("everstep_creates_refused"),
            takeovers: counter("everstep_takeovers"),
            started: counter("everstep_runs_started"),
            ended: counter("everstep_runs_ended"),
            parked: counter("everstep_runs_parked"),
            loaded: counter("everstep_runs_loaded"),
            wiped: counter("everstep_task_streams_lost"),
            rollbacks: counter("everstep_rollbacks"),
            swept: counter("everstep_sweep_found"),
            orphaned: counter("everstep_entries_orphaned"),
            owned: gauge("everstep_partitions_owned"),
            live: gauge("everstep_live_runs"),
            in_flight: gauge("everstep_steps_in_flight"),
            backlog: gauge("everstep_feed_backlog"),
            lag: gauge("everstep_feed_open_entries"),
        }
    });
    &METRICS
}
