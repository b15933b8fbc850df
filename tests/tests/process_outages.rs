//! What the server may do to everybody while all processes stay up: forget a task stream, lose its quorum, have no room.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use everstep::{ClientError, RunHandle};
use everstep_common::ids::QueueName;
use everstep_common::ports::{Publish, PublishError};
use everstep_common::summary::RunStatus;
use everstep_common::topology::StreamSpec;
use everstep_nats::managed::Options;
use everstep_tests::processes::{Fleet, hundred_cents, order, result_of, until};
use tokio::time::Instant;

const BINARY: &str = env!("CARGO_BIN_EXE_everstep-test-app");

/// Runs in each test, and mutations that each of them makes.
const RUNS: usize = 60;
const MUTATIONS: usize = 4;

/// How long the server is of no use: longer than any number of tries and the lease.
const OUTAGE: Duration = Duration::from_secs(16);

async fn start_runs(fleet: &Fleet) -> Vec<RunHandle<u64>> {
    let mut handles = Vec::new();
    for number in 0..RUNS {
        let start = fleet.client.start(order, 100).key(format!("order-{number}"));
        handles.push(start.await.expect("a start"));
    }
    until("the first steps", async || fleet.ledger.requests() > 5).await;
    handles
}

/// Nobody has parked, nothing is lost and nothing was done twice.
async fn all_complete(fleet: &Fleet, handles: Vec<RunHandle<u64>>) {
    let runs = handles.len();
    for handle in handles {
        assert_eq!(result_of(handle).await.expect("it completes"), hundred_cents());
    }
    assert_eq!(fleet.ledger.mutations(), runs * MUTATIONS, "one mutation per logical step");
}

/// Waits until an outage has lasted as long as it shall.
async fn lasts(since: Instant) {
    until("the outage's end", async || since.elapsed() >= OUTAGE).await;
}

/// Asks the server's own interface for what the port does not offer.
async fn ask_server(fleet: &Fleet, verb: &str) {
    let broker = fleet.broker().await.expect("a connection");
    let asked = broker
        .ask(&format!("$JS.API.{verb}"), Bytes::new(), Duration::from_secs(1))
        .await;
    let answer = String::from_utf8_lossy(&asked.first().expect("an answer").payload).into_owned();
    assert!(answer.contains("\"success\":true"), "{verb}: {answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_task_stream_is_filled_again() {
    let fleet = Fleet::start(Path::new(BINARY), 2, 2).await.expect("a fleet");
    let mut handles = start_runs(&fleet).await;
    let stream = fleet.client.store().names().task_stream(&QueueName::default_queue());
    ask_server(&fleet, &format!("STREAM.DELETE.{stream}")).await;
    // Whoever dispatches next finds the stream gone before anybody looks for it.
    handles.push(fleet.client.start(order, 100).await.expect("a start"));
    all_complete(&fleet, handles).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_in_the_middle_of_writing_outlast_the_loss_of_a_quorum() {
    let mut fleet = Fleet::start_on_three_nodes(Path::new(BINARY), 2, 2).await.expect("a fleet");
    let handles = start_runs(&fleet).await;
    let lost = Instant::now();
    fleet.kill_node(0);
    fleet.kill_node(1);
    lasts(lost).await;
    fleet.start_node(0).expect("a node");
    fleet.start_node(1).expect("a node");
    all_complete(&fleet, handles).await;
}

/// All that the test's account may store on disk.
const ROOM: usize = 4 << 20;

fn limited() -> Options {
    Options {
        extra_config: format!(
            "accounts {{ APP {{ users: [{{ user: app, password: app }}], jetstream: {{ max_file: {ROOM}, max_memory: 2GB }} }} }}\n\
             no_auth_user: app"
        ),
        ..Options::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_wait_while_the_server_has_no_room_and_go_on_when_it_has() {
    let fleet = Fleet::start_with(limited(), Path::new(BINARY), 1, 1).await.expect("a fleet");
    let broker = fleet.broker().await.expect("a connection");
    let ballast = StreamSpec::new("BALLAST", ["ballast".to_owned()], 1);
    broker.ensure_stream(&ballast).await.expect("there is room");
    let mut handles = start_runs(&fleet).await;
    let filled = Instant::now();
    for bytes in [256 << 10, 4 << 10, 64] {
        let mut publish = Publish::new("ballast", vec![0; bytes]);
        publish.expect = None;
        loop {
            match broker.publish(publish.clone()).await {
                Ok(_) => {}
                Err(PublishError::Full) => break,
                Err(error) => panic!("filling the server: {error}"),
            }
        }
    }
    // What is purged meanwhile leaves a little room, which the next few starts take up.
    let refused = loop {
        let key = format!("late-{}", handles.len());
        match fleet.client.start(order, 100).key(&key).await {
            Ok(handle) => handles.push(handle),
            Err(ClientError::Unavailable { .. }) => break key,
            Err(error) => panic!("start {key}: {error}"),
        }
        assert!(handles.len() < 10 * RUNS, "there is room for anything");
    };
    lasts(filled).await;
    let open = fleet.client.list(&Default::default()).await.expect("a list");
    assert!(open.iter().all(|run| run.summary.status != RunStatus::Parked), "{open:?}");
    ask_server(&fleet, "STREAM.DELETE.BALLAST").await;
    let again = fleet.client.start(order, 100).key(&refused).await;
    handles.push(again.expect("there is room again"));
    all_complete(&fleet, handles).await;
}
