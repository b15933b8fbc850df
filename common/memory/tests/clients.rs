//! What befalls clients: kills, cuts, freezes, crash points. What the server itself does is tested by the conformance suite in
//! `everstep-tests`, on this server and on real ones.

mod common;

use std::time::Duration;

use common::{journal, provision, tasks};
use everstep_common::ports::{
    Ack, Broker, Clock, ConnectionEvent, Delivery, Followed, From, GetLast, Message, Publish, PublishError, Puller,
};
use everstep_memory::{Call, Faults, MemoryServer, Nodes, Reaction, When, simulate};
use futures::stream::{BoxStream, StreamExt};
use jiff::SignedDuration;
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(3600);

/// Pulls up to `max`, waiting a second.
async fn pull(puller: &mut dyn Puller, max: usize) -> anyhow::Result<Vec<Delivery>> {
    Ok(puller.next(max, Duration::from_secs(1)).await?)
}

/// The next message followed, past the news of having caught up.
async fn next_message(followed: &mut BoxStream<'static, Followed>) -> anyhow::Result<Message> {
    loop {
        match followed.next().await {
            Some(Followed::Message(message)) => return Ok(message),
            Some(Followed::CaughtUp) => {}
            Some(Followed::Lost(reason)) => anyhow::bail!("lost: {reason}"),
            None => anyhow::bail!("the follow has ended"),
        }
    }
}

fn start(faults: Faults) -> MemoryServer {
    MemoryServer::start(Nodes::One, 1, faults)
}

#[test]
fn a_killed_client_gets_no_answer_and_does_nothing_more() -> anyhow::Result<()> {
    simulate(async {
        let server = start(Faults::none());
        let (victim, other) = (server.connect("victim"), server.connect("other"));
        provision(&other, journal(1), tasks(1)).await?;
        let clock = victim.clock();
        let sleep = clock.sleep(Duration::from_secs(1));
        server.kill("victim");
        assert!(timeout(LONG, victim.publish(Publish::new("cp.a", "x"))).await.is_err());
        assert!(timeout(LONG, sleep).await.is_err());
        assert!(server.messages("JOURNAL").is_empty());
        assert!(server.is_dead("victim") && !server.is_dead("other"));
        Ok(())
    })
}

#[test]
fn a_crash_point_kills_before_or_after_the_effect_of_its_call() -> anyhow::Result<()> {
    for (when, stored) in [(When::Before, 1), (When::After, 2)] {
        simulate(async {
            let server = start(Faults::none());
            provision(&server.connect("setup"), journal(1), tasks(1)).await?;
            let victim = server.connect("victim");
            server.crash_at("victim", 1, when);
            victim.publish(Publish::new("cp.a", "").create_only()).await?;
            assert!(
                timeout(LONG, victim.publish(Publish::new("cp.b", "").create_only()))
                    .await
                    .is_err()
            );
            server.died("victim").await;
            assert_eq!(server.messages("JOURNAL").len(), stored, "{when:?}");
            assert_eq!(server.port_calls("victim"), 2);
            assert_eq!(server.calls("victim")[&Call::Publish], 2);
            anyhow::Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_pull_as_crash_point_kills_with_the_delivery() -> anyhow::Result<()> {
    simulate(async {
        let server = start(Faults::none());
        let setup = server.connect("setup");
        provision(&setup, journal(1), tasks(1)).await?;
        let victim = server.connect("victim");
        server.crash_at("victim", 1, When::After);
        let mut puller = victim.pull("TASKS", "workers").await?;
        let waiting = tokio::spawn(async move { puller.next(1, LONG).await });
        setup.publish(Publish::new("task.a", "")).await?;
        server.died("victim").await;
        waiting.abort();
        let mut puller = setup.pull("TASKS", "workers").await?;
        assert!(pull(&mut *puller, 1).await?.is_empty(), "it was delivered to the victim");
        setup.clock().sleep(Duration::from_secs(30)).await;
        assert_eq!(pull(&mut *puller, 1).await?[0].delivery, 2);
        Ok(())
    })
}

#[test]
fn a_client_can_be_killed_at_each_entry_stored() -> anyhow::Result<()> {
    simulate(async {
        let server = start(Faults::none());
        provision(&server.connect("setup"), journal(1), tasks(1)).await?;
        let victim = server.connect("victim");
        server.on_stored(|entry| match entry.sequence {
            3 => Reaction::Kill("victim".into()),
            _ => Reaction::None,
        });
        for key in ["cp.a", "cp.b"] {
            victim.publish(Publish::new(key, "")).await?;
        }
        assert!(timeout(LONG, victim.publish(Publish::new("cp.c", ""))).await.is_err());
        assert_eq!(server.messages("JOURNAL").len(), 3);
        Ok(())
    })
}

#[test]
fn a_cut_client_is_told_and_sends_late_what_it_asked_meanwhile() -> anyhow::Result<()> {
    simulate(async {
        let server = start(Faults::none());
        let broker = server.connect("client");
        provision(&broker, journal(1), tasks(1)).await?;
        let mut events = broker.connection_events();
        server.disconnect("client");
        assert_eq!(events.next().await, Some(ConnectionEvent::Disconnected));
        let unanswered = broker.publish(Publish::new("cp.a", "")).await;
        assert!(matches!(unanswered, Err(PublishError::Unknown(_))), "{unanswered:?}");
        assert!(server.messages("JOURNAL").is_empty());
        server.reconnect("client");
        assert_eq!(events.next().await, Some(ConnectionEvent::Reconnected));
        broker.publish(Publish::new("cp.b", "")).await?;
        assert_eq!(
            server.messages("JOURNAL").len(),
            2,
            "the first was sent when the connection was back"
        );
        Ok(())
    })
}

#[test]
fn a_follower_misses_and_repeats_nothing_over_a_cut() -> anyhow::Result<()> {
    simulate(async {
        let server = MemoryServer::start(
            Nodes::One,
            3,
            Faults {
                latency: Faults::rough().latency,
                ..Faults::none()
            },
        );
        let (reader, writer) = (server.connect("reader"), server.connect("writer"));
        provision(&writer, journal(1), tasks(1)).await?;
        let mut followed = reader.follow("JOURNAL", "cp.>", From::Sequence(1));
        let reading = tokio::spawn(async move {
            for number in 1..=100u64 {
                assert_eq!(next_message(&mut followed).await?.sequence, number);
            }
            anyhow::Ok(followed)
        });
        for number in 1..=100u64 {
            if number % 10 == 0 {
                // Some cuts are shorter than a message is under way.
                server.cut("reader", Duration::from_millis(number / 10 - 1));
            }
            writer.publish(Publish::new(format!("cp.{number}"), "").create_only()).await?;
        }
        let mut followed = reading.await??;
        assert!(timeout(LONG, followed.next()).await.is_err(), "nothing comes twice");
        Ok(())
    })
}

#[test]
fn a_stopped_process_goes_on_where_it_was() -> anyhow::Result<()> {
    simulate(async {
        let server = start(Faults::none());
        let broker = server.connect("client");
        provision(&broker, journal(1), tasks(1)).await?;
        server.freeze("client");
        let publishing = tokio::spawn(broker.publish(Publish::new("cp.a", "")));
        let sleeping = tokio::spawn(broker.clock().sleep(Duration::from_secs(1)));
        server.clock().sleep(Duration::from_secs(60)).await;
        assert!(!publishing.is_finished() && !sleeping.is_finished());
        server.thaw("client");
        sleeping.await?;
        let late = publishing.await?;
        assert!(
            matches!(late, Err(PublishError::Unknown(_))),
            "it woke up after its deadline: {late:?}"
        );
        Ok(())
    })
}

#[test]
fn a_wall_clock_jumps_alone() -> anyhow::Result<()> {
    simulate(async {
        let server = start(Faults::none());
        let (jumping, other) = (server.connect("jumping"), server.connect("other"));
        let (before, monotonic) = (jumping.clock().wall(), jumping.clock().now());
        server.set_wall_skew("jumping", SignedDuration::from_hours(-1));
        assert_eq!(jumping.clock().wall(), before - SignedDuration::from_hours(1));
        assert_eq!(jumping.clock().now(), monotonic);
        assert_eq!(other.clock().wall(), before);
        Ok(())
    })
}

#[test]
fn a_lost_answer_is_unknown_whether_stored_or_not() -> anyhow::Result<()> {
    for (faults, stored) in [
        (
            Faults {
                answer_lost: 1.0,
                ..Faults::none()
            },
            1,
        ),
        (
            Faults {
                request_lost: 1.0,
                ..Faults::none()
            },
            0,
        ),
    ] {
        simulate(async {
            let server = start(Faults::none());
            let broker = server.connect("client");
            provision(&broker, journal(1), tasks(1)).await?;
            server.set_faults(faults);
            let result = broker.publish(Publish::new("cp.a", "")).await;
            assert!(matches!(result, Err(PublishError::Unknown(_))), "{result:?}");
            assert_eq!(server.messages("JOURNAL").len(), stored);
            anyhow::Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_replica_that_is_behind_answers_of_earlier_or_not_at_all() -> anyhow::Result<()> {
    simulate(async {
        let server = MemoryServer::start(Nodes::Three, 1, Faults::none());
        let broker = server.connect("client");
        provision(&broker, journal(3), tasks(3)).await?;
        for key in ["cp.a", "cp.b", "cp.c"] {
            broker.publish(Publish::new(key, "").create_only()).await?;
        }
        broker.purge("JOURNAL", "cp.a").await?;
        server.set_faults(Faults {
            stale_read: 1.0,
            behind_max: 1,
            ..Faults::none()
        });
        let request = GetLast {
            stream: "JOURNAL".into(),
            subjects: vec!["cp.>".into()],
            up_to: None,
            leader: false,
        };
        let stale = broker.get_last(request.clone()).await?;
        assert_eq!(stale.messages.len(), 3, "the purge has not come to the replica");
        let fresh = broker
            .get_last(GetLast {
                leader: true,
                ..request.clone()
            })
            .await?;
        assert_eq!(fresh.messages.len(), 2);
        server.set_faults(Faults {
            stale_read: 1.0,
            behind_max: 3,
            ..Faults::none()
        });
        let mut behind = 0;
        for _ in 0..50 {
            behind += usize::from(
                broker
                    .get_last(GetLast {
                        up_to: Some(3),
                        ..request.clone()
                    })
                    .await
                    .is_err(),
            );
        }
        assert!(behind > 0, "some replica had not come to sequence 3");
        Ok(())
    })
}

#[test]
fn a_rolled_back_stream_is_lost_to_a_follower_that_was_further() -> anyhow::Result<()> {
    simulate(async {
        let server = start(Faults::none());
        let broker = server.connect("client");
        provision(&broker, journal(1), tasks(1)).await?;
        let mut followed = broker.follow("JOURNAL", "cp.>", From::Sequence(1));
        for key in ["cp.a", "cp.b", "cp.c"] {
            broker.publish(Publish::new(key, "").create_only()).await?;
            next_message(&mut followed).await?;
        }
        broker.purge("JOURNAL", "cp.a").await?;
        server.restart();
        assert!(server.roll_back("JOURNAL", 2));
        let lost = loop {
            match followed.next().await {
                Some(Followed::CaughtUp) => {}
                other => break other,
            }
        };
        assert!(matches!(lost, Some(Followed::Lost(_))), "{lost:?}");
        let subjects: Vec<String> = server
            .messages("JOURNAL")
            .into_iter()
            .map(|message| message.subject)
            .collect();
        assert_eq!(subjects, ["cp.a", "cp.b"], "what was purged since is there again");
        Ok(())
    })
}

#[test]
fn a_full_disk_answers_nothing_and_stores_nothing() -> anyhow::Result<()> {
    simulate(async {
        let server = start(Faults::none());
        let broker = server.connect("client");
        provision(&broker, journal(1), tasks(1)).await?;
        server.fill_disk(true);
        assert!(matches!(
            broker.publish(Publish::new("cp.a", "")).await,
            Err(PublishError::Unknown(_))
        ));
        server.fill_disk(false);
        broker.publish(Publish::new("cp.b", "")).await?;
        assert_eq!(server.messages("JOURNAL").len(), 1);
        Ok(())
    })
}

#[test]
fn deliveries_are_lost_doubled_and_shuffled_but_never_forgotten() -> anyhow::Result<()> {
    simulate(async {
        let server = MemoryServer::start(Nodes::One, 5, Faults::none());
        let broker = server.connect("client");
        provision(&broker, journal(1), tasks(1)).await?;
        for number in 0..50 {
            broker
                .publish(Publish::new(format!("task.{number}"), "").create_only())
                .await?;
        }
        server.set_faults(Faults {
            delivery_lost: 0.2,
            delivery_doubled: 0.2,
            delivery_shuffled: 0.5,
            ..Faults::none()
        });
        let mut puller = broker.pull("TASKS", "workers").await?;
        let (mut sequences, mut empty) = (Vec::new(), 0);
        while empty < 60 {
            let deliveries = pull(&mut *puller, 8).await?;
            empty = if deliveries.is_empty() { empty + 1 } else { 0 };
            for delivery in deliveries {
                sequences.push(delivery.sequence);
                if sequences.iter().filter(|sequence| **sequence == delivery.sequence).count() > 1 || delivery.sequence % 3 == 0 {
                    broker.ack(&delivery.ack, Ack::Done);
                }
            }
        }
        assert!(sequences.len() > 50 && !sequences.is_sorted());
        assert!(server.messages("TASKS").is_empty(), "all came at least twice or were done");
        Ok(())
    })
}
