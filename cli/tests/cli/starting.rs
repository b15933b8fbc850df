//! What a start asks for, as the command line says and shows it.

use serde_json::json;

use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_begins_later_shows_when_and_can_be_cancelled_before() {
    let world = World::start().await;
    let _application = world.application().await;
    let run = world
        .run(&["run", "order_workflow", "--input", "\"o-1\"", "--delay", "2h"])
        .await
        .line();
    let shown = world.run(&["runs", "show", &run, "--json"]).await.json();
    assert_eq!(shown["summary"]["status"], "scheduled");
    let listed = world.client().await;
    let listed = async || {
        let filter = everstep::ListFilter {
            status: Some(everstep::RunStatus::Scheduled),
            ..Default::default()
        };
        listed.list(&filter).await.unwrap()
    };
    let listed = loop {
        // Its summary is written a moment after its start.
        if let Some(found) = listed().await.pop() {
            break found;
        }
    };
    assert_eq!(listed.run.as_str(), run);
    let text = world.run(&["runs", "ls", "--status", "scheduled"]).await;
    assert!(text.output.contains("it begins at "), "{text:?}");
    let would = world.run(&["runs", "cancel", &run, "--dry-run"]).await;
    assert!(
        would.code == 0 && would.errors.contains("would cancel"),
        "it is not over: {would:?}"
    );
    assert_eq!(world.run(&["runs", "cancel", &run]).await.code, 0);
    let ended = world.run(&["runs", "tail", &run]).await;
    assert!(ended.code == 1 && ended.output.contains("✗ cancelled"), "{ended:?}");
    assert!(!ended.output.contains("step "), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_delay_passes_and_a_deadline_ends_what_lingers() {
    let world = World::start().await;
    let _application = world.application().await;
    let delayed = ["run", "order_workflow", "--input", "\"o-1\"", "--delay", "1s", "--follow"];
    let ended = world.run(&delayed).await;
    assert_eq!((ended.code, &ended.json()["status"]), (0, &json!("complete")), "{ended:?}");
    assert!(ended.errors.contains("the run begins"), "{ended:?}");

    let overdue = world
        .run(&["run", "lingering", "--deadline", "1s", "--follow", "--json"])
        .await;
    let last = overdue.json_lines().pop().unwrap();
    assert_eq!(
        (overdue.code, &last["failure"]["kind"]),
        (1, &json!("deadline_exceeded")),
        "{overdue:?}"
    );
    let bad = world.run(&["run", "lingering", "--deadline", "0s"]).await;
    assert_eq!(bad.code, 2, "{bad:?}");
    let bad = world.run(&["run", "lingering", "--session", ""]).await;
    assert_eq!(bad.code, 2, "{bad:?}");
    let bad = world.run(&["run", "lingering", "--session", &"x".repeat(257)]).await;
    assert_eq!(bad.code, 2, "{bad:?}");
    assert!(bad.errors.contains("1 to 256 characters"), "{bad:?}");
    let bad = world.run(&["run", "lingering", "--traceparent", "me"]).await;
    assert_eq!(bad.code, 2, "{bad:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_starts_a_run_and_one_that_is_refused_leaves_the_others() {
    let world = World::start().await;
    let lines = "{\"input\": \"o-1\", \"key\": \"a\"}\n\"o-2\"\n{\"input\": \"o-3\", \"key\": \"a\"}\n";
    let each = world
        .run(&["run", "order_workflow", "--each", "--input", lines, "--json"])
        .await;
    assert_eq!(each.code, 1, "the third has the key of the first: {each:?}");
    let started: Vec<_> = each.json_lines().iter().map(|line| line["line"].clone()).collect();
    assert_eq!(started, [json!(1), json!(2)]);
    assert!(each.errors.contains("line 3: "), "{each:?}");
}
