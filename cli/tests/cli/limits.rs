//! Limits, as operators set and see them.

use serde_json::{Value, json};

use crate::support::{World, within};

/// Where a run waits first, once it waits for a place.
async fn at_its_gate(world: &World, run: &str) -> Value {
    within(async {
        loop {
            let shown = world.run(&["runs", "show", run, "--json"]).await.json();
            if let Some(wait) = shown["at_gates"].as_array().and_then(|waits| waits.first()) {
                return wait.clone();
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_set_seen_and_taken_back() {
    let world = World::start().await;
    let none = world.run(&["limits", "ls", "--json"]).await;
    assert_eq!((none.code, none.json()), (0, json!([])));

    let set = [
        "limits",
        "set",
        "function.charge_customer",
        "--concurrency",
        "3",
        "--rate",
        "100/s",
        "--per-key-rate",
        "5/min",
    ];
    assert_eq!(world.run(&[&set[..], &["--dry-run"]].concat()).await.code, 0);
    assert_eq!(
        world.run(&["limits", "ls", "--json"]).await.json(),
        json!([]),
        "nothing was done"
    );
    let told = world.run(&set).await;
    assert!(
        told.code == 0 && told.errors.contains("3 at a time, 100/s, 5/min of a key"),
        "{told:?}"
    );
    let listed = world.run(&["limits", "ls", "--json"]).await.json();
    assert_eq!(listed[0]["limit"], "function.charge_customer");
    assert_eq!(listed[0]["set"]["concurrency"], 3);
    assert_eq!(listed[0]["set"]["per_key_rate"]["count"], 5);

    let _application = world.application().await;
    let ran = world.run(&["run", "order_workflow", "--input", "\"o-1\"", "--follow"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(world.run(&["limits", "rm", "function.charge_customer"]).await.code, 0);
    assert_eq!(world.run(&["run", "limited", "--follow"]).await.code, 0);
    let table = world.run(&["limits", "ls"]).await.output;
    let row = |name| table.lines().find(|line| line.contains(name)).expect("it is listed");
    assert!(row("function.charge_customer").contains("as the code says"), "{table}");
    assert!(row("workflow.limited").contains("50 at a time, 5/min of a key"), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_limit_is_a_mistake_of_usage() {
    let world = World::start().await;
    for wrong in [
        &["limits", "set", "queue.gpu"][..],
        &["limits", "set", "gpu", "--concurrency", "3"],
        &["limits", "set", "queue.gpu", "--concurrency", "0"],
        &["limits", "set", "queue.gpu", "--rate", "fast"],
        &["limits", "set", "queue.gpu", "--per-key-rate", "0/min"],
        &["limits", "set", "queue.gpu", "--none", "--per-key-rate", "5/min"],
        &["limits", "set", "queue.gpu", "--none", "--concurrency", "3"],
    ] {
        assert_eq!(world.run(wrong).await.code, 2, "{wrong:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn show_tells_which_step_waits_under_which_limit() {
    let world = World::start().await;
    let set = ["limits", "set", "function.charge_customer", "--rate", "1/h"];
    assert_eq!(world.run(&set).await.code, 0);
    let _application = world.application().await;
    let first = world.run(&["run", "order_workflow", "--input", "\"o-1\"", "--follow"]).await;
    assert_eq!(first.code, 0, "the first one of the hour goes at once: {first:?}");

    let second = world.run(&["run", "order_workflow", "--input", "\"o-2\""]).await.line();
    let wait = at_its_gate(&world, &second).await;
    assert_eq!(
        (&wait["step"], &wait["limit"]),
        (&json!("charge_customer"), &json!("function.charge_customer"))
    );
    assert!(wait["why"].as_str().is_some_and(|why| why.starts_with("1/h")), "{wait}");
    let text = world.run(&["runs", "show", &second]).await.output;
    assert!(
        text.contains("step charge_customer, a place under function.charge_customer: 1/h"),
        "{text}"
    );

    assert_eq!(world.run(&["limits", "rm", "function.charge_customer"]).await.code, 0);
    assert_eq!(world.run(&["runs", "tail", &second]).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_at_the_gate_of_its_workflow_shows_as_scheduled_and_why() {
    let world = World::start().await;
    let set = ["limits", "set", "workflow.lingering", "--concurrency", "1"];
    assert_eq!(world.run(&set).await.code, 0);
    let _application = world.application().await;
    let first = world.run(&["run", "lingering"]).await.line();
    within(async { while world.run(&["runs", "show", &first, "--json"]).await.json()["summary"]["status"] != "running" {} }).await;

    let second = world.run(&["run", "lingering"]).await.line();
    assert_eq!(at_its_gate(&world, &second).await["limit"], "workflow.lingering");
    let text = within(async {
        loop {
            let shown = world.run(&["runs", "show", &second]).await;
            // Its summary is written a moment after its start.
            if shown.output.contains("scheduled since") {
                return shown;
            }
        }
    })
    .await;
    assert!(
        text.output.contains("it waits for a place under the limit of its workflow"),
        "{text:?}"
    );
    assert!(
        text.output.contains("a place under workflow.lingering: 1 at a time"),
        "{text:?}"
    );
    assert!(!text.output.contains("=place") && !text.errors.contains("hint"), "{text:?}");

    let dry = world.run(&["runs", "cancel", &second, "--dry-run"]).await;
    assert!(dry.code == 0 && dry.errors.contains("which is scheduled"), "{dry:?}");
    assert_eq!(world.run(&["runs", "cancel", &second]).await.code, 0);
    let ended = world.run(&["runs", "tail", &second]).await;
    assert!(ended.code == 1 && ended.output.contains("✗ cancelled"), "{ended:?}");
}
