//! Starts that cannot be made, and what starts ask for.

use std::time::Duration;

use everstep::journal::Entry;
use everstep::{ClientError, RunId, RunStatus};
use everstep_common::ids::WorkflowName;
use everstep_memory::Nodes;
use serde_json::json;

use crate::bench::{Bench, for_seeds, local, write};

#[test]
fn of_many_starts_each_has_its_own_outcome_in_the_order_given() {
    for_seeds(3, async |seed| {
        let bench = Bench::start(Nodes::One, seed).await;
        let client = bench.client("client").await;
        let taken = client
            .start_named("order", None, &json!("another input"))
            .key("order 7")
            .await;
        let starts = (0..100).map(|number| {
            let start = client
                .start_named("order", None, &json!(number))
                .key(format!("order {number}"));
            start.deadline(Duration::from_secs(if number == 9 { 0 } else { 60 }))
        });
        let started = client.start_many(starts).await.unwrap();
        assert_eq!(started.len(), 100);
        for (number, outcome) in started.iter().enumerate() {
            match (number, outcome) {
                (7, Err(ClientError::Conflict { run, .. })) => assert_eq!(run, taken.as_ref().unwrap().id()),
                (9, Err(ClientError::BadStart { what, .. })) => assert_eq!(*what, "the deadline"),
                (_, Ok(run)) => {
                    let history = client.history(run.id()).await.unwrap();
                    let Entry::Start(start) = &history[0].entry else {
                        panic!("{history:?}")
                    };
                    assert_eq!(start.start_key.as_deref(), Some(&*format!("order {number}")));
                }
                (_, other) => panic!("start {number}: {other:?}"),
            }
        }
        let too_many = (0..1_001).map(|number| client.start_named("order", None, &json!(number)));
        assert!(matches!(client.start_many(too_many).await, Err(ClientError::BadStart { .. })));
    });
}

#[test]
fn a_session_that_is_none_is_told_and_nothing_is_started() {
    for_seeds(1, async |seed| {
        let bench = Bench::start(Nodes::One, seed).await;
        let client = bench.client("client").await;
        let start = |session: String| client.start_named("order", None, &json!("o-1")).session(session);
        for (session, characters) in [(String::new(), 0), ("ü".repeat(257), 257)] {
            let refused = start(session.clone()).key("o-1").await.unwrap_err();
            assert!(
                matches!(&refused, ClientError::SessionId(bad) if bad.characters == characters),
                "{refused:?}"
            );
            assert!(
                refused.to_string().contains("1 to 256 characters (SESSION_ID_CHARS_MAX)"),
                "{refused}"
            );
            let listed = client.session(&session).await;
            assert!(matches!(listed, Err(ClientError::SessionId(_))), "{listed:?}");
        }
        let many = [start("s".to_owned()), start(String::new()), start("ü".repeat(256))];
        let many = client.start_many(many).await.unwrap();
        assert!(matches!(many[..], [Ok(_), Err(ClientError::SessionId(_)), Ok(_)]), "{many:?}");
        let keyed = client.start_named("order", None, &json!("another")).key("o-1").await;
        assert!(keyed.is_ok(), "the key is free: {keyed:?}");
    });
}

#[test]
fn a_run_that_begins_later_is_scheduled_before_anybody_drives_it() {
    for_seeds(1, async |seed| {
        let bench = Bench::start(Nodes::One, seed).await;
        let client = bench.client("client").await;
        let start = client.start_named("order", None, &json!("o-1")).delay(Duration::from_secs(5));
        let caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let run = start.traceparent(caller).priority(3).await.unwrap();
        assert_eq!(client.status(run.id()).await.unwrap().status, RunStatus::Scheduled);
        let history = client.history(run.id()).await.unwrap();
        let Entry::Start(start) = &history[0].entry else {
            panic!("{history:?}")
        };
        assert_eq!((start.traceparent.as_deref(), start.terms.priority), (Some(caller), 3));
    });
}

#[test]
fn a_start_into_a_run_that_holds_entries_but_no_start_says_what_to_do() {
    for_seeds(1, async |seed| {
        let bench = Bench::start(Nodes::One, seed).await;
        let client = bench.client("client").await;
        let run = RunId::keyed(&WorkflowName::new("order").unwrap(), "k", 1);
        write(&client, &run, [local("left")]).await;
        let clock = client.store().clock().clone();
        let began = clock.now();
        let refused = client.start_named("order", None, &().into()).key("k").await;
        let mut error: &dyn std::error::Error = &refused.unwrap_err();
        let mut told = error.to_string();
        while let Some(source) = error.source() {
            told.push_str(&format!(": {source}"));
            error = source;
        }
        assert!(told.contains("was never started and yet holds"), "{told}");
        assert!(told.contains(run.as_str()) && told.contains("another start key"), "{told}");
        let took = clock.now().since(began);
        assert!(took < Duration::from_secs(5), "{took:?}");
    });
}
