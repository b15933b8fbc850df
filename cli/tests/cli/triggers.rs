//! Events and schedules as an operator meets them.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{ENDS_WITHIN, World};

/// Asks until the answer is as it should be.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + ENDS_WITHIN;
    let mut look = tokio::time::interval(Duration::from_millis(50));
    while !holds().await {
        assert!(Instant::now() < end, "waited {ENDS_WITHIN:?} for this: {what}");
        look.tick().await;
    }
}

async fn listed(world: &World, verb: &[&str]) -> Vec<Value> {
    let arguments: Vec<&str> = verb.iter().copied().chain(["--json"]).collect();
    let ended = world.run(&arguments).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    ended.json().as_array().expect("a list").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_sent_starts_who_listens_and_one_that_cannot_is_told() {
    let world = World::start().await;
    let _application = world.application().await;
    until("the workflow to listen", async || {
        let listeners = listed(&world, &["event", "listeners"]).await;
        listeners.iter().any(|listener| listener["workflow"] == "welcome_workflow")
    })
    .await;
    let send = ["event", "send", "user.signed_up", "--id", "ada", "--data"];
    for data in [r#"{"user_id": "ada"}"#, r#"{"user_id": "ada"}"#] {
        let sent = world.run(&[&send[..], &[data]].concat()).await;
        assert_eq!(sent.code, 0, "{sent:?}");
    }
    let without = world.run(&["event", "send", "user.signed_up", "--data", "{}"]).await;
    assert_eq!(without.code, 0, "{without:?}");
    until("the second one to be refused", async || {
        let refused = listed(&world, &["event", "refused"]).await;
        refused.len() == 1 && refused[0]["refused"]["reason"].to_string().contains("user_id")
    })
    .await;
    let client = world.client().await;
    until("the first one to have started one run", async || {
        client.list(&everstep::ListFilter::default()).await.unwrap().len() == 1
    })
    .await;
    let table = world.run(&["event", "listeners"]).await;
    assert!(table.output.contains("event user.signed_up"), "{table:?}");

    let forgotten = world.run(&["event", "forget", "welcome_workflow"]).await;
    assert_eq!(forgotten.code, 0, "{forgotten:?}");
    let again = world.run(&["event", "forget", "welcome_workflow"]).await;
    assert_eq!(again.code, 3, "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_listed_paused_resumed_and_backfilled() {
    let world = World::start().await;
    let _application = world.application().await;
    let schedule = "yearly/cron";
    until("the schedule to be there", async || {
        let schedules = listed(&world, &["schedules", "ls"]).await;
        schedules
            .iter()
            .any(|found| found["id"] == schedule && found["next"].is_string())
    })
    .await;
    let paused = world.run(&["schedules", "pause", schedule, "--reason", "holidays"]).await;
    assert_eq!(paused.code, 0, "{paused:?}");
    let table = world.run(&["schedules", "ls"]).await;
    assert!(table.output.contains("paused: holidays"), "{table:?}");
    let resumed = world.run(&["schedules", "resume", schedule]).await;
    assert_eq!(resumed.code, 0, "{resumed:?}");

    let span = ["--from", "2020-01-01T00:00:00Z", "--to", "2023-01-01T00:00:00Z", "--json"];
    let dry = world
        .run(&[&["schedules", "backfill", schedule, "--dry-run"][..], &span].concat())
        .await
        .json();
    assert_eq!(dry["times"].as_array().map(Vec::len), Some(3), "{dry}");
    for _ in 0..2 {
        let filled = world
            .run(&[&["schedules", "backfill", schedule][..], &span].concat())
            .await
            .json();
        assert_eq!(filled["runs"].as_array().map(Vec::len), Some(3), "{filled}");
    }
    let client = world.client().await;
    until("three runs to be over", async || {
        let runs = client.list(&everstep::ListFilter::default()).await.unwrap();
        runs.len() == 3 && runs.iter().all(|run| run.summary.status == everstep::RunStatus::Completed)
    })
    .await;
    let unknown = world.run(&["schedules", "pause", "yearly/other"]).await;
    assert_eq!(unknown.code, 3, "{unknown:?}");
    assert_eq!(listed(&world, &["schedules", "ls"]).await[0]["skipped"], json!(0));
}
