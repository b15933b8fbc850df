//! The orchestrator as a service, where one of its threads does not do what it should.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use everstep::{App, AppOptions, Client, DevOptions, DevServer, Durability, Roles};
use everstep_common::ids::{Prefix, ProcessId, RunId};
use everstep_common::ports::{Broker, Clock, Instant};
use everstep_common::store::{Deployment, LEASES, Store};
use everstep_common::wire;
use everstep_nats::managed::{ManagedServer, Options};
use everstep_nats::{ConnectOptions, NatsBroker, TokioClock};
use everstep_orchestrator::{Connect, Connected, Error, Options as OrchestratorOptions, Orchestrator};
use everstep_tests::logs::Logs;
use everstep_tests::processes::{DEADLINE, Fleet, LEDGER_VARIABLE, blockade, until};
use everstep_tests::simulation::{Ledger, shop};
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::oneshot;

const BINARY: &str = env!("CARGO_BIN_EXE_everstep-test-app");

/// How soon a service ends that has nothing to hand over.
const SOON: Duration = Duration::from_secs(2);

/// A clock that panics when told to.
#[derive(Debug)]
struct Fragile(Arc<AtomicBool>);

impl Clock for Fragile {
    fn now(&self) -> Instant {
        assert!(!self.0.load(Ordering::Relaxed), "the clock is broken");
        TokioClock.now()
    }

    fn wall(&self) -> Timestamp {
        TokioClock.wall()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        TokioClock.sleep(duration)
    }
}

async fn provisioned() -> (ManagedServer, Deployment) {
    let server = ManagedServer::start(Options::default()).await.expect("a server");
    let broker: Arc<dyn Broker> = NatsBroker::connect(ConnectOptions::to(server.url()))
        .await
        .expect("a connection");
    let deployment = Deployment::single_node(Prefix::none()).with_partitions(2);
    deployment.provision(&broker, &TokioClock).await.expect("it is provisioned");
    (server, deployment)
}

/// A service over `connect`, how it is told to end, and how it did.
fn start(deployment: Deployment, connect: Connect) -> (oneshot::Sender<()>, tokio::task::JoinHandle<Result<(), Error>>) {
    let options = OrchestratorOptions::new(ProcessId::new("orchestrator").expect("a name"));
    let orchestrator = Orchestrator::new(shop::order_only(), deployment, connect, options);
    let (shutdown, told) = oneshot::channel();
    let run = orchestrator.run(told.map(drop));
    (shutdown, tokio::spawn(run))
}

async fn connected(url: String, clock: Arc<dyn Clock>) -> Result<Connected, String> {
    let broker = NatsBroker::connect(ConnectOptions::to(url)).await;
    Ok((broker.map_err(|error| error.to_string())?, clock))
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_cannot_connect_yet_stop_at_once() {
    let (server, deployment) = provisioned().await;
    let url = server.url();
    let waiting = Arc::new(AtomicUsize::new(0));
    let counted = waiting.clone();
    let connect: Connect = Arc::new(move |name: String| {
        if name.contains("partition") {
            counted.fetch_add(1, Ordering::Relaxed);
            return std::future::pending().boxed();
        }
        connected(url.clone(), Arc::new(TokioClock)).boxed()
    });
    let (shutdown, service) = start(deployment, connect);
    until("both partitions to be connecting", async || {
        waiting.load(Ordering::Relaxed) == 2
    })
    .await;
    shutdown.send(()).expect("it runs");
    let ended = tokio::time::timeout(SOON, service).await.expect("it ends").expect("no panic");
    assert!(ended.is_ok(), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn triggers_that_could_not_connect_and_panicked_go_on_all_the_same() {
    let (server, deployment) = provisioned().await;
    let url = server.url();
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = tries.clone();
    let connect: Connect = Arc::new(move |name: String| {
        let number = match name.contains("triggers") {
            true => counted.fetch_add(1, Ordering::Relaxed),
            false => usize::MAX,
        };
        match number {
            0 => async { Err("there is no server yet".to_owned()) }.boxed(),
            1 => connected(url.clone(), Arc::new(Fragile(Arc::new(AtomicBool::new(true))))).boxed(),
            _ => connected(url.clone(), Arc::new(TokioClock)).boxed(),
        }
    });
    let (shutdown, service) = start(deployment.clone(), connect);
    let broker = NatsBroker::connect(ConnectOptions::to(server.url()))
        .await
        .expect("a connection");
    let (store, _) = Store::new(broker, Arc::new(TokioClock), deployment);
    until("events to be followed once more", async || {
        let followed = store.get_record(LEASES, "events").await.ok().flatten().is_some();
        followed && tries.load(Ordering::Relaxed) > 2
    })
    .await;
    shutdown.send(()).expect("it runs");
    service.await.expect("no panic").expect("it ends well");
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_whose_journal_is_missing_stop_at_once() {
    let (server, deployment) = provisioned().await;
    let url = server.url();
    let waiting = Arc::new(AtomicUsize::new(0));
    let counted = waiting.clone();
    let connect: Connect = Arc::new(move |name: String| {
        counted.fetch_add(usize::from(name.contains("partition")), Ordering::Relaxed);
        connected(url.clone(), Arc::new(TokioClock)).boxed()
    });
    // It is told of more partitions than there are journals.
    let (shutdown, service) = start(deployment.with_partitions(4), connect);
    until("all partitions to be connecting", async || {
        waiting.load(Ordering::Relaxed) == 4
    })
    .await;
    shutdown.send(()).expect("it runs");
    let ended = tokio::time::timeout(SOON, service).await.expect("it ends").expect("no panic");
    assert!(ended.is_ok(), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_whose_leases_cannot_be_reached_yet_stops_at_once() {
    let (_server, deployment) = provisioned().await;
    let connect: Connect = Arc::new(|_| std::future::pending().boxed());
    let (shutdown, service) = start(deployment, connect);
    shutdown.send(()).expect("it runs");
    let ended = tokio::time::timeout(SOON, service).await.expect("it ends").expect("no panic");
    assert!(ended.is_ok(), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_the_leases_thread_is_an_error() {
    let (server, deployment) = provisioned().await;
    let url = server.url();
    let broken = Arc::new(AtomicBool::new(false));
    let driven = Arc::new(AtomicUsize::new(0));
    let (breaks, counted) = (broken.clone(), driven.clone());
    let connect: Connect = Arc::new(move |name: String| {
        let clock: Arc<dyn Clock> = if name.contains("partition") {
            counted.fetch_add(1, Ordering::Relaxed);
            Arc::new(TokioClock)
        } else {
            Arc::new(Fragile(breaks.clone()))
        };
        connected(url.clone(), clock).boxed()
    });
    let (_shutdown, service) = start(deployment, connect);
    until("both partitions to be taken", async || driven.load(Ordering::Relaxed) == 2).await;
    broken.store(true, Ordering::Relaxed);
    let ended = tokio::time::timeout(SOON * 2, service)
        .await
        .expect("it ends")
        .expect("no panic");
    assert!(matches!(ended, Err(Error::LeasesEnded)), "{ended:?}");
}

/// A lease that nobody who has to wait for it gets in time.
const LONG_LEASE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_in_order_hands_over_long_before_the_lease_runs_out() {
    let server = DevServer::start(DevOptions::default()).await.expect("a server");
    let client = Client::connect(server.connect()).await.expect("a client");
    let start = async |roles| {
        let mut options = AppOptions {
            roles,
            ..AppOptions::new(server.connect())
        };
        options.leases.ttl = LONG_LEASE;
        let app = App::new().resource(Ledger::default());
        shop::application(app).start(options).await.expect("a role")
    };
    let _worker = start(Roles::WORKER).await;
    let owner = start(Roles::ORCHESTRATOR).await;
    let run = client.start(shop::fan_out, 3).await.expect("a start");
    assert_eq!(run.result().await.expect("a result"), 5);
    let _heir = start(Roles::ORCHESTRATOR).await;
    owner.stop().await.expect("an end in order");
    let stopped = tokio::time::Instant::now();
    let run = client.start(shop::fan_out, 3).await.expect("a start");
    assert_eq!(run.result().await.expect("a result"), 5);
    assert!(stopped.elapsed() < LONG_LEASE / 2, "{:?}", stopped.elapsed());
}

/// The part of a lease that tells what its owner was found doing.
#[derive(serde::Deserialize)]
struct Lease {
    polling: Option<RunId>,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_that_blocks_its_thread_ends_the_process_after_word_of_it_is_left() {
    let mut fleet = Fleet::start(Path::new(BINARY), 1, 1).await.expect("a fleet");
    let run = fleet.client.start(blockade, 100).await.expect("a start").id().clone();
    let (store, lease) = (fleet.client.store().clone(), format!("lease.{}", run.partition()));
    until("the run to be noted in the lease", async || {
        let record = store.get_record(LEASES, &lease).await.ok().flatten();
        let found = record.and_then(|record| wire::decode::<Lease>(&record.value).ok());
        found.is_some_and(|lease| lease.polling.as_ref() == Some(&run))
    })
    .await;
    let noted = tokio::time::Instant::now();
    until("the process to end", async || {
        let ended = fleet.orchestrators_end().expect("an orchestrator");
        ended.inspect(|ended| assert_eq!(ended.code(), Some(70), "{ended}")).is_some()
    })
    .await;
    assert!(
        noted.elapsed() > Duration::from_secs(20),
        "{:?}: it has half a minute to come back",
        noted.elapsed()
    );
    assert_eq!(fleet.ledger.mutations_of("charge"), 1);
}

/// Nobody restarts a server of the application's own: without it the application has nothing to live for.
#[tokio::test(flavor = "multi_thread")]
async fn an_application_with_a_server_of_its_own_ends_when_that_dies() {
    let mut application = tokio::process::Command::new(BINARY)
        .arg("dev")
        .env(LEDGER_VARIABLE, "127.0.0.1:9")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let mut told = BufReader::new(application.stderr.take().expect("a pipe"));
    let mut said = String::new();
    let mut read = async |until: &str| {
        while !said.contains(until) {
            let line = tokio::time::timeout(DEADLINE, told.read_line(&mut said)).await;
            assert_ne!(line.expect("a line in good time").expect("a line"), 0, "{until}: {said}");
        }
    };
    read("ready").await;
    let children = ["-P", &application.id().expect("it runs").to_string(), "nats-server"];
    let server = std::process::Command::new("pgrep").args(children).output().expect("pgrep");
    let server = String::from_utf8_lossy(&server.stdout).trim().to_owned();
    let killed = std::process::Command::new("kill").args(["-9", &server]).status();
    assert!(killed.expect("kill").success(), "{server:?}");

    read(&format!("nats-server (process {server}) has ended")).await;
    let ended = tokio::time::timeout(DEADLINE, application.wait()).await;
    assert_eq!(ended.expect("an end").expect("a status").code(), Some(1));
}

/// A power cut in its first half minute would take the files of the new streams otherwise.
#[tokio::test]
async fn a_relaxed_server_of_ones_own_is_flushed_once() {
    for (durability, flushes) in [(Durability::Relaxed, 1), (Durability::Strict, 0)] {
        let (logs, _gathering) = Logs::gather(tracing::Level::DEBUG);
        let options = DevOptions {
            durability,
            ..DevOptions::default()
        };
        let mut server = DevServer::start(options).await.expect("a server");
        let flushed = logs.with("flushed to the disk");
        assert_eq!(flushed.len(), flushes, "{durability}: {flushed:?}");
        let store = server.server().store().display().to_string();
        assert!(flushed.iter().all(|line| line.contains(&store)), "{flushed:?}");
    }
}
