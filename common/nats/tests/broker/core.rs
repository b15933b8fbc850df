//! Core messages, connection events.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use everstep_common::ports::{Broker, ConnectionEvent, CoreMessage, Headers};
use everstep_nats::Statistics;
use futures::StreamExt;
use tokio::time::Instant;

use crate::support::{connected, server, soon, until};

fn message(subject: &str, body: &'static str) -> CoreMessage {
    CoreMessage {
        subject: subject.into(),
        headers: Headers::new().with("A", "1"),
        payload: Bytes::from_static(body.as_bytes()),
        reply: None,
    }
}

#[tokio::test]
async fn a_subscription_stands_before_any_later_publish_and_survives_a_restart() {
    let (mut server, broker) = server().await;
    let mut listening = broker.subscribe("live.*").await;
    broker.send(message("live.a", "1"));
    let heard = soon(listening.next()).await.unwrap();
    assert_eq!(
        (heard.subject.as_str(), &heard.payload[..], heard.headers.get("A")),
        ("live.a", b"1".as_slice(), Some("1"))
    );

    let mut events = broker.connection_events();
    server.restart().await.unwrap();
    assert_eq!(soon(events.next()).await, Some(ConnectionEvent::Disconnected));
    assert_eq!(soon(events.next()).await, Some(ConnectionEvent::Reconnected));
    broker.send(message("live.b", "2"));
    assert_eq!(soon(listening.next()).await.unwrap().subject, "live.b");
}

#[tokio::test]
async fn all_answers_are_gathered_and_none_ends_the_wait_at_once() {
    let (server, asking) = server().await;
    let before = Instant::now();
    assert!(asking.ask("who", Bytes::new(), Duration::from_secs(10)).await.is_empty());
    assert!(before.elapsed() < Duration::from_secs(5), "waited although nobody listens");

    let answering = connected(&server).await;
    for name in ["one", "two"] {
        let mut questions = answering.subscribe("who").await;
        let answering = answering.clone();
        tokio::spawn(async move {
            while let Some(question) = questions.next().await {
                answering.send(message(&question.reply.unwrap(), name));
            }
        });
    }
    answering.stream_info("NONE").await.unwrap();
    let answers = asking.ask("who", Bytes::new(), Duration::from_millis(500)).await;
    let mut bodies: Vec<_> = answers.iter().map(|answer| &answer.payload[..]).collect();
    bodies.sort();
    assert_eq!(bodies, [b"one", b"two"]);
}

#[tokio::test]
async fn a_process_is_listed_as_a_micro_service_until_it_goes() {
    let (server, broker) = server().await;
    let metadata = [("queue".to_owned(), "mail".to_owned())].into();
    let statistics: Statistics = Arc::new(|| serde_json::json!({ "slots": 7 }));
    let service = broker
        .serve_micro("everstep-worker", "1.2.3", "runs functions", metadata, statistics)
        .await
        .unwrap();
    let asking = connected(&server).await;
    let wait = Duration::from_secs(1);
    let one = async |subject: &str| {
        let answers =
            until(async || Some(asking.ask(subject, Bytes::new(), wait).await).filter(|answers| !answers.is_empty())).await;
        serde_json::from_slice::<serde_json::Value>(&answers[0].payload).unwrap()
    };
    let listed = one("$SRV.PING").await;
    assert_eq!(
        (&listed["name"], &listed["version"]),
        (&"everstep-worker".into(), &"1.2.3".into())
    );
    assert_eq!(listed["metadata"]["queue"], "mail");
    assert_eq!(one("$SRV.STATS.everstep-worker").await["endpoints"][0]["data"]["slots"], 7);
    let id = listed["id"].as_str().unwrap();
    assert_eq!(one(&format!("everstep.status.{id}")).await["slots"], 7);

    drop(service);
    until(async || asking.ask("$SRV.PING", Bytes::new(), wait).await.is_empty().then_some(())).await;
    assert!(
        broker
            .serve_micro("no spaces", "1.2.3", "", Default::default(), Arc::new(|| 1.into()))
            .await
            .is_err()
    );
}
