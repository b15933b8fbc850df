//! What a client sees of a run when replicas are behind and leaders deposed.

use std::time::Duration;

use everstep::ClientError;
use everstep::journal::{Entry, EntryKey, JournalEntry, RunOutcome, Start};
use everstep_common::payload::Payload;
use everstep_common::ports::Clock;
use everstep_memory::{Faults, Nodes};
use futures::StreamExt;

use crate::bench::{Bench, end, for_seeds, goes_on_in, local, write};

/// Replicas catch up, and who was leader knows it, after this long.
async fn behind_for(bench: &Bench, seconds: u64) {
    bench.server.clock().sleep(Duration::from_secs(seconds)).await;
    bench.server.set_faults(Faults::none());
}

fn stale(read: f64, leader: f64) -> Faults {
    Faults {
        stale_read: read,
        stale_leader_read: leader,
        ..Faults::none()
    }
}

#[test]
fn a_tail_ends_with_its_run_however_far_replicas_are_behind() {
    for_seeds(50, async |seed| {
        let bench = Bench::start(Nodes::Three, seed).await;
        let (client, owner) = (bench.client("client").await, bench.client("owner").await);
        let run = client.start_named("order", None, &().into()).await.unwrap().id().clone();
        bench.server.set_faults(stale(1.0, 0.0));
        let tailing = client.tail(&run).map(|entry| entry.unwrap().key).collect::<Vec<_>>();
        let writing = write(&owner, &run, [local("a"), local("b"), end()]);
        let (told, (), ()) = futures::join!(tailing, writing, behind_for(&bench, 5));
        let expected = [EntryKey::Start, local("a").0, local("b").0, EntryKey::End];
        assert_eq!(told, expected, "EVERSTEP_SEED={seed}");
    });
}

#[test]
fn a_signal_goes_to_the_run_in_which_a_workflow_goes_on() {
    for_seeds(1, async |seed| {
        let bench = Bench::start(Nodes::One, seed).await;
        let client = bench.client("client").await;
        let run = client.start_named("order", None, &().into()).await.unwrap().id().clone();
        let next = client.start_named("order", None, &().into()).await.unwrap().id().clone();
        client.signal(&run, "paid", "before", &1).await.unwrap();
        write(&client, &run, [goes_on_in(&next)]).await;
        client.signal(&run, "paid", "after", &2).await.unwrap();
        client.signal(&run, "paid", "before", &1).await.expect("it was taken in time");
        let words = |journal: Vec<JournalEntry>| journal.iter().filter(|entry| matches!(entry.key, EntryKey::In(_))).count();
        assert_eq!(words(client.history(&run).await.unwrap()), 1);
        assert_eq!(words(client.history(&next).await.unwrap()), 1);
        write(&client, &next, [end()]).await;
        let ended = client.signal(&run, "paid", "late", &3).await;
        assert!(matches!(ended, Err(ClientError::Ended { run }) if run == next));
    });
}

#[test]
fn a_history_holds_whatever_was_acknowledged_before_it_was_asked_for() {
    for_seeds(20, async |seed| {
        let bench = Bench::start(Nodes::Three, seed).await;
        let client = bench.client("client").await;
        bench.server.set_faults(stale(1.0, 0.0));
        let run = client.start_named("order", None, &().into()).await.unwrap().id().clone();
        write(&client, &run, [local("a"), local("b")]).await;
        let keys: Vec<_> = client
            .history(&run)
            .await
            .unwrap()
            .into_iter()
            .map(|entry| entry.key)
            .collect();
        assert_eq!(keys, [EntryKey::Start, local("a").0, local("b").0], "EVERSTEP_SEED={seed}");
    });
}

#[test]
fn an_end_missed_in_an_outage_is_found_though_a_deposed_leader_denies_it() {
    for_seeds(20, async |seed| {
        let bench = Bench::start(Nodes::Three, seed).await;
        let (client, owner) = (bench.client("client").await, bench.client("owner").await);
        let handle = client.start_named("order", None, &().into()).await.unwrap();
        let run = handle.id().clone();
        let mut tail = client.tail(&run);
        assert_eq!(tail.next().await.unwrap().unwrap().key, EntryKey::Start);

        bench.server.disconnect("client");
        write(&owner, &run, [end()]).await;
        bench.server.set_faults(stale(1.0, 1.0));
        bench.server.reconnect("client");
        let (outcome, told, ()) = futures::join!(handle.outcome(), tail.next(), behind_for(&bench, 8));
        assert!(matches!(outcome, Ok(RunOutcome::Completed(_))), "{outcome:?}");
        assert_eq!(told.unwrap().unwrap().key, EntryKey::End);
    });
}

#[test]
fn a_large_value_is_not_called_missing_by_a_deposed_leader() {
    for_seeds(20, async |seed| {
        let bench = Bench::start(Nodes::Three, seed).await;
        let client = bench.client("client").await;
        let large = serde_json::Value::from("x".repeat(600_000));
        let run = client.start_named("order", None, &large).await.unwrap().id().clone();
        let entry = client.history(&run).await.unwrap().remove(0).entry;
        let Entry::Start(Start { input, .. }) = entry else {
            panic!("it begins with its start");
        };
        assert!(matches!(input, Payload::Stored(_)));
        bench.server.set_faults(stale(1.0, 1.0));
        let (value, ()) = futures::join!(client.value(&run, &input), behind_for(&bench, 8));
        assert_eq!(value.unwrap(), large);
    });
}
