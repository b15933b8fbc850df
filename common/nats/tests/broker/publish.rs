//! Publishing: conditions, order, batches, schedules, and each way to be refused.

use std::collections::BTreeSet;
use std::time::Duration;

use everstep_common::ports::{Broker, Clock, Expect, GetLast, Publish, PublishError, Schedule};
use everstep_common::topology::StreamSpec;
use everstep_nats::TokioClock;
use futures::future::join_all;
use futures::{FutureExt, StreamExt};
use jiff::SignedDuration;

use crate::support::{connected, fill, history, journal, server, soon};

fn create(subject: &str, body: &str) -> Publish {
    Publish::new(subject, body.to_owned()).create_only()
}

#[tokio::test]
async fn the_first_of_many_concurrent_creates_wins_and_the_others_are_refused() {
    let (server, one) = server().await;
    journal(&one).await;
    let other = connected(&server).await;
    for round in 0..20 {
        let subject = format!("j.run.{round}");
        let creates = (0..10).map(|n| if n % 2 == 0 { &one } else { &other }.publish(create(&subject, &n.to_string())));
        let results = join_all(creates).await;
        let stored = results.iter().filter(|result| result.is_ok()).count();
        let refused = results.iter().filter(|result| **result == Err(PublishError::Refused)).count();
        assert_eq!((stored, refused), (1, 9), "{results:?}");
    }
}

#[tokio::test]
async fn a_write_once_subject_refuses_a_publish_without_condition() {
    let (_server, broker) = server().await;
    journal(&broker).await;
    broker.publish(create("j.a", "1")).await.unwrap();
    assert_eq!(broker.publish(Publish::new("j.a", "2")).await, Err(PublishError::Refused));
}

#[tokio::test]
async fn conditions_hold_for_the_own_subject_and_for_a_filter() {
    let (_server, broker) = server().await;
    history(&broker).await;
    let expecting = |subject: &str, expect| broker.publish(Publish::new(subject, "x").expecting(expect));
    let of = |sequence| Expect::LastSequenceOf {
        filter: "h.run.>".to_owned(),
        sequence,
    };
    assert_eq!(expecting("h.run.a", of(0)).await.unwrap().sequence, 1);
    assert_eq!(expecting("h.run.b", of(0)).await, Err(PublishError::Refused));
    assert_eq!(expecting("h.run.b", of(1)).await.unwrap().sequence, 2);
    assert_eq!(
        expecting("h.run.b", Expect::LastSequence(1)).await,
        Err(PublishError::Refused)
    );
    assert_eq!(expecting("h.run.b", Expect::LastSequence(2)).await.unwrap().sequence, 3);
}

#[tokio::test]
async fn publishes_are_sent_in_call_order_whatever_order_they_are_awaited_in() {
    let (_server, broker) = server().await;
    history(&broker).await;
    let mut pending: Vec<_> = (0..5_000)
        .map(|n| (n, broker.publish(Publish::new(format!("h.{n}"), "x"))))
        .collect();
    pending.reverse();
    for (n, stored) in pending {
        assert_eq!(stored.await.unwrap().sequence, n + 1);
    }
}

#[tokio::test]
async fn an_answer_that_nobody_waits_for_reaches_nobody_else() {
    let (_server, broker) = server().await;
    history(&broker).await;
    for n in 0..500 {
        drop(broker.publish(Publish::new(format!("h.dropped.{n}"), "x")));
        let stored = broker.publish(Publish::new(format!("h.kept.{n}"), "x")).await.unwrap();
        assert_eq!(stored.sequence, 2 * (n + 1));
    }
}

#[tokio::test]
async fn each_way_to_be_refused_has_its_own_error() {
    let (_server, broker) = server().await;
    let small = StreamSpec {
        max_bytes: 1_000,
        discard: everstep_common::topology::Discard::New,
        ..StreamSpec::new("SMALL", ["small.>".to_owned()], 1)
    };
    broker.ensure_stream(&small).await.unwrap();

    assert_eq!(
        broker.publish(Publish::new("nowhere.a", "x")).await,
        Err(PublishError::NoStream)
    );
    assert_eq!(
        broker.publish(Publish::new("small.a", vec![0; 2_000])).await,
        Err(PublishError::Full)
    );
    assert_eq!(
        broker
            .publish(Publish::new("small.a", vec![0; broker.server().max_payload + 1]))
            .await,
        Err(PublishError::TooLarge)
    );
    for bad in ["", "small.a b", "small.\r\nPUB x", "small..a", "small.*", "small.>"] {
        assert!(
            matches!(broker.publish(Publish::new(bad, "x")).await, Err(PublishError::Rejected(_))),
            "{bad:?}"
        );
    }
    let broken_header = Publish::new("small.a", "x").with_header("A", "1\r\nB: 2");
    assert!(matches!(broker.publish(broken_header).await, Err(PublishError::Rejected(_))));
    let not_a_schedule_stream = Publish {
        schedule: Some(Schedule {
            at: TokioClock.wall(),
            target: "small.b".to_owned(),
        }),
        ..Publish::new("small.a", "x")
    };
    assert!(matches!(
        broker.publish(not_a_schedule_stream).await,
        Err(PublishError::Rejected(_))
    ));
    assert!(broker.publish(Publish::new("small.a", "x")).await.is_ok());
}

#[tokio::test]
async fn what_is_on_its_way_when_the_server_dies_is_unknown_at_once() {
    let (mut server, broker) = server().await;
    journal(&broker).await;
    let process = server.pid().unwrap();
    // A stopped server reads nothing, so the publishes are certainly on their way when it is killed.
    let stop = std::process::Command::new("kill")
        .args(["-STOP", &process.to_string()])
        .status()
        .unwrap();
    assert!(stop.success());
    let pending: Vec<_> = (0..100).map(|n| broker.publish(create(&format!("j.{n}"), "x"))).collect();
    let mut events = broker.connection_events();
    server.kill();
    let results = tokio::time::timeout(Duration::from_secs(2), join_all(pending))
        .await
        .expect("waited for the deadline");
    assert!(
        results.iter().all(|result| matches!(result, Err(PublishError::Unknown(_)))),
        "{results:?}"
    );

    server.restart().await.unwrap();
    soon(events.next()).await;
    let after = soon(broker.publish(create("j.after", "x"))).await;
    assert!(after.is_ok(), "{after:?}");
}

#[tokio::test]
async fn a_batch_is_stored_whole_or_not_at_all() {
    let (_server, broker) = server().await;
    journal(&broker).await;
    let batch: Vec<_> = (0..1_000).map(|n| create(&format!("j.b.{n}"), "x")).collect();
    assert_eq!(broker.publish_batch(batch).await.unwrap().sequence, 1_000);

    let with_one_taken = vec![create("j.c.1", "x"), create("j.b.7", "other"), create("j.c.2", "x")];
    assert_eq!(broker.publish_batch(with_one_taken).await, Err(PublishError::Refused));
    let stream = broker.stream_info("J").await.unwrap().unwrap();
    assert_eq!((stream.last_sequence, stream.messages), (1_000, 1_000));
}

#[tokio::test]
async fn a_batch_holds_conditions_on_a_filter_and_headers() {
    let (_server, broker) = server().await;
    journal(&broker).await;
    let start = |run: &str| {
        let empty_run = Expect::LastSequenceOf {
            filter: format!("j.{run}.>"),
            sequence: 0,
        };
        Publish::new(format!("j.{run}.start"), "x")
            .with_header("Everstep-Nonce", run)
            .expecting(empty_run)
    };
    broker.publish_batch(vec![start("a"), start("b")]).await.unwrap();
    assert_eq!(
        broker.publish_batch(vec![start("c"), start("a")]).await,
        Err(PublishError::Refused)
    );
    let read = GetLast {
        stream: "J".into(),
        subjects: vec!["j.>".into()],
        up_to: None,
        leader: false,
    };
    let messages = broker.get_last(read).await.unwrap().messages;
    let nonces: Vec<_> = messages.iter().map(|message| message.headers.0.clone()).collect();
    assert_eq!(
        nonces,
        [
            [("Everstep-Nonce".to_owned(), "a".to_owned())],
            [("Everstep-Nonce".to_owned(), "b".to_owned())]
        ]
    );
}

#[tokio::test]
async fn a_batch_that_cannot_be_one_is_rejected_by_its_reason() {
    let (_server, broker) = server().await;
    journal(&broker).await;
    history(&broker).await;
    let pair = |one: &str, other: &str| vec![create(one, "x"), create(other, "x")];
    assert!(matches!(
        broker.publish_batch(vec![create("j.a", "x")]).await,
        Err(PublishError::Rejected(_))
    ));
    let too_many = (0..1_001).map(|n| create(&format!("j.{n}"), "x")).collect();
    assert!(matches!(broker.publish_batch(too_many).await, Err(PublishError::Rejected(_))));
    assert!(
        matches!(broker.publish_batch(pair("h.a", "h.b")).await, Err(PublishError::Rejected(_))),
        "batches are off there"
    );
    assert_eq!(
        broker.publish_batch(pair("nowhere.a", "nowhere.b")).await,
        Err(PublishError::NoStream)
    );
    let large = vec![
        create("j.a", "x"),
        Publish::new("j.b", vec![0; broker.server().max_payload + 1]),
    ];
    assert_eq!(broker.publish_batch(large).await, Err(PublishError::TooLarge));
    assert!(broker.publish_batch(pair("j.a", "j.b")).await.is_ok());
}

#[tokio::test]
async fn many_batches_and_single_publishes_at_once_are_all_stored() {
    let (_server, broker) = server().await;
    journal(&broker).await;
    let batches = (0..200).map(|batch| {
        broker
            .publish_batch((0..20).map(|n| create(&format!("j.b{batch}.{n}"), "x")).collect())
            .left_future()
    });
    let singles = (0..200).map(|n| broker.publish(create(&format!("j.s.{n}"), "x")).right_future());
    let results = join_all(batches.zip(singles).flat_map(|(batch, single)| [batch, single])).await;
    let failed: BTreeSet<_> = results
        .iter()
        .filter_map(|result| result.as_ref().err().map(ToString::to_string))
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(broker.stream_info("J").await.unwrap().unwrap().messages, 200 * 21);
}

#[tokio::test]
async fn a_schedule_fires_once_and_never_early_and_a_purge_cancels_it() {
    let (_server, broker) = server().await;
    let timers = StreamSpec {
        allow_schedules: true,
        ..StreamSpec::new("TIMERS", ["timers.>".to_owned(), "fired.>".to_owned()], 1)
    };
    broker.ensure_stream(&timers).await.unwrap();
    let at = TokioClock.wall() + SignedDuration::from_millis(400);
    let schedule = |name: &str| Publish {
        schedule: Some(Schedule {
            at,
            target: format!("fired.{name}"),
        }),
        ..Publish::new(format!("timers.{name}"), name.to_owned())
            .with_header("Everstep-Nonce", "n")
            .create_only()
    };
    for name in ["cancelled", "kept"] {
        broker.publish(schedule(name)).await.unwrap();
    }
    assert_eq!(broker.publish(schedule("kept")).await, Err(PublishError::Refused));
    assert_eq!(broker.purge("TIMERS", "timers.cancelled").await.unwrap(), 1);

    let mut fired = broker.follow("TIMERS", "fired.>", everstep_common::ports::From::Sequence(1));
    let message = soon(async {
        loop {
            if let Some(everstep_common::ports::Followed::Message(message)) = fired.next().await {
                return message;
            }
        }
    })
    .await;
    assert_eq!(
        (message.subject.as_str(), &message.payload[..]),
        ("fired.kept", b"kept".as_slice())
    );
    assert_eq!(message.headers.get("Everstep-Nonce"), Some("n"));
    assert!(message.time >= at, "fired at {}, due at {at}", message.time);
    fill(&broker, "fired", 0..1).await;
    let next = soon(fired.next()).await;
    assert!(
        matches!(&next, Some(everstep_common::ports::Followed::Message(message)) if message.subject == "fired.0"),
        "{next:?}"
    );
}
