//! Pulling tasks: at once, together, by credit, given back, and noticing that the queue is gone.

use std::collections::BTreeSet;
use std::time::Duration;

use everstep_common::ports::{Ack, Broker, Publish, PullError, Puller};
use everstep_common::topology::{Storage, StreamSpec};
use everstep_nats::NatsBroker;
use tokio::time::Instant;

use crate::support::{DEADLINE, connected, consumer_spec, fill, request, server, soon, tasks, tasks_spec, until};

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(50);

async fn left(broker: &NatsBroker) -> u64 {
    broker.stream_info("T").await.unwrap().unwrap().messages
}

/// Pulls until `count` deliveries have come.
async fn gather(puller: &mut Box<dyn Puller>, count: usize) -> Vec<everstep_common::ports::Delivery> {
    let mut deliveries = Vec::new();
    while deliveries.len() < count {
        deliveries.extend(soon(puller.next(count - deliveries.len(), LONG)).await.unwrap());
    }
    deliveries
}

#[tokio::test]
async fn a_task_reaches_a_waiting_puller_at_once_and_an_ack_removes_it() {
    let (_server, broker) = server().await;
    tasks(&broker).await;
    let mut puller = broker.pull("T", "c").await.unwrap();
    assert!(puller.next(10, SHORT).await.unwrap().is_empty());
    let message = Publish::new("t.a", "work").with_header("traceparent", "00");
    let (stored, pulled) = tokio::join!(broker.publish(message), puller.next(10, LONG));
    let [delivery] = &pulled.unwrap()[..] else {
        panic!("one task")
    };
    assert_eq!(
        (delivery.subject.as_str(), &delivery.payload[..]),
        ("t.a", b"work".as_slice())
    );
    assert_eq!((delivery.delivery, delivery.sequence), (1, stored.unwrap().sequence));
    assert_eq!(delivery.headers.get("traceparent"), Some("00"));
    broker.ack(&delivery.ack, Ack::Done);
    until(async || (left(&broker).await == 0).then_some(())).await;
}

#[tokio::test]
async fn no_more_comes_than_there_is_room_for() {
    let (_server, broker) = server().await;
    tasks(&broker).await;
    fill(&broker, "t", 0..100).await;
    let mut narrow = broker.pull("T", "c").await.unwrap();
    let first = gather(&mut narrow, 10).await;
    assert_eq!(first.len(), 10);
    // Whatever the narrow one does not hold is there for another.
    let mut wide = broker.pull("T", "c").await.unwrap();
    let rest = gather(&mut wide, 90).await;
    let all: BTreeSet<_> = first.iter().chain(&rest).map(|delivery| delivery.sequence).collect();
    assert_eq!(all.len(), 100);
}

#[tokio::test]
async fn a_busy_puller_works_through_a_long_queue_in_batches() {
    let (_server, broker) = server().await;
    tasks(&broker).await;
    fill(&broker, "t", 0..20_000).await;
    let mut puller = broker.pull("T", "c").await.unwrap();
    let mut seen = BTreeSet::new();
    while seen.len() < 20_000 {
        for delivery in soon(puller.next(500, LONG)).await.unwrap() {
            assert_eq!(delivery.delivery, 1);
            assert!(seen.insert(delivery.sequence));
            broker.ack(&delivery.ack, Ack::Done);
        }
    }
    until(async || (left(&broker).await == 0).then_some(())).await;
}

#[tokio::test]
async fn a_task_comes_again_when_it_is_given_back_and_never_when_it_is_terminated() {
    let (_server, broker) = server().await;
    tasks(&broker).await;
    let mut puller = broker.pull("T", "c").await.unwrap();
    fill(&broker, "t", 0..1).await;
    let first = gather(&mut puller, 1).await.remove(0);
    broker.ack(&first.ack, Ack::Retry(Duration::ZERO));
    let second = gather(&mut puller, 1).await.remove(0);
    assert_eq!((second.sequence, second.delivery), (first.sequence, 2));
    let given_back = Instant::now();
    broker.ack(&second.ack, Ack::Retry(Duration::from_millis(300)));
    let third = gather(&mut puller, 1).await.remove(0);
    assert_eq!(third.delivery, 3);
    assert!(given_back.elapsed() >= Duration::from_millis(300));
    broker.ack(&third.ack, Ack::Terminate);
    until(async || (left(&broker).await == 0).then_some(())).await;
}

#[tokio::test]
async fn a_sign_of_work_keeps_a_task_and_silence_gives_it_away() {
    let (_server, broker) = server().await;
    broker.ensure_stream(&tasks_spec(Storage::File)).await.unwrap();
    broker
        .ensure_consumer("T", &consumer_spec(Duration::from_millis(500)))
        .await
        .unwrap();
    fill(&broker, "t", 0..1).await;
    let mut puller = broker.pull("T", "c").await.unwrap();
    let first = gather(&mut puller, 1).await.remove(0);
    for _ in 0..10 {
        broker.ack(&first.ack, Ack::InProgress);
        assert!(puller.next(1, Duration::from_millis(100)).await.unwrap().is_empty());
    }
    assert_eq!(gather(&mut puller, 1).await.remove(0).delivery, 2);
}

#[tokio::test]
async fn a_dropped_puller_gives_back_what_nobody_read() {
    let (_server, broker) = server().await;
    tasks(&broker).await;
    fill(&broker, "t", 0..10).await;
    let mut first = broker.pull("T", "c").await.unwrap();
    let held = gather(&mut first, 1).await;
    assert_eq!(held.len(), 1);
    drop(first);
    let mut second = broker.pull("T", "c").await.unwrap();
    assert_eq!(gather(&mut second, 9).await.len(), 9);
}

#[tokio::test]
async fn a_deleted_consumer_and_one_that_never_was_are_gone() {
    let (_server, broker) = server().await;
    tasks(&broker).await;
    let mut never = broker.pull("T", "never").await.unwrap();
    assert_eq!(soon(never.next(1, LONG)).await.unwrap_err(), PullError::Gone);
    let mut puller = broker.pull("T", "c").await.unwrap();
    assert!(puller.next(10, SHORT).await.unwrap().is_empty());
    let (deleted, pulled) = tokio::join!(broker.delete_consumer("T", "c"), soon(puller.next(10, LONG)));
    deleted.unwrap();
    assert_eq!(pulled.unwrap_err(), PullError::Gone);
}

// Both times are the best of three, so that a busy machine is not taken for a slow client.

#[tokio::test]
async fn a_memory_backed_queue_is_gone_within_a_second_of_a_killed_servers_return() {
    let (mut server, broker) = server().await;
    let mut best = DEADLINE;
    for _ in 0..3 {
        until(async || broker.ensure_stream(&tasks_spec(Storage::Memory)).await.ok()).await;
        broker.ensure_consumer("T", &consumer_spec(LONG)).await.unwrap();
        let mut puller = broker.pull("T", "c").await.unwrap();
        assert!(puller.next(10, SHORT).await.unwrap().is_empty());
        server.kill();
        server.restart().await.unwrap();
        let back = Instant::now();
        assert_eq!(soon(puller.next(10, LONG)).await.unwrap_err(), PullError::Gone);
        best = best.min(back.elapsed());
    }
    assert!(best < Duration::from_secs(1), "noticed after {best:?} at best");
}

#[tokio::test]
async fn a_file_backed_queue_flows_on_within_half_a_second_of_a_killed_servers_return() {
    let (mut server, broker) = server().await;
    broker.ensure_stream(&tasks_spec(Storage::File)).await.unwrap();
    broker.ensure_consumer("T", &consumer_spec(LONG)).await.unwrap();
    let mut puller = broker.pull("T", "c").await.unwrap();
    assert!(puller.next(10, SHORT).await.unwrap().is_empty());
    let mut best = DEADLINE;
    for _ in 0..3 {
        server.kill();
        server.restart().await.unwrap();
        let back = Instant::now();
        let writer = connected(&server).await;
        fill(&writer, "t", 0..1).await;
        assert_eq!(gather(&mut puller, 1).await.len(), 1);
        best = best.min(back.elapsed());
    }
    assert!(best < Duration::from_millis(500), "flowing again after {best:?} at best");
}

#[tokio::test]
async fn a_consumer_that_holds_tasks_back_is_asked_anew_and_counted_unless_it_is_paused() {
    let (server, broker) = server().await;
    tasks(&broker).await;
    let pause = serde_json::json!({ "pause_until": "2999-01-01T00:00:00Z" });
    request(&server, "CONSUMER.PAUSE.T.c", &pause).await;
    let other = StreamSpec {
        name: "U".to_owned(),
        subjects: vec!["u.>".to_owned()],
        ..tasks_spec(Storage::Memory)
    };
    broker.ensure_stream(&other).await.unwrap();
    // One unanswered delivery stalls this one, without a word.
    let config = serde_json::json!({ "durable_name": "c", "ack_policy": "explicit", "max_ack_pending": 1 });
    request(
        &server,
        "CONSUMER.CREATE.U.c",
        &serde_json::json!({ "stream_name": "U", "config": config }),
    )
    .await;
    fill(&broker, "t", 0..2).await;
    fill(&broker, "u", 0..2).await;

    let paused = connected(&server).await;
    let mut paused_puller = paused.pull("T", "c").await.unwrap();
    let mut stalled_puller = broker.pull("U", "c").await.unwrap();
    let held = gather(&mut stalled_puller, 1).await.remove(0);
    let wait = Duration::from_secs(13);
    let (from_paused, from_stalled) = soon(async { tokio::join!(paused_puller.next(5, wait), stalled_puller.next(5, wait)) }).await;
    assert!(from_paused.unwrap().is_empty() && from_stalled.unwrap().is_empty());
    assert_eq!((paused.stuck_pulls(), broker.stuck_pulls()), (0, 1));
    broker.ack(&held.ack, Ack::Done);
    assert_eq!(gather(&mut stalled_puller, 1).await.len(), 1);
}
