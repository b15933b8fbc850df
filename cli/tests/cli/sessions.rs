//! What runs share, and what they show, as an operator sees it.

use serde_json::json;

use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn the_values_of_a_session_are_shown() {
    let world = World::start().await;
    let _application = world.application().await;
    let visit = [
        "run",
        "stateful_workflow",
        "--input",
        "\"ada\"",
        "--session",
        "customer 7",
        "--follow",
    ];
    for _ in 0..2 {
        let visited = world.run(&visit).await;
        assert_eq!(visited.code, 0, "{visited:?}");
    }
    let shown = world.run(&["sessions", "show", "customer 7", "--json"]).await.json();
    assert_eq!(shown["session"], "customer 7");
    assert_eq!(
        (&shown["values"][0]["key"], &shown["values"][0]["value"]),
        (&json!("visit_count"), &json!(2))
    );
    let table = world.run(&["sessions", "show", "customer 7"]).await;
    assert!(table.output.contains("visit_count"), "{table:?}");

    let other = world.run(&["sessions", "show", "customer"]).await;
    assert_eq!((other.code, other.output.as_str()), (0, ""), "{other:?}");
    assert!(other.errors.contains("holds nothing"), "{other:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_shown_with_its_state_and_view_as_long_as_it_goes_on() {
    let world = World::start().await;
    let application = world.application().await;
    let run = world.run(&["run", "lingering"]).await.line();
    let client = world.client().await;
    let view = client.view(&run.parse().unwrap()).await.unwrap();
    assert_eq!(view, Some(["half".to_owned(), "way".to_owned()]));

    let shown = world.run(&["runs", "show", &run, "--json"]).await.json();
    assert_eq!(
        (&shown["view"], &shown["state"]),
        (&json!(["half", "way"]), &json!({ "phase": "waiting" }))
    );
    let text = world.run(&["runs", "show", &run]).await;
    assert!(text.output.contains("phase=\"waiting\""), "{text:?}");

    // Without an orchestrator it is shown without them.
    application.stop().await.unwrap();
    let shown = world.run(&["runs", "show", &run, "--json"]).await.json();
    assert_eq!((&shown["view"], &shown["state"]), (&json!(null), &json!(null)));
    let asked = client.state(&run.parse().unwrap()).await;
    assert!(matches!(asked, Err(everstep::ClientError::NotDriven { .. })), "{asked:?}");
}
