//! Reading: completeness, positions, and the same message by every way of reading it.

use everstep_common::ports::{Broker, Followed, From, GetLast, Message, Publish, ReadError};
use everstep_common::topology::{Storage, StreamSpec};
use futures::{StreamExt, TryStreamExt};

use crate::support::{fill, history, journal, server, soon};

fn read(stream: &str, subjects: &[&str]) -> GetLast {
    GetLast {
        stream: stream.into(),
        subjects: subjects.iter().map(|subject| (*subject).to_owned()).collect(),
        up_to: None,
        leader: false,
    }
}

fn sequences(messages: &[Message]) -> Vec<u64> {
    messages.iter().map(|message| message.sequence).collect()
}

#[tokio::test]
async fn a_snapshot_is_complete_in_stream_order_and_names_its_position() {
    let (_server, broker) = server().await;
    journal(&broker).await;
    fill(&broker, "j.a", 0..1_000).await;
    fill(&broker, "j.b", 0..3).await;
    for leader in [false, true] {
        let snapshot = broker
            .get_last(GetLast {
                leader,
                ..read("J", &["j.a.*", "j.b.1"])
            })
            .await
            .unwrap_err();
        assert_eq!(snapshot, ReadError::TooMany);
        let snapshot = broker
            .get_last(GetLast {
                leader,
                ..read("J", &["j.a.*"])
            })
            .await
            .unwrap();
        assert_eq!(sequences(&snapshot.messages), (1..=1_000).collect::<Vec<_>>());
        assert_eq!(snapshot.up_to, 1_003);
        let snapshot = broker
            .get_last(GetLast {
                leader,
                ..read("J", &["j.b.*", "j.a.7"])
            })
            .await
            .unwrap();
        assert_eq!(sequences(&snapshot.messages), [8, 1_001, 1_002, 1_003]);
    }
}

#[tokio::test]
async fn a_read_as_of_a_sequence_shows_the_stream_as_it_stood() {
    let (_server, broker) = server().await;
    history(&broker).await;
    for body in ["1", "2", "3"] {
        broker.publish(Publish::new("h.a", body)).await.unwrap();
    }
    broker.publish(Publish::new("h.b", "4")).await.unwrap();
    for leader in [false, true] {
        let as_of = |up_to, subject| {
            broker.get_last(GetLast {
                up_to: Some(up_to),
                leader,
                ..read("H", &[subject])
            })
        };
        assert_eq!(sequences(&as_of(2, "h.a").await.unwrap().messages), [2]);
        assert_eq!(sequences(&as_of(4, "h.*").await.unwrap().messages), [3, 4]);
        let before = as_of(3, "h.b").await.unwrap();
        assert_eq!((before.messages, before.up_to), (Vec::new(), 3));
    }
}

#[tokio::test]
async fn a_position_that_the_server_has_not_reached_is_unavailable_and_not_empty() {
    let (_server, broker) = server().await;
    journal(&broker).await;
    fill(&broker, "j", 0..3).await;
    let in_memory = StreamSpec {
        storage: Storage::Memory,
        ..StreamSpec::new("M", ["m.>".to_owned()], 1)
    };
    broker.ensure_stream(&in_memory).await.unwrap();
    fill(&broker, "m", 0..3).await;
    for (stream, subject) in [("J", "j.*"), ("J", "j.none"), ("M", "m.*"), ("M", "m.none")] {
        for leader in [false, true] {
            let answer = broker
                .get_last(GetLast {
                    up_to: Some(4),
                    leader,
                    ..read(stream, &[subject])
                })
                .await;
            assert!(
                matches!(answer, Err(ReadError::Unavailable(_))),
                "{subject} {leader}: {answer:?}"
            );
            let reached = broker
                .get_last(GetLast {
                    up_to: Some(3),
                    leader,
                    ..read(stream, &[&subject.replace('*', "0")])
                })
                .await;
            assert_eq!(reached.unwrap().up_to, 3);
        }
    }
}

#[tokio::test]
async fn a_scan_of_everything_brings_what_stands_before_a_purged_end() {
    let (_server, broker) = server().await;
    journal(&broker).await;
    fill(&broker, "j", 0..5).await;
    broker.purge("J", "j.4").await.unwrap();
    for filter in [">", "j.>", "j.*"] {
        let messages: Vec<Message> = soon(broker.scan("J", filter, None).try_collect()).await.unwrap();
        assert_eq!(sequences(&messages), [1, 2, 3, 4], "{filter}");
    }
}

#[tokio::test]
async fn nothing_found_is_a_snapshot_with_a_position_and_no_stream_is_an_error() {
    let (_server, broker) = server().await;
    journal(&broker).await;
    fill(&broker, "j", 0..3).await;
    for leader in [false, true] {
        let nothing = broker
            .get_last(GetLast {
                leader,
                ..read("J", &["j.none", "j.none.>"])
            })
            .await
            .unwrap();
        assert_eq!((nothing.messages, nothing.up_to), (Vec::new(), 3));
        assert_eq!(
            broker
                .get_last(GetLast {
                    leader,
                    ..read("NONE", &["j.>"])
                })
                .await,
            Err(ReadError::NoStream)
        );
    }
    assert_eq!(broker.scan("NONE", ">", None).next().await, Some(Err(ReadError::NoStream)));
}

#[tokio::test]
async fn a_message_is_the_same_by_every_way_of_reading_it() {
    let (_server, broker) = server().await;
    journal(&broker).await;
    for n in 0..20 {
        let message = Publish::new(format!("j.{n}"), vec![n; usize::from(n)])
            .with_header("Everstep-Nonce", "x")
            .with_header("B", "y");
        broker.publish(message.create_only()).await.unwrap();
    }
    let direct = broker.get_last(read("J", &["j.*"])).await.unwrap().messages;
    let leader = broker
        .get_last(GetLast {
            leader: true,
            ..read("J", &["j.*"])
        })
        .await
        .unwrap()
        .messages;
    let scanned: Vec<Message> = broker.scan("J", "j.*", None).try_collect().await.unwrap();
    let followed: Vec<Message> = broker
        .follow("J", "j.*", From::Sequence(1))
        .take_while(|item| std::future::ready(!matches!(item, Followed::CaughtUp)))
        .filter_map(|item| async {
            if let Followed::Message(message) = item {
                Some(message)
            } else {
                None
            }
        })
        .collect()
        .await;
    assert_eq!(
        direct[3].headers.0,
        [
            ("B".to_owned(), "y".to_owned()),
            ("Everstep-Nonce".to_owned(), "x".to_owned())
        ]
    );
    assert_eq!(direct.len(), 20);
    assert_eq!(direct, leader);
    assert_eq!(direct, scanned);
    assert_eq!(direct, followed);
}

#[tokio::test]
async fn thousands_of_messages_are_read_without_a_consumer() {
    let (_server, broker) = server().await;
    journal(&broker).await;
    fill(&broker, "j.a", 0..2_500).await;
    fill(&broker, "j.b", 0..10).await;
    let all = |filter: &'static str, up_to| {
        let reading = broker.get_all("J", filter, up_to);
        async { soon(reading).await.map(|found| (sequences(&found.messages), found.up_to)) }
    };
    assert_eq!(all("j.a.*", None).await, Ok(((1..=2_500).collect(), 2_510)));
    assert_eq!(all("j.>", Some(1_700)).await, Ok(((1..=1_700).collect(), 1_700)));
    assert_eq!(all("j.none", None).await, Ok((Vec::new(), 2_510)));
    assert!(matches!(all("j.>", Some(2_511)).await, Err(ReadError::Unavailable(_))));
    assert_eq!(broker.get_all("NONE", ">", None).await, Err(ReadError::NoStream));
    assert_eq!(broker.consumers("J").await, Ok(Vec::new()));
}

#[tokio::test]
async fn more_subjects_than_one_page_holds_are_listed() {
    let (_server, broker) = server().await;
    journal(&broker).await;
    for thousand in 0..101 {
        let batch = (0..1_000).map(|n| Publish::new(format!("j.{thousand}.{n}"), "").create_only());
        soon(broker.publish_batch(batch.collect())).await.unwrap();
    }
    let listed = soon(broker.subjects("J", "j.>")).await.unwrap();
    assert_eq!(listed.len(), 101_000);
    assert!(listed.contains("j.0.0") && listed.contains("j.100.999"));
    assert_eq!(soon(broker.subjects("J", "j.7.*")).await.unwrap().len(), 1_000);
}

#[tokio::test]
async fn more_bytes_than_one_answer_holds_are_read_by_smaller_pages() {
    let (_server, broker) = server().await;
    journal(&broker).await;
    // Over the server's 64 MiB for one answer.
    let large = bytes::Bytes::from(vec![7; 700 * 1024]);
    for n in 0..100 {
        let message = Publish::new(format!("j.{n}"), large.clone());
        soon(broker.publish(message.create_only())).await.unwrap();
    }
    assert_eq!(broker.get_last(read("J", &["j.>"])).await, Err(ReadError::TooMany));
    let found = soon(broker.get_all("J", "j.>", None)).await.unwrap().messages;
    assert_eq!(sequences(&found), (1..=100).collect::<Vec<_>>());
    assert!(found.iter().all(|message| message.payload == large));
}

#[tokio::test]
async fn a_scan_brings_everything_up_to_its_end_and_ends() {
    let (_server, broker) = server().await;
    journal(&broker).await;
    fill(&broker, "j.a", 0..5_000).await;
    fill(&broker, "j.b", 0..10).await;
    let scan = |filter: &'static str, up_to| {
        let scan = broker.scan("J", filter, up_to).try_collect::<Vec<Message>>();
        async { sequences(&soon(scan).await.unwrap()) }
    };
    assert_eq!(scan("j.>", None).await, (1..=5_010).collect::<Vec<_>>());
    assert_eq!(scan("j.b.*", None).await, (5_001..=5_010).collect::<Vec<_>>());
    assert_eq!(scan("j.b.*", Some(5_004)).await, (5_001..=5_004).collect::<Vec<_>>());
    assert_eq!(scan("j.a.*", Some(5_004)).await, (1..=5_000).collect::<Vec<_>>());
    assert_eq!(scan("j.b.*", Some(5_000)).await, Vec::<u64>::new());
    assert_eq!(scan("j.none", None).await, Vec::<u64>::new());
}

#[tokio::test]
async fn a_purge_counts_what_it_removes() {
    let (_server, broker) = server().await;
    journal(&broker).await;
    fill(&broker, "j.a", 0..5).await;
    fill(&broker, "j.b", 0..5).await;
    assert_eq!(broker.purge("J", "j.a.>").await, Ok(5));
    assert_eq!(broker.purge("J", "j.a.>").await, Ok(0));
    assert_eq!(broker.purge("NONE", "j.a.>").await, Err(ReadError::NoStream));
    assert_eq!(broker.stream_info("J").await.unwrap().unwrap().messages, 5);
    assert_eq!(broker.stream_info("NONE").await, Ok(None));
}
