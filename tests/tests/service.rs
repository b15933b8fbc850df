//! The orchestrator as a service, where one of its threads does not do what it should.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use everstep_common::ids::{Prefix, ProcessId};
use everstep_common::ports::{Broker, Clock, Instant};
use everstep_common::store::Deployment;
use everstep_nats::managed::{ManagedServer, Options};
use everstep_nats::{ConnectOptions, NatsBroker, TokioClock};
use everstep_orchestrator::{Connect, Connected, Error, Options as OrchestratorOptions, Orchestrator};
use everstep_tests::processes::until;
use everstep_tests::simulation::shop;
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::oneshot;

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
    deployment.provision(&broker).await.expect("it is provisioned");
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
