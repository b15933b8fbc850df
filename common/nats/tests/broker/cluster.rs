//! Three nodes: replicas that are behind, a node that dies, and the same promises.

use std::sync::Arc;
use std::time::Duration;

use everstep_common::ports::{Broker, Expect, Followed, From, GetLast, Publish, PublishError, ReadError};
use everstep_common::topology::Durability;
use everstep_nats::managed::{ManagedCluster, NODES, Options};
use everstep_nats::{ConnectOptions, NatsBroker};
use futures::StreamExt;
use futures::future::join_all;

use crate::support::{journal_spec, soon, until};

/// An election takes up to nine seconds.
const FAILOVER: Duration = Duration::from_secs(30);

async fn cluster() -> (ManagedCluster, Vec<Arc<NatsBroker>>) {
    let cluster = ManagedCluster::start(Options::with_durability(Durability::Relaxed))
        .await
        .unwrap();
    let connecting = (0..NODES).map(|node| NatsBroker::connect(ConnectOptions::to(cluster.node_url(node))));
    let brokers = join_all(connecting).await.into_iter().map(Result::unwrap).collect();
    (cluster, brokers)
}

/// Makes the stream `J`, and waits until every node has heard of it.
async fn journal(brokers: &[Arc<NatsBroker>]) {
    brokers[0].ensure_stream(&journal_spec(3)).await.unwrap();
    for broker in brokers {
        // No stream was ever so long, so nothing is stored.
        let impossible = || Publish::new("j.probe", "").expecting(Expect::LastSequence(u64::MAX >> 1));
        until(async || (broker.publish(impossible()).await == Err(PublishError::Refused)).then_some(())).await;
    }
}

fn read(subjects: &[String]) -> GetLast {
    GetLast {
        stream: "J".into(),
        subjects: subjects.to_vec(),
        up_to: None,
        leader: false,
    }
}

/// Creates the entry, again while nobody says how that went, and returns its sequence. A node that is short of time may stand for election
/// at any moment.
async fn create(broker: &NatsBroker, subject: &str) -> u64 {
    until(
        async || match broker.publish(Publish::new(subject, "x").create_only()).await {
            Ok(stored) => Some(stored.sequence),
            Err(PublishError::Refused) => {
                let mut found = broker
                    .get_last(GetLast {
                        leader: true,
                        ..read(&[subject.to_owned()])
                    })
                    .await
                    .ok()?;
                found.messages.pop().map(|message| message.sequence)
            }
            Err(PublishError::Unknown(_) | PublishError::NoStream) => None,
            Err(error) => panic!("{error}"),
        },
    )
    .await
}

#[tokio::test]
async fn concurrent_creates_through_all_nodes_have_one_winner() {
    const ROUNDS: usize = 50;
    let (_cluster, brokers) = cluster().await;
    journal(&brokers).await;
    let mut answered = 0;
    for round in 0..ROUNDS {
        let subject = format!("j.run.{round}");
        let publish = Publish::new(subject.clone(), "x").create_only();
        let results = join_all((0..9).map(|n| brokers[n % NODES].publish(publish.clone()))).await;
        let stored = results.iter().filter(|result| result.is_ok()).count();
        let refused = results.iter().filter(|result| **result == Err(PublishError::Refused)).count();
        match 9 - stored - refused {
            0 => {
                assert_eq!(stored, 1, "{results:?}");
                answered += 1;
            }
            // In an election the winner may not be told.
            _ => assert!(stored <= 1, "{results:?}"),
        }
        create(&brokers[0], &subject).await;
        let found = soon(brokers[0].get_last(GetLast {
            leader: true,
            ..read(&[subject])
        }))
        .await
        .unwrap();
        assert_eq!(found.messages.len(), 1);
    }
    assert!(answered > ROUNDS / 2, "{answered} of {ROUNDS} rounds were answered whole");
}

#[tokio::test]
async fn a_read_as_of_an_acknowledged_sequence_holds_it_or_is_unavailable() {
    let (_cluster, brokers) = cluster().await;
    journal(&brokers).await;
    let (mut held, mut behind) = (0, 0);
    for n in 0..500 {
        let run = [format!("j.r{n}.>")];
        // A node that is short of time may stand for election, and a publish go without an answer; that is not the matter here.
        let create = Publish::new(format!("j.r{n}.start"), "x").create_only();
        let Ok(stored) = brokers[n % NODES].publish(create).await else {
            continue;
        };
        let as_of = GetLast {
            up_to: Some(stored.sequence),
            ..read(&run)
        };
        match brokers[(n + 1) % NODES].get_last(as_of).await {
            Ok(snapshot) => {
                assert_eq!(
                    snapshot.messages.len(),
                    1,
                    "missing although acknowledged: {stored:?} {snapshot:?}"
                );
                held += 1;
            }
            Err(ReadError::Unavailable(_)) => behind += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(held > 250, "{held} of 500 reads held the entry, {behind} were unavailable");
}

#[tokio::test]
async fn a_position_is_never_ahead_of_what_the_answer_holds() {
    let (_cluster, brokers) = cluster().await;
    journal(&brokers).await;
    for n in 0..300_u64 {
        let stored = create(&brokers[0], &format!("j.{n}")).await;
        let snapshot = brokers[1].get_last(read(&[format!("j.{n}")])).await.unwrap();
        let holds = snapshot.messages.iter().any(|message| message.sequence == stored);
        assert!(holds || snapshot.up_to < stored, "{snapshot:?} after {stored}");
    }
}

#[tokio::test]
async fn thousands_of_messages_read_at_another_node_are_all_that_was_acknowledged() {
    let (_cluster, brokers) = cluster().await;
    journal(&brokers).await;
    let broker = &brokers[0];
    let create = |n: u64| async move { create(broker, &format!("j.{n}")).await };
    join_all((0..1_200).map(create)).await;
    let mut held = 0;
    for n in 1_200..1_300 {
        let stored = create(n).await;
        match soon(brokers[1].get_all("J", "j.*", None)).await {
            Ok(found) => {
                let sequences: Vec<u64> = found.messages.iter().map(|message| message.sequence).collect();
                assert_eq!(sequences, (1..=stored).collect::<Vec<_>>());
                assert_eq!(found.up_to, stored);
                held += 1;
            }
            Err(ReadError::Unavailable(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(held > 50, "{held} of 100 reads were answered");
}

#[tokio::test]
async fn follows_scans_and_pulls_go_on_when_the_leader_dies() {
    let (mut cluster, brokers) = cluster().await;
    let broker = NatsBroker::connect(ConnectOptions::to(cluster.url())).await.unwrap();
    journal(&brokers).await;
    let mut follow = broker.follow("J", "j.>", From::Sequence(1));
    for n in 0..100 {
        create(&broker, &format!("j.a.{n}")).await;
    }
    drop(brokers);
    let leader = cluster.leader().await.unwrap();
    cluster.kill(leader);
    for n in 0..100 {
        let create = Publish::new(format!("j.b.{n}"), "x").create_only();
        let stored = until(async || {
            broker
                .publish(create.clone())
                .await
                .map_or_else(|error| (error == PublishError::Refused).then_some(()), |_| Some(()))
        });
        tokio::time::timeout(FAILOVER, stored).await.unwrap();
    }
    let last = soon(broker.stream_info("J")).await.unwrap().unwrap().last_sequence;
    let mut sequences = Vec::new();
    while sequences.last() != Some(&last) {
        match soon(follow.next()).await {
            Some(Followed::Message(message)) => sequences.push(message.sequence),
            Some(Followed::CaughtUp) => {}
            other => panic!("{other:?} after {sequences:?}"),
        }
    }
    assert_eq!(sequences, (1..=last).collect::<Vec<_>>());
    let scanned = soon(broker.scan("J", "j.>", None).count()).await;
    assert_eq!(scanned as u64, last);
}
