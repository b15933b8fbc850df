//! Runs that belong together: how they are shown, and ended.

use serde_json::{Value, json};

use crate::support::{ENDS_WITHIN, World};

/// What is shown of a run once that holds.
async fn shown(world: &World, run: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let end = tokio::time::Instant::now() + ENDS_WITHIN;
    loop {
        let shown = world.run(&["runs", "show", run, "--json"]).await.json();
        if holds(&shown) {
            return shown;
        }
        assert!(tokio::time::Instant::now() < end, "{shown:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_and_its_child_are_shown_with_each_other_and_end_together() {
    let world = World::start().await;
    let application = world.application().await;
    let parent = world.run(&["run", "guardian", "--key", "g"]).await.line();
    let is_started = |shown: &Value| shown["children"][0]["status"] == "running";
    let of_parent = shown(&world, &parent, is_started).await;
    let child = of_parent["children"][0]["run"].as_str().unwrap().to_owned();
    assert_eq!(of_parent["children"][0]["key"], "ward");
    assert_eq!(of_parent["waits"][0]["waits_for"], "child");
    assert_eq!(of_parent["waits"][0]["run"], json!(child));
    let of_child = shown(&world, &child, |_| true).await;
    assert_eq!(
        of_child["parent"],
        json!({ "run": parent, "step": "ward", "detached": false })
    );

    let told = world.run(&["runs", "show", &parent]).await.output;
    assert!(
        told.contains(&format!("waits for child ward, run {child}, which is running")),
        "{told}"
    );
    let tree = world.run(&["runs", "tree", &parent]).await.output;
    let lines: Vec<_> = tree.lines().collect();
    assert_eq!(lines[0], format!("{parent} running, guardian"));
    assert_eq!(lines[1], format!("  ward {child} running, lingering"));

    let would = world.run(&["runs", "terminate", &parent, "--dry-run"]).await;
    assert!(would.errors.contains("would terminate run"), "{would:?}");
    assert_eq!(world.run(&["runs", "terminate", &parent, "--reason", "done"]).await.code, 0);
    for run in [&parent, &child] {
        shown(&world, run, |shown| shown["summary"]["status"] == "terminated").await;
    }
    let tail = world.run(&["runs", "tail", &parent]).await;
    assert_eq!(tail.code, 1, "{tail:?}");
    application.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_goes_on_as_new_is_followed_to_its_end_and_its_chain_is_shown() {
    let world = World::start().await;
    let application = world.application().await;
    let followed = world.run(&["run", "hopping", "--input", "2", "--key", "h", "--follow"]).await;
    assert_eq!((followed.code, followed.output.trim()), (0, "0"), "{followed:?}");
    let first = world.run(&["run", "hopping", "--input", "2", "--key", "h"]).await.line();
    let of_first = shown(&world, &first, |shown| shown["summary"]["status"] == "continued").await;
    let second = of_first["goes_on_in"].as_str().unwrap().to_owned();
    let of_second = shown(&world, &second, |_| true).await;
    let since = &of_first["summary"]["started"];
    assert_eq!(
        of_second["continues"],
        json!({ "from": first, "first": first, "number": 1, "since": since })
    );
    assert_eq!(of_second["start_key"], "h");
    let tree = world.run(&["runs", "tree", &first]).await.output;
    assert_eq!(tree.lines().count(), 3, "{tree}");
    assert!(tree.lines().nth(2).unwrap().ends_with("completed, hopping"), "{tree}");
    // Where it stands is the last one, and that has ended.
    assert_eq!(world.run(&["runs", "cancel", &first]).await.code, 4);
    application.stop().await.unwrap();
}
