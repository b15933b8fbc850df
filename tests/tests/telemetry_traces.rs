//! One trace for each run, from its caller to its functions, through processes that know of each other by the journal and the tasks only;
//! and `/metrics` of each role.

use std::net::SocketAddr;
use std::process::Stdio;

use everstep::prelude::*;
use everstep::{ConnectOptions, DevOptions, DevServer, QueueName};
use everstep_common::ids::FunctionName;
use everstep_common::key::StepKey;
use everstep_common::ports::{Broker, GetLast, header};
use everstep_nats::NatsBroker;
use everstep_tests::processes::{DEADLINE, until};
use everstep_tests::telemetry::{Collector, Exported, greeting, party, scrape};
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tracing::Instrument;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

const BINARY: &str = env!("CARGO_BIN_EXE_everstep-traced-app");

/// A process of the application that exports to `collector`.
fn process(role: &str, connect: &ConnectOptions, collector: Option<&Collector>) -> Command {
    let mut command = Command::new(BINARY);
    command
        .args([role, "--server", &connect.servers[0]])
        .env("EVERSTEP_LOG", "error")
        .env("OTEL_SERVICE_NAME", role)
        .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    if let Some(collector) = collector {
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint());
    }
    command
}

/// SIGTERM, upon which it exports what it still has.
async fn end(mut child: Child) {
    let id = child.id().expect("it runs").to_string();
    Command::new("kill").args(["-TERM", &id]).status().await.expect("a signal");
    let ended = tokio::time::timeout(DEADLINE, child.wait()).await.expect("it ends");
    assert!(ended.expect("a status").success());
}

fn of<'a>(spans: &'a [Exported], name: &str) -> Vec<&'a Exported> {
    spans.iter().filter(|span| span.name == name).collect()
}

fn one<'a>(spans: &'a [Exported], name: &str) -> &'a Exported {
    let found = of(spans, name);
    assert_eq!(found.len(), 1, "{name} in {spans:#?}");
    found[0]
}

fn attribute<'a>(span: &'a Exported, name: &str) -> &'a str {
    span.attributes.get(name).map_or("", String::as_str)
}

/// A trace parent's trace and span.
fn ids(traceparent: &str) -> (&str, &str) {
    let parts: Vec<_> = traceparent.split('-').collect();
    (parts[1], parts[2])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_one_trace_from_its_caller_to_its_functions() {
    let collector = Collector::start().await.expect("a collector");
    let server = DevServer::start(DevOptions::default()).await.expect("a server");
    let connect = server.connect();
    // The caller has tracing of his own, as a service would that starts runs.
    let exporter = SpanExporter::builder().with_http();
    let exporter = exporter.with_endpoint(format!("{}/v1/traces", collector.endpoint())).build();
    let caller = SdkTracerProvider::builder()
        .with_resource(Resource::builder().with_service_name("caller").build())
        .with_batch_exporter(exporter.expect("an exporter"))
        .build();
    let layer = tracing_opentelemetry::layer().with_tracer(caller.tracer("caller"));
    tracing_subscriber::registry()
        .with(tracing_subscriber::filter::LevelFilter::INFO)
        .with(layer)
        .init();

    let client = Client::connect(connect.clone()).await.expect("a client");
    let orchestrator = process("orchestrator", &connect, Some(&collector))
        .spawn()
        .expect("a process");
    let checkout = tracing::info_span!("checkout");
    let trace = checkout.context().span().span_context().trace_id().to_string();
    let run = client.start(greeting, "you".to_owned()).into_future();
    let run = run.instrument(checkout).await.expect("a start");
    let id = run.id().clone();

    let broker = NatsBroker::connect(connect.clone()).await.expect("a connection");
    let (names, queue) = (client.store().names(), QueueName::default_queue());
    let function = FunctionName::new("greet").expect("a name");
    let subject = names.task(&queue, &function, &id, &StepKey::from_path("greet"), 1);
    let request = GetLast {
        stream: names.task_stream(&queue),
        subjects: vec![subject],
        up_to: None,
        leader: true,
    };
    let mut in_task = String::new();
    until("the task", async || {
        let found = broker.get_last(request.clone()).await.ok();
        let header = found.and_then(|found| found.messages.first()?.headers.get(header::TRACEPARENT).map(str::to_owned));
        in_task = header.unwrap_or_default();
        !in_task.is_empty()
    })
    .await;

    let worker = process("worker", &connect, Some(&collector)).spawn().expect("a process");
    let told = tokio::time::timeout(DEADLINE, run.result()).await.expect("an end");
    let told = told.expect("a result");
    // A run that was started by nobody who traces is its own trace, and its child is in it.
    let party = client.start(party, "them".to_owned()).key("party").await.expect("a start");
    let parent = party.id().clone();
    let from_child = tokio::time::timeout(DEADLINE, party.result()).await.expect("an end");
    let from_child = from_child.expect("a result");
    end(worker).await;
    end(orchestrator).await;
    caller.shutdown().expect("exported");

    let (of_child, _) = ids(&from_child);
    let family = collector.trace(of_child);
    let child = one(&family, "child");
    assert_eq!(
        (child.service.as_str(), attribute(child, "run")),
        ("orchestrator", parent.as_str())
    );
    let dispatches = of(&family, "dispatch");
    assert_eq!(dispatches.len(), 3, "{family:#?}");
    assert!(dispatches.iter().all(|dispatch| dispatch.parent == child.id));

    let spans = collector.trace(&trace);
    let (checkout, start) = (one(&spans, "checkout"), one(&spans, "start"));
    assert_eq!((checkout.service.as_str(), checkout.parent.as_str()), ("caller", ""));
    assert_eq!((start.service.as_str(), &start.parent), ("caller", &checkout.id));
    assert_eq!(attribute(start, "run"), id.to_string());
    assert_eq!(attribute(start, "workflow"), "greeting");

    // An outcome is said unless it is a value.
    let attempts = [("greet", "1", ""), ("fickle", "1", "retryable"), ("fickle", "2", "")];
    let (dispatches, steps) = (of(&spans, "dispatch"), of(&spans, "step"));
    assert_eq!(
        (dispatches.len(), steps.len()),
        (attempts.len(), attempts.len()),
        "{spans:#?}"
    );
    for (key, attempt, outcome) in attempts {
        let is_it = |span: &&&Exported| attribute(span, "step") == key && attribute(span, "attempt") == attempt;
        let dispatch = dispatches.iter().find(is_it).expect("a dispatch");
        let step = steps.iter().find(is_it).expect("a step");
        assert_eq!((dispatch.service.as_str(), &dispatch.parent), ("orchestrator", &start.id));
        assert_eq!((step.service.as_str(), &step.parent), ("worker", &dispatch.id));
        for span in [dispatch, step] {
            assert_eq!(attribute(span, "run"), id.to_string());
            assert_eq!(attribute(span, "partition"), "0");
            assert_eq!(attribute(span, "function"), key);
        }
        assert_eq!((attribute(step, "outcome"), step.is_error), (outcome, !outcome.is_empty()));
        if key == "greet" {
            assert_eq!(ids(&in_task), (trace.as_str(), dispatch.id.as_str()), "the task's header");
            assert_eq!(ids(&told), (trace.as_str(), step.id.as_str()), "what the function passes on");
            let own = one(&spans, "look up");
            assert_eq!((own.service.as_str(), &own.parent), ("worker", &step.id));
        }
    }
    let applied = of(&spans, "apply");
    let entries: Vec<_> = applied.iter().map(|span| attribute(span, "entry")).collect();
    for entry in ["step.greet", "try.fickle.1", "step.fickle", "end"] {
        assert!(entries.contains(&entry), "{entry} in {entries:?}");
    }
    // The start may have been there before its owner, who then reads the run back.
    let replayed = of(&spans, "replay");
    assert!(entries.contains(&"start") || !replayed.is_empty(), "{entries:?}");
    assert!(
        applied
            .iter()
            .chain(&replayed)
            .all(|span| span.parent == start.id && attribute(span, "partition") == "0")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_serves_its_own_figures() {
    let server = DevServer::start(DevOptions::default()).await.expect("a server");
    let connect = server.connect();
    let roles = [
        (
            "orchestrator",
            "everstep_orchestrator_takeovers_total",
            "everstep_worker_steps_total",
        ),
        (
            "worker",
            "everstep_worker_steps_total",
            "everstep_orchestrator_takeovers_total",
        ),
    ];
    for (role, own, other) in roles {
        let mut process = process(role, &connect, None)
            .args(["--metrics", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut told = BufReader::new(process.stderr.take().expect("its output")).lines();
        let line = told.next_line().await.expect("output").expect("a line");
        let address = line
            .strip_prefix("metrics http://")
            .and_then(|line| line.strip_suffix("/metrics"));
        let address: SocketAddr = address.expect(&line).parse().expect(&line);
        until("its figures", async || {
            let scraped = scrape(address).await;
            scraped.is_ok_and(|scraped| scraped.value(own, &[]).is_some())
        })
        .await;
        let scraped = scrape(address).await.expect("an answer");
        assert_eq!(scraped.value(other, &[]), None, "{}", scraped.text);
        end(process).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_ends_the_process_and_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let nowhere = ConnectOptions::to("127.0.0.1:1");
    for role in ["orchestrator", "worker", "all"] {
        let ended = process(role, &nowhere, None).args(["--metrics", &address]).output();
        let ended = tokio::time::timeout(DEADLINE, ended).await.expect("it ends").expect("output");
        let told = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(1), "{told}");
        assert!(
            told.contains(&format!("serving /metrics at {address}: Address already in use")),
            "{told}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_gone_is_told_and_holds_nobody_up() {
    let server = DevServer::start(DevOptions::default()).await.expect("a server");
    let mut worker = process("worker", &server.connect(), None)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
        .env("OTEL_METRIC_EXPORT_INTERVAL", "100")
        .stderr(Stdio::piped())
        .spawn()
        .expect("a process");
    let mut told = BufReader::new(worker.stderr.take().expect("its output")).lines();
    let told = async {
        loop {
            let line = told.next_line().await.expect("output").expect("a line");
            assert!(!line.contains('\u{1b}'), "no colours where nobody looks: {line}");
            if line.contains("ExportError") {
                break;
            }
        }
    };
    tokio::time::timeout(DEADLINE, told).await.expect("it is told");
    end(worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_waits_for_its_server_ends_when_it_is_told_to() {
    let nowhere = ConnectOptions::to("127.0.0.1:1");
    let mut waiting = process("all", &nowhere, None)
        .args(["--metrics", "127.0.0.1:0"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("a process");
    let mut told = BufReader::new(waiting.stderr.take().expect("its output")).lines();
    told.next_line().await.expect("output").expect("a line");
    end(waiting).await;
}
