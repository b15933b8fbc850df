//! What an orchestrator counts. Names and meanings are part of the interface, and told in `docs/operations.md`.

use std::sync::LazyLock;
use std::time::Duration;

use everstep_common::ids::Partition;
use opentelemetry::metrics::{Counter, Gauge, Meter};
use opentelemetry::{KeyValue, global};

/// The orchestrator's instruments.
pub(crate) struct Metrics {
    /// `everstep.orchestrator.steps_dispatched`: tasks queued.
    pub dispatched: Counter<u64>,
    /// `everstep.orchestrator.steps_recorded`: step outcomes applied.
    pub recorded: Counter<u64>,
    /// `everstep.orchestrator.retries`: tasks queued for attempts after the first one.
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
    /// `everstep.orchestrator.entries_orphaned`: runs found to have entries and no start.
    pub orphaned: Counter<u64>,
    /// `everstep.orchestrator.replays_differing`: runs that have ended and were replayed otherwise.
    pub differing: Counter<u64>,
    /// `everstep.orchestrator.events_heard`: events found for runs that wait for them.
    pub heard: Counter<u64>,
    /// `everstep.orchestrator.partitions_owned`: partitions that this process drives.
    pub owned: Gauge<u64>,
    /// `everstep.orchestrator.events_seen`: events that the triggers of this process looked at.
    pub seen: Counter<u64>,
    /// `everstep.orchestrator.events_matched`: how often one of them was for a workflow that listens.
    pub matched: Counter<u64>,
    /// `everstep.orchestrator.event_lag`: how long ago the oldest event was stored that was looked at last.
    pub event_lag: Gauge<f64>,
    /// `everstep.orchestrator.runs_triggered`: runs started by events and schedules.
    pub triggered: Counter<u64>,
    /// `everstep.orchestrator.triggers_repeated`: starts asked for that had been made before.
    pub repeated: Counter<u64>,
    /// `everstep.orchestrator.events_refused`: events by which a workflow that listens could not be started.
    pub events_refused: Counter<u64>,
    /// `everstep.orchestrator.schedules_fired`: times of schedules that started a run.
    pub fired: Counter<u64>,
    /// `everstep.orchestrator.schedules_missed`: times of schedules that started none: missed, or the run before was open.
    pub missed: Counter<u64>,
    swept: Counter<u64>,
    live: Gauge<u64>,
    in_flight: Gauge<u64>,
    backlog: Gauge<u64>,
    open: Gauge<u64>,
    lag: Gauge<f64>,
}

/// What a sweep may find, and nothing should let it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found {
    /// A step in flight without a task.
    StepWithoutTask,
    /// Entries of a run without a start, a whole period old.
    RunWithoutStart,
    /// A sleep or a retry that nobody but this memory would have woken.
    WakeUpWithoutSchedule,
}

impl Found {
    const ALL: [Self; 3] = [Self::StepWithoutTask, Self::RunWithoutStart, Self::WakeUpWithoutSchedule];

    fn label(self) -> [KeyValue; 1] {
        let found = match self {
            Self::StepWithoutTask => "step_without_task",
            Self::RunWithoutStart => "run_without_start",
            Self::WakeUpWithoutSchedule => "wake_up_without_schedule",
        };
        [KeyValue::new("found", found)]
    }
}

impl Metrics {
    fn new(meter: &Meter) -> Self {
        let gauge = |name: &'static str, description: &'static str| meter.u64_gauge(name).with_description(description).build();
        let counter = |name: &'static str, description: &'static str| {
            let counter = meter.u64_counter(name).with_description(description).build();
            // Shown from zero on: the first increase of a counter that nobody has seen yet would be none.
            counter.add(0, &[]);
            counter
        };
        let metrics = Self {
            dispatched: counter("everstep.orchestrator.steps_dispatched", "tasks queued"),
            recorded: counter("everstep.orchestrator.steps_recorded", "step outcomes applied"),
            retries: counter("everstep.orchestrator.retries", "tasks queued for attempts after the first"),
            refused: counter(
                "everstep.orchestrator.creates_refused",
                "creates that somebody else had made first",
            ),
            takeovers: counter("everstep.orchestrator.takeovers", "partitions taken over"),
            started: counter("everstep.orchestrator.runs_started", "runs whose start was applied"),
            ended: counter("everstep.orchestrator.runs_ended", "runs whose end was applied"),
            parked: counter("everstep.orchestrator.runs_parked", "runs parked"),
            loaded: counter("everstep.orchestrator.runs_loaded", "journals read back"),
            wiped: counter(
                "everstep.orchestrator.task_streams_lost",
                "task streams found wiped, and published anew",
            ),
            rollbacks: counter(
                "everstep.orchestrator.rollbacks",
                "journal streams found rolled back or replaced",
            ),
            orphaned: counter(
                "everstep.orchestrator.entries_orphaned",
                "runs found to have entries and no start",
            ),
            differing: counter(
                "everstep.orchestrator.replays_differing",
                "runs that have ended and go another way when replayed",
            ),
            heard: counter(
                "everstep.orchestrator.events_heard",
                "events found for runs that wait for them",
            ),
            owned: gauge("everstep.orchestrator.partitions_owned", "partitions this process drives"),
            seen: counter("everstep.orchestrator.events_seen", "events that triggers looked at"),
            matched: counter(
                "everstep.orchestrator.events_matched",
                "events for workflows that listen, once for each workflow",
            ),
            event_lag: meter
                .f64_gauge("everstep.orchestrator.event_lag")
                .with_description("how long ago the oldest event was stored that triggers looked at last")
                .with_unit("s")
                .build(),
            triggered: counter("everstep.orchestrator.runs_triggered", "runs started by events and schedules"),
            repeated: counter(
                "everstep.orchestrator.triggers_repeated",
                "starts by triggers that had been made before",
            ),
            events_refused: counter(
                "everstep.orchestrator.events_refused",
                "events by which a workflow that listens could not be started",
            ),
            fired: counter(
                "everstep.orchestrator.schedules_fired",
                "times of schedules that started a run",
            ),
            missed: counter(
                "everstep.orchestrator.schedules_missed",
                "times of schedules that started none",
            ),
            swept: meter
                .u64_counter("everstep.orchestrator.sweep_found")
                .with_description("what a sweep had to mend; should stay at zero")
                .build(),
            live: gauge("everstep.orchestrator.live_runs", "runs in memory"),
            in_flight: gauge("everstep.orchestrator.steps_in_flight", "steps dispatched and not recorded"),
            backlog: gauge(
                "everstep.orchestrator.feed_backlog",
                "entries brought by the feed and not applied yet",
            ),
            open: gauge(
                "everstep.orchestrator.feed_open_entries",
                "entries that the cursor has not passed yet",
            ),
            lag: meter
                .f64_gauge("everstep.orchestrator.feed_lag")
                .with_description("how old the oldest entry was that was applied since the last look")
                .with_unit("s")
                .build(),
        };
        Found::ALL.iter().for_each(|found| metrics.swept.add(0, &found.label()));
        metrics.event_lag.record(0.0, &[]);
        metrics
    }

    /// A sweep had something to mend.
    pub(crate) fn sweep_found(&self, found: Found) {
        self.swept.add(1, &found.label());
    }
}

/// The instruments on the global meter; without a provider they cost next to nothing.
pub(crate) fn metrics() -> &'static Metrics {
    static METRICS: LazyLock<Metrics> = LazyLock::new(|| Metrics::new(&global::meter("everstep")));
    &METRICS
}

/// How things stand in a partition.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    /// `everstep.orchestrator.live_runs`: runs in memory.
    pub live: usize,
    /// `everstep.orchestrator.steps_in_flight`: steps dispatched and not recorded.
    pub in_flight: usize,
    /// `everstep.orchestrator.feed_backlog`: entries brought by the feed and not applied yet.
    pub backlog: usize,
    /// `everstep.orchestrator.feed_open_entries`: entries not passed by the cursor yet.
    pub open: usize,
    /// `everstep.orchestrator.feed_lag`: how old the oldest entry was that was applied since the last report.
    pub lag: Duration,
}

/// The gauges of a partition that is driven here. Dropping them, which its end or its death does, sets them to zero: another process
/// reports its runs from then on.
#[derive(Debug)]
pub(crate) struct Gauges([KeyValue; 1]);

impl Gauges {
    pub(crate) fn new(partition: Partition) -> Self {
        Self([KeyValue::new("partition", i64::from(partition.0))])
    }

    pub(crate) fn report(&self, standing: &Standing) {
        let (metrics, labels) = (metrics(), &self.0);
        metrics.live.record(standing.live as u64, labels);
        metrics.in_flight.record(standing.in_flight as u64, labels);
        metrics.backlog.record(standing.backlog as u64, labels);
        metrics.open.record(standing.open as u64, labels);
        metrics.lag.record(standing.lag.as_secs_f64(), labels);
    }
}

impl Drop for Gauges {
    fn drop(&mut self) {
        self.report(&Standing::default());
    }
}
