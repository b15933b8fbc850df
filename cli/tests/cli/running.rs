//! Starting runs, following them, naming them and moving them.

use std::process::Stdio;

use everstep::RunStatus;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::support::{ENDS_WITHIN, World};

/// What the journal of an order holds, where nothing went wrong.
const ORDER_ENTRIES: [&str; 7] = [
    "start",
    "local.=version",
    "step.validate_order",
    "step.charge_customer",
    "timer.settle",
    "step.send_confirmation",
    "end",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_followed_run_tells_its_timeline_beside_its_result() {
    let world = World::start().await;
    let _application = world.application().await;
    let ended = world.run(&["run", "order_workflow", "--input", "\"o-1\"", "--follow"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.json()["status"], "complete");
    for told in ["start", "step  charge_customer", "timer settle", "end"] {
        assert!(ended.errors.contains(told), "{told}: {ended:?}");
    }

    let ended = world
        .run(&["run", "order_workflow", "--input", "\"o-2\"", "--follow", "--json"])
        .await;
    let lines = ended.json_lines();
    let entries: Vec<_> = lines.iter().filter_map(|line| line["entry"].as_str()).collect();
    assert_eq!(entries, ORDER_ENTRIES);
    let (first, last) = (&lines[0], &lines[lines.len() - 1]);
    assert_eq!((&last["run"], &last["status"]), (&first["run"], &json!("completed")));
    assert_eq!(last["result"]["order_id"], "o-2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_run_fails_the_command_that_followed_it() {
    let world = World::start().await;
    let _application = world.application().await;
    let ended = world
        .run(&["run", "order_workflow", "--input", "5", "--follow", "--json"])
        .await;
    assert_eq!(ended.code, 1, "{ended:?}");
    let last = ended.json_lines().pop().unwrap();
    assert_eq!(
        (&last["status"], &last["failure"]["kind"]),
        (&json!("failed"), &json!("invalid"))
    );
    let run = last["run"].as_str().unwrap();
    assert_eq!(world.run(&["runs", "tail", run]).await.code, 1);
    let listed = world.run(&["runs", "show", run, "--json"]).await.json();
    assert_eq!(listed["summary"]["status"], "failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_started_once_per_key_and_named_by_the_beginning_of_its_id() {
    let world = World::start().await;
    let start = |input: &'static str| ["run", "order_workflow", "--input", input, "--key", "k"];
    let run = world.run(&start("\"a\"")).await.line();
    assert_eq!(world.run(&start("\"a\"")).await.line(), run);
    let conflict = world.run(&start("\"b\"")).await;
    assert_eq!((conflict.code, conflict.output.as_str()), (4, ""));
    assert!(
        conflict.errors.contains(&run) && conflict.errors.contains("hint: "),
        "{conflict:?}"
    );

    // No orchestrator has seen it, so that no list knows it yet.
    let unique = run.split_once('-').unwrap().1;
    for name in [&run[..8], &unique[..6], &run] {
        let shown = world.run(&["runs", "show", name, "--json"]).await.json();
        assert_eq!((&shown["run"], &shown["summary"]["status"]), (&json!(run), &json!("running")));
        assert_eq!(shown["journal"][0]["value"], "a");
        assert_eq!(shown["start_key"], "k");
    }
    assert_eq!(world.run(&["run", "order_workflow", "--input", "null"]).await.code, 0);
    let ambiguous = world.run(&["runs", "show", "0-"]).await;
    assert_eq!(ambiguous.code, 2);
    assert!(ambiguous.errors.contains(&run), "{ambiguous:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_tells_what_its_acknowledgement_survives() {
    let world = World::start().await;
    for level in ["strict", "relaxed"] {
        let provision = ["provision", "--durability", level];
        assert_eq!(world.run(&provision).await.code, 0);
        let start = ["run", "order_workflow", "--input", "\"o\"", "--key", level];
        let told = world.run(&start).await;
        assert!(told.errors.contains(&format!("durability {level}\n")), "{told:?}");
        let told_as_json = world.run(&[&start[..], &["--json"]].concat()).await.json();
        assert_eq!(told_as_json, json!({ "run": told.line(), "durability": level }));
        let handle = world
            .client()
            .await
            .start_named("order_workflow", None, &json!("o"))
            .key(level)
            .await;
        let handle = handle.unwrap();
        assert_eq!(
            (handle.id().as_str(), handle.durability().to_string()),
            (&*told.line(), level.to_owned())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_tell_what_went_wrong() {
    let world = World::start().await;
    let run = world.run(&["run", "order_workflow", "--input", "\"o\""]).await.line();
    let check = async |arguments: &[&str], code: i32| {
        let ended = world.run(arguments).await;
        assert_eq!((ended.code, ended.output.as_str()), (code, ""), "{arguments:?}: {ended:?}");
        let first = ended.errors.lines().next().unwrap_or_default();
        assert!(first.starts_with("error: ") && !first.ends_with('.'), "{first}");
    };
    check(&["run", "order_workflow", "--input", "not json"], 2).await;
    check(&["run", "order_workflow", "--timeout", "5s"], 2).await;
    check(&["runs", "ls", "--status", "odd"], 2).await;
    check(&["runs", "show", "0-0123456789abcdef0123456789abcdef"], 3).await;
    check(&["runs", "show", "77-0123456789abcdef0123456789abcdef"], 3).await;
    check(&["runs", "tail", "77-0123456789abcdef0123456789abcdef"], 3).await;
    check(&["runs", "cancel", "77-0123456789abcdef0123456789abcdef"], 3).await;
    check(&["runs", "cancel", "zzz"], 3).await;
    check(&["run", "order_workflow", "--key", ""], 2).await;
    check(&["run", "order_workflow", "--tag", "=a"], 2).await;
    check(&["run", "order_workflow", "--input", "-"], 2).await;
    check(&["runs", "ls", "--limit", "0"], 2).await;
    check(&["runs", "ls", "--prefix", "elsewhere"], 3).await;
    check(&["provision", "--replicas", "3"], 4).await;
    check(&["provision", "--partitions", "0"], 2).await;
    check(&["runs", "ls", "--server", "nats://127.0.0.1:1"], 1).await;
    let late = world.run(&["runs", "tail", &run, "--timeout", "100ms"]).await;
    assert_eq!(late.code, 5, "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_ends_and_cannot_be_moved_again() {
    let world = World::start().await;
    let client = world.client().await;
    let run = world.run(&["run", "order_workflow", "--input", "\"o\""]).await.line();
    let would = world.run(&["runs", "cancel", &run, "--dry-run"]).await;
    assert_eq!(
        (would.code, client.history(&run.parse().unwrap()).await.unwrap().len()),
        (0, 1)
    );
    let cancelled = world.run(&["runs", "cancel", &run[..20], "--reason", "typo", "--json"]).await;
    assert_eq!(cancelled.json(), json!({ "run": run, "verb": "cancel", "accepted": true }));

    let _application = world.application().await;
    let tailed = world.run(&["runs", "tail", &run, "--json"]).await;
    let end = tailed.json_lines().pop().unwrap();
    assert_eq!((tailed.code, &end["failure"]["message"]), (1, &json!("typo")), "{tailed:?}");
    assert_eq!(world.run(&["runs", "cancel", &run]).await.code, 4);
    assert_eq!(world.run(&["runs", "resume", &run, "--dry-run"]).await.code, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_says_that_and_why_a_run_is_parked() {
    let world = World::start().await;
    let _application = world.application().await;
    let run = world.run(&["run", "unheard_of", "--tag", "team=a"]).await.line();
    let mut tail = world.command(&["runs", "tail", &run]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stderr.take().unwrap()).lines();
    let parked = tokio::time::timeout(ENDS_WITHIN, lines.next_line())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(parked.starts_with("parked: ") && parked.contains("unheard_of"), "{parked}");
    tail.kill().await.unwrap();

    let listed = world.run(&["runs", "ls", "--status", "parked", "--json"]).await.json();
    assert_eq!((&listed[0]["run"], &listed[0]["tags"]["team"]), (&json!(run), &json!("a")));
    assert_eq!(listed[0]["status"], json!(RunStatus::Parked));
    assert_eq!(
        world.run(&["runs", "ls", "--status", "failed", "--json"]).await.json(),
        Value::Array(vec![])
    );
    for (workflow, count) in [("unheard_of", 1), ("order_workflow", 0)] {
        let listed = world.run(&["runs", "ls", "--workflow", workflow, "--json"]).await.json();
        assert_eq!(listed.as_array().map(Vec::len), Some(count), "{workflow}");
    }
    let shown = world.run(&["runs", "show", &run]).await;
    assert!(
        shown.output.contains("no code") && shown.errors.contains("runs resume"),
        "{shown:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shown_run_says_what_it_waits_for() {
    let world = World::start().await;
    let _application = world.application().await;
    let run = async || world.run(&["run", "order_workflow", "--input", "\"o\""]).await.line();
    // It waits for two seconds, which may go by unseen on a busy machine; then another one is looked at.
    let waiting = async {
        let mut current = run().await;
        loop {
            let shown = world.run(&["runs", "show", &current, "--json"]).await.json();
            if shown["waits"][0]["waits_for"] == "sleep" {
                return shown;
            }
            if shown["summary"]["status"] == "completed" {
                current = run().await;
            }
        }
    };
    let shown = tokio::time::timeout(ENDS_WITHIN, waiting).await.unwrap();
    assert_eq!(shown["waits"][0]["key"], "settle", "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_goes_on_when_the_server_was_killed_and_tells_each_entry_once() {
    let mut world = World::start().await;
    let _application = world.application().await;
    let run = world.run(&["run", "order_workflow", "--input", "\"o\""]).await.line();
    let mut tail = world
        .command(&["runs", "tail", &run, "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut told: Vec<String> = Vec::new();
    let telling = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            let entry: Value = serde_json::from_str(&line).unwrap();
            told.push(entry["entry"].as_str().unwrap().to_owned());
            if entry["entry"] == "step.charge_customer" {
                world.server.server().restart().await.unwrap();
            }
        }
        tail.wait().await.unwrap()
    };
    let status = tokio::time::timeout(ENDS_WITHIN, telling).await.unwrap();
    assert_eq!(status.code(), Some(0));
    told.retain(|entry| !entry.starts_with("begun."));
    assert_eq!(told, ORDER_ENTRIES);
}
