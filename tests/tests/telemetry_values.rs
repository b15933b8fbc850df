//! What `/metrics` says is what happened: one story on a real server, told by its figures. One test, for the figures are the process's.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use everstep::prelude::*;
use everstep::{AppOptions, DevOptions, DevServer, QueueName, Roles, RunId, RunningApp, Telemetry};
use everstep_common::ids::{Partition, WorkflowName};
use everstep_common::journal::{Entry, EntryKey, Local, LocalKind, StepResult};
use everstep_common::key::StepKey;
use everstep_common::payload::Payload;
use everstep_common::ports::Broker;
use everstep_common::wire;
use everstep_nats::NatsBroker;
use everstep_tests::processes::until;
use everstep_tests::telemetry::{Scraped, scrape};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// How often the sweep looks in this test: seldom enough that nothing is swept unasked.
const SWEEP_EVERY: Duration = Duration::from_secs(4);

/// How long nobody drives a run, so that its start is that old when it is applied.
const LAG: Duration = Duration::from_millis(1_200);

/// Opened for one [`hold`] or [`shut`] at a time.
static GATE: Semaphore = Semaphore::const_new(0);
/// How many have come to the gate.
static ARRIVED: AtomicUsize = AtomicUsize::new(0);

async fn pass_gate() {
    ARRIVED.fetch_add(1, Ordering::SeqCst);
    GATE.acquire().await.expect("it is never closed").forget();
}

#[function(retries(max_attempts = 3, initial = "10ms", max = "20ms"))]
async fn fickle(ctx: FunctionContext, number: u64) -> Result<u64, StepError> {
    match ctx.attempt() {
        1 => Err(StepError::retryable("not yet")),
        _ => Ok(number),
    }
}

#[function]
async fn hold(_ctx: FunctionContext, number: u64) -> Result<u64, StepError> {
    pass_gate().await;
    Ok(number)
}

#[workflow]
async fn retried(ctx: WorkflowContext, number: u64) -> Result<u64, WorkflowError> {
    ctx.step(fickle, number).await
}

#[workflow]
async fn held(ctx: WorkflowContext, number: u64) -> Result<u64, WorkflowError> {
    ctx.step(hold, number).await
}

#[workflow]
async fn asleep(ctx: WorkflowContext, _: ()) -> Result<(), WorkflowError> {
    ctx.sleep(Duration::from_secs(3_600)).await
}

#[workflow]
async fn shut(ctx: WorkflowContext, number: u64) -> Result<u64, WorkflowError> {
    ctx.run("shut", move || async move {
        pass_gate().await;
        Ok(number)
    })
    .await
}

/// How often [`unsteady`] has been begun in this process, which its journal does not know.
static BEGUN: AtomicU64 = AtomicU64::new(0);

#[workflow]
async fn unsteady(ctx: WorkflowContext) -> Result<u64, WorkflowError> {
    let begun = BEGUN.fetch_add(1, Ordering::SeqCst);
    ctx.step(fickle, begun).await
}

/// One server, and where the figures of this process are.
struct Stage {
    server: DevServer,
    client: Client,
    metrics: SocketAddr,
}

impl Stage {
    async fn play(&self, roles: Roles) -> RunningApp {
        let mut options = AppOptions {
            roles,
            drain_grace: Duration::ZERO,
            ..AppOptions::new(self.server.connect())
        };
        options.partitions.sweep_every = SWEEP_EVERY;
        options.partitions.compare_one_in = 1;
        let app = App::new().workflow(retried).workflow(held).workflow(shut);
        let app = app.workflow(unsteady).workflow(asleep);
        app.function(fickle).function(hold).start(options).await.expect("a role")
    }

    async fn scrape(&self) -> Scraped {
        scrape(self.metrics).await.expect("an answer")
    }

    async fn value(&self, metric: &str, labels: &[&str]) -> Option<f64> {
        self.scrape().await.value(metric, labels)
    }

    /// Waits until the figures are these.
    async fn until(&self, what: &str, figures: &[(&str, &[&str], f64)]) {
        until(what, async || {
            let scraped = self.scrape().await;
            figures
                .iter()
                .all(|(metric, labels, value)| scraped.value(metric, labels) == Some(*value))
        })
        .await;
    }

    async fn expect(&self, figures: &[(&str, &[&str], f64)]) {
        let scraped = self.scrape().await;
        for (metric, labels, value) in figures {
            assert_eq!(
                scraped.value(metric, labels),
                Some(*value),
                "{metric} {labels:?} in\n{}",
                scraped.text
            );
        }
    }

    async fn until_arrived(&self, count: usize) {
        until("the gate to be reached", async || ARRIVED.load(Ordering::SeqCst) == count).await;
    }
}

const LIVE: &str = "everstep_orchestrator_live_runs";
const IN_FLIGHT: &str = "everstep_orchestrator_steps_in_flight";
const LAG_SECONDS: &str = "everstep_orchestrator_feed_lag_seconds";
const TAKEOVERS: &str = "everstep_orchestrator_takeovers_total";
const SWEPT: &str = "everstep_orchestrator_sweep_found_total";
const REFUSED: &str = "everstep_orchestrator_creates_refused_total";
const DIFFERING: &str = "everstep_orchestrator_replays_differing_total";
const DISPATCHED: &str = "everstep_orchestrator_steps_dispatched_total";
const RECORDED: &str = "everstep_orchestrator_steps_recorded_total";
const STEPS: &str = "everstep_worker_steps_total";
const REDELIVERIES: &str = "everstep_worker_redeliveries_total";
const WORKER_REFUSED: &str = "everstep_worker_refused_creates_total";

#[tokio::test(flavor = "multi_thread")]
async fn the_figures_are_what_happened() {
    let telemetry = Telemetry::start().expect("telemetry");
    let metrics = telemetry
        .serve_metrics("127.0.0.1:0".parse().expect("an address"))
        .await
        .expect("a port");
    let server = DevServer::start(DevOptions::default()).await.expect("a server");
    let client = Client::connect(server.connect()).await.expect("a client");
    let stage = Stage { server, client, metrics };

    let worker = stage.play(Roles::WORKER).await;
    let orchestrator = stage.play(Roles::ORCHESTRATOR).await;
    counters_begin_at_zero(&stage).await;
    retries_are_counted_once_each(&stage).await;
    let worker = a_task_handed_back_is_a_redelivery(&stage, worker).await;
    a_refused_create_is_counted(&stage).await;
    let worker = a_task_that_is_gone_is_found_by_the_sweep(&stage, worker).await;
    a_run_that_replays_otherwise_is_counted(&stage).await;
    leftovers_and_lost_schedules_are_found_by_the_sweep(&stage).await;
    each_process_tells_its_figures_as_a_micro_service(&stage).await;
    a_takeover_is_counted_and_the_feed_lags(&stage, orchestrator).await;
    drop(worker);
    every_figure_is_told_in_the_manual(&stage).await;
}

async fn a_run_that_replays_otherwise_is_counted(stage: &Stage) {
    stage.expect(&[(DIFFERING, &[], 0.0)]).await;
    let run = stage.client.start(unsteady, ()).await.expect("a start");
    run.result().await.expect("a result");
    stage.until("the run to be compared", &[(DIFFERING, &[], 1.0)]).await;
}

/// Each figure that is shown, and no other.
async fn every_figure_is_told_in_the_manual(stage: &Stage) {
    let manual = include_str!("../../docs/operations.md");
    let rows = manual.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let told: BTreeSet<&str> = rows.filter(|name| name.starts_with("everstep_")).collect();
    let scraped = stage.scrape().await;
    let series = scraped.text.lines().filter_map(|line| line.split(['{', ' ']).next());
    let shown: BTreeSet<&str> = series.filter(|name| name.starts_with("everstep_")).collect();
    assert_eq!(shown, told);
}

async fn counters_begin_at_zero(stage: &Stage) {
    stage
        .until(
            "the first owner",
            &[(TAKEOVERS, &[], 1.0), ("everstep_orchestrator_partitions_owned", &[], 1.0)],
        )
        .await;
    stage.until("the first report", &[(LIVE, &["partition=\"0\""], 0.0)]).await;
    stage
        .expect(&[
            (SWEPT, &["found=\"step_without_task\""], 0.0),
            (SWEPT, &["found=\"run_without_start\""], 0.0),
            (REFUSED, &[], 0.0),
            ("everstep_orchestrator_runs_parked_total", &[], 0.0),
            ("everstep_orchestrator_rollbacks_total", &[], 0.0),
            (STEPS, &["queue=\"default\"", "outcome=\"panic\""], 0.0),
            (REDELIVERIES, &["queue=\"default\""], 0.0),
        ])
        .await;
    let scraped = stage.scrape().await;
    assert!(
        scraped.content_type.starts_with("text/plain; version=0.0.4"),
        "{}",
        scraped.content_type
    );
}

async fn retries_are_counted_once_each(stage: &Stage) {
    for number in 0..3 {
        let run = stage.client.start(retried, number).await.expect("a start");
        assert_eq!(run.result().await.expect("a result"), number);
    }
    stage
        .until("the ends", &[("everstep_orchestrator_runs_ended_total", &[], 3.0)])
        .await;
    stage
        .expect(&[
            ("everstep_orchestrator_runs_started_total", &[], 3.0),
            (DISPATCHED, &[], 6.0),
            (RECORDED, &[], 3.0),
            ("everstep_orchestrator_retries_total", &[], 3.0),
            (STEPS, &["outcome=\"retryable\""], 3.0),
            (STEPS, &["outcome=\"value\""], 3.0),
            ("everstep_worker_retries_total", &[], 3.0),
            (REDELIVERIES, &[], 0.0),
        ])
        .await;
}

async fn a_task_handed_back_is_a_redelivery(stage: &Stage, worker: RunningApp) -> RunningApp {
    let run = stage.client.start(held, 7).await.expect("a start");
    stage.until_arrived(1).await;
    stage.until("a live run", &[(LIVE, &[], 1.0), (IN_FLIGHT, &[], 1.0)]).await;
    worker.stop().await.expect("an end");
    let worker = stage.play(Roles::WORKER).await;
    stage.until_arrived(2).await;
    GATE.add_permits(1);
    assert_eq!(run.result().await.expect("a result"), 7);
    stage.until("no live run", &[(LIVE, &[], 0.0), (IN_FLIGHT, &[], 0.0)]).await;
    stage
        .expect(&[
            (REDELIVERIES, &[], 1.0),
            ("everstep_worker_crashes_total", &[], 1.0),
            (STEPS, &["outcome=\"dropped\""], 1.0),
            (STEPS, &["outcome=\"value\""], 4.0),
            (DISPATCHED, &[], 7.0),
        ])
        .await;
    worker
}

/// Somebody else records what a closure and a function are still working on.
async fn a_refused_create_is_counted(stage: &Stage) {
    let value = Payload::Inline(wire::encode_value(&99_u64).expect("a value"));
    let run = stage.client.start(shut, 1).await.expect("a start");
    stage.until_arrived(3).await;
    let local = Entry::Local(Local {
        kind: LocalKind::Closure,
        result: StepResult::Value(value),
    });
    let key = EntryKey::Local(StepKey::from_path("shut"));
    stage.client.store().create(run.id(), key, &local).await.expect("a create");
    assert_eq!(run.result().await.expect("a result"), 99, "the first one stands");
    stage.expect(&[(REFUSED, &[], 0.0)]).await;
    GATE.add_permits(1);
    stage
        .until("the closure's own result to be refused", &[(REFUSED, &[], 1.0)])
        .await;
    stage.expect(&[(WORKER_REFUSED, &[], 0.0)]).await;
}

/// The stream and its mark stand, only the task is gone: nothing but the sweep can find that.
async fn a_task_that_is_gone_is_found_by_the_sweep(stage: &Stage, worker: RunningApp) -> RunningApp {
    worker.stop().await.expect("an end");
    let run = stage.client.start(held, 8).await.expect("a start");
    stage.until("the task", &[(DISPATCHED, &[], 8.0)]).await;
    let broker = NatsBroker::connect(stage.server.connect()).await.expect("a connection");
    let (names, queue) = (stage.client.store().names(), QueueName::default_queue());
    let purged = broker.purge(&names.task_stream(&queue), &names.task_filter(&queue)).await;
    purged.expect("a purge");
    stage
        .until("the sweep", &[(SWEPT, &["found=\"step_without_task\""], 1.0)])
        .await;
    stage.expect(&[(DISPATCHED, &[], 9.0)]).await;
    let worker = stage.play(Roles::WORKER).await;
    stage.until_arrived(4).await;
    GATE.add_permits(1);
    assert_eq!(run.result().await.expect("a result"), 8);
    worker
}

/// A schedule that the server has lost, and an entry of a run that nobody has started: only the sweep looks for either.
async fn leftovers_and_lost_schedules_are_found_by_the_sweep(stage: &Stage) {
    let (store, names) = (stage.client.store(), stage.client.store().names());
    let never_started = RunId::keyed(&WorkflowName::new("held").expect("a name"), "late", 1);
    let late = Entry::Local(Local {
        kind: LocalKind::Closure,
        result: StepResult::Value(Payload::unit()),
    });
    let key = EntryKey::Local(StepKey::from_path("late"));
    store.create(&never_started, key, &late).await.expect("a create");

    let asleep = stage.client.start(asleep, ()).await.expect("a start");
    let broker = NatsBroker::connect(stage.server.connect()).await.expect("a connection");
    let (stream, schedules) = (names.timer_stream(Partition(0)), names.timer_schedules(Partition(0)));
    until("the schedule", async || {
        let found = broker.subjects(&stream, &schedules).await;
        found.is_ok_and(|found| !found.is_empty())
    })
    .await;
    broker.purge(&stream, &schedules).await.expect("a purge");
    stage
        .until(
            "the sweep",
            &[
                (SWEPT, &["found=\"wake_up_without_schedule\""], 1.0),
                (SWEPT, &["found=\"run_without_start\""], 1.0),
                ("everstep_orchestrator_entries_orphaned_total", &[], 1.0),
            ],
        )
        .await;
    until("another schedule", async || {
        let found = broker.subjects(&stream, &schedules).await;
        found.is_ok_and(|found| !found.is_empty())
    })
    .await;
    stage.client.cancel(asleep.id(), "seen enough").await.expect("a cancel");
    asleep.result().await.expect_err("it is cancelled");
    stage.until("no live run", &[(LIVE, &[], 0.0)]).await;
}

/// What `nats micro stats everstep` shows: the protocol's own counts of the answers given, and in `data` what each role has counted.
async fn each_process_tells_its_figures_as_a_micro_service(stage: &Stage) {
    let broker = NatsBroker::connect(stage.server.connect()).await.expect("a connection");
    let ask = async |subject: &str| -> Vec<Value> {
        let answers = broker.ask(subject, Bytes::new(), Duration::from_secs(1)).await;
        let told = answers.iter().map(|answer| serde_json::from_slice(&answer.payload));
        told.collect::<Result<_, _>>().expect("JSON")
    };
    let listed = ask("$SRV.INFO.everstep").await;
    for process in &listed {
        ask(&format!("everstep.status.{}", process["id"].as_str().expect("an id"))).await;
    }
    let told = ask("$SRV.STATS.everstep").await;
    assert_eq!((listed.len(), told.len()), (2, 2), "the orchestrator and the worker");
    for process in &told {
        let status = &process["endpoints"][0];
        assert_eq!(
            (&status["num_requests"], &status["num_errors"]),
            (&json!(1), &json!(0)),
            "{process}"
        );
        assert!(status["processing_time"].as_u64() > Some(0), "{process}");
    }
    let of_role = |role: &str| -> Vec<&Value> {
        let datas = told.iter().map(|process| &process["endpoints"][0]["data"][role]);
        datas.filter(|data| !data.is_null()).collect()
    };
    let [orchestrator] = of_role("orchestrator")[..] else {
        panic!("{told:?}")
    };
    let [worker] = of_role("worker")[..] else { panic!("{told:?}") };
    let scraped = stage.scrape().await;
    for (told, metric) in [
        (&orchestrator["partitions_owned"], "everstep_orchestrator_partitions_owned"),
        (&orchestrator["live_runs"], LIVE),
        (&orchestrator["runs_started"], "everstep_orchestrator_runs_started_total"),
        (&orchestrator["steps_recorded"], RECORDED),
        (&worker["steps"], STEPS),
        (&worker["redeliveries"], REDELIVERIES),
    ] {
        assert_eq!(
            told.as_f64(),
            scraped.value(metric, &[]),
            "{metric} in {orchestrator} and {worker}"
        );
    }
}

async fn a_takeover_is_counted_and_the_feed_lags(stage: &Stage, orchestrator: RunningApp) {
    let waiting = stage.client.start(held, 9).await.expect("a start");
    stage.until_arrived(5).await;
    stage.until("a live run", &[(LIVE, &[], 1.0)]).await;
    orchestrator.stop().await.expect("an end");
    // Another process would tell of it from now on.
    stage
        .expect(&[(LIVE, &[], 0.0), (IN_FLIGHT, &[], 0.0), (TAKEOVERS, &[], 1.0)])
        .await;

    let late = stage.client.start(retried, 10).await.expect("a start");
    let started = Instant::now();
    until("the start to be old", async || started.elapsed() >= LAG).await;
    let orchestrator = stage.play(Roles::ORCHESTRATOR).await;
    until("the feed to lag", async || {
        let lag = stage.value(LAG_SECONDS, &["partition=\"0\""]).await;
        lag.is_some_and(|lag| lag >= LAG.as_secs_f64())
    })
    .await;
    assert_eq!(late.result().await.expect("a result"), 10);
    stage
        .until(
            "the feed to have caught up",
            &[
                (LAG_SECONDS, &[], 0.0),
                ("everstep_orchestrator_feed_backlog", &[], 0.0),
                (LIVE, &[], 1.0),
                (TAKEOVERS, &[], 2.0),
            ],
        )
        .await;
    GATE.add_permits(1);
    assert_eq!(waiting.result().await.expect("a result"), 9);
    stage.until("no live run", &[(LIVE, &[], 0.0), (IN_FLIGHT, &[], 0.0)]).await;
    stage
        .expect(&[(SWEPT, &["found=\"step_without_task\""], 1.0), (REDELIVERIES, &[], 1.0)])
        .await;
    orchestrator.stop().await.expect("an end");
}
