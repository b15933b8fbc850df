//! The examples that are started by events, runs that wait for events, and a schedule, on a real server whose orchestrators are killed: each
//! event starts each workflow once and reaches each wait once, and each time of the schedule has its run.

use std::path::Path;
use std::time::Duration;

use everstep::{Client, ListFilter, ListedRun, RunStatus, WorkflowName};
use everstep_tests::processes::{Fleet, Moved, Seed, Victim, delivery, result_of, until};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_everstep-trigger-app");

/// Events of each sort.
const EVENTS: u64 = 40;

/// Kills in each test.
const KILLS: usize = 6;

async fn fleet() -> Fleet {
    let fleet = Fleet::start(Path::new(BINARY), 2, 2).await.expect("a fleet");
    until("the workflows to listen", async || {
        fleet.client.listeners().await.is_ok_and(|listeners| listeners.len() == 3)
    })
    .await;
    fleet
}

/// Publishes an event until it is acknowledged, and then again.
async fn publish(client: &Client, name: &str, id: &str, data: &impl Serialize) {
    for _ in 0..2 {
        while let Err(error) = client.publish_event(name, data).id(id).await {
            eprintln!("{id} again: {error}");
        }
    }
}

async fn runs_of(client: &Client, workflow: &str) -> Vec<ListedRun> {
    let filter = ListFilter {
        workflow: Some(WorkflowName::new(workflow).expect("a name")),
        limit: 1_000,
        ..ListFilter::default()
    };
    client.list(&filter).await.unwrap_or_default()
}

async fn completed(client: &Client, workflow: &str) -> usize {
    let runs = runs_of(client, workflow).await;
    runs.iter().filter(|run| run.summary.status == RunStatus::Completed).count()
}

/// Kills while something is done, whoever is drawn; then waits for that.
async fn kill_while(fleet: &mut Fleet, work: impl Future<Output = ()> + Send + 'static, victims: &[Victim]) {
    let mut seed = Seed::from_environment();
    let work = tokio::spawn(work);
    let mut pace = tokio::time::interval(Duration::from_millis(700));
    for _ in 0..KILLS {
        pace.tick().await;
        fleet.kill(seed.one_of(victims), &mut seed).await.expect("a kill");
    }
    work.await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_are_started_once_by_each_event_though_orchestrators_are_killed() {
    let mut fleet = fleet().await;
    let client = fleet.client.clone();
    let publishing = async move {
        for number in 0..EVENTS {
            let intent = json!({ "id": format!("evt_{number}"), "data": { "object": { "amount": number, "currency": "eur" } } });
            let id = format!("delivery {number}");
            publish(&client, "webhook.stripe.payment_intent.succeeded", &id, &intent).await;
            // The service sends it again as another delivery of the same event.
            let id = format!("another delivery {number}");
            publish(&client, "webhook.stripe.payment_intent.succeeded", &id, &intent).await;
            let user = json!({ "user_id": format!("user {number}") });
            publish(&client, "user.signed_up", &format!("user {number}"), &user).await;
        }
    };
    kill_while(
        &mut fleet,
        publishing,
        &[Victim::Orchestrator, Victim::Orchestrator, Victim::Server],
    )
    .await;
    for workflow in ["payment_workflow", "welcome_workflow"] {
        until(&format!("every run of {workflow}"), async || {
            completed(&fleet.client, workflow).await == EVENTS as usize
        })
        .await;
        assert_eq!(runs_of(&fleet.client, workflow).await.len(), EVENTS as usize, "{workflow}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_reaches_the_run_that_waits_for_it_once_though_everything_is_killed() {
    let mut fleet = fleet().await;
    let client = fleet.client.clone();
    let mut runs = Vec::new();
    for parcel in 0..EVENTS {
        let key = format!("parcel {parcel}");
        let run = loop {
            match client.start(delivery, parcel).key(&key).await {
                Ok(run) => break run,
                Err(error) => eprintln!("{key} again: {error}"),
            }
        };
        runs.push(run);
    }
    let publishing = async move {
        for step in 1..=4 {
            for parcel in 0..EVENTS {
                let moved = Moved { parcel, step };
                publish(&client, "parcel.moved", &format!("parcel {parcel} step {step}"), &moved).await;
            }
        }
    };
    let victims = [Victim::Orchestrator, Victim::Orchestrator, Victim::Worker, Victim::Server];
    kill_while(&mut fleet, publishing, &victims).await;
    for run in runs {
        assert_eq!(result_of(run).await.expect("a result"), [1, 2, 3]);
    }
    assert_eq!(fleet.ledger.mutations(), 3 * EVENTS as usize, "an event reached a run twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_time_of_a_schedule_has_one_run_though_orchestrators_are_killed() {
    let mut fleet = fleet().await;
    let times = async |client: &Client| -> Vec<Timestamp> {
        let runs = runs_of(client, "every_second").await;
        let mut times: Vec<Timestamp> = runs
            .iter()
            .map(|run| run.summary.tags["scheduled_at"].parse().expect("a time"))
            .collect();
        times.sort_unstable();
        times
    };
    until("the schedule to begin", async || !times(&fleet.client).await.is_empty()).await;
    kill_while(&mut fleet, async {}, &[Victim::Orchestrator]).await;
    let so_far = times(&fleet.client).await.len();
    until("the schedule to go on", async || {
        times(&fleet.client).await.len() >= so_far + 5
    })
    .await;
    // Summaries are written a moment later, and not in the order of the runs; what is a few seconds old is complete.
    let complete = |times: &[Timestamp]| {
        let second = SignedDuration::from_secs(1);
        times.windows(2).all(|pair| pair[1].duration_since(pair[0]) == second)
    };
    until("no time to be missing or doubled", async || {
        complete(&times(&fleet.client).await)
    })
    .await;
    let client = &fleet.client;
    until("the runs to be over", async || {
        completed(client, "every_second").await >= so_far
    })
    .await;
}
