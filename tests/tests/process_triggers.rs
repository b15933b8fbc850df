//! Events and schedules on a real server: each event starts each workflow that listens once, however often it is delivered and whoever is
//! killed meanwhile.

use std::path::Path;

use bytes::Bytes;
use everstep::{Client, ListFilter};
use everstep_common::event::MESSAGE_ID;
use everstep_common::ports::Publish;
use everstep_tests::processes::{Fleet, Seed, Victim, until};
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_everstep-test-app");

/// The workflows of the application that listen: two of its own, and two examples.
const LISTENING: usize = 4;

/// Orders placed in each test.
const ORDERS: usize = 60;

/// Kills in each test.
const KILLS: usize = 6;

async fn listening(client: &Client) {
    until("the workflows to listen", async || {
        client.listeners().await.is_ok_and(|listeners| listeners.len() == LISTENING)
    })
    .await;
}

/// Publishes an order as a CloudEvent of ours, until it is acknowledged; every third one again under another id.
async fn place(client: &Client, order: usize) {
    let data = json!({ "order": format!("order {order}"), "cents": 100 });
    let ids = if order.is_multiple_of(3) {
        vec!["first", "again"]
    } else {
        vec!["first"]
    };
    for id in ids {
        while let Err(error) = client.publish_event("order.placed", &data).id(format!("{id} {order}")).await {
            eprintln!("order {order} again: {error}");
        }
    }
}

async fn expect_each_once(fleet: &Fleet, orders: usize) {
    until("every order to be charged and confirmed", async || {
        (fleet.ledger.mutations_of("charge"), fleet.ledger.mutations_of("confirm")) == (orders, orders)
    })
    .await;
    until("every run to be over", async || {
        let all = ListFilter {
            limit: 2 * orders + 1,
            ..ListFilter::default()
        };
        let runs = fleet.client.list(&all).await.unwrap_or_default();
        let tagged = runs
            .iter()
            .filter(|run| run.summary.tags.get("shop").is_some_and(|shop| shop == "north"));
        let is_over = runs.iter().all(|run| run.summary.status == everstep::RunStatus::Completed);
        runs.len() == 2 * orders && tagged.count() == orders && is_over
    })
    .await;
    assert_eq!(
        fleet.ledger.mutations(),
        2 * orders,
        "a workflow was started twice by one event"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_a_stranger_starts_its_workflow_once() {
    let fleet = Fleet::start(Path::new(BINARY), 2, 1).await.expect("a fleet");
    listening(&fleet.client).await;
    let broker = fleet.broker().await.expect("a connection");
    let body = Bytes::from_static(br#"{"order": "o-1", "cents": 100}"#);
    for id in ["one", "one", "two"] {
        let message = Publish::new("event.order.placed", body.clone()).with_header(MESSAGE_ID, id);
        broker.publish(message).await.expect("it is stored");
    }
    let worthless = Publish::new("event.order.placed", Bytes::from_static(br#"{"order": "o-2", "cents": 0}"#));
    broker.publish(worthless).await.expect("it is stored");
    broker
        .publish(Publish::new("event.order.placed", Bytes::from_static(b"no JSON")))
        .await
        .expect("it is stored");
    until("the event to be refused visibly", async || {
        fleet.client.refused_events().await.is_ok_and(|refused| refused.len() == 1)
    })
    .await;
    expect_each_once(&fleet, 1).await;
}

async fn survives(mut victim: impl FnMut(&mut Seed) -> Victim) {
    let mut fleet = Fleet::start(Path::new(BINARY), 2, 2).await.expect("a fleet");
    let mut seed = Seed::from_environment();
    listening(&fleet.client).await;
    let client = fleet.client.clone();
    let placing = tokio::spawn(async move {
        for order in 0..ORDERS {
            place(&client, order).await;
        }
    });
    for _ in 0..KILLS {
        let goal = (fleet.ledger.mutations() + 1 + seed.below((2 * ORDERS / KILLS) as u64) as usize).min(ORDERS);
        fleet.kill_at(goal, victim(&mut seed), &mut seed).await;
    }
    placing.await.expect("no panic");
    expect_each_once(&fleet, ORDERS).await;
}

mod each_event_starts_its_workflows_once {
    everstep_tests::kills_change_nothing!(super::survives, orchestrators, anybody);
}
