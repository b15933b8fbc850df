//! Signals, updates, answers and approvals, by the command, on a real server.

use serde_json::{Value, json};

use crate::support::{ENDS_WITHIN, Ended, World};

impl World {
    /// What `runs show` tells of the run, once it asks something.
    async fn asking(&self, run: &str) -> Value {
        let asks = async {
            loop {
                let shown = self.run(&["runs", "show", run, "--json"]).await.json();
                if shown["questions"].as_array().is_some_and(|questions| !questions.is_empty()) {
                    return shown;
                }
            }
        };
        tokio::time::timeout(ENDS_WITHIN, asks).await.expect("the run asks something")
    }

    /// What a run returned that is followed to its end.
    async fn result(&self, run: &str) -> Value {
        let told = self.run(&["runs", "tail", run, "--json"]).await;
        let end = told.json_lines().into_iter().rfind(|line| line["entry"] == "end");
        end.unwrap_or_else(|| panic!("{told:?}"))["value"].clone()
    }
}

fn refused(ended: &Ended, code: i32, why: &str) {
    assert!(ended.code == code && ended.errors.contains(why), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_shown_answered_once_and_told() {
    let world = World::start().await;
    let _application = world.application().await;
    let run = world.run(&["run", "approval_workflow", "--input", "\"o-1\""]).await.line();
    let shown = world.asking(&run).await;
    assert_eq!(shown["questions"][0]["wait"], "approve-order");
    let plain = world.run(&["runs", "show", &run]).await;
    assert!(plain.output.contains("approve-order: Approve this order?"), "{plain:?}");

    let answer = |value: &'static str, by: &'static str| {
        let arguments = ["runs", "answer", &run, "approve-order", "--value", value, "--by", by].map(str::to_owned);
        let world = &world;
        async move { world.run(&arguments.each_ref().map(String::as_str)).await }
    };
    refused(&answer("maybe", "ada").await, 2, "is not among the options: approve, reject");
    refused(
        &world
            .run(&["runs", "answer", &run, "other", "--value", "x", "--by", "ada"])
            .await,
        3,
        "asks nothing under the name \"other\"",
    );
    assert_eq!(answer("approve", "ada").await.code, 0);
    let result = world.result(&run).await;
    assert_eq!((&result["status"], &result["by"]), (&json!("fulfilled"), &json!("ada")));
    assert_eq!(answer("approve", "ada").await.code, 0, "the same again is fine");
    refused(&answer("reject", "bob").await, 4, "was answered by ada");
    let shown = world.run(&["runs", "show", &run, "--json"]).await.json();
    assert_eq!(shown["questions"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_of_exactly_what_was_shown() {
    let world = World::start().await;
    let _application = world.application().await;
    let run = world.run(&["run", "onboard.customer", "--input", "\"acme\""]).await.line();
    let shown = world.asking(&run).await;
    let terms = &shown["questions"][0]["question"]["approval"];
    assert_eq!(terms["payload"], r#"["acme","Dear acme, how about Tuesday?"]"#);
    let plain = world.run(&["runs", "show", &run]).await.output;
    assert!(plain.contains("payload") && plain.contains("how about Tuesday?"), "{plain}");

    let other = "0".repeat(64);
    let wrong = ["runs", "approve", &run, "outreach", "--hash", &other, "--by", "ada"];
    refused(&world.run(&wrong).await, 4, "what is asked about has the hash");
    let reject = ["runs", "reject", &run, "outreach", "--by", "ada", "--dry-run"];
    assert_eq!(world.run(&reject).await.code, 0);
    let right = ["runs", "approve", &run, "outreach", "--by", "ada", "--reason", "good"];
    assert_eq!(world.run(&right).await.code, 0);
    let result = world.result(&run).await;
    assert_eq!(result["status"], "sent");
    let timeline = world.run(&["runs", "show", &run]).await.output;
    assert!(
        timeline.contains("outreach: approves") && timeline.contains("good"),
        "{timeline}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_is_sent_once_under_its_id_and_only_to_a_run_that_is_there() {
    let world = World::start().await;
    let _application = world.application().await;
    let run = world.run(&["run", "paid", "--input", "null"]).await.line();
    let sent = async |run: &str, id: &str, value: &str| {
        let arguments = ["runs", "signal", run, "paid", "--value", value, "--id", id];
        world.run(&arguments).await
    };
    assert_eq!(sent(&run, "p/1", "8999").await.code, 0);
    refused(&sent(&run, "p/1", "1").await, 4, "another signal was sent");
    assert_eq!(world.result(&run).await, json!(8999));
    assert_eq!(
        sent(&run, "p/1", "8999").await.code,
        0,
        "the same again is fine, also when it has done its work"
    );
    refused(&sent(&run, "p/2", "1").await, 4, "has ended");
    let nowhere = "0-00000000000000000000000000000000";
    refused(&sent(nowhere, "p/1", "1").await, 3, "0-00000000000000000000000000000000");
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_of_one_name_in_two_branches_are_answered_by_their_full_names() {
    let world = World::start().await;
    let _application = world.application().await;
    let run = world.run(&["run", "outfit", "--input", "null"]).await.line();
    let answer = async |wait: &str, value: &str| {
        let arguments = ["runs", "answer", &run, wait, "--value", value, "--by", "ada"];
        // It may not be asked yet.
        let answered = async {
            loop {
                let ended = world.run(&arguments).await;
                if ended.code != 3 {
                    return ended;
                }
            }
        };
        tokio::time::timeout(ENDS_WITHIN, answered).await.expect("it is asked")
    };
    assert_eq!(answer("parallel/0/which", "bowler").await.code, 0);
    assert_eq!(answer("parallel/1/which", "tweed").await.code, 0);
    assert_eq!(world.result(&run).await, json!(["bowler", "tweed"]));
    refused(&answer("which", "tweed").await, 2, "parallel/0/which, parallel/1/which");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_answered_once_under_its_key_and_shown() {
    let world = World::start().await;
    let _application = world.application().await;
    let run = world.run(&["run", "guest", "--input", "null"]).await.line();
    let invite = async |name: &str, key: &str| {
        let arguments = ["runs", "update", &run, "invite", "--value", name, "--key", key];
        world.run(&arguments).await
    };
    refused(&invite("\"eve\"", "1").await, 4, "rejected the update: not eve");
    refused(&invite("7", "2").await, 4, "update `invite` is not of its type");
    assert_eq!(invite("\"ada\"", "3").await.line(), "3");
    assert_eq!(invite("\"ada\"", "3").await.line(), "3", "the same again is fine");
    refused(&invite("\"bob\"", "3").await, 4, "another update was sent");

    let late = ["runs", "update", &run, "invite", "--key", "4", "--timeout", "1s"];
    refused(&world.run(&late).await, 5, "asking again with key \"4\" is safe");
    let shown = world.run(&["runs", "show", &run, "--json"]).await.json();
    let verdicts: Vec<_> = shown["updates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|update| (update["key"].as_str().unwrap(), update["verdict"].as_str()))
        .collect();
    let expected = [
        ("1", Some("rejected")),
        ("2", Some("rejected")),
        ("3", Some("done")),
        ("4", None),
    ];
    assert_eq!(verdicts, expected);
    let plain = world.run(&["runs", "show", &run]).await.output;
    assert!(plain.contains("invite (4), not answered"), "{plain}");
    assert!(
        plain.contains("update invite: \"ada\"") && plain.contains("answers 3"),
        "{plain}"
    );

    assert_eq!(world.run(&["runs", "signal", &run, "go"]).await.code, 0);
    assert_eq!(world.result(&run).await, json!("ada"));
    assert_eq!(invite("\"ada\"", "3").await.line(), "3", "also when the run is over");
    refused(&world.run(&late).await, 4, "ended without answering the update");
}
